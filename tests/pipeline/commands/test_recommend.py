"""What `recommend` and `similar` print and write, and what they refuse."""

from __future__ import annotations

import functools
import pathlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from pipeline.commands import asked
from pipeline.commands.recommend import recommend, similar
from pipeline.exit_codes import ExitCode
from pipeline.local.pushed_model import PushedModel
from tests.support import camps, export_recommending

asked_load = asked.load


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The output folder of a run that has pushed a model of two camps."""
    folder = tmp_path_factory.mktemp("pushed")
    shutil.copytree(export_recommending(folder), folder / "output" / "serving_model" / "1")
    return folder / "output"


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command is a process of its own to people, and loads the model; here one load is enough."""
    monkeypatch.setattr(asked, "load", _load)


@functools.cache
def _load(output: str) -> PushedModel:
    return asked_load(output)


def ask(output: pathlib.Path, *arguments: str, command=recommend, **more: object) -> Result:
    return CliRunner().invoke(command, [*arguments, "--output", str(output)], **more)


def titles_of(done: Result) -> list[str]:
    assert done.exit_code == 0, done.output
    return [line.split("  ")[-1] for line in done.stdout.splitlines() if not line.startswith("     ")]


def numbers(titles: list[str]) -> list[int]:
    return [int(title.split()[1]) for title in titles]


def refused(done: Result) -> str:
    assert done.exit_code == ExitCode.BAD_INPUT, done.output
    return done.output


def test_a_user_gets_titles_of_the_camp_that_were_not_rated(output) -> None:
    rows, _ = camps()
    for user in ("u2", "u3"):
        done = ask(output, "--user", user, "--top", "3")
        assert not set(titles_of(done)) & {row["movie_title"] for row in rows if row["user_id"] == user}
        assert [line[:3] for line in done.stdout.splitlines()] == ["  1", "  2", "  3"]
    assert "note: user 'who' is unknown" in ask(output, "--user", "who").stderr


@pytest.mark.parametrize("camp", [0, 1])
def test_somebody_new_is_known_by_likes_without_years(output, camp: int) -> None:
    likes = [f"--like=film {title:02}=5" for title in range(camp, 12, 2)]
    found = numbers(titles_of(ask(output, *likes, "--top", "4")))
    assert np.mean([title % 2 == camp for title in found]) > 0.7
    assert not set(found) & set(range(camp, 12, 2))


def test_reasons_are_named(output) -> None:
    lines = ask(output, "--like", "Film 04=5", "--like", "Film 06=5", "--top", "2", "--why").stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["for it", "besides"]
    assert "Film 04 (1984) +" in lines[1] or "Film 06 (1986) +" in lines[1]
    assert "popularity" in lines[2]


