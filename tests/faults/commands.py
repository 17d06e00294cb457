"""The command line as a user starts it: each command a process of its own, in a process group of its own."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tests.conftest import ROOT
from tests.faults.verdicts import Failure

# A command that is not done by then hangs; the slowest takes half a minute on two cores that nobody else uses.
HANGS_AFTER_S = 600.0
# What a command has started ends soon after it.
ORPHANS_END_WITHIN_S = 30.0
TRACE = "Traceback (most recent call last)"
_LOOK_EVERY_S = 0.001
# What is interrupted while Python itself begins is Python's. A pipe is closed when that is over.
_PROGRAM = """
import os
import movie_ranking_main as program
os.close({began})
program.main()
"""
_CHANGED_PROGRAM = """
import os
import movie_ranking_main as program
from pipeline import cli
def changed():
    os.close({began})
    {changes}
    program.main()
cli.guarded(changed)
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
      code: exit code; the negative number of the signal that ended it.
      output: what it wrote to standard output and error.
      seconds: it took.
    """

    code: int
    output: str
    seconds: float

    @property
    def last_lines(self) -> str:
        return " / ".join(line for line in self.output.splitlines()[-4:] if line.strip())


class Command:
    """A command that runs."""

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        *,
        log: pathlib.Path,
        scratch: pathlib.Path,
        changes: str = "",
    ) -> None:
        """Starts it.

        Args:
          arguments: of `movie-ranking`.
          log: gets what it writes, behind what is there.
          scratch: folder of its temporary files.
          changes: a line of Python by which it is changed.
        """
        self._log = log
        scratch.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            stream.write(f"\n$ movie-ranking {' '.join(map(str, arguments))}\n".encode())
            stream.flush()
            self._start = stream.tell()
            began_for_us, began = os.pipe()
            program = (_CHANGED_PROGRAM if changes else _PROGRAM).format(began=began, changes=changes)
            environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
            self._began = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, *map(str, arguments)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[began],
            )
        os.close(began)
        with os.fdopen(began_for_us) as pipe:
            pipe.read()

    def wait_for(self, condition: Callable[[], bool], seconds: float = HANGS_AFTER_S) -> bool:
        """Waits until something holds, and says whether it does; the end of the command ends the waiting."""
        pause, deadline = threading.Event(), time.monotonic() + seconds
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                return condition()
            pause.wait(_LOOK_EVERY_S)
        return True

    def send(self, number: signal.Signals, *, to_group: bool) -> bool:
        """Sends a signal to the command, or to all that it has started, too, and says whether it still ran."""
        if self._process.poll() is not None:
            return False
        (os.killpg if to_group else os.kill)(self._process.pid, number)
        return True

    def wait(self, seconds: float = HANGS_AFTER_S) -> Ended:
        """Waits for the end of the command, and of what it has started.

        Raises:
          Failure: it hangs, or leaves processes behind; they are killed.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise Failure(f"a command hung: it was not done after {seconds:g} s") from None
        took = time.monotonic() - self._began
        pause, deadline = threading.Event(), time.monotonic() + ORPHANS_END_WITHIN_S
        while orphans := _of_session(self._process.pid):
            if time.monotonic() > deadline:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise Failure(f"a command left processes behind: {', '.join(orphans)}")
            pause.wait(0.05)
        with self._log.open("rb") as file:
            file.seek(self._start)
            return Ended(code, file.read().decode(errors="replace"), took)


def _of_session(number: int) -> list[str]:
    """The processes of a session, as their numbers and names; those that have ended do not count."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = status.read_text().rpartition(")")
        except OSError:  # it has ended meanwhile
            continue
        state, _, _, session = rest.split()[:4]
        if int(session) == number and state != "Z":
            found.append(head.replace("(", ""))
    return found
