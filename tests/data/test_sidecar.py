from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

import pytest

from data.errors import DataError
from data.sidecar import Sidecar, TableFile

# Files and their bytes: a header, and a row a line.
CONTENT = {
    "train/ratings.csv": b'user_id,movie_title,user_rating\n1,A,3\n2,"A, B",4\n',
    "test/ratings.csv": b"user_id,movie_title,user_rating\n1,C,3\n",
    "titles.csv": b"movie_title,release_year\nA,1990\n",
    "users.csv": b"user_id,user_age,user_gender\n",
}
ROWS = dict(zip(CONTENT, (2, 1, 1, 0), strict=True))
SIDECAR = Sidecar(
    rating_scale=(0.5, 5.0),
    users=2,
    titles=3,
    rows_read=7,
    rejected=1,
    source="somewhere",
    files=tuple(
        TableFile(
            name=name,
            rows=ROWS[name],
            columns=tuple(content.split(b"\n")[0].decode().split(",")),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for name, content in CONTENT.items()
    ),
    shared_titles={"Emma (1996)": ["25", "26958"]},
    noise_floor=0.25,
)


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A data folder of these files."""
    for name, content in CONTENT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_what_is_written_is_read(tmp_path):
    SIDECAR.write(tmp_path)
    assert Sidecar.read(tmp_path) == SIDECAR
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.json"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        SIDECAR.users = 3  # type: ignore[misc]


def test_optional_fields_may_be_missing(tmp_path):
    fields = dataclasses.asdict(SIDECAR)
    del fields["noise_floor"], fields["shared_titles"]
    (tmp_path / "ratings.json").write_text(json.dumps(fields))
    sidecar = Sidecar.read(tmp_path)
    assert (sidecar.noise_floor, sidecar.shared_titles) == (None, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"ratings\.json.*is missing; make the folder with"),
        ("{", "to be JSON"),
        ("[]", "to hold the fields"),
        ("3", "to hold the fields"),
        ('{"rows_read": 1}', "to hold the fields.*rating_scale"),
        ('{"rating_scale": [1, 5], "files": ["ratings.csv"]}', "to hold the fields"),
        (json.dumps(dataclasses.asdict(SIDECAR) | {"strange": 1}), "to hold the fields.*strange"),
    ],
)
def test_a_sidecar_that_is_none_says_what_to_do(content, message, tmp_path):
    if content is not None:
        (tmp_path / "ratings.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Sidecar.read(tmp_path)


def test_files_are_counted_and_named(folder):
    assert tuple(TableFile.of(folder, name) for name in CONTENT) == SIDECAR.files
    assert (SIDECAR.rows, SIDECAR.merged) == (3, 3)
    assert SIDECAR.side_columns == ("release_year", "user_age", "user_gender")
    assert SIDECAR.checksums == {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


def test_the_record_matches_the_very_files(folder):
    assert Sidecar.of_complete(folder) is None
    SIDECAR.write(folder)
    assert Sidecar.of_complete(folder) == SIDECAR


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("change", ["another byte", "gone"])
def test_a_changed_file_does_not_match(name, change, folder):
    SIDECAR.write(folder)
    (folder / name).unlink()
    if change == "another byte":
        (folder / name).write_bytes(CONTENT[name].replace(b"_", b"-", 1))
    assert Sidecar.of_complete(folder) is None


@pytest.mark.parametrize("name", ["ratings-2.csv", "train/ratings.more.csv", "eval/ratings.csv"])
def test_a_table_beside_the_recorded_ones_does_not_match(name, folder):
    SIDECAR.write(folder)
    (folder / "notes.csv").write_text("x")
    assert SIDECAR.matches(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert not SIDECAR.matches(folder)