def test_genres_and_years_keep_others_out(output) -> None:
    assert {title % 2 for title in numbers(titles_of(ask(output, "--genre", "odd")))} == {1}
    old = numbers(titles_of(ask(output, "--genre", "old", "--year", "1982-1990", "--top", "20")))
    assert sorted(old) == [2, 3, 4, 5]
    both = numbers(titles_of(ask(output, "--genre", "odd", "--genre", "Even", "--year", "1999")))
    assert both == [19]
    only = ask(output, "--genre", "odd", "--only-file", "-", input="Film 01 (1981)\nFilm 02 (1982)\n")
    assert numbers(titles_of(only)) == [1]
    assert 7 not in numbers(titles_of(ask(output, "--exclude-file", "-", "--top", "30", input="Film 07 (1987)")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--genre", "nope"], "expected a genre that a title has, of Even, Odd, Old; got nope"),
        (["--year", "1850"], "expected a title of these genres and years; got none among 24"),
        (["--year", "1999-1990"], "expected a year, or the first and the last one, such as 1990-1999; got '1999-1990'"),
        (["--year", "99"], "expected a year, or the first and the last one"),
        (["--like", "Film 04"], "expected --like TITLE=STARS, such as 'Heat (1995)=5'; got 'Film 04'"),
        (["--user", "u1", "--like", "Film 04=5"], "got --user and --like"),
        (["--user", "u1", "--all-users", "--to", "x.csv"], "got --user and --all-users"),
        (["--all-users"], "expected --all-users and --to together"),
        (["--to", "x.csv"], "expected --all-users and --to together"),
        (["--all-users", "--to", "x.csv", "--why"], "expected --why with --user or --like"),
        (["--user", "u1", "--beam", "direct"], "expected --beam with --all-users"),
        (["--all-users", "--to", "x.txt"], "ends in .parquet, .csv, .jsonl; got 'x.txt'"),
        (["--all-users", "--to", "x.csv", "--beam", "flink"], "movie-ranking beam fetch flink"),
    ],
)
def test_what_makes_no_sense_is_refused(
    output, arguments: list[str], said: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert said in " ".join(refused(ask(output, *arguments)).split())


def test_lists_for_all_users_go_into_one_file(output, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = ask(output, "--all-users", "--top", "4", "--to", "lists.parquet", "--genre", "odd")
    assert done.exit_code == 0, done.output
    table = pq.read_table("lists.parquet").to_pylist()
    assert f"{len(table)} titles for 30 users in lists.parquet" in done.stdout
    rows, described = camps()
    rated = {(row["user_id"], row["movie_title"]) for row in rows}
    odd = [title["movie_title"] for title in described if title["genres"][0] == "Odd"]
    with_some_left = {f"u{user}" for user in range(30) if any((f"u{user}", title) not in rated for title in odd)}
    assert {row["user_id"] for row in table} == with_some_left
    assert {int(row["movie_title"].split()[1]) % 2 for row in table} == {1}
    assert [each.name for each in tmp_path.iterdir()] == ["lists.parquet"]


def test_products_of_vectors_are_what_retrieval_says(output, tmp_path: pathlib.Path) -> None:
    done = ask(output, "--vectors", str(tmp_path / "vectors"))
    assert done.stdout == f"vectors of 30 users and 24 titles in {tmp_path / 'vectors'}\n"
    users, titles = (pq.read_table(tmp_path / "vectors" / f"{name}.parquet") for name in ("users", "titles"))
    products = np.stack(users["vector"].to_pylist()) @ np.stack(titles["vector"].to_pylist()).T
    alike = [
        [int(user[1:]) % 2 == int(title.split()[1]) % 2 for title in titles["movie_title"].to_pylist()]
        for user in users["user_id"].to_pylist()
    ]
    assert products[np.array(alike)].mean() > 2 * products[~np.array(alike)].mean()


def test_similar_titles_are_of_the_same_camp(output) -> None:
    for title in (2, 3):
        found = numbers(titles_of(ask(output, f"film {title:02}", "--top", "4", command=similar)))
        assert np.mean([each % 2 == title % 2 for each in found]) > 0.7
    assert "expected a title of the catalogue; got 'Nothing like it'" in refused(
        ask(output, "Nothing like it", command=similar)
    )


def test_a_model_without_lists_is_refused_in_words(tmp_path: pathlib.Path) -> None:
    version = tmp_path / "serving_model" / "1"
    tf.saved_model.save(tf.Module(), str(version))
    for name in ("movie_title", "user_id"):
        (version / "assets" / name).write_text("a\n")
    for arguments in (["--user", "a"], ["--vectors", "x"], ["--all-users", "--to", "x.csv"]):
        assert "which was exported without; run again with trainer.retrieval=als_ease" in " ".join(
            refused(ask(tmp_path, *arguments)).split()
        )


def test_all_numbers_of_a_reason_add_up(output) -> None:
    model = PushedModel.latest(str(output), print)
    ratings = {"Film 04 (1984)": 5.0, "Film 06 (1986)": 1.0}
    (reasons,) = model.explain(None, ratings, ["Film 08 (1988)"])
    listed = model._pick(
        "recommend_for",
        {"movie_title": tf.constant(list(ratings)), "user_rating": tf.constant(list(ratings.values()))},
        24,
        (),
        ("Film 08 (1988)",),
    )
    total = sum(reasons.ratings.values()) + sum(reasons.rest.values())
    assert total == pytest.approx(float(listed["score"][0]), abs=1e-3)
