"""What a pushed model says that it knows, and which ratings a run has seen."""

from __future__ import annotations

import json
import pathlib

import pytest
import tensorflow as tf

from modules import features
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
    with pytest.raises(ValueError, match=r"expected .*last_run\.json"):
        pushed_model.seen_titles(str(tmp_path), "1")
    record = {"config": {"data": {"root": str(tmp_path / "gone"), "given": False, "splits": ["train"]}}}
    (tmp_path / "last_run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"they are gone; leave out --exclude-seen"):
        pushed_model.seen_titles(str(tmp_path), "1")
