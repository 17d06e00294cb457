"""Where the programs of one engine run: its libraries, a folder for what they need meanwhile, one for their logs."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import socket
from collections.abc import Mapping, Sequence

from pipeline.engines import jars
from pipeline.engines.programs import Program

# Packages of Java's that it opens to nobody since version 17, and into which Flink and Spark reach.
_OPENED = (
    "java.io",
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """Starts Java programs, and stops them in the reverse order.

    Attributes:
      libraries: folder of the engine's files.
      folder: for settings and temporary files.
      logs: for a file a program.
      programs: stops what was started when it is closed.
    """

    libraries: pathlib.Path
    folder: pathlib.Path
    logs: pathlib.Path
    programs: contextlib.ExitStack

    def start(
        self,
        name: str,
        main: str,
        *arguments: str,
        ready: str,
        heap_mb: int,
        java: Sequence[str] = (),
        configuration: Sequence[pathlib.Path] = (),
        environment: Mapping[str, str],
    ) -> Program:
        """Starts a program, which has a folder of its own to work in.

        Args:
          name: of the program, which its log and its folder have, too.
          main: its class.
          arguments: of the program.
          ready: regular expression of what it writes once it is ready, with one group; see `Program.wait`.
          heap_mb: most memory of its heap, MiB.
          java: more flags of Java.
          configuration: folders that come before the libraries on its class path.
          environment: variables beside those of this process.
        """
        command, _ = jars.java()
        folder = self.folder / name
        program = Program(
            name,
            [
                command,
                *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
                f"-Xmx{heap_mb}m",
                f"-Djava.io.tmpdir={folder}",
                *java,
                "-cp",
                ":".join([*map(str, configuration), f"{self.libraries}/*"]),
                main,
                *arguments,
            ],
            log=self.logs / f"{name}.log",
            ready=ready,
            environment=environment,
            folder=folder,
        )
        self.programs.callback(program.stop)
        return program


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]
