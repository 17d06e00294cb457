"""Gets MovieLens 100K from wherever it can be had, and sees to it that it is the same to the byte."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from data import archives
from data.errors import ChecksumError, FetchError, LayoutError
from data.folder import workspace
from data.prepare import Summary, prepare
from data.progress import Progress, silent
from data.sidecar import Sidecar

# SHA-256 of the tables made of MovieLens 100K, from whatever source: 99,693 ratings, 1,664 titles, 943 users.
CHECKSUMS = {
    "ratings.csv": "c9d110bb9044413236a204bf5b8ece39c72ebd6442de2d282e5342b6a06fc0f7",
    "titles.csv": "6b9b48a6d41cd4cdd97922cb37ca1550354c801c115e8c355b8a2ae073498959",
    "users.csv": "9539d57b3e6e120b41481588d998d414b3a62ab6c5a7dd0778eaaf4067fb5cf6",
}

OFFICIAL_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
# Published by GroupLens beside the archive.
OFFICIAL_MD5 = "0e33842e24a9c977be4e0107933c0723"
# A wheel that carries the same ratings, items and users among its examples, for networks that reach a package index
# and nothing else.
MIRROR_REQUIREMENT = "recbole==1.2.1"

LICENCE = (
    "MovieLens 100K is made by GroupLens, University of Minnesota: free for research if you cite Harper and Konstan "
    "2015 (doi:10.1145/2827872) and imply no endorsement by them; no redistribution and no commercial use without "
    "their permission. Full terms: https://files.grouplens.org/datasets/movielens/ml-100k-README.txt"
)

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_PIP_SECONDS = 300.0
_TRIES = 3


class UnreachableError(Exception):
    """A source cannot be reached; another may be."""


# Gets the release into a folder and returns where it lies there.
Origin = Callable[[pathlib.Path, Progress], pathlib.Path]


def default_folder() -> pathlib.Path:
    """Where MovieLens 100K is kept unless told otherwise: in the user's cache folder (XDG_CACHE_HOME)."""
    import pooch

    return pathlib.Path(pooch.os_cache("movie-ranking")) / "ml-100k"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fetch(
    destination: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    origins: Sequence[tuple[str, Origin]] | None = None,
    checksums: Mapping[str, str] = CHECKSUMS,
    say: Callable[[str], None] = _say,
    progress: Progress = silent,
) -> Summary:
    """Puts the tables of MovieLens 100K and their record into a folder; does nothing where they are there already.

    Args:
      destination: the data folder; by default `default_folder()`.
      source: folder or zip to take, and no other.
      origins: sources to try in turn, with their names; by default GroupLens' archive, then the mirror on PyPI.
      checksums: the SHA-256 that each table must have, by the name of its file.
      say: told, a line each, which source cannot be reached and the licence terms.
      progress: told how far it is.

    Raises:
      FetchError: no source can be reached.
      ChecksumError: what a source gave is not MovieLens 100K to the byte.
      DataError: the given source is not what it should be.
    """
    folder = default_folder() if destination is None else pathlib.Path(destination)
    complete = Sidecar.of_complete(folder)
    if complete is not None and complete.checksums == checksums:
        return Summary(folder=folder, sidecar=complete, reused=True)
    say(LICENCE)
    if source is not None:
        return prepare(source, folder, checksums=checksums, progress=progress)
    failures = []
    with workspace(folder) as work:
        for name, origin in ORIGINS if origins is None else origins:
            try:
                release = origin(work, progress)
            except UnreachableError as error:
                failures.append(f"{name}: {error}")
                say(f"skipped {name}: {error}")
                continue
            say(f"got MovieLens 100K from {name}")
            return prepare(release, folder, checksums=checksums, progress=progress)
    raise FetchError(
        f"expected MovieLens 100K from one of the sources; got none: {'; '.join(failures)}; download {OFFICIAL_URL} on "
        "another machine and give it with --source"
    )


class _Meter:
    """What pooch wants of a progress bar."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.total = 0
        self._what, self._progress, self._done = what, progress, 0

    def update(self, amount: int) -> None:
        self._done += amount
        self._progress(self._what, self._done, max(self.total, self._done), "bytes")

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing to do: the last update said all."""


def official_archive(
    folder: pathlib.Path, progress: Progress, *, url: str = OFFICIAL_URL, md5: str = OFFICIAL_MD5
) -> pathlib.Path:
    """Downloads GroupLens' archive.

    Raises:
      UnreachableError: the server does not answer, or refuses, or the download breaks off again and again.
      ChecksumError: it sends something else.
    """
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=_Meter("downloading ml-100k.zip", progress), timeout=(_CONNECT_SECONDS, _READ_SECONDS)
    )
    archive = folder / "ml-100k.zip"
    for _ in range(_TRIES):
        try:
            downloader(url, str(archive), None)
        except requests.exceptions.ChunkedEncodingError:
            continue
        except requests.exceptions.RequestException as error:
            raise UnreachableError(_reason(error)) from error
        if not _breaks_off(archive):
            break
    else:
        raise UnreachableError(
            f"the download broke off {_TRIES} times, the last after {archive.stat().st_size:,} bytes"
        )
    received = pooch.file_hash(str(archive), alg="md5")
    if received != md5:
        raise ChecksumError(
            f"expected an archive with MD5 {md5} from {url}; got {received}; a proxy may have answered in the server's "
            "place: fetch the archive by hand and give it with --source"
        )
    return archive


def _breaks_off(archive: pathlib.Path) -> bool:
    """Whether an archive lacks its end, which not every server leads one to expect."""
    try:
        return not archives.is_zip(archive) and not archive.stat().st_size
    except LayoutError:
        return True


def _reason(error: BaseException) -> str:
    """What lies at the bottom of a network error, in one line."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(str(error).split())


def mirror_wheel(
    folder: pathlib.Path, progress: Progress, *, requirement: str = MIRROR_REQUIREMENT, python: str = sys.executable
) -> pathlib.Path:
    """Downloads, without installing it, the wheel that carries the release among its examples.

    Raises:
      UnreachableError: there is no pip, or it finds no index with the wheel.
    """
    target = folder / "wheel"
    progress(f"downloading {requirement} with pip", 0, 1, "files")
    options = "--no-deps --no-input --disable-pip-version-check --quiet --only-binary=:all: --retries=1 --timeout=10"
    command = [python, "-m", "pip", "download", *options.split(), "--dest", str(target), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"pip took longer than {_PIP_SECONDS:g} s") from error
    if "No module named pip" in done.stderr:
        raise UnreachableError(f"{python} has no pip; `{python} -m ensurepip` brings it")
    wheels = sorted(target.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["pip gave no reason"]
        raise UnreachableError(lines[-1].strip())
    progress(f"downloading {requirement} with pip", 1, 1, "files")
    return wheels[0]


ORIGINS: Sequence[tuple[str, Origin]] = (
    ("GroupLens", official_archive),
    (f"the mirror in {MIRROR_REQUIREMENT}", mirror_wheel),
)
