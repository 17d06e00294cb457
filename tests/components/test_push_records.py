"""Where it is written down which files were judged, and what is read of it."""

from __future__ import annotations

import os
import pathlib

import pytest

from components import push_records


@pytest.mark.parametrize(
    ("base", "record"),
    [
        ("/srv/serving_model", "/srv/.serving_model.judged/7.json"),
        ("serving_model/", f"{os.getcwd()}/.serving_model.judged/7.json"),
        ("gs://bucket/of/serving_model", "gs://bucket/of/.serving_model.judged/7.json"),
        ("gs://bucket/of/serving_model/", "gs://bucket/of/.serving_model.judged/7.json"),
    ],
)
def test_a_record_lies_beside_the_folder_of_versions(base: str, record: str) -> None:
    assert push_records.path_of(base, 7) == record


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_was_written_is_read_until_it_is_removed(tmp_path: pathlib.Path, scheme: str) -> None:
    base = f"{scheme}{tmp_path}/serving_model"
    assert push_records.judged(base, 7) is None
    push_records.write(base, 7, "0" * 64)
    record = tmp_path / ".serving_model.judged" / "7.json"
    assert record.read_text() == f'{{"model_digest": "{"0" * 64}"}}\n'
    assert (push_records.judged(base, 7), push_records.judged(base, 8)) == ("0" * 64, None)
    push_records.remove(base, 8)
    push_records.remove(base, 7)
    assert not record.exists()
