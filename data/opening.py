"""What a path holds: a release in one of the known layouts, ratings of one's own, or an archive of either."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence

from data import archives, kinds, netflix
from data.choices import Choices
from data.errors import LayoutError
from data.movielens import LAYOUTS, MOVIELENS_100K, Layout
from data.own_ratings import open_own, read_own_side_tables
from data.rejects import Rejects
from data.releases import Release
from data.sidecar import RATINGS_FILE, RATINGS_PATTERN, SIDECAR_FILE
from data.sources import File, Files
from modules.features import SIDE_TABLES

_SHOWN_NAMES = 8
# Files are read more than once.
_NO_FILE = "a pipe or a device, which can be read once at most; write it to a file, and give that"
# What a path is, or for given splits the path of each part.
Origin = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
_READS_OWN = {
    "columns": "--columns",
    "separator": "--separator",
    "header": "--header",
    "escape": "--escape",
}


@contextlib.contextmanager
def opened(origin: Origin, work: pathlib.Path, rejects: Rejects, choices: Choices) -> Iterator[tuple[Release, Files]]:
    """Finds out what ratings are kept in, and opens them.

    Args:
      origin: path of a file, an archive or a folder; or by part of a split, the path of a file or an archive with its
        ratings.
      work: folder to unpack archives in; what is unpacked is removed again.
      rejects: takes the bad rows of item and user tables.
      choices: how to read them.

    Raises:
      LayoutError: it is none of what is accepted, or not with these choices.
      RowError: an item or user table has more bad rows than allowed.
    """
    unpacked = work / "unpacked"
    unpacked.mkdir()
    try:
        if isinstance(origin, Mapping):
            if choices.split is not None:
                raise LayoutError("expected --split, or files of one's own for each part; got both; omit --split")
            found = {part: _own_file(pathlib.Path(path), unpacked / part, choices) for part, path in origin.items()}
            yield _open_own(Files(found, choices, unpacked), {part: [part] for part in origin}, rejects, choices)
            return
        source = pathlib.Path(origin)
        layout, files = _found(source, unpacked, choices)
        if layout is None:
            several = [name for name in files if _is_netflix_part(name)]
            yield _open_own(files, {"": several or [next(iter(files))]}, rejects, choices)
            return
        _check_release(layout, source, choices)
        release = layout.open(files, rejects, choices)
        release.columns = tuple(column for column in release.columns if column.name not in choices.drop)
        if choices.scale is not None:
            release.scale = choices.scale
        yield release, files
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _open_own(
    files: Files, parts: Mapping[str, Sequence[str]], rejects: Rejects, choices: Choices
) -> tuple[Release, Files]:
    names = ", ".join(files[name].shown for part in parts.values() for name in part)
    if choices.split is not None:
        raise LayoutError(
            f"expected {MOVIELENS_100K} for the split {choices.split}; got {names}; omit --split, or give the files of "
            "a split of one's own with --train and --test"
        )
    release = open_own(files, parts, choices)
    if choices.keep_items_apart and release.items is None:
        raise LayoutError(
            f"expected a release with item ids, to keep items apart by them; got {names}, whose titles are all there "
            "is; omit --keep-items-apart"
        )
    read_own_side_tables(release, files, rejects, choices)
    return release, files


def _check_release(layout: Layout, source: pathlib.Path, choices: Choices) -> None:
    """Refuses what is chosen for files of one's own, or for another release."""
    unchosen = Choices()
    for field, option in _READS_OWN.items():
        if getattr(choices, field) != getattr(unchosen, field):
            raise LayoutError(
                f"expected ratings of one's own with {option}; got {source}, which holds {layout.name}; omit it"
            )
    if choices.split is not None and layout is not LAYOUTS[0]:
        raise LayoutError(
            f"expected {LAYOUTS[0].name} for the split {choices.split}; got {source}, which holds {layout.name}"
        )


def _found(source: pathlib.Path, unpacked: pathlib.Path, choices: Choices) -> tuple[Layout | None, Files]:
    """The layout of a path, none for ratings of one's own, and its files, the ratings of one's own first."""
    if not source.exists():
        raise LayoutError(f"expected {source} to be {_accepted()}; it does not exist")
    if not source.is_dir() and not source.is_file():
        raise LayoutError(f"expected {source} to be {_accepted()}; got {_NO_FILE}")
    if source.is_dir():
        paths = {file.relative_to(source).as_posix(): file for file in _files(source)}
        layout, names = _choose(source, paths)
        return layout, Files(
            {archives.bare(name): File(paths[name], f"{source}/{name}") for name in names}, choices, unpacked
        )
    if not archives.is_zip(source):
        if source.name in {name for layout in LAYOUTS for name in layout.required} and source.suffix != ".csv":
            raise LayoutError(
                f"expected the folder that {source.name} lies in; got the file alone; give {source.parent}"
            )
        beside = {name: source.with_name(name) for name in netflix.TITLES_FILES}
        titles = {name: File(path, str(path)) for name, path in beside.items() if path.is_file()}
        return None, Files({RATINGS_FILE: File(source, str(source)), **titles}, choices, unpacked)
    layout, names = _look_into(source, choices)
    return layout, Files(archives.unpack(source, names, unpacked), choices, unpacked)


