from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner, Result

from data.errors import DataError
from data.sidecar import Sidecar
from pipeline.commands.data import data
from pipeline.config import resolve
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
    (folder,) = (tmp_path / "cache/movie-ranking/prepared").iterdir()
    assert re.fullmatch(r"mine-[0-9a-f]{8}", folder.name)
    assert Sidecar.read(folder).rating_scale == (0, 100)


def test_files_of_one_name_are_prepared_into_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = []
    for place, titles in (("a", "AB"), ("b", "ABC"), ("a", "AB")):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        text = "".join(f"1,{title},{number}\n" for number, title in enumerate(titles))
        pathlib.Path("ratings.csv").write_text(f"user_id,movie_title,user_rating\n{text}")
        result = call("prepare", "ratings.csv", "--json")
        assert result.exit_code == 0, result.output
        folders.append(pathlib.Path(json.loads(result.output)["folder"]))
    assert folders[0] == folders[2] != folders[1]
    assert [Sidecar.read(folder).titles for folder in folders] == [2, 3, 2]
    train = call(
        "prepare",
        "--train",
        tmp_path / "a/ratings.csv",
        "--test",
        own(tmp_path, "user_id,movie_title,user_rating\n9,B,1\n"),
    )
    assert train.exit_code == 0, train.output
    assert len(list(folders[0].parent.iterdir())) == 3


def test_each_file_of_an_archive_and_each_split_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as packed:
        for name in ("a.csv", "b.csv"):
            packed.writestr(name, "user_id,movie_title,user_rating\n1,A,3\n1,B,4\n")
    source = release(tmp_path / "ml", HUNDRED_K)
    for arguments in (
        (tmp_path / "own.zip", "--member", "a.csv"),
        (tmp_path / "own.zip", "--member", "b.csv"),
        (source,),
        (source, "--split", "u1"),
    ):
        result = call("prepare", *arguments)
        assert result.exit_code == 0, result.output
    found = sorted(folder.name.rpartition("-")[0] for folder in (tmp_path / "cache/movie-ranking/prepared").iterdir())
    assert found == ["ml", "ml-u1", "own", "own"]


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


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", rb"Am\xe9lie \u5343"), ("latin-1", b"Am\xe9lie \\u5343")])
@pytest.mark.parametrize("as_json", [False, True])
def test_titles_that_a_terminal_cannot_encode_are_escaped(encoding, shown, as_json, tmp_path):
    items = f"1|Am\u00e9lie \u5343|||u{'|0' * 19}\n4|Am\u00e9lie \u5343|||u{'|0' * 19}\n3|C|||u{'|0' * 19}\n"
    files = {"u.data": b"1\t1\t4\t10\n1\t4\t5\t30\n2\t3\t1\t40\n", "u.item": items.encode()}
    source = release(tmp_path / "ml", files)
    program = "from pipeline import cli; cli.main()"
    command = [sys.executable, "-c", program, "data", "prepare", source, "--destination", tmp_path / "out"]
    done = subprocess.run(
        [*command, *(["--json"] if as_json else [])],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr
    if as_json:
        assert json.loads(done.stdout)["sidecar"]["shared_titles"] == {"Am\u00e9lie \u5343": ["1", "4"]}
    else:
        assert b"  " + shown + b": 1, 4" in done.stdout


# What is said of ratings of one's own.


OWN = "user;title;stars;note\n1;A;3,5;x\n2;B;4,0;y\n2;B;2,0;z\n3;C;1;\n"
OWN_NAMES = ("--columns", "user_id=user,movie_title=title,user_rating=stars")


def own(folder: pathlib.Path, text: str = OWN, name: str = "own.csv") -> pathlib.Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_summary_tells_how_a_file_was_read_and_what_is_in_it(tmp_path):
    path = own(tmp_path)
    result = call("prepare", path, *OWN_NAMES, "--destination", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for line in (
        f"3 ratings from 1 to 4 by 3 users of 3 titles in {tmp_path / 'out'}",
        "4 rows read = 3 kept + 1 merged + 0 rejected",
        f"{path}: read as semicolon-separated utf-8, with decimal commas; left out: note",
        "33.33% of all pairs are rated; the scale is found in the ratings; ratings:",
        f"    1   33.3%  {'█' * 40}",
        "odd: 1 rows repeat a pair of user and title",
    ):
        assert f"{line}\n" in result.output


def test_a_dry_run_writes_nothing_and_json_tells_the_same(tmp_path):
    arguments = ("prepare", own(tmp_path), *OWN_NAMES, "--destination", tmp_path / "out")
    result = call(*arguments, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "(dry run: nothing is written)" in result.output
    assert not (tmp_path / "out").exists()
    told = json.loads(call(*arguments, "--json").output)
    assert (told["rows"], told["sidecar"]["rows_read"], told["written"]) == (3, 4, True)
    assert told["read_as"][0]["separator"] == "semicolon"


def test_a_split_of_ones_own_is_prepared_and_counted(tmp_path):
    train, test = own(tmp_path), own(tmp_path, "user;title;stars;note\n1;B;3;\n9;D;4;\n", "test.csv")
    split = ("--train", train, "--test", test, *OWN_NAMES, "--destination", tmp_path / "out")
    result = call("prepare", *split)
    assert result.exit_code == 0, result.output
    assert "train/ratings.csv: 3 rows, test/ratings.csv: 2 rows\n" in result.output
    assert "1 users and 1 titles are in the test part alone\n" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("{own}", "--train", "{own}"), "expected PATH, or --train and --test.*got PATH and --train"),
        (("--train", "{own}"), "got --train"),
        ((), "got neither"),
        (("{own}", "--transform", "log"), "--transform is for counts; add --implicit"),
        (("{own}", "--columns", "user_id=a,user_id=b"), "expected user_id once"),
        (("{own}", "--columns", "user"), "expected OURS=THEIRS"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, tmp_path):
    path = own(tmp_path)
    result = call("prepare", *(option.format(own=path) for option in options), "--destination", tmp_path / "out")
    assert result.exit_code == 2
    assert re.search(message, result.output)
    assert not (tmp_path / "out").exists()


def test_preferences_that_are_all_the_same_are_prepared_but_not_run(tmp_path):
    path = own(tmp_path, "user_id,movie_title,user_rating\n" + "".join(f"{u},T{u},{u}\n" for u in range(1, 9)))
    result = call("prepare", path, "--implicit", "--destination", tmp_path / "out")
    assert result.exit_code == 0, result.output
    with pytest.raises(DataError, match=r"1 for each pair.*--transform log or rank"):
        resolve.describe_data(str(tmp_path / "out"))
    assert call("prepare", path, "--implicit", "--transform", "log", "--destination", tmp_path / "out").exit_code == 0
    described = resolve.describe_data(str(tmp_path / "out"))
    assert (described["rating_low"], described["rating_high"]) == (0, 1)
