"""One command at a time on one output folder."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from data import synthetic
from pipeline import cli
from pipeline.exit_codes import ExitCode
from pipeline.local import output_lock
from tests.conftest import ROOT

HOLD = """
import sys
from pipeline.local import output_lock
with output_lock.held(sys.argv[1], "tune"):
    print(flush=True)
    input()
"""


@contextlib.contextmanager
def another(folder: pathlib.Path) -> Iterator[subprocess.Popen]:
    """A process that holds the folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_second_holder_is_refused_and_told_who_and_since_when(tmp_path: pathlib.Path) -> None:
    with another(tmp_path) as process:
        with pytest.raises(output_lock.BusyError) as refused, output_lock.held(str(tmp_path), "run"):
            pass
        said = str(refused.value)
    assert said.startswith(f"{tmp_path} is in use by `movie-ranking tune`, process {process.pid}, since 20")
    assert "--wait" in said


def test_a_killed_holder_holds_nothing(tmp_path: pathlib.Path) -> None:
    with another(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with output_lock.held(str(tmp_path), "run"):
            assert f"process {os.getpid()}" in (tmp_path / output_lock.LOCK_FILE).read_text()


def test_a_second_holder_may_wait(tmp_path: pathlib.Path) -> None:
    told: list[str] = []
    with another(tmp_path) as process:

        def end(holder: str) -> None:
            told.append(holder)
            threading.Timer(0.2, process.kill).start()

        with output_lock.held(str(tmp_path), "run", wait=end):
            assert process.wait() == -signal.SIGKILL
    assert f"process {process.pid}" in told[0]


@pytest.mark.parametrize("command", ["run", "tune"])
def test_commands_end_with_the_documented_code(tmp_path: pathlib.Path, capfd, command: str) -> None:
    data, output = tmp_path / "ratings", tmp_path / "output"
    synthetic.write(data, rows=100, users=10, titles=20, seed=1)
    output.mkdir()
    with another(output), pytest.raises(SystemExit) as ended:
        cli.main([command, "--data", str(data), "--output", str(output)])
    assert ended.value.code == ExitCode.BUSY
    assert f"{output} is in use by `movie-ranking tune`" in capfd.readouterr().err
    assert not (output / "metadata.sqlite").exists()