def _own_file(path: pathlib.Path, unpacked: pathlib.Path, choices: Choices) -> File:
    """A file of one's own, unpacked from an archive where it is one."""
    if not path.is_file():
        what = "got a folder" if path.is_dir() else f"got {_NO_FILE}" if path.exists() else "there is none"
        raise LayoutError(f"expected {path} to be a file of ratings; {what}")
    if not archives.is_zip(path):
        return File(path, str(path))
    unpacked.mkdir()
    member = _own_member(path, archives.members(path), choices)
    return next(iter(archives.unpack(path, [member], unpacked).values()))


def _accepted() -> str:
    layouts = "; ".join(layout.name for layout in LAYOUTS)
    return (
        f"a folder or zip with one of: {layouts}; or a file of ratings of your own: CSV or the like, or Parquet, "
        "ratings.csv, or the files of the Netflix Prize, where a folder is given"
    )


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Files in the folder and in its sub-folders."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif path.is_dir() and not path.name.startswith("."):
            yield from (inner for inner in sorted(path.iterdir()) if inner.is_file())


def _choose(source: pathlib.Path, names: Iterable[str]) -> tuple[Layout | None, list[str]]:
    """The layout among the names of a folder's files, and the names of its files; none for ratings of one's own.

    Raises:
      LayoutError: there is neither, or more than one.
    """
    names = list(names)
    found = _recognised(source, names)
    if found is not None:
        return found
    some = ", ".join(sorted(map(archives.bare, names))[:_SHOWN_NAMES]) or "nothing"
    raise LayoutError(f"expected {source} to be {_accepted()}; got {some}")


def _recognised(source: pathlib.Path, names: Iterable[str]) -> tuple[Layout | None, list[str]] | None:
    """As `_choose` for a folder or an archive, but None where there is neither."""
    folders = _by_folder(names)
    found = _layouts(source, folders)
    if found is not None:
        return found
    own = _own_folder(source, folders)
    return (None, own) if own else None


def _own_folder(source: pathlib.Path, folders: Mapping[str, set[str]]) -> list[str]:
    """The ratings of one's own that lie at the top of a folder, and what is told of titles and users beside them.

    Nothing where there are no ratings. Several files of them must be the parts of the Netflix Prize.
    """
    own = folders.get(".", set())
    ratings = sorted((name for name in own if _is_own_ratings(name)), key=lambda name: (len(name), name))
    if len(ratings) > 1 and not all(map(_is_netflix_part, ratings)):
        raise LayoutError(
            f"expected one file of ratings in {source}; got {', '.join(ratings)}; join them into one file, or give one "
            "of them"
        )
    beside = [name for name in (*(table.file for table in SIDE_TABLES), *netflix.TITLES_FILES) if name in own]
    return [*ratings, *beside] if ratings else []


def _is_own_ratings(name: str) -> bool:
    """Whether a file of a folder holds ratings.

    These are `ratings*.csv`, `ratings.` with another ending, such as `csv.gz`, and the parts of the Netflix Prize.
    """
    return (
        fnmatch.fnmatchcase(name, RATINGS_PATTERN)
        or (name.split(".")[0] == "ratings" and name != SIDECAR_FILE)
        or _is_netflix_part(name)
    )


def _is_netflix_part(name: str) -> bool:
    return fnmatch.fnmatchcase(name, netflix.RATINGS_PATTERN)


def _by_folder(names: Iterable[str]) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for name in names:
        path = pathlib.PurePosixPath(name)
        folders.setdefault(str(path.parent), set()).add(path.name)
    return folders


def _layouts(source: pathlib.Path, folders: Mapping[str, set[str]]) -> tuple[Layout, list[str]] | None:
    found = [
        (layout, [str(pathlib.PurePosixPath(folder) / name) for name in layout.files if name in held])
        for folder, held in sorted(folders.items())
        for layout in LAYOUTS
        if held.issuperset(layout.required)
    ]
    if len(found) > 1:
        raise LayoutError(
            f"expected one release in {source}; got {len(found)}: "
            f"{', '.join(names[0] for _, names in found)}; give one of these folders"
        )
    return found[0] if found else None


def _look_into(source: pathlib.Path, choices: Choices) -> tuple[Layout | None, list[str]]:
    members = archives.members(source)
    kinds.refuse_archive(members, str(source))
    found = _recognised(source, members) if choices.member is None else None
    if found is not None:
        return found
    member = _own_member(source, members, choices)
    titles = (str(pathlib.PurePosixPath(member).with_name(name)) for name in netflix.TITLES_FILES)
    return None, [member, *(name for name in titles if name in members)]


def _own_member(source: pathlib.Path, members: Sequence[str], choices: Choices) -> str:
    """The file of an archive that holds ratings of one's own."""
    wanted = [name for name in members if choices.member in (None, name)]
    if len(wanted) == 1:
        return wanted[0]
    more = f" and {len(members) - _SHOWN_NAMES} more" if len(members) > _SHOWN_NAMES else ""
    some = ", ".join(members[:_SHOWN_NAMES]) + more or "nothing"
    if choices.member is not None:
        raise LayoutError(f"expected a file {choices.member!r} in {source}; got {some}; correct --member")
    raise LayoutError(
        f"expected {source} to hold one of {_accepted()}, or one file alone; got {some}; "
        f"{f'say which file to read, such as --member {members[0]!r}' if members else 'give another archive'}"
    )
