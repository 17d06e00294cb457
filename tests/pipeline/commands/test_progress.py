"""Progress of commands: a bar on a terminal, plain lines elsewhere, both with rate and time left."""

from __future__ import annotations

import os
import pathlib
import pty
import re
import subprocess
import sys

import pytest

from data import synthetic
from modules import progress as paces
from pipeline.commands import progress as shown
from tests.conftest import ROOT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of all clocks, as one number in a list."""
    now = [0.0]
    monkeypatch.setattr(paces.time, "monotonic", lambda: now[0])
    return now


def test_lines_say_how_fast_it_goes_and_how_long_it_takes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.reported() as progress:
        for done in range(0, 101, 20):
            progress("reading ratings.csv", done * 1_000_000, 100_000_000, "bytes")
            clock[0] += 2.0
    assert capsys.readouterr().err.splitlines() == ["reading ratings.csv: 60 %, 10.0 MB/s, 0:04 left"]


def test_what_has_not_moved_has_no_rate(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with shown.reported() as progress:
        clock[0] = 9.0
        progress("downloading with pip", 0, 1, "files")
    assert capsys.readouterr().err == "downloading with pip: 0 %\n"


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=400_000, users=2_000, titles=500, seed=1)
    return folder


def prepare(ratings: pathlib.Path, destination: pathlib.Path, stderr: int) -> None:
    words = ["data", "prepare", str(ratings), "--destination", str(destination)]
    script = f"from pipeline.cli import main; main({words!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=stderr, timeout=300
    )
    assert done.returncode == 0


@pytest.mark.slow
def test_a_terminal_has_a_bar(ratings: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        prepare(ratings, tmp_path / "made", theirs)
        os.close(theirs)
        text = b"".join(iter(lambda: _read(terminal), b"")).decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"reading ratings\.csv .*%", plain)
    assert re.search(r"writing ratings\.csv .*%", plain)
    assert re.search(r"[\d.,]+ MB/s", plain)


def _read(terminal: object) -> bytes:
    """What a terminal was sent; nothing once nobody can send any more."""
    try:
        return terminal.read(1 << 16)  # type: ignore[attr-defined]
    except OSError:
        return b""


@pytest.mark.slow
def test_a_pipe_has_no_control_characters(ratings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with (tmp_path / "err").open("wb") as file:
        prepare(ratings, tmp_path / "made", file.fileno())
    assert b"\x1b" not in (tmp_path / "err").read_bytes()
