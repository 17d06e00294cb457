"""The server as a process of its own, for what measures it from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from components import model_digest, push_records, pushed_versions
from modules.errors import UserError
from pipeline.config.locations import SERVING_FOLDER
from pipeline.experiments import process_tree

# What Python and TensorFlow take to be loaded, and a model to be warmed up, on a machine with much else to do.
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
_POLL_S = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """What the server wrote of itself.

    Attributes:
      name: of the event, such as "loaded".
      seconds: since 1970.
      fields: what else it wrote.
    """

    name: str
    seconds: float
    fields: dict[str, Any]


class Served:
    """An output folder of copies of one model, as Pusher would have left it.

    Attributes:
      output: the folder.
    """

    def __init__(self, model: str | os.PathLike[str], output: pathlib.Path) -> None:
        """Holds no version yet.

        Args:
          model: folder of the model.
          output: a new folder.
        """
        self.output = output
        self._model = os.fspath(model)
        self._digest = model_digest.of_folder(self._model)
        self._base = output / SERVING_FOLDER
        self._base.mkdir(parents=True)

    def push(self) -> int:
        """Makes a copy the newest version, in one step; the versions before the one before it are removed."""
        before = sorted(pushed_versions.versions(str(self._base)))
        number = before[-1] + 1 if before else 1
        version, partial = self._base / str(number), self._base / f".pushing-{number}"
        shutil.copytree(self._model, partial)
        push_records.write(str(self._base), number, self._digest)
        partial.rename(version)
        pushed_versions.remove(str(self._base), before[:-1])
        return number


class ServerProcess:
    """A server that is ready.

    Attributes:
      rest_port: of REST, on this machine.
      grpc_port: of gRPC.
      start_seconds: from the start of the process until it was ready.
    """

    def __init__(self, process: subprocess.Popen, log: pathlib.Path) -> None:
        """Takes the process, and the file that it writes events to."""
        self._process, self._log = process, log
        self.rest_port = self.grpc_port = 0
        self.start_seconds = 0.0

    @property
    def resident_bytes(self) -> int:
        """How much memory the server and its processes have now; pages that they share are counted once."""
        return process_tree.resident_bytes(self._process.pid)

    def events(self) -> list[Event]:
        """What it has written so far; lines that are none of its own are left out."""
        found = []
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, LookupError, TypeError):
                record = json.loads(line)
                when = datetime.datetime.fromisoformat(record.pop("time")).timestamp()
                found.append(Event(name=record.pop("event"), seconds=when, fields=record))
        return found

    def wait_for(self, name: str, timeout_s: float, **fields: Any) -> Event:
        """The event of that name and these fields, once it is written.

        Raises:
          UserError: the server has ended, or does not come to it in time.
        """
        never, end = threading.Event(), time.monotonic() + timeout_s
        while True:
            ended = self._process.poll() is not None
            for event in self.events():
                if event.name == name and fields.items() <= event.fields.items():
                    return event
            if ended or time.monotonic() > end:
                fault = f"it ended with {self._process.returncode}" if ended else f"nothing came in {timeout_s:g} s"
                said = self._log.read_text(encoding="utf-8", errors="replace").strip()[-1000:]
                raise UserError(f"expected the server to tell {name!r}; {fault}; it wrote: {said}")
            never.wait(_POLL_S)

    def stop(self) -> int:
        """Has the server end in order; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_TIMEOUT_S)


@contextlib.contextmanager
def serving(output: pathlib.Path, *arguments: str) -> Iterator[ServerProcess]:
    """Starts `movie-ranking serve` on free ports of this machine, and ends it in the end.

    Args:
      output: output folder of which the versions are served; the logs go there, too.
      arguments: more of the command.

    Raises:
      UserError: it does not start.
    """
    log = output / "serve.log"
    command = ["serve", "--output", str(output), "--rest-port", "0", "--grpc-port", "0", *arguments]
    # By this process' path: `-m` would look first in the current folder, which may have other packages of our names.
    script = f"import sys; sys.path[:] = {sys.path!r}; from pipeline import cli; cli.main(sys.argv[1:])"
    began = time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *command, "--access-log", str(output / "access.log")],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    server = ServerProcess(process, log)
    try:
        listening = server.wait_for("listening", START_TIMEOUT_S).fields
        server.rest_port, server.grpc_port = (int(listening[each].rpartition(":")[2]) for each in ("rest", "grpc"))
        server.wait_for("ready", START_TIMEOUT_S)
        server.start_seconds = time.monotonic() - began
        yield server
        server.stop()
    finally:
        process.kill()
        process.wait()
