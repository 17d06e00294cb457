"""Commands as the harness starts them, and what it takes for a failure."""

from __future__ import annotations

import pathlib
import signal

import pytest

from pipeline.exit_codes import ExitCode
from tests.faults import commands
from tests.faults.commands import Command
from tests.faults.verdicts import Failure
from tests.faults.workshop import checked

HANG = "import threading; threading.Event().wait()"


@pytest.fixture
def start(tmp_path: pathlib.Path):
    def started(*arguments: str, changes: str = "") -> Command:
        return Command(arguments, log=tmp_path / "log", scratch=tmp_path / "scratch", changes=changes)

    return started


def test_a_command_is_the_real_one(start) -> None:
    assert "Ranks movies for users" in start("--help").wait().output
    ended = start("run", "--from", "Nowhere").wait()
    assert ended.code == ExitCode.BAD_INPUT
    assert "Nowhere" in ended.output
    assert "Ranks movies" not in ended.output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_is_killed_tells_by_which_signal(start, number: signal.Signals) -> None:
    command = start(changes=HANG)
    command.send(number, to_group=True)
    assert command.wait().code == -number
    command.send(number, to_group=True)


def test_an_interrupt_is_a_line(start) -> None:
    command = start(changes=HANG)
    command.send(signal.SIGINT, to_group=False)
    ended = checked(command.wait())
    assert (ended.code, ended.output) == (ExitCode.INTERRUPTED, "\ninterrupted; the same command resumes\n")


def test_one_that_hangs_is_a_failure(start) -> None:
    with pytest.raises(Failure, match=r"a command hung: .* it was not done"):
        start(changes=HANG).wait(idle_s=0.5)


def test_one_that_computes_on_and_on_is_a_failure(start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "HANGS_AFTER_CPU_S", 0.5)
    with pytest.raises(Failure, match=r"a command hung: .* it was not done"):
        start(changes="while True: pass").wait()


def test_one_that_leaves_a_process_behind_is_a_failure(start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ORPHANS_END_WITHIN_S", 0.1)
    with pytest.raises(Failure, match=r"left processes behind: [0-9]+ sleep"):
        start("--help", changes="import subprocess; subprocess.Popen(['sleep', '60'])").wait()


def test_a_trace_is_a_failure(start) -> None:
    with pytest.raises(Failure, match=r"a trace, with code 1: .*ZeroDivisionError"):
        checked(start(changes="1 / 0").wait())
