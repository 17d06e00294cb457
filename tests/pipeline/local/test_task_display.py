"""What a row of tasks shows while it runs, on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from modules import progress
from pipeline.local import task_display
from pipeline.local.capture import captured
from pipeline.local.task_display import TaskDisplay


def lines_of(file: io.StringIO) -> list[str]:
    return file.getvalue().splitlines()


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress lines come as often as there is progress."""
    monkeypatch.setattr(task_display, "PROGRESS_INTERVAL_S", 0.0)


def test_a_line_for_each_task_and_for_progress(prompt: None, tmp_path) -> None:
    file = io.StringIO()
    with TaskDisplay(Console(file=file, width=20), 4) as display:
        display.prepare("getting ready")
        display.component_started("Transform")
        display.skip(2)
        display.start("first [of] two")
        with captured(str(tmp_path / "task.log"), also_on_terminal=False):
            progress.report("epoch 1/2, a text that is longer than the console is wide")
        display.end("done [so] far :smile:")
        display.start("second")
        display.end("done")
    assert lines_of(file) == [
        "[0/4] getting ready: Transform",
        "[3/4] first [of] two: epoch 1/2, a text that is longer than the console is wide",
        "[3/4] first [of] two: done [so] far :smile:",
        "[4/4] second: done",
    ]
    assert "epoch 1/2" in (tmp_path / "task.log").read_text()


def test_progress_that_comes_fast_is_not_all_shown() -> None:
    file = io.StringIO()
    with TaskDisplay(Console(file=file), 1) as display:
        display.start("task")
        display.progress("soon")
    assert lines_of(file) == []


def test_a_terminal_shows_how_far_the_task_is() -> None:
    file = io.StringIO()
    with TaskDisplay(Console(file=file, force_terminal=True, width=80), 1) as display:
        display.start("task [a], a[/b]c:smile:\\")
        display.progress("half")
        display.end("whole")
    assert "[1/1] task [a], a[/b]c:smile:\\: half" in file.getvalue()
    assert "[1/1] task [a], a[/b]c:smile:\\: whole" in file.getvalue()


def test_how_long_all_tasks_take_is_told_by_those_that_were_done(prompt: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    file = io.StringIO()
    with TaskDisplay(Console(file=file, width=200), 5) as display:
        for taken, seconds in ((True, 0.0), (False, 20.0), (False, 40.0)):
            display.start("task")
            display.progress("on its way")
            now[0] += seconds
            display.end("done", taken=taken)
        display.start("task")
        display.progress("on its way")
    assert lines_of(file) == [
        "[1/5] task: on its way",
        "[1/5] task: done",
        "[2/5] task: on its way",
        "[2/5] task: done",
        "[3/5] task: on its way; all tasks: 3.0 tasks/min, 1:00 left",
        "[3/5] task: done",
        "[4/5] task: on its way; all tasks: 2.0 tasks/min, 1:00 left",
    ]


def test_nobody_listens_afterwards() -> None:
    logger = logging.getLogger(progress.LOGGER_NAME)
    before = list(logger.handlers)
    with TaskDisplay(Console(file=io.StringIO()), 1):
        assert logger.handlers != before
    assert logger.handlers == before
