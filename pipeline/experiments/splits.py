"""Data folders with train/ and test/: those on which models of others were measured, and data of many other kinds.

Of MovieLens 100K there are the published splits and that of the tutorial notebook. What is not published as a split,
ratings made from seeds among it, is split at random, always in the same way.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import pathlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data import fetch, prepare, synthetic
from data.errors import DataError
from data.folder import check_destination, publish, workspace
from data.progress import Progress
from data.sidecar import RATINGS_FILE, Sidecar, TableFile, ratings_files, table_files
from data.splits import PUBLISHED_SPLITS
from data.synthetic import EXPECTED_FILE, Form
from modules.features import MOVIE_TITLE, USER_ID
from pipeline.graph.fingerprint import fingerprint

NOTEBOOK_SPLIT = "notebook"
LATEST_SMALL = "latest-small"
# Four fifths and one fifth, drawn by the seed behind the name.
RANDOM_SPLITS: Mapping[str, int] = {f"random-{seed}": seed for seed in (1, 2, 3)}
MOVIELENS_100K = (NOTEBOOK_SPLIT, *PUBLISHED_SPLITS, *RANDOM_SPLITS)
# Arguments of `synthetic.write`.
SYNTHETIC: Mapping[str, Mapping[str, Any]] = {
    "synthetic-100k": {"rows": 100_000},
    "synthetic-100k-side": {"rows": 100_000, "side_features": True},
    "synthetic-1m": {"rows": 1_000_000},
    "synthetic-1m-side": {"rows": 1_000_000, "side_features": True},
    "sparse": {"rows": 6_000, "users": 1_500, "titles": 2_000},
    # Like ratings in shops: five for each user, three in four of them fives.
    "mostly-fives": {"rows": 8_000, "users": 1_600, "titles": 2_000, "form": Form(step=1.0, mean=5.2)},
    "binary": {"rows": 50_000, "form": Form(scale=(0.0, 1.0), step=1.0)},
    "half-stars": {"rows": 50_000, "form": Form(scale=(0.5, 5.0))},
    "ten": {"rows": 50_000, "form": Form(scale=(0.0, 10.0), step=1.0)},
    "hundred": {"rows": 50_000, "form": Form(scale=(0.0, 100.0), step=1.0)},
    # Mean, median and highest value are about those of the plays of artists on Last.fm that HetRec 2011 published.
    "plays": {"rows": 50_000, "form": Form(scale=(0.0, 352_698.0), step=1.0, median=260.0)},
}
SPLITS = (*MOVIELENS_100K, LATEST_SMALL, *SYNTHETIC)
# `all` has LATEST_SMALL where there is a source of it.
ALL, UNFAMILIAR = "all", "unfamiliar"
GROUPS = (ALL, UNFAMILIAR)

LATEST_SMALL_URL = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
# A file that LATEST_SMALL has, and MovieLens 100K has not.
_LATEST_FILE = "movies.csv"

# What the notebook takes for training of the 100,000 ratings, or of the 99,693 that are left without repetitions.
NOTEBOOK_TRAIN_ROWS = 80_000
_NOTEBOOK_SEED = 42
_NOTEBOOK_BUFFER = 100_000
_FILES = (f"train/{RATINGS_FILE}", f"test/{RATINGS_FILE}")
_RANDOM_SEED = 5
_RANDOM_TRAIN_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Sources:
    """Raw releases that the user has.

    Attributes:
      movielens_100k: folder or zip; None to fetch it.
      latest_small: folder or zip; None where there is none.
    """

    movielens_100k: pathlib.Path | None = None
    latest_small: pathlib.Path | None = None

    @classmethod
    def of(cls, paths: Sequence[pathlib.Path]) -> Sources:
        """Tells by their files which release each path is; the one that is no other is taken for MovieLens 100K.

        Raises:
          DataError: two are the same release.
        """
        found: dict[str, pathlib.Path] = {}
        for path in paths:
            release = "latest_small" if _has_file(path, _LATEST_FILE) else "movielens_100k"
            if release in found:
                raise DataError(
                    f"expected one source of each release; got {found[release]} and {path}, "
                    + (f"both with {_LATEST_FILE}" if release == "latest_small" else f"both without {_LATEST_FILE}")
                    + "; leave one out"
                )
            found[release] = path
        return cls(**found)


def expand(names: Sequence[str], sources: Sources) -> tuple[str, ...]:
    """Names of splits, with those of a group in its place, each once."""
    groups = {
        ALL: (*MOVIELENS_100K, *((LATEST_SMALL,) if sources.latest_small else ()), *SYNTHETIC),
        UNFAMILIAR: tuple(SYNTHETIC),
    }
    return tuple(dict.fromkeys(split for name in names for split in groups.get(name, (name,))))


def make(split: str, folder: pathlib.Path, *, sources: Sources, progress: Progress) -> pathlib.Path:
    """Makes the data folder of a split under `folder`, unless it is there already.

    Args:
      split: one of SPLITS.
      folder: where to keep it, and the archive that it is made of.
      sources: raw releases; only MovieLens 100K is fetched, and only for a split of it.
      progress: told how far it is.

    Returns:
      The data folder.

    Raises:
      DataError: the release cannot be had, or the source is not what it should be.
    """
    made = folder / split
    if split in SYNTHETIC:
        return _make_synthetic(split, made, progress)
    if Sidecar.of_complete(made):
        return made
    if split == NOTEBOOK_SPLIT or split in RANDOM_SPLITS:
        source = sources.movielens_100k
        whole = fetch.fetch(source=source, destination=_whole_release(folder, source), progress=progress).folder
        if split == NOTEBOOK_SPLIT:
            split_as_the_notebook(whole, made)
        else:
            split_at_random(whole, made, seed=RANDOM_SPLITS[split])
    elif split == LATEST_SMALL:
        if sources.latest_small is None:
            raise DataError(
                f"expected a source of {LATEST_SMALL}, GroupLens' folder or zip; got none; download "
                f"{LATEST_SMALL_URL} and give it with --source"
            )
        with workspace(folder) as work:
            prepare.prepare(sources.latest_small, work / "whole", progress=progress)
            split_at_random(work / "whole", made)
    else:
        prepare.prepare(sources.movielens_100k or _archive(folder, progress), made, split=split, progress=progress)
    return made


def own_names(folders: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Absolute paths of data folders of the user's own, by the names that the splits get: those of the folders.

    Raises:
      DataError: two have the same name, or one has that of a split.
    """
    named: dict[str, pathlib.Path] = {}
    for folder in map(pathlib.Path.resolve, folders):
        taken = "a split of that name is built in" if folder.name in (*SPLITS, *GROUPS) else named.get(folder.name)
        if taken not in (None, folder):
            raise DataError(
                f"expected data folders with names of their own, which tell them apart in the table; got {folder}: "
                f"{taken if isinstance(taken, str) else f'{taken} has the same'}; rename one"
            )
        named[folder.name] = folder
    return named


