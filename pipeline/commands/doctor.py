"""`movie-ranking doctor`: is this environment fit to run the pipeline?"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import os
import pathlib
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator

import click

from modules.errors import UserError
from pipeline.commands.beam import ENGINES
from pipeline.commands.options import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lane:
    """What a dependency lane needs.

    Attributes:
      pythons: versions of Python.
      glibc: oldest version of the C library.
      releases: what the version of a distribution starts with.
    """

    pythons: tuple[str, ...]
    glibc: tuple[int, int]
    releases: dict[str, str]


LANES = {
    "current": Lane(pythons=("3.11", "3.12", "3.13"), glibc=(2, 39), releases={"tfx": "1.21.", "tensorflow": "2.21."}),
    "legacy": Lane(pythons=("3.10",), glibc=(2, 17), releases={"tfx": "1.16.", "tensorflow": "2.16."}),
}
SHOWN = (
    "tfx",
    "tensorflow",
    "tf-keras",
    "tensorflow-recommenders",
    "tensorflow-transform",
    "apache-beam",
    "ml-metadata",
)
NEEDED_GIB = 2


@click.command()
@click.option(
    "--output", type=Path(), default="output", show_default=True, metavar="FOLDER", help="Where runs would write."
)
@click.option("--beam", "engine", type=click.Choice(ENGINES), help="Check what `run --beam` needs for it as well.")
def doctor(output: str, engine: str | None) -> None:
    """Check the environment: lane, versions, compiler, disk, data. Exits 1 if something would not work."""
    healthy = True
    for name, good, text in itertools.chain(checks(output), engine_checks(engine) if engine else ()):
        healthy = healthy and good
        click.echo(f"{click.style('ok ' if good else 'BAD', fg='green' if good else 'red')}  {name:<10} {text}")
    if not healthy:
        raise click.exceptions.Exit(1)


def checks(output: str) -> Iterator[tuple[str, bool, str]]:
    """Yields name, verdict and finding of each check."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = "legacy" if python == "3.10" else "current"
    lane = LANES[name]
    yield "python", python in lane.pythons, f"{platform.python_version()}, {name} lane ({sys.executable})"
    yield _glibc(lane.glibc)
    for distribution in SHOWN:
        version = _version(distribution)
        wanted = lane.releases.get(distribution, "")
        if version is None:
            yield distribution, False, "missing; run `make setup`"
        elif not version.startswith(wanted):
            yield distribution, False, f"{version}; the {name} lane wants {wanted}*; run `make setup`"
        else:
            yield distribution, True, version
    compiler = shutil.which("g++")
    headers = pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()
    yield "compiler", bool(compiler), compiler or "no g++, which set-up needs; apt-get install g++"
    yield (
        "headers",
        headers,
        "Python.h found" if headers else "no Python.h, which set-up needs; apt-get install python3-dev",
    )
    free = shutil.disk_usage(_existing(output)).free / 2**30
    yield "disk", free >= NEEDED_GIB, f"{free:.1f} GiB free for {os.path.abspath(output)}; {NEEDED_GIB} needed"
    yield _data()


def engine_checks(engine: str) -> Iterator[tuple[str, bool, str]]:
    """Yields the same of what an engine of Beam's pipelines needs on this machine."""
    from pipeline.config.beam_config import WORKER
    from pipeline.engines import jars

    try:
        command, version = jars.java()
        yield "java", True, f"{version} ({command})"
    except UserError as error:
        yield "java", False, str(error)
    distribution = jars.DISTRIBUTIONS[engine]
    fault = distribution.fault()
    if fault is None:
        yield engine, True, f"{distribution.title} in {distribution.folder}"
    else:
        try:
            maven = f"; run `movie-ranking beam fetch {engine}`, for which {jars.maven()} is there"
        except UserError as error:
            maven = f"; {error}"
        yield engine, False, f"{distribution.title}: {fault}{maven}"
    worker = shutil.which(WORKER, path=os.path.dirname(sys.executable))
    yield "worker", worker is not None, worker or f"no {WORKER} beside {sys.executable}; run `make setup`"


def _glibc(needed: tuple[int, int]) -> tuple[str, bool, str]:
    library, version = platform.libc_ver()
    found = tuple(int(part) for part in version.split(".")[:2]) if version else (0, 0)
    wanted = ".".join(map(str, needed))
    return "glibc", library == "glibc" and found >= needed, f"{version or 'none'}; the lane needs {wanted} or newer"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _existing(path: str) -> pathlib.Path:
    place = pathlib.Path(path).absolute()
    while not place.exists():
        place = place.parent
    return place


def _data() -> tuple[str, bool, str]:
    from data import fetch
    from data.errors import DataError
    from data.sidecar import Sidecar

    folder = fetch.default_folder()
    try:
        sidecar = Sidecar.read(folder)
    except DataError:
        return "data", True, "MovieLens 100K is not fetched yet; `movie-ranking run` fetches it"
    return "data", sidecar.matches(folder), f"{sidecar.rows:,} ratings in {folder}"
