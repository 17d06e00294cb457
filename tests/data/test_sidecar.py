from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

import pytest

from data import sidecar
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


def test_the_scale_is_record_enough_of_a_folder_made_by_hand(folder):
    (folder / "ratings.json").write_text('{"rating_scale": [1, 5]}')
    assert Sidecar.read(folder) == Sidecar(rating_scale=(1.0, 5.0))
    assert Sidecar.of_complete(folder) is None
    Sidecar.read(folder).check_ratings(folder)


def test_optional_fields_may_be_missing(tmp_path):
    fields = dataclasses.asdict(SIDECAR)
    del fields["noise_floor"], fields["shared_titles"]
    (tmp_path / "ratings.json").write_text(json.dumps(fields))
    read = Sidecar.read(tmp_path)
    assert (read.noise_floor, read.shared_titles) == (None, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"ratings\.json.*is missing; make the folder with"),
        ("{", "to be JSON"),
        ("[]", "to hold the fields"),
        ("3", "to hold the fields"),
        ('{"rows_read": 1}', "to hold the fields.*rating_scale"),
        ('{"rating_scale": [1, 5], "files": ["ratings.csv"]}', "to hold the fields"),
        ('{"rating_scale": 5}', r"in rating_scale of .*ratings\.json two numbers, .*; got 5; correct it"),
        ('{"rating_scale": ["low", "high"]}', 'two numbers, .*; got \\["low", "high"\\]; correct it'),
        ('{"rating_scale": [1, 2, 5]}', r"two numbers, .*; got \[1, 2, 5\]; correct it"),
        (f'{{"rating_scale": [1, 1{400 * "0"}]}}', r"two numbers, .*; got \[1, 10+; correct it"),
        ('{"rating_scale": [5, 1]}', r"two numbers, .*; got \[5, 1\]; correct it"),
        ('{"rating_scale": [1, Infinity]}', r"two numbers, .*; got \[1, Infinity\]; correct it"),
        ('{"rating_scale": "15"}', r'two numbers, .*; got "15"; correct it'),
        ('{"rating_scale": ["1", "5"]}', r'two numbers, .*; got \["1", "5"\]; correct it'),
        ('{"rating_scale": [true, 5]}', r"two numbers, .*; got \[true, 5\]; correct it"),
        ('{"rating_scale": [1, 1e300]}', r"two numbers, .*; got \[1, 1e\+300\]; correct it"),
        ('{"rating_scale": [1, NaN]}', r"two numbers, .*; got \[1, NaN\]; correct it"),
        ('{"rating_scale": null}', r"two numbers, .*; got null; correct it"),
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


def test_whether_rows_are_lines_is_kept_and_does_not_tell_files_apart(folder):
    assert SIDECAR.line_checksums == {}
    files = tuple(dataclasses.replace(file, rows_are_lines=file.name != "test/ratings.csv") for file in SIDECAR.files)
    recorded = dataclasses.replace(SIDECAR, files=files)
    recorded.write(folder)
    assert recorded.matches(folder)
    # A table of ratings alone is read in parts.
    expected = {"train/ratings.csv": SIDECAR.checksums["train/ratings.csv"]}
    assert Sidecar.read(folder).line_checksums == recorded.line_checksums == expected


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


def test_the_very_ratings_are_taken(folder):
    SIDECAR.check_ratings(folder)
    (folder / "titles.csv").write_text("side tables may be edited")
    (folder / "ratings.txt").touch()
    (folder / "old").mkdir()
    (folder / "old" / "ratings.csv").touch()
    SIDECAR.check_ratings(folder)


@pytest.mark.parametrize("name", ["ratings-2.csv", "train/ratings.more.csv", "eval/ratings.csv"])
def test_ratings_beside_the_recorded_ones_are_refused(name, folder):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(DataError, match=rf"{name} is not among them; remove it, or .*`movie-ranking data prepare`"):
        SIDECAR.check_ratings(folder)


def test_ratings_that_are_gone_are_refused(folder):
    (folder / "test" / "ratings.csv").unlink()
    with pytest.raises(DataError, match=r"test/ratings\.csv is missing; put it back, or make"):
        SIDECAR.check_ratings(folder)


def test_ratings_of_the_same_size_and_other_bytes_are_refused(folder):
    path = folder / "train" / "ratings.csv"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b",3", b",4"))
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    said = rf"train/ratings\.csv has changed since, from SHA-256 {before} to {after}; put the old one back, or make"
    with pytest.raises(DataError, match=said):
        SIDECAR.check_ratings(folder)


def test_all_readers_find_the_same_files(folder):
    """Patterns for those that look elsewhere, and the files for those that look here, in a folder of any name."""
    odd = folder.rename(folder.with_name("a[1]*"))
    folder.with_name("a1").mkdir()
    (folder.with_name("a1") / "ratings.csv").touch()
    for name in ("ratings-b.csv", "ratings.csv", "my-ratings.csv", "ratings.csv.gz"):
        (odd / name).touch()
    assert sidecar.ratings_files(odd) == ["ratings-b.csv", "ratings.csv"]
    assert sidecar.ratings_files(odd, "train") == ["train/ratings.csv"]
    assert sidecar.ratings_files(odd, "eval") == []
    assert [sidecar.ratings_pattern(part) for part in ("", "train")] == ["ratings*.csv", "train/ratings*.csv"]
    assert sidecar.table_files(odd) == {*CONTENT, "ratings-b.csv", "ratings.csv"}
