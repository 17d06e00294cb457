"""Turns a MovieLens release, or a CSV of the user's own, into the tables of a data folder and their record."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import math
import os
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from data.errors import ChecksumError, DataError, LayoutError
from data.folder import check_destination, publish, workspace
from data.movielens import (
    LAYOUTS,
    MOVIELENS_100K,
    Choices,
    File,
    Layout,
    open_own_csv,
    read_own_side_tables,
)
from data.progress import Progress, silent
from data.reader import read
from data.rejects import REJECTED_FILE, Rejects
from data.releases import Release, files_of
from data.sidecar import RATINGS_FILE, RATINGS_PATTERN, Sidecar
from data.splits import PUBLISHED_SPLITS
from data.writer import Repeated, SortedRatings, merge, rated_keys, scale_of, write_tables
from modules.features import SIDE_TABLES, TITLES, USERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of preparing a data folder.

    Attributes:
      folder: the data folder.
      sidecar: its record.
      rejected_elsewhere: bad rows of the item and user tables.
      pairs_in_both: pairs of user and title that both parts of a published split hold.
      contradictions: by column, how many users or titles the source says more than one thing of.
      reused: the folder was complete already, and nothing was done.
    """

    folder: pathlib.Path
    sidecar: Sidecar
    rejected_elsewhere: int = 0
    pairs_in_both: int = 0
    contradictions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reused: bool = False


