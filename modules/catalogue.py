"""The titles table beside an exported model, for people who look for titles by genre and year.

It is a CSV as in a data folder; TensorFlow Serving does not look at it.
"""

from __future__ import annotations

import csv
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules import features, paths
from modules.side_tables import SideTable

FILE = os.path.join("assets.extra", features.TITLES.file)
_SEPARATOR = "|"


class Description(NamedTuple):
    """What is known of a title.

    Attributes:
      genres: their names.
      year: of release, where it is known.
    """

    genres: tuple[str, ...]
    year: int | None


def write(titles: SideTable, model: str) -> None:
    """Writes the table to the folder of an exported model."""
    genres, years = (_by_row(titles.columns[column.name]) for column in (features.GENRES, features.RELEASE_YEAR))
    path = os.path.join(model, FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([column.name for column in features.TITLES.columns])
        for row, name in enumerate(titles.ids):
            listed = _SEPARATOR.join(genre.decode() for genre in genres.get(row, []))
            rows.writerow([name.decode(), listed, *years.get(row, [""])])


def read(model: str) -> dict[str, Description]:
    """Titles and what is known of them, as `write` has written it; nothing beside a model without it."""
    path = os.path.join(model, FILE)
    if not tf.io.gfile.exists(paths.plain(path)):
        return {}
    # Not by lines: a cell may hold what ends one for Python.
    with tf.io.gfile.GFile(paths.plain(path), "rb") as file:
        rows = csv.reader(file.read().decode().split("\n"), strict=True)
    next(rows)
    return {
        row[0]: Description(tuple(filter(None, row[1].split(_SEPARATOR))), int(row[2]) if row[2] else None)
        for row in rows
        if row
    }


def _by_row(values: tf.SparseTensor) -> dict[int, list]:
    """The values of each row of a sparse [rows, values] that has any."""
    found: dict[int, list] = {}
    for row, value in zip(values.indices[:, 0].numpy().tolist(), np.asarray(values.values).tolist(), strict=True):
        found.setdefault(row, []).append(value)
    return found
