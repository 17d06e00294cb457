"""Turns a MovieLens release, or a CSV of the user's own, into `ratings.csv` and its sidecar `ratings.json`."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from data.errors import ChecksumError, DataError, LayoutError
from data.folder import check_destination, publish, workspace
from data.movielens import LAYOUTS, MOVIELENS_100K, File, Layout, open_own_csv
from data.progress import Progress, silent
from data.reader import read
from data.rejects import REJECTED_FILE, Rejects
from data.releases import Release
from data.sidecar import RATINGS_FILE, Sidecar
from data.splits import PUBLISHED_SPLITS
from data.writer import SortedRatings, count_users_and_titles, merge, scale_of, write


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of preparing a data folder; `rows_read == rejected + merged + sidecar.rows`.

    Attributes:
      folder: the data folder.
      sidecar: its record.
      rows_read: ratings in the source.
      rejected: ratings dropped as bad.
      merged: ratings that went into the mean of an earlier one of the same user and title.
      rejected_elsewhere: bad rows of the item and user tables.
      pairs_in_both: pairs of user and title that both parts of a published split hold.
      reused: the folder was complete already, and nothing was done.
    """

    folder: pathlib.Path
    sidecar: Sidecar
    rows_read: int
    rejected: int
    merged: int
    rejected_elsewhere: int = 0
    pairs_in_both: int = 0
    reused: bool = False


def prepare(
    path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    scale: tuple[float, float] | None = None,
    max_rejected: int = 0,
    split: str | None = None,
    sha256: str | None = None,
    progress: Progress = silent,
) -> Summary:
    """Writes `ratings.csv` and `ratings.json` to the destination.

    One row for each user and title: where a user rated a title more than once (MovieLens 100K lists some films under
    two ids), the mean of the ratings and the latest timestamp. Genres and year are those of the first item with the
    title. In a CSV of the user's own, what describes a user or a title is taken from the first row that says it.
    Bad rows that were put up with go to `rejected/rejected.csv`. Everything is written beside its place and moved there
    when it is complete, the sidecar last.

    With a split, `train/ratings.csv` and `test/ratings.csv` hold the published rows, repeated ratings merged inside
    each part alone. A film with two ids can then leave the same user and title in both parts; such pairs are kept, so
    that results compare with published ones, and counted in `Summary.pairs_in_both`.

    Memory: about 100 MB and 50 bytes a rating at the peak (sorting: the pair of user and title and its sorted copy, the
    order, the columns), and a few Python strings for each distinct user, item and title. An archive is unpacked to
    disk, in the destination.

    Args:
      path: folder or zip of a release, or one CSV.
      destination: the data folder, made where there is none.
      columns: for a CSV: its name of each of our columns that it names otherwise.
      scale: lowest and highest possible rating; by default that of the release, or what a CSV holds.
      max_rejected: how many bad rows, of all files together, are put up with.
      split: one of data.splits.PUBLISHED_SPLITS, a published split of MovieLens 100K.
      sha256: the checksum that the result must have.
      progress: told how far it is.

    Raises:
      LayoutError: the path is none of what is accepted, or a column is missing.
      RowError: there are more bad rows than `max_rejected`.
      ChecksumError: the result is not the expected one.
      DataError: there are no ratings, or files of others stand where the result belongs.
    """
    source, folder = pathlib.Path(path), pathlib.Path(destination)
    if scale is not None and not scale[0] < scale[1]:
        raise DataError(
            f"expected a rating scale whose lowest value is below its highest; got {scale[0]:g} {scale[1]:g}"
        )
    if split is not None and split not in PUBLISHED_SPLITS:
        raise DataError(f"expected a published split, one of {', '.join(PUBLISHED_SPLITS)}; got {split!r}")
    rejects = Rejects(max_rejected)
    with workspace(folder) as work:
        with _opened(source, work, rejects, columns=columns, scale=scale, split=split) as release:
            files = tuple(f"{part}/{RATINGS_FILE}" if part else RATINGS_FILE for part in release.ratings)
            check_destination(folder, files, [table.path for table in release.ratings.values()])
            rejected_elsewhere = len(rejects.rows)
            rows_read, unsorted = 0, []
            for table in release.ratings.values():
                rejected_before = len(rejects.rows)
                unsorted.append(read(table, release, rejects, progress))
                rows_read += len(unsorted[-1]) + len(rejects.rows) - rejected_before
                if not len(unsorted[-1]):
                    raise DataError(f"expected ratings in {table.shown}; got none that is good")
            parts = [merge(part, release.users, release.titles) for part in unsorted]
        rejected = len(rejects.rows) - rejected_elsewhere
        sidecar = _write_all(work, files, parts, release, rows_read, rejected, progress)
        if sha256 is not None and sidecar.sha256 != sha256:
            raise ChecksumError(
                f"expected ratings with SHA-256 {sha256} from {source}; got {sidecar.sha256}; "
                "see that the release is complete and unchanged"
            )
        if rejects.rows:
            (work / REJECTED_FILE).parent.mkdir()
            rejects.write(work / REJECTED_FILE)
        publish(work, folder, sidecar)
    return Summary(
        folder=folder,
        sidecar=sidecar,
        rows_read=rows_read,
        rejected=rejected,
        merged=rows_read - rejected - sidecar.rows,
        rejected_elsewhere=rejected_elsewhere,
        pairs_in_both=_count_pairs_in_both(parts),
    )


