from __future__ import annotations

import io
import pathlib
import shlex
import subprocess
import sys

from rich.console import Console

from pipeline.local.observers import LiveObserver, Observer, PlainObserver

ROOT = pathlib.Path(__file__).resolve().parents[3]


def watch(observer: Observer) -> None:
    with observer:
        observer.run_started(["Transform", "Trainer", "Pusher"])
        observer.component_started("Transform")
        observer.component_ended("Transform", "cached", 0.25)
        observer.component_started("Trainer")
        observer.component_progress("Trainer", "epoch 2/3, loss 1.14 [sic]")
        observer.component_ended("Trainer", "failed", 61.5)


def test_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    observer = PlainObserver(Console(file=stream))
    watch(observer)
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["Transform", "cached", "0.2", "s"],
        ["Trainer", "failed", "61.5", "s"],
    ]
    assert observer.ended == {"Transform": ("cached", 0.25), "Trainer": ("failed", 61.5)}


def test_a_long_component_tells_how_far_it_is() -> None:
    stream = io.StringIO()
    observer = PlainObserver(Console(file=stream))
    observer.component_started("Trainer")
    observer.component_progress("Trainer", "too soon")
    observer._last_line_at -= 60
    observer.component_progress("Trainer", "epoch 2/3, loss [1.14] :smile:")
    assert stream.getvalue() == "  Trainer: epoch 2/3, loss [1.14] :smile:\n"


def test_the_table_shows_every_component_and_its_state() -> None:
    stream = io.StringIO()
    observer = LiveObserver(Console(file=stream, force_terminal=True, width=100))
    watch(observer)
    shown = stream.getvalue()
    for part in ("Transform", "cached", "Trainer", "failed", "61.5 s", "Pusher", "waiting"):
        assert part in shown
    assert observer.ended["Trainer"] == ("failed", 61.5)


def test_progress_on_a_terminal_is_no_markup() -> None:
    stream = io.StringIO()
    with LiveObserver(Console(file=stream, force_terminal=True, width=100)) as observer:
        observer.run_started(["Trainer"])
        observer.component_started("Trainer")
        observer.component_progress("Trainer", "loss [local], a[/b]c")
    assert "loss [local], a[/b]c" in stream.getvalue()


def test_a_run_whose_lines_nobody_reads_goes_on() -> None:
    """As `run | head -1` does, in a process of its own, since standard output is."""
    code = (
        "import sys\n"
        "from pipeline.local.observers import PlainObserver, terminal\n"
        "observer = PlainObserver(terminal())\n"
        "for number in range(5_000):\n"
        "    observer.component_ended(str(number), 'done', 0.0)\n"
        "print(len(observer.ended), file=sys.stderr)\n"
    )
    command = f"{shlex.join([sys.executable, '-c', code])} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "5000\n")
