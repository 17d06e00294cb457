"""What a pushed model says that it knows, and which ratings a run has seen."""

from __future__ import annotations

import json
import pathlib

import pytest
import tensorflow as tf

from modules import features, file_sums
from modules.errors import UserError
from pipeline.local import pushed_model
from pipeline.local.pushed_model import PushedModel


@pytest.fixture
def model(tmp_path: pathlib.Path) -> PushedModel:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    (tmp_path / "assets").mkdir(exist_ok=True)
    # U+2028 ends a line for Python, and not in a vocabulary.
    (tmp_path / "assets" / "movie_title").write_text("Heat\nToy\u2028Story\n", encoding="utf-8")
    (tmp_path / "assets" / "user_id").write_text("7\n", encoding="utf-8")
    (tmp_path / "assets" / "unrated_movie_title").write_text("Unseen\n", encoding="utf-8")
    return PushedModel(tmp_path)


def test_it_knows_what_was_rated_and_then_what_the_tables_add(model: PushedModel) -> None:
    assert model.vocabulary(features.MOVIE_TITLE) == ["Heat", "Toy\u2028Story", "Unseen"]
    assert model.vocabulary(features.USER_ID) == ["7"]


@pytest.mark.parametrize("given", [False, True])
def test_seen_titles_are_those_of_the_runs_own_files(tmp_path: pathlib.Path, given: bool) -> None:
    root = tmp_path / "data[1]"
    for folder, title in {"": "Whole", "train": "A, b", "test": "B", "old": "Gone"}.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "ratings-1.csv").write_text(f'user_id,movie_title,user_rating\n1,"{title}",4\n2,Other,3\n')
    record = {"config": {"data": {"root": str(root), "given": given, "splits": ["train", "test"]}}}
    (tmp_path / "last_run.json").write_text(json.dumps(record))
    assert pushed_model.seen_titles(str(tmp_path), "1") == ({"A, b", "B"} if given else {"Whole"})


def test_seen_titles_have_the_names_that_the_model_knows(tmp_path: pathlib.Path) -> None:
    """Ratings may come with a byte order mark, blanks around fields and line breaks in them."""
    text = '\ufeffuser_id,movie_title,user_rating\n 1 , Heat,4\n1,"Toy\nStory",3\n01,Other,3\n'
    (tmp_path / "ratings.csv").write_text(text, encoding="utf-8")
    record = {"config": {"data": {"root": str(tmp_path), "given": False, "splits": ["train"]}}}
    (tmp_path / "last_run.json").write_text(json.dumps(record))
    assert pushed_model.seen_titles(str(tmp_path), "1") == {"Heat", "Toy Story"}


def test_ratings_that_are_gone_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"expected .*last_run\.json"):
        pushed_model.seen_titles(str(tmp_path), "1")
    record = {"config": {"data": {"root": str(tmp_path / "gone"), "given": False, "splits": ["train"]}}}
    (tmp_path / "last_run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"they are gone; leave out --exclude-seen"):
        pushed_model.seen_titles(str(tmp_path), "1")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"config": {"data": {"root": "x"}}}', "{", "\xff"])
def test_a_damaged_record_of_the_last_run_is_named(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "last_run.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"last_run\.json to be what a run wrote; .* leave out --exclude-seen"):
        pushed_model.seen_titles(str(tmp_path), "1")


class _Model(tf.Module):
    """Holds a variable and a file, and gives what was put into it."""

    def __init__(self, folder: pathlib.Path, number: float) -> None:
        (folder / "names").write_text("a\nb\n")
        self.number = tf.Variable([float(number)] * 1000)
        names = tf.lookup.TextFileInitializer(
            str(folder / "names"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )  # fmt: skip
        self.table = tf.lookup.StaticHashTable(names, -1)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def give(self, name: tf.Tensor) -> tf.Tensor:
        return self.number[0] + tf.cast(self.table.lookup(name), tf.float32)


@pytest.fixture
def pushed(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two pushed models, which give 1 and 2, under an output folder."""
    for version in (1, 2):
        model = _Model(tmp_path, version)
        tf.saved_model.save(model, str(tmp_path / "serving_model" / str(version)), signatures={"give": model.give})
    return tmp_path


def overwritten(path: pathlib.Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: pathlib.Path) -> None:
    path.write_bytes(b"")


def torn_apart(path: pathlib.Path) -> None:
    """Leaves the first line, which is whole."""
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")


@pytest.mark.parametrize("damage", [pathlib.Path.unlink, overwritten, cut, emptied])
@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-*"])
def test_a_damaged_model_leaves_it_to_the_one_before(pushed: pathlib.Path, name: str, damage) -> None:
    (file,) = (pushed / "serving_model" / "2").glob(name)
    damage(file)
    told: list[str] = []
    model = PushedModel.latest(str(pushed), told.append)
    assert model._loaded.give(tf.constant("a")).numpy() == 1.0
    (line,) = told
    assert line.startswith(f"note: {pushed}/serving_model/2 cannot be loaded: ")
    assert line.endswith(f"; {pushed}/serving_model/1 answers; `movie-ranking run` pushes it again")
    assert "\n" not in line


def test_a_lost_vocabulary_is_damage_too(pushed: pathlib.Path) -> None:
    (pushed / "serving_model" / "2" / "assets" / "names").unlink()
    assert PushedModel.latest(str(pushed), print).path.name == "1"


@pytest.mark.parametrize("damage", [pathlib.Path.unlink, overwritten, cut, emptied, torn_apart])
@pytest.mark.parametrize("name", ["assets/names", "assets.extra/titles.csv", "assets.extra/SHA256SUMS"])
def test_files_that_tensorflow_reads_later_are_judged_too(pushed: pathlib.Path, name: str, damage) -> None:
    model = pushed / "serving_model" / "2"
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "titles.csv").write_text("movie_title\nÉlan vital\nHeat\n", encoding="utf-8")
    file_sums.write(str(model))
    assert PushedModel.latest(str(pushed), print).path == model
    damage(model / name)
    if damage is pathlib.Path.unlink and name == file_sums.FILE:
        # As models have none that were exported by earlier versions.
        assert PushedModel.latest(str(pushed), print).path == model
        return
    told: list[str] = []
    assert PushedModel.latest(str(pushed), told.append).path.name == "1"
    assert name in told[0]


def test_names_that_are_no_text_are_a_message(model: PushedModel) -> None:
    (model.path / "assets" / "movie_title").write_bytes("Élan".encode()[:1])
    with pytest.raises(pushed_model.DamagedModelError, match="movie_title is no text in UTF-8"):
        model.vocabulary(features.MOVIE_TITLE)


def test_the_newest_is_taken_without_a_word(pushed: pathlib.Path) -> None:
    told: list[str] = []
    model = PushedModel.latest(str(pushed), told.append)
    assert (model._loaded.give(tf.constant("b")).numpy(), told) == (3.0, [])


def test_where_all_are_damaged_the_newest_is_named(pushed: pathlib.Path) -> None:
    for version in (pushed / "serving_model").iterdir():
        (version / "saved_model.pb").unlink()
    with pytest.raises(UserError, match=r"expected a model in .*/serving_model/2 that can be loaded, or one before it"):
        PushedModel.latest(str(pushed), print)