@contextlib.contextmanager
def _opened(
    source: pathlib.Path,
    work: pathlib.Path,
    rejects: Rejects,
    *,
    columns: Mapping[str, str] | None,
    scale: tuple[float, float] | None,
    split: str | None,
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
        if layout is None:
            if split is not None:
                raise LayoutError(f"expected {MOVIELENS_100K} for the split {split}; got {source}, a CSV")
            yield open_own_csv(files[RATINGS_FILE], columns, scale)
            return
        if columns:
            raise LayoutError(
                f"expected a CSV of your own with --columns; got {source}, which holds {layout.name}; omit it"
            )
        if split is not None and layout is not LAYOUTS[0]:
            raise LayoutError(
                f"expected {LAYOUTS[0].name} for the split {split}; got {source}, which holds {layout.name}"
            )
        release = layout.open(files, rejects, split)
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
    return f"a folder or zip with one of: {layouts}; or a CSV of your own"


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
    """The layout among relative names, and its files; no layout for a lone CSV."""
    layout, names = _choose(source, paths)
    return layout, {pathlib.PurePosixPath(name).name: File(paths[name], f"{source}/{name}") for name in names}


def _choose(source: pathlib.Path, names: Iterable[str]) -> tuple[Layout | None, list[str]]:
    """The layout among relative names and the names of its files; no layout for a lone `ratings.csv`.

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
    if RATINGS_FILE in folders.get(".", ()):
        return None, [RATINGS_FILE]
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


def _write_all(
    work: pathlib.Path,
    files: tuple[str, ...],
    parts: list[SortedRatings],
    release: Release,
    rows_read: int,
    rejected: int,
    progress: Progress,
) -> Sidecar:
    checksum = hashlib.sha256()
    for name, part in zip(files, parts, strict=True):
        (work / name).parent.mkdir(exist_ok=True)
        write(
            work / name,
            part,
            columns=release.columns,
            users=release.users,
            titles=release.titles,
            attributes=release.attributes,
            checksum=checksum,
            progress=progress,
        )
    num_users, num_titles = count_users_and_titles(parts, len(release.titles))
    return Sidecar(
        rating_scale=release.scale or scale_of(parts),
        rows=sum(len(part) for part in parts),
        users=num_users,
        titles=num_titles,
        columns=tuple(column.name for column in release.columns),
        rows_read=rows_read,
        rejected=rejected,
        source=release.name,
        sha256=checksum.hexdigest(),
        files=files,
    )