def prepare(
    path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    scale: tuple[float, float] | None = None,
    max_rejected: int = 0,
    split: str | None = None,
    keep_items_apart: bool = False,
    repeated: Repeated = "mean",
    checksums: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Summary:
    """Writes `ratings.csv`, `titles.csv`, `users.csv` and `ratings.json` to the destination.

    Ratings have one row for each user and title. Items that share a title are one title (MovieLens 100K lists some
    films under two ids), unless they are kept apart. `titles.csv` and `users.csv` have all titles and users that the
    source lists, rated or not; where the ratings themselves describe titles or users, as a CSV of the user's own may,
    all that are rated. Where the source says more than one thing of a title or a user, the first that is not empty
    counts. A side table of which the source says nothing is not written.

    Bad rows that were put up with go to `rejected/rejected.csv`. Everything is written beside its place and moved there
    when it is complete, the record last.

    With a split, `train/ratings.csv` and `test/ratings.csv` hold the published rows, repeated ratings made one inside
    each part alone. A film with two ids can then leave the same user and title in both parts; such pairs are kept, so
    that results compare with published ones, and counted in `Summary.pairs_in_both`.

    Memory: about 200 MB and 50 bytes a rating at the peak (sorting: the pair of user and title and its sorted copy, the
    order, the columns), and a few Python strings for each distinct user, item and title. An archive is unpacked to
    disk, in the destination.

    Args:
      path: folder or zip of a release, or one CSV, or a folder with such a `ratings.csv` and side tables.
      destination: the data folder, made where there is none.
      columns: for a CSV: its name of each of our columns that it names otherwise.
      scale: lowest and highest possible rating; by default that of the release, or what a CSV holds.
      max_rejected: how many bad rows, of all files together, are put up with.
      split: one of data.splits.PUBLISHED_SPLITS, a published split of MovieLens 100K.
      keep_items_apart: of a title that several items share, make one title for each: "Emma (1996) [26958]".
      repeated: what becomes of ratings of one user and title: their "mean", or the "latest" of them.
      checksums: the SHA-256 that each table must have, by the name of its file.
      progress: told how far it is.

    Raises:
      LayoutError: the path is none of what is accepted, or a column is missing.
      RowError: there are more bad rows than `max_rejected`.
      ChecksumError: the result is not the expected one.
      DataError: there are no ratings, or files of others stand where the result belongs.
    """
    source, folder = pathlib.Path(path), pathlib.Path(destination)
    if scale is not None and not -math.inf < scale[0] < scale[1] < math.inf:
        raise DataError(
            "expected a rating scale of two numbers, the lowest rating below the highest; "
            f"got {scale[0]:g} {scale[1]:g}; correct --scale"
        )
    if split is not None and split not in PUBLISHED_SPLITS:
        raise DataError(f"expected a published split, one of {', '.join(PUBLISHED_SPLITS)}; got {split!r}")
    choices = Choices(split=split, keep_items_apart=keep_items_apart)
    rejects = Rejects(max_rejected)
    with workspace(folder) as work:
        with _opened(source, work, rejects, choices, columns=columns, scale=scale) as release:
            sources = [table.path for table in release.ratings.values()]
            check_destination(folder, files_of(release.ratings, release.columns), sources)
            rejected_elsewhere = len(rejects.rows)
            listed = {side.name: np.arange(len(release.keys_of(side))) for side in SIDE_TABLES}
            ratings = {part: read(table, release, rejects, progress) for part, table in release.ratings.items()}
        for part, table in release.ratings.items():
            if not len(ratings[part]):
                raise DataError(f"expected ratings in {table.shown}; got none that is good; give another file")
        rated = rated_keys(ratings.values(), release)
        for side in SIDE_TABLES:
            if any(column.name in table.fields for column in side.columns[1:] for table in release.ratings.values()):
                listed[side.name] = np.union1d(listed[side.name], rated[side.name])
        rejected = len(rejects.rows) - rejected_elsewhere
        rows_read = rejected + sum(map(len, ratings.values()))
        rating_scale = release.scale or scale_of([each.rating for each in ratings.values()])
        parts = {part: merge(each, release.users, release.titles, repeated) for part, each in ratings.items()}
        sidecar = Sidecar(
            rating_scale=rating_scale,
            users=len(rated[USERS.name]),
            titles=len(rated[TITLES.name]),
            rows_read=rows_read,
            rejected=rejected,
            source=release.name,
            files=write_tables(work, release, parts, listed, progress),
            shared_titles=release.shared_titles,
        )
        if checksums is not None and sidecar.checksums != checksums:
            raise ChecksumError(
                f"expected tables with the SHA-256 {_shown(checksums)} from {source}; got {_shown(sidecar.checksums)}; "
                "see that the release is complete and unchanged"
            )
        if rejects.rows:
            (work / REJECTED_FILE).parent.mkdir()
            rejects.write(work / REJECTED_FILE)
        publish(work, folder, sidecar)
    return Summary(
        folder=folder,
        sidecar=sidecar,
        rejected_elsewhere=rejected_elsewhere,
        pairs_in_both=_count_pairs_in_both(list(parts.values())),
        contradictions={name: len(numbers) for name, numbers in sorted(release.contradicted.items())},
    )


def _shown(checksums: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {sha256}" for name, sha256 in checksums.items())


@contextlib.contextmanager
def _opened(
    source: pathlib.Path,
    work: pathlib.Path,
    rejects: Rejects,
    choices: Choices,
    *,
    columns: Mapping[str, str] | None,
    scale: tuple[float, float] | None,
) -> Iterator[Release]:
    """Finds out what the path is and opens it; what is unpacked is removed again."""
    if not source.exists():
        raise LayoutError(f"expected {source} to be {_accepted()}; it does not exist")
    unpacked = work / "unpacked"
    layout: Layout | None
    try:
        if source.is_file() and not zipfile.is_zipfile(source):
            if source.name in {name for layout in LAYOUTS for name in layout.required} and source.suffix != ".csv":
                raise LayoutError(
                    f"expected the folder that {source.name} lies in; got the file alone; give {source.parent}"
                )
            layout, files = None, {RATINGS_FILE: File(source, str(source))}
        elif source.is_file():
            layout, files = _unpack(source, unpacked)
        else:
            layout, files = _find(source, {_name(file, source): file for file in _files(source)})
        split = choices.split
        if layout is None:
            if split is not None:
                raise LayoutError(f"expected {MOVIELENS_100K} for the split {split}; got {source}, a CSV; omit --split")
            if choices.keep_items_apart:
                raise LayoutError(
                    f"expected a release with item ids, to keep items apart by them; got {source}, a CSV whose titles "
                    "are all there is; omit --keep-items-apart"
                )
            release = open_own_csv(files[RATINGS_FILE], columns, scale)
            read_own_side_tables(release, files, rejects)
            yield release
            return
        if columns:
            raise LayoutError(
                f"expected a CSV of your own with --columns; got {source}, which holds {layout.name}; omit it"
            )
        if split is not None and layout is not LAYOUTS[0]:
            raise LayoutError(
                f"expected {LAYOUTS[0].name} for the split {split}; got {source}, which holds {layout.name}"
            )
        release = layout.open(files, rejects, choices)
        if scale is not None:
            release.scale = scale
        yield release
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _count_pairs_in_both(parts: list[SortedRatings]) -> int:
    if len(parts) < 2:
        return 0
    return len(np.intersect1d(parts[0].pair, parts[1].pair, assume_unique=True))


def _accepted() -> str:
    layouts = "; ".join(layout.name for layout in LAYOUTS)
    return f"a folder or zip with one of: {layouts}; or a CSV of your own, ratings.csv where a folder is given"


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Files in the folder and in its sub-folders."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif path.is_dir() and not path.name.startswith("."):
            yield from (inner for inner in sorted(path.iterdir()) if inner.is_file())


def _name(file: pathlib.Path, folder: pathlib.Path) -> str:
    return file.relative_to(folder).as_posix()


def _find(source: pathlib.Path, paths: Mapping[str, pathlib.Path]) -> tuple[Layout | None, dict[str, File]]:
    """The layout among relative names, and its files; no layout for a CSV of the user's own."""
    layout, names = _choose(source, paths)
    return layout, {pathlib.PurePosixPath(name).name: File(paths[name], f"{source}/{name}") for name in names}


def _choose(source: pathlib.Path, names: Iterable[str]) -> tuple[Layout | None, list[str]]:
    """The layout among relative names and the names of its files; no layout for a CSV of the user's own.

    Raises:
      LayoutError: there is none, or more than one.
    """
    folders: dict[str, set[str]] = {}
    for name in names:
        path = pathlib.PurePosixPath(name)
        folders.setdefault(str(path.parent), set()).add(path.name)
    found = [
        (
            layout,
            [
                str(pathlib.PurePosixPath(folder) / name)
                for name in (*layout.required, *layout.optional)
                if name in held
            ],
        )
        for folder, held in sorted(folders.items())
        for layout in LAYOUTS
        if held.issuperset(layout.required)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise LayoutError(
            f"expected one release in {source}; got {len(found)}: "
            f"{', '.join(names[0] for _, names in found)}; give one of these folders"
        )
    own = folders.get(".", set())
    more = sorted(name for name in own if fnmatch.fnmatchcase(name, RATINGS_PATTERN) and name != RATINGS_FILE)
    if RATINGS_FILE in own and more:
        raise LayoutError(
            f"expected no ratings in {source} but {RATINGS_FILE}, which alone is read; got {', '.join(more)}, too; "
            "join them into one file, or move the others away"
        )
    if RATINGS_FILE in own:
        return None, [RATINGS_FILE, *(table.file for table in SIDE_TABLES if table.file in own)]
    some = ", ".join(sorted(name for held in folders.values() for name in held)[:8]) or "nothing"
    raise LayoutError(f"expected {source} to be {_accepted()}; got {some}")


def _unpack(archive: pathlib.Path, folder: pathlib.Path) -> tuple[Layout | None, dict[str, File]]:
    """Unpacks the files of the layout that the archive holds."""
    files = {}
    try:
        with zipfile.ZipFile(archive) as packed:
            layout, names = _choose(archive, [info.filename for info in packed.infolist() if not info.is_dir()])
            folder.mkdir()
            for name in names:
                # The bare name: a path in an archive must not lead elsewhere.
                bare = pathlib.PurePosixPath(name).name
                with packed.open(name) as member, (folder / bare).open("wb") as file:
                    shutil.copyfileobj(member, file, 1 << 20)
                files[bare] = File(folder / bare, f"{archive}/{name}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise LayoutError(
            f"expected {archive} to be a complete, unencrypted zip; got: {error}; fetch it again"
        ) from error
    return layout, files
