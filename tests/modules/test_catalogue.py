"""The titles table beside a model: what was written is read, hostile names too."""

from __future__ import annotations

import csv
import pathlib

import pytest

from modules import catalogue, side_tables
from modules.catalogue import Description
from tests.support import write_tables

TITLES = [
    {"movie_title": "Heat (1995)", "genres": ["Crime", "Drama"], "release_year": 1995},
    {"movie_title": 'Say "when", twice, at U+2028: \u2028', "genres": ["Drama"]},
    {"movie_title": "Café", "release_year": 1931},
    {"movie_title": "Unknown"},
]


def test_what_was_written_is_read(tmp_path: pathlib.Path) -> None:
    tables = side_tables.read(write_tables(tmp_path / "tables", titles=TITLES))
    catalogue.write(tables.titles, str(tmp_path / "model[1]"))
    assert catalogue.read(str(tmp_path / "model[1]")) == {
        title["movie_title"]: Description(tuple(title.get("genres", ())), title.get("release_year")) for title in TITLES
    }


def test_a_table_that_was_cut_off_within_a_name_is_refused(tmp_path: pathlib.Path) -> None:
    catalogue.write(side_tables.read(write_tables(tmp_path / "tables", titles=TITLES)).titles, str(tmp_path / "model"))
    path = tmp_path / "model" / catalogue.FILE
    path.write_text(path.read_text()[: path.read_text().index("twice")])
    with pytest.raises(csv.Error, match="unexpected end of data"):
        catalogue.read(str(tmp_path / "model"))


def test_a_model_without_the_table_has_no_descriptions(tmp_path: pathlib.Path) -> None:
    assert catalogue.read(str(tmp_path)) == {}
    catalogue.write(side_tables.read(None).titles, str(tmp_path))
    assert catalogue.read(str(tmp_path)) == {}
