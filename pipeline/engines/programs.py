"""Java programs of an engine: started, read, waited for, stopped."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from modules.errors import UserError
from pipeline.engines import guard

START_S = 180.0
_TOLD_LINES = 12
# What each line of an engine's own log begins with; other lines are a trace of Java's, or a worker's.
MARK = "engine"
_TRACE = re.compile(r"\s+(at|\.\.\.) |(\s*Suppressed: |Caused by: )?(java|org|io|scala|com)\.[\w.$]+|\s*$")
_COMMANDS = os.path.dirname(sys.executable)
_LOOK_S = 0.1


class Program:
    """A program in a process of its own, which ends with this process at the latest, and its workers with it.

    Attributes:
      title: what it is, for messages.
      log: file that holds all that it and its workers wrote.
    """

    def __init__(
        self,
        title: str,
        command: Sequence[str],
        *,
        log: pathlib.Path,
        ready: str,
        environment: Mapping[str, str],
        folder: pathlib.Path,
    ) -> None:
        """Starts it.

        Args:
          title: what it is, for messages.
          command: program and arguments.
          log: file for all that it and its workers write, which is read as it comes, so that none has to wait.
          ready: regular expression of what it writes once it is ready; the group in it is what `wait` gives.
          environment: variables beside those of this process.
          folder: of its own, in which it works; removed once it has ended.
        """
        self.title, self.log, self._ready = title, log, re.compile(ready)
        self._pid: int | None = None
        self._found: str | None = None
        self._tail: collections.deque[str] = collections.deque(maxlen=_TOLD_LINES)
        self._workers_tail: collections.deque[str] = collections.deque(maxlen=_TOLD_LINES)
        self._news = threading.Condition()
        for place in (folder, log.parent):
            place.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(guard.__file__), str(folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            # An engine starts workers by the name of a command of this installation.
            env={**os.environ, "PATH": os.pathsep.join([_COMMANDS, os.environ.get("PATH", os.defpath)]), **environment},
        )
        self._reader = threading.Thread(target=self._read, name=title, daemon=True)
        self._reader.start()

    def wait(self, timeout_s: float = START_S) -> str:
        """Waits until it is ready, and gives what it wrote of that.

        Raises:
          UserError: it ended, or took too long.
        """
        deadline = time.monotonic() + timeout_s
        with self._news:
            while self._found is None and self.runs and time.monotonic() < deadline:
                self._news.wait(_LOOK_S)
            found = self._found
        if found is None:
            got = "nothing of that" if self.runs else f"its end, with {self._guard.wait()}"
            raise UserError(
                f"expected {self.title} to be ready within {timeout_s:.0f} s; got {got}; its last words: "
                f"{self.last_words() or 'none'}"
            )
        return found

    @property
    def pid(self) -> int:
        """The number of the program's process, once it is ready."""
        if self._pid is None:
            raise RuntimeError(f"{self.title} has not started yet")
        return self._pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._reader.is_alive()

    def last_words(self) -> str:
        """The last lines that it wrote."""
        with self._news:
            return "\n".join(self._tail)

    def workers_last_words(self) -> str:
        """The last lines that its workers wrote, of what they did not send to the engine's log."""
        with self._news:
            return "\n".join(self._workers_tail)

    def stop(self) -> None:
        """Ends it, and what it started; waits for that."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        self._reader.join()

    def _read(self) -> None:
        output = self._guard.stdout
        if output is None:
            raise RuntimeError("expected a pipe")
        with self.log.open("ab", buffering=0) as file:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                if self._pid is None and text.startswith(guard.STARTED):
                    self._pid = int(text.removeprefix(guard.STARTED))
                    continue
                file.write(line)
                with self._news:
                    self._tail.append(text)
                    if not text.startswith(MARK) and not _TRACE.match(text):
                        self._workers_tail.append(text)
                    if self._found is None and (match := self._ready.search(text)):
                        self._found = match[1]
                        self._news.notify_all()
