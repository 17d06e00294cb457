from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from data.errors import DataError
from data.sidecar import Sidecar, digest

SIDECAR = Sidecar(
    rating_scale=(0.5, 5.0),
    rows=2,
    users=1,
    titles=2,
    columns=("user_id", "movie_title", "user_rating"),
    rows_read=4,
    rejected=1,
    source="somewhere",
    sha256=hashlib.sha256(b"abcdef").hexdigest(),
    files=("train/ratings.csv", "test/ratings.csv"),
    noise_floor=0.25,
)


def test_what_is_written_is_read(tmp_path):
    SIDECAR.write(tmp_path)
    assert Sidecar.read(tmp_path) == SIDECAR
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.json"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        SIDECAR.rows = 3  # type: ignore[misc]


def test_optional_fields_may_be_missing(tmp_path):
    fields = dataclasses.asdict(SIDECAR)
    del fields["noise_floor"]
    (tmp_path / "ratings.json").write_text(json.dumps(fields))
    assert Sidecar.read(tmp_path).noise_floor is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"ratings\.json.*is missing; make the folder with"),
        ("{", "to be JSON"),
        ("[]", "to hold the fields"),
        ("3", "to hold the fields"),
        ('{"rows": 1}', "to hold the fields.*rating_scale"),
        (json.dumps(dataclasses.asdict(SIDECAR) | {"strange": 1}), "to hold the fields.*strange"),
    ],
)
def test_a_sidecar_that_is_none_says_what_to_do(content, message, tmp_path):
    if content is not None:
        (tmp_path / "ratings.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Sidecar.read(tmp_path)


def test_checksum_is_that_of_all_files_one_after_the_other(tmp_path):
    assert not SIDECAR.matches(tmp_path)
    for part, content in (("train", b"abc"), ("test", b"def")):
        (tmp_path / part).mkdir()
        (tmp_path / part / "ratings.csv").write_bytes(content)
    assert SIDECAR.matches(tmp_path)
    assert digest(tmp_path, SIDECAR.files) == SIDECAR.sha256
    (tmp_path / "test/ratings.csv").write_bytes(b"deF")
    assert not SIDECAR.matches(tmp_path)
