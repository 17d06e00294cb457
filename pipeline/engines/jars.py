"""The Java libraries of an engine and of Beam's job server for it: exact versions, kept in the user's cache folder.

Maven downloads what a POM of this package names; a list of SHA-256 beside it says what the files must be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.resources
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator

from modules.errors import UserError

BEAM_VERSION = "2.62.0"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_MAVEN_S = 1800
_LEAST_JAVA = 11


@dataclasses.dataclass(frozen=True)
class Distribution:
    """An engine as it is fetched.

    Attributes:
      name: as in `--beam`.
      title: name and version.
      megabytes: of its files.
    """

    name: str
    title: str
    megabytes: int

    @property
    def folder(self) -> pathlib.Path:
        """Where the files are kept: below the user's cache folder (XDG_CACHE_HOME)."""
        import pooch

        version = self.title.replace(" ", "-").lower()
        return pathlib.Path(pooch.os_cache("movie-ranking")) / "engines" / f"{version}-beam-{BEAM_VERSION}"

    def checksums(self) -> dict[str, str]:
        """The SHA-256 of each file, by its name."""
        lines = _resource(f"checksums/{self.name}.sha256").splitlines()
        return {name: sha256 for sha256, name in (line.split("  ", 1) for line in lines)}

    def fault(self, folder: pathlib.Path | None = None) -> str | None:
        """What the files lack or have too much of, the first such thing; None where they are what they should be."""
        place = folder or self.folder
        expected = self.checksums()
        found = {path.name for path in place.glob("*.jar")}
        if not found:
            return "not fetched"
        if missing := sorted(expected.keys() - found):
            return f"{len(missing)} of {len(expected)} files missing, such as {missing[0]}"
        if more := sorted(found - expected.keys()):
            return f"files that are not of it, such as {more[0]}"
        for name, sha256 in expected.items():
            if (got := hashlib.sha256((place / name).read_bytes()).hexdigest()) != sha256:
                return f"{name} with SHA-256 {got} rather than {sha256}"
        return None

    def require(self) -> pathlib.Path:
        """The folder of the files, each of which is what it should be.

        Raises:
          UserError: they are not there, or were changed.
        """
        if fault := self.fault():
            raise UserError(
                f"expected {self.title} in {self.folder}; got {fault}; run `movie-ranking beam fetch {self.name}`"
            )
        return self.folder

    def fetch(self, say: Callable[[str], None]) -> bool:
        """Puts the files into the cache folder; does nothing where they are there already.

        Args:
          say: told what is done.

        Returns:
          Whether anything was fetched.

        Raises:
          UserError: Java or Maven is missing, Maven gets no files, or gets others than it should.
        """
        home = self.folder.parent
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home / f".{self.name}.lock"):
            if self.fault() is None:
                return False
            java()
            maven()
            say(f"fetching {self.title} with Beam {BEAM_VERSION}, {self.megabytes} MB, by Maven")
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=home) as work:
                jars = pathlib.Path(work) / "jars"
                pom = pathlib.Path(work) / "pom.xml"
                pom.write_text(_resource(f"poms/{self.name}.xml"), encoding="utf-8")
                _run_maven(pom, jars)
                if fault := self.fault(jars):
                    raise UserError(
                        f"expected of Maven the files of {self.title}; got {fault}; remove that file from Maven's "
                        "repository, ~/.m2/repository, and fetch again"
                    )
                shutil.rmtree(self.folder, ignore_errors=True)
                jars.rename(self.folder)
            return True


FLINK = Distribution("flink", "Flink 1.19.0", 159)
SPARK = Distribution("spark", "Spark 3.5.0", 272)
DISTRIBUTIONS = {each.name: each for each in (FLINK, SPARK)}


def java() -> tuple[str, str]:
    """The command of Java and its version.

    Raises:
      UserError: there is none, or one that is too old.
    """
    home = os.environ.get("JAVA_HOME")
    command = os.path.join(home, "bin", "java") if home else "java"
    try:
        said = subprocess.run([command, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"expected Java {_LEAST_JAVA} or newer in JAVA_HOME or on PATH; got none that starts ({error}); "
            "apt-get install openjdk-17-jre-headless"
        ) from error
    match = re.search(r'version "((\d+)[^"]*)"', said)
    if match is None or int(match[2]) < _LEAST_JAVA:
        raise UserError(
            f"expected Java {_LEAST_JAVA} or newer; got {said.strip()!r} of {command}; set JAVA_HOME to a newer one"
        )
    return command, match[1]


def maven() -> str:
    """The command of Maven.

    Raises:
      UserError: there is none.
    """
    command = shutil.which("mvn")
    if command is None:
        raise UserError(
            "expected Maven, `mvn`, on PATH, to download Java libraries; got none; apt-get install maven, or copy the "
            f"folder {FLINK.folder.parent} from a machine that fetched them"
        )
    return command


def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _run_maven(pom: pathlib.Path, jars: pathlib.Path) -> None:
    command = [maven(), "-B", "-q", "-f", str(pom), f"{_PLUGIN}:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={jars}"], capture_output=True, text=True, check=False, timeout=_MAVEN_S
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"expected Maven to fetch the files within {_MAVEN_S} s; got no end; the same command goes on"
        ) from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line] or [done.stderr.strip()]
        raise UserError(
            f"expected Maven to fetch Java libraries; it ended with {done.returncode}: {said[0][:1000]}; see to its "
            "network, as by a mirror in ~/.m2/settings.xml, and try again"
        )


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
    """One process at a time; others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
