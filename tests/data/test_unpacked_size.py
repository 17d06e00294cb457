"""How much a packed file may unpack to."""

from __future__ import annotations

import gzip
import io
import pathlib

import pytest

from data import unpacked_size
from data.errors import LayoutError
from data.prepare import prepare


@pytest.mark.parametrize(("packed", "unpacked"), [(1, 1 << 30), (10 << 20, 2500 << 20)])
def test_the_bound_is_a_gb_or_250_times_as_much(packed: int, unpacked: int) -> None:
    unpacked_size.check("ratings", packed=packed, unpacked=unpacked)
    with pytest.raises(LayoutError, match=f"ratings, packed in {packed:,} bytes, .*got {unpacked + 1:,} bytes or more"):
        unpacked_size.check("ratings", packed=packed, unpacked=unpacked + 1)


def test_a_stream_is_copied_to_its_end() -> None:
    content, target = bytes(range(256)) * 10_000, io.BytesIO()
    unpacked_size.copy(io.BytesIO(content), target, "ratings", packed=9)
    assert target.getvalue() == content


def test_a_stream_that_does_not_end_is_given_up(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(unpacked_size, "ANY_BYTES", 1 << 20)
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(b"u1,Heat (1995),5\n" * 500_000))
    with pytest.raises(LayoutError, match=r"ratings\.csv\.gz, packed in "):
        prepare(tmp_path / "ratings.csv.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