def make_own(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """A data folder with train/ and test/: the user's own one as it is, or under `folder` split at random.

    Args:
      source: data folder.
      folder: where to keep what is made.

    Raises:
      DataError: it is none, it has changed since it was made, or its ratings lie in several files.
    """
    sidecar = Sidecar.read(source)
    sidecar.check_ratings(source)
    parts = {part: ratings_files(source, part) for part in ("", "train", "test")}
    if parts["train"] or parts["test"]:
        if [*parts["train"], *parts["test"]] != [*_FILES]:
            raise DataError(
                f"expected {' and '.join(_FILES)} in {source}; got {', '.join(parts['train'] + parts['test'])}; "
                "make it anew with `movie-ranking data prepare --train FILE --test FILE`"
            )
        return source
    if parts[""] != [RATINGS_FILE]:
        raise DataError(
            f"expected {RATINGS_FILE}, or {' and '.join(_FILES)}, in {source}; got {', '.join(parts['']) or 'none'}; "
            "make it anew with `movie-ranking data prepare`"
        )
    made = folder / source.name
    checksums = [TableFile.of(source, name).sha256 for name in sorted(table_files(source))]
    key = _key(*checksums, repr(sidecar.rating_scale))
    if not _is_made(made, key):
        split_at_random(source, made, key)
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


def split_at_random(
    source: pathlib.Path,
    destination: pathlib.Path,
    key: str = "",
    expected: np.ndarray | None = None,
    seed: int = _RANDOM_SEED,
) -> None:
    """Writes train/ and test/ with four fifths and one fifth of a data folder's rows, drawn without replacement.

    The rows of each part keep their order. Side tables are those of the source. Memory: a byte a rating.

    Args:
      source: data folder whose ratings are in one file.
      destination: the folder to make.
      key: kept in the record, behind what the source is.
      expected: float32 [rows], the best possible prediction of each row, of which those of the test rows are written to
        EXPECTED_FILE; None where nobody knows it.
      seed: of the draw.

    Raises:
      DataError: there are too few rows for two parts, or files of others stand where the result belongs.
    """
    sidecar = Sidecar.read(source)
    rows = sum(1 for _ in _rows_of(source)) - 1
    if rows < 2:
        raise DataError(f"expected enough ratings in {source} to split them 80/20; got {max(rows, 0)}; give more")
    is_test = drawn_for_test(rows, seed)
    side_tables = sorted(table_files(source).difference([RATINGS_FILE]))
    check_destination(destination, [*_FILES, *side_tables])
    with workspace(destination) as work:
        for name in _FILES:
            (work / name).parent.mkdir()
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context((work / name).open("w", encoding="utf-8", newline="")) for name in _FILES]
            writers = [csv.writer(file, lineterminator="\n") for file in files]
            ratings = _rows_of(source)
            header = next(ratings)
            for writer in writers:
                writer.writerow(header)
            for part, row in zip(is_test.tolist(), ratings, strict=True):
                writers[part].writerow(row)
        for name in side_tables:
            shutil.copyfile(source / name, work / name)
        if expected is not None:
            np.save(destination / EXPECTED_FILE, expected[is_test])
        tables = tuple(TableFile.of(work, name) for name in (*_FILES, *side_tables))
        described = f"{sidecar.source}, split 80/20 by seed {seed}{key and f' [{key}]'}"
        publish(work, destination, dataclasses.replace(sidecar, source=described, files=tables))


