from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from data.sidecar import Sidecar
from pipeline.commands.data import data
from tests.data.small_releases import CSV, CSV_TABLES, HUNDRED_K, HUNDRED_K_TABLES, tables_in


def call(*arguments: object) -> Result:
    return CliRunner().invoke(data, [str(argument) for argument in arguments])


def release(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_prepare_writes_and_counts(tmp_path):
    source = release(tmp_path / "ml", CSV | {"ratings.csv": CSV["ratings.csv"] + b"1,1,9,9\n"})
    result = call("prepare", source, "--destination", tmp_path / "out", "--max-rejected", 1)
    assert result.exit_code == 0, result.output
    assert CSV_TABLES.items() <= tables_in(tmp_path / "out").items()
    assert f"3 ratings from 0.5 to 5 by 2 users of 3 titles in {tmp_path / 'out'}" in result.output
    assert "ratings.csv: 3 rows, titles.csv: 4 rows\n" in result.output
    assert "4 rows read = 3 kept + 0 merged + 1 rejected" in result.output


def test_prepare_own_csv_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine.csv").write_text("who,what,how\n1,A,3\n2,A,30\n")
    columns = ("--columns", "user_id=who, movie_title=what", "--columns", "user_rating=how")
    result = call("prepare", tmp_path / "mine.csv", *columns, "--scale", 0, 100)
    assert result.exit_code == 0, result.output
    assert Sidecar.read(tmp_path / "cache/movie-ranking/prepared/mine").rating_scale == (0, 100)


def test_prepare_split(tmp_path):
    source = release(tmp_path / "ml", HUNDRED_K)
    result = call("prepare", source, "--destination", tmp_path / "out", "--split", "u1")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/train/ratings.csv").exists()
    assert "1 pairs of user and title are in both parts" in result.output


def test_shared_titles_are_listed_and_may_be_kept_apart(tmp_path):
    source = release(tmp_path / "ml", HUNDRED_K)
    result = call("prepare", source, "--destination", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "1 titles have several item ids, taken for one film" in result.output
    assert "  Toy Story (1995): 1, 4\n" in result.output
    assert "genres: 1 titles say more than one thing; the first counts" in result.output
    result = call("prepare", source, "--destination", tmp_path / "out", "--keep-items-apart")
    assert result.exit_code == 0, result.output
    assert "1 titles have several item ids, kept apart" in result.output
    assert "Toy Story (1995) [4],5,30" in tables_in(tmp_path / "out")["ratings.csv"]


def test_many_shared_titles_are_cut_on_the_screen_and_recorded_in_full(tmp_path):
    items = "".join(f"{item}|Film {item % 25}|||u|0|0|0\n" for item in range(50))
    files = HUNDRED_K | {"u.item": items.encode()}
    result = call("prepare", release(tmp_path / "ml", files), "--destination", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.output.count("  Film ") == 20
    assert result.output.endswith("  and 5 more, all in ratings.json\n")
    shared = Sidecar.read(tmp_path / "out").shared_titles
    assert shared == {f"Film {number}": [str(number), str(number + 25)] for number in range(25)}


def test_contradictions_are_told_by_column(tmp_path):
    text = "user_id,movie_title,user_rating,release_year,user_age\n1,A,3,1990,\n2,A,4,1991,20\n2,B,4,,21\n3,B,1,,\n"
    (tmp_path / "own.csv").write_text(text)
    result = call("prepare", tmp_path / "own.csv", "--destination", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "release_year: 1 titles say more than one thing; the first counts\n" in result.output
    assert "user_age: 1 users say more than one thing; the first counts\n" in result.output
    assert "item ids" not in result.output


def test_repeated_ratings_may_be_the_latest(tmp_path):
    source = release(tmp_path / "ml", HUNDRED_K)
    result = call("prepare", source, "--destination", tmp_path / "out", "--repeated", "latest")
    assert result.exit_code == 0, result.output
    ratings = HUNDRED_K_TABLES["ratings.csv"].replace("4.5,30", "5,30")
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES | {"ratings.csv": ratings}


def test_rejected_rows_of_the_item_table_are_told(tmp_path):
    source = release(tmp_path / "ml", HUNDRED_K | {"u.item": HUNDRED_K["u.item"] + b"9|x\n"})
    result = call("prepare", source, "--destination", tmp_path / "out", "--max-rejected", 1)
    assert result.exit_code == 0, result.output
    assert "1 rows of the item and user files rejected" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("prepare", "{tmp}/bad.csv"),
            "line 2: expected a user_rating that is a number; got 'x'; fix the row",
        ),
        (("prepare", "{tmp}/other.csv"), "got a, b; name them"),
        (("prepare", "{tmp}/nowhere"), "does not exist"),
        (("prepare", "{tmp}/bad.csv", "--columns", "user_id"), "expected OURS=THEIRS; got 'user_id'"),
        (("prepare", "{tmp}/bad.csv", "--split", "u9"), "is not one of"),
        (("prepare", "{tmp}/bad.csv", "--max-rejected", "-1"), "-1 is not in the range"),
        (("prepare", "{tmp}/bad.csv", "--repeated", "first"), "'first' is not one of"),
        (("prepare", "{tmp}/bad.csv", "--keep-items-apart"), "omit --keep-items-apart"),
        (("fetch", "--source", "{tmp}/bad.csv"), "bad.csv, line 2"),
        (("synthetic", "{tmp}/out", "--rows", "100", "--users", "3", "--titles", "3"), "at most 3 x 3 = 9 rows"),
        (("synthetic", "{tmp}/bad.csv", "--rows", "100"), "is a file"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bad.csv").write_text("user_id,movie_title,user_rating\n1,A,x\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    result = call(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("ratings.csv"))


def test_a_destination_that_cannot_be_written_is_a_message(tmp_path):
    (tmp_path / "file").write_text("")
    source = release(tmp_path / "ml", HUNDRED_K)
    result = call("prepare", source, "--destination", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert "Not a directory" in result.output


def test_fetch_from_a_folder_and_again(movielens_100k, tmp_path):
    first = call("fetch", "--source", movielens_100k, "--destination", tmp_path / "out")
    assert first.exit_code == 0, first.output
    assert "99,693 ratings from 1 to 5 by 943 users of 1,664 titles" in first.output
    assert "ratings.csv: 99,693 rows, titles.csv: 1,664 rows, users.csv: 943 rows" in first.output
    assert "18 titles have several item ids" in first.output
    second = call("fetch", "--destination", tmp_path / "out")
    assert second.exit_code == 0, second.output
    assert "(already there)" in second.output


def test_synthetic_tells_its_noise_floor(tmp_path):
    result = call("synthetic", tmp_path / "out", "--rows", 1000, "--seed", 3, "--side-features")
    assert result.exit_code == 0, result.output
    sidecar = Sidecar.read(tmp_path / "out")
    assert "user_age" in sidecar.side_columns
    assert f"1,000 ratings from 1 to 5 by {sidecar.users} users of {sidecar.titles} titles" in result.output
    assert "ratings.csv: 1,000 rows, titles.csv: 159 rows, users.csv: 10 rows" in result.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from pipeline.commands.data import data\n"
        "try: data(['prepare', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'pooch', 'requests', 'tensorflow', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--max-rejected" in done.stdout
    assert "--keep-items-apart" in done.stdout
