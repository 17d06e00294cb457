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

# A command hangs that has used so much of a processor, or neither used any nor waited for one for so long. How long
# it takes says nothing: others may use the machine.
HANGS_AFTER_CPU_S = 400.0
HANGS_AFTER_IDLE_S = 200.0
# What a command has started ends soon after it.
ORPHANS_END_WITHIN_S = 30.0
TRACE = "Traceback (most recent call last)"
_LOOK_EVERY_S = 0.001
# What is waited for may never come.
_LONGEST_S = 900.0
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
                # What a shell starts in its background ignores interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        os.close(began)
        with os.fdopen(began_for_us) as pipe:
            pipe.read()

    def wait_for(self, condition: Callable[[], bool], seconds: float = _LONGEST_S) -> None:
        """Waits until something holds, or the command has ended, or some time has passed."""
        pause, deadline = threading.Event(), time.monotonic() + seconds
        while not condition() and self._process.poll() is None and time.monotonic() < deadline:
            pause.wait(_LOOK_EVERY_S)

    def send(self, number: signal.Signals, *, to_group: bool) -> bool:
        """Sends a signal to the command, or to all that it has started, too, and says whether it still ran."""
        if self._process.poll() is not None:
            return False
        (os.killpg if to_group else os.kill)(self._process.pid, number)
        return True

    def wait(self, idle_s: float = HANGS_AFTER_IDLE_S) -> Ended:
        """Waits for the end of the command, and of what it has started.

        Args:
          idle_s: after which a command hangs that uses no processor and waits for none.

        Raises:
          Failure: it hangs, or leaves processes behind; they are killed.
        """
        used, since = 0.0, time.monotonic()
        while (code := self._ended_within(min(1.0, idle_s))) is None:
            session = _of_session(self._process.pid)
            before, used = used, sum(each.cpu_s for each in session)
            if used != before or any(each.state in "RD" for each in session):
                since = time.monotonic()
            if used > HANGS_AFTER_CPU_S or time.monotonic() - since > idle_s:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
                raise Failure(
                    f"a command hung: after {time.monotonic() - self._began:.0f} s, {used:.0f} s of a processor, and "
                    f"{time.monotonic() - since:.0f} s without any, it was not done"
                )
        took = time.monotonic() - self._began
        pause, deadline = threading.Event(), time.monotonic() + ORPHANS_END_WITHIN_S
        while orphans := _of_session(self._process.pid):
            if time.monotonic() > deadline:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise Failure(f"a command left processes behind: {', '.join(each.name for each in orphans)}")
            pause.wait(0.05)
        with self._log.open("rb") as file:
            file.seek(self._start)
            return Ended(code, file.read().decode(errors="replace"), took)

    def _ended_within(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


@dataclasses.dataclass(frozen=True)
class _Process:
    """A process: its number and name, its state as in `man 5 proc`, and the seconds of a processor that it has used."""

    name: str
    state: str
    cpu_s: float


def _of_session(number: int) -> list[_Process]:
    """The processes of a session; those that have ended do not count."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = status.read_text().rpartition(")")
        except OSError:  # it has ended meanwhile
            continue
        fields = rest.split()
        if int(fields[3]) == number and fields[0] != "Z":
            ticks = int(fields[11]) + int(fields[12])
            found.append(_Process(head.replace("(", ""), fields[0], ticks / os.sysconf("SC_CLK_TCK")))
    return found
