"""Data folders with train/ and test/, on which models of others were measured, too."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import shutil

import numpy as np

from data import fetch, prepare
from data.errors import DataError
from data.folder import check_destination, publish, workspace
from data.progress import Progress
from data.sidecar import RATINGS_FILE, Sidecar, TableFile
from data.splits import PUBLISHED_SPLITS
from modules.features import MOVIE_TITLE, USER_ID

NOTEBOOK_SPLIT = "notebook"
SPLITS = (NOTEBOOK_SPLIT, *PUBLISHED_SPLITS)
# What the notebook takes for training of the 100,000 ratings, or of the 99,693 that are left without repetitions.
NOTEBOOK_TRAIN_ROWS = 80_000
_NOTEBOOK_SEED = 42
_NOTEBOOK_BUFFER = 100_000
_FILES = (f"train/{RATINGS_FILE}", f"test/{RATINGS_FILE}")


def make(split: str, folder: pathlib.Path, *, source: pathlib.Path | None, progress: Progress) -> pathlib.Path:
    """Makes the data folder of a split of MovieLens 100K under `folder`, unless it is there already.

    Args:
      split: one of SPLITS.
      folder: where to keep it, and the archive that it is made of.
      source: folder or zip of the raw release; None to fetch it.
      progress: told how far it is.

    Returns:
      The data folder.

    Raises:
      DataError: the release cannot be fetched, or the source is not what it should be.
    """
    made = folder / split
    if Sidecar.of_complete(made):
        return made
    if split == NOTEBOOK_SPLIT:
        split_as_the_notebook(
            fetch.fetch(source=source, destination=_whole_release(folder, source), progress=progress).folder, made
        )
    else:
        prepare.prepare(source or _archive(folder, progress), made, split=split, progress=progress)
    return made


def notebook_order(rows: int) -> np.ndarray:
    """Where the notebook's shuffle puts `rows` rows: int64 [rows], positions before the shuffle."""
    import tensorflow as tf

    tf.random.set_seed(_NOTEBOOK_SEED)
    shuffled = tf.data.Dataset.range(rows).shuffle(
        _NOTEBOOK_BUFFER, seed=_NOTEBOOK_SEED, reshuffle_each_iteration=False
    )
    return np.fromiter(shuffled.as_numpy_iterator(), np.int64, rows)


def split_as_the_notebook(
    source: pathlib.Path, destination: pathlib.Path, train_rows: int = NOTEBOOK_TRAIN_ROWS
) -> None:
    """Writes train/ and test/ with the rows of a data folder, sorted by user number and title and then shuffled.

    The side tables above them are those of the source.

    Args:
      source: data folder whose ratings are in one part; its user ids are numbers.
      destination: the folder to make.
      train_rows: how many rows go to train/, after the shuffle of the notebook.

    Raises:
      DataError: there are no more rows than `train_rows`, or files of others stand where the result belongs.
    """
    sidecar = Sidecar.read(source)
    with (source / RATINGS_FILE).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if len(rows) <= train_rows:
        raise DataError(f"expected more than {train_rows} ratings in {source}; got {len(rows)}; give MovieLens 100K")
    user, title = header.index(USER_ID.name), header.index(MOVIE_TITLE.name)
    rows.sort(key=lambda row: (int(row[user]), row[title]))
    order = notebook_order(len(rows)).tolist()
    parts = dict(zip(_FILES, (order[:train_rows], order[train_rows:]), strict=True))
    side_tables = [file.name for file in sidecar.files if file.name != RATINGS_FILE]
    check_destination(destination, [*parts, *side_tables])
    with workspace(destination) as work:
        for name, positions in parts.items():
            (work / name).parent.mkdir()
            with (work / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(header)
                writer.writerows(rows[position] for position in positions)
        for name in side_tables:
            shutil.copyfile(source / name, work / name)
        files = tuple(TableFile.of(work, name) for name in (*parts, *side_tables))
        publish(work, destination, dataclasses.replace(sidecar, files=files))


def _whole_release(folder: pathlib.Path, source: pathlib.Path | None) -> pathlib.Path | None:
    """Where the whole release is prepared: beside the splits if the user gave it, else in the user's cache folder."""
    return folder / "ml-100k" if source else None


def _archive(folder: pathlib.Path, progress: Progress) -> pathlib.Path:
    """GroupLens' archive, which alone holds the published splits."""
    archive = folder / "ml-100k.zip"
    if archive.exists():
        return archive
    try:
        with workspace(folder) as work:
            fetch.official_archive(work, progress).replace(archive)
    except fetch.UnreachableError as error:
        raise DataError(
            f"expected the published splits from {fetch.OFFICIAL_URL}, the only source that has them; got: {error}; "
            "download it on another machine and give it with --source"
        ) from error
    return archive
