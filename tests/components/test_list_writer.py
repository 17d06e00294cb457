"""Lists of all users: those of the model, in every form, complete or absent, and resumed where they were broken off."""

from __future__ import annotations

import csv
import json
import os
import pathlib

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components import list_writer
from components.list_writer import SCHEMA, Wanted, Written
from tests.support import export_recommending

TITLES = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return export_recommending(tmp_path_factory.mktemp("lists"), titles=TITLES)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 8 users, asked for in parts of 3."""
    monkeypatch.setattr(list_writer, "SHARD_USERS", 8)
    monkeypatch.setattr(list_writer.recommending, "MOST_PAIRS", 3 * TITLES)


def names(model: str, column: str) -> list[str]:
    return (pathlib.Path(model) / "assets" / column).read_text(encoding="utf-8").splitlines()


def read(path: pathlib.Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        types = (str, int, str, float, float)
        return [
            {name: kind(row[name]) for name, kind in zip(SCHEMA.names, types, strict=True)}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("form", list_writer.FORMS)
def test_each_form_holds_the_lists_of_every_user(model: str, tmp_path: pathlib.Path, form: str) -> None:
    path = tmp_path / f"lists[1].{form}"
    path.write_text("of yesterday")
    wanted = Wanted(top=5, exclude=("Film 03 (1983)",))
    written = list_writer.write_lists(beam.Pipeline, model, str(path), wanted, list_writer.form_of(str(path)))
    rows, users = read(path), names(model, "user_id")
    assert written == Written(users=30, lines=len(rows), taken=0, shards=4)
    assert list(dict.fromkeys(row["user_id"] for row in rows)) == users
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    recommend = tf.saved_model.load(model).signatures["recommend"]
    for user in users[:6] + users[-2:]:
        answer = recommend(
            user_id=tf.constant([user]),
            k=tf.constant(5),
            exclude=tf.constant(wanted.exclude),
            only=tf.constant([], tf.string),
        )
        mine = [row for row in rows if row["user_id"] == user]
        assert [row["rank"] for row in mine] == list(range(1, 6))
        assert [row["movie_title"].encode() for row in mine] == answer["movie_title"].numpy().tolist()
        for name in ("score", "predicted_rating"):
            assert [row[name] for row in mine] == pytest.approx(answer[name].numpy().tolist(), abs=1e-4)


def test_it_is_told_how_many_users_have_their_lists(
    model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_writer, "_SECONDS_BETWEEN_LOOKS", 0.001)
    told = []
    path = str(tmp_path / "lists.csv")
    list_writer.write_lists(beam.Pipeline, model, path, Wanted(top=5), "csv", lambda *progress: told.append(progress))
    assert {(what, total, unit) for what, _, total, unit in told} == {("lists of users", 30, "users")}
    counts = [done for _, done, _, _ in told]
    assert counts == sorted(counts)
    assert set(counts) <= {0, 6, 8, 14, 16, 22, 24, 30}
    assert len(set(counts)) > 1


def test_a_list_is_as_short_as_what_is_left(model: str, tmp_path: pathlib.Path) -> None:
    path, only = tmp_path / "lists.jsonl", tuple(names(model, "movie_title")[:3])
    list_writer.write_lists(beam.Pipeline, model, str(path), Wanted(top=9, only=only), "jsonl")
    count = dict.fromkeys(names(model, "user_id"), 0)
    for row in read(path):
        assert row["movie_title"] in only
        count[row["user_id"]] += 1
    assert min(count.values()) < 3
    assert max(count.values()) <= 3


class _Broken(list_writer._Recommend):
    """Fails at the last shard, as if the machine had gone."""

    def process(self, shard: tuple[int, int]):
        if shard[0] == 24:
            raise RuntimeError("gone")
        yield from super().process(shard)


def test_what_was_broken_off_goes_on_with_what_is_missing(model: str, tmp_path: pathlib.Path, monkeypatch) -> None:
    path, wanted = tmp_path / "lists.csv", Wanted(top=4)
    with monkeypatch.context() as patch:
        patch.setattr(list_writer, "_Recommend", _Broken)
        with pytest.raises(RuntimeError, match="gone"):
            list_writer.write_lists(beam.Pipeline, model, str(path), wanted, "csv")
    assert not path.exists()
    (parts,) = tmp_path.iterdir()
    assert sorted(part.name for part in parts.iterdir()) == [
        f"users-{begin:09}-{begin + 8:09}.parquet" for begin in (0, 8, 16)
    ]
    assert list_writer.write_lists(beam.Pipeline, model, str(path), wanted, "csv").taken == 3
    whole = path.read_bytes()
    assert list_writer.write_lists(beam.Pipeline, model, str(path), wanted, "csv").taken == 0
    assert path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == ["lists.csv"]


def test_parts_of_another_question_are_not_taken(model: str, tmp_path: pathlib.Path, monkeypatch) -> None:
    path = tmp_path / "lists.csv"
    with monkeypatch.context() as patch:
        patch.setattr(list_writer, "_Recommend", _Broken)
        with pytest.raises(RuntimeError, match="gone"):
            list_writer.write_lists(beam.Pipeline, model, str(path), Wanted(top=4), "csv")
    assert list_writer.write_lists(beam.Pipeline, model, str(path), Wanted(top=3), "csv").taken == 0
    assert [each.name for each in tmp_path.iterdir()] == ["lists.csv"]


@pytest.fixture
def part(tmp_path: pathlib.Path) -> str:
    """Two lists of a shard."""
    rows = [("u1", 1, "Heat, the film", 0.5, 4.0), ("u1", 2, "Élan", 0.25, 3.0), ("u2", 1, "Alien", 1.0, 2.5)]
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
    pq.write_table(pa.table(columns, SCHEMA), tmp_path / "part")
    return str(tmp_path / "part")


@pytest.mark.parametrize("form", list_writer.FORMS)
def test_a_file_is_on_the_disk_before_it_is_renamed_within_its_folder(
    tmp_path: pathlib.Path, part: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    sizes, renamed, replace = [], [], os.replace
    monkeypatch.setattr(list_writer.os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(
        list_writer.os, "replace", lambda source, target: (renamed.append((source, target)), replace(source, target))
    )
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / f"all.{form}"
    assert list_writer._join([part, part], str(path), form) == len(read(path)) == 6
    assert sizes == [path.stat().st_size]
    assert [[os.path.dirname(each) for each in pair] for pair in renamed] == [[str(path.parent)] * 2]


def test_a_file_may_be_read_by_whom_other_new_files_may(tmp_path: pathlib.Path, part: str) -> None:
    (tmp_path / "other").write_text("")
    list_writer._join([part], str(tmp_path / "lists.csv"), "csv")
    assert (tmp_path / "lists.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_store_of_objects_gets_the_whole_file(part: str) -> None:
    list_writer._join([part], "ram://lists/all.csv", "csv")
    with tf.io.gfile.GFile("ram://lists/all.csv") as file:
        assert file.read().splitlines() == [
            "user_id,rank,movie_title,score,predicted_rating",
            'u1,1,"Heat, the film",0.5,4.0', "u1,2,Élan,0.25,3.0", "u2,1,Alien,1.0,2.5",
        ]  # fmt: skip


def test_a_destination_that_cannot_be_written_says_so(model: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((OSError, tf.errors.OpError)):
        list_writer.write_lists(beam.Pipeline, model, str(tmp_path / "file" / "x.csv"), Wanted(top=3), "csv")


def test_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"whose name ends in \.parquet, \.csv, \.jsonl; got 'x\.txt'"):
        list_writer.form_of("x.txt")