def _rows_of(folder: pathlib.Path) -> Iterator[list[str]]:
    """The header and the rows of `ratings.csv`."""
    with (folder / RATINGS_FILE).open(encoding="utf-8", newline="") as file:
        yield from filter(None, csv.reader(file))


def drawn_for_test(rows: int, seed: int = _RANDOM_SEED) -> np.ndarray:
    """Which of `rows` rows go to the test part, one fifth of them: bool [rows]."""
    order = np.random.default_rng(seed).permutation(rows)
    is_test = np.zeros(rows, bool)
    is_test[order[int(_RANDOM_TRAIN_SHARE * rows) :]] = True
    return is_test


def _make_synthetic(split: str, made: pathlib.Path, progress: Progress) -> pathlib.Path:
    arguments = SYNTHETIC[split]
    key = _key(fingerprint("data.synthetic"), repr(arguments))
    if not (_is_made(made, key) and (made / EXPECTED_FILE).exists()):
        with workspace(made.parent) as work:
            whole = work / "whole"
            synthetic.write(whole, **arguments, with_expected=True, say=lambda line: None, progress=progress)
            split_at_random(whole, made, key, np.load(whole / EXPECTED_FILE))
    return made


def _key(*facts: str) -> str:
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


def _is_made(folder: pathlib.Path, key: str) -> bool:
    """Whether the folder is whole and as it was made under this key."""
    sidecar = Sidecar.of_complete(folder)
    return sidecar is not None and sidecar.source.endswith(f" [{key}]")


def _has_file(source: pathlib.Path, name: str) -> bool:
    """Whether a folder or a zip has a file of this name, at its top or one folder below."""
    if source.is_dir():
        return any(source.glob(name)) or any(source.glob(f"*/{name}"))
    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return any(pathlib.PurePosixPath(member).name == name for member in archive.namelist())


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
