"""An interrupt stays one, whatever a library makes of it on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import apache_beam as beam
import pytest

from pipeline.exit_codes import ExitCode
from pipeline.local import interrupts
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """As in a shell's foreground, wherever the tests run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupt(element: int) -> int:
    signal.raise_signal(signal.SIGINT)
    return element


def run_a_job() -> None:
    options = beam.options.pipeline_options.PipelineOptions(["--direct_running_mode=in_memory"])
    with beam.Pipeline(options=options) as job:
        job | beam.Create([1]) | beam.Map(interrupt)


def test_beam_makes_another_error_of_an_interrupt() -> None:
    with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
        run_a_job()


def test_an_interrupt_within_a_job_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, interrupts.kept():
        run_a_job()
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="no disk"), interrupts.kept():
        raise RuntimeError("no disk")


def test_ignored_interrupts_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.kept():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_thread_changes_no_handler() -> None:
    seen = []

    def work() -> None:
        with interrupts.kept():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_an_interrupt_that_python_drops_comes_again() -> None:
    """Where nothing can be raised, such as in `__del__` and in callbacks of compiled modules."""
    script = (
        "import signal, threading\n"
        "from pipeline import cli\n"
        # Where the tests run in a shell's background, too.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupted:\n"
        "    def __del__(self):\n        signal.raise_signal(signal.SIGINT)\n"
        "class Faulty:\n"
        "    def __del__(self):\n        1 / 0\n"
        "def command():\n"
        "    Faulty()\n    Interrupted()\n    threading.Event().wait(60)\n"
        "cli.guarded(command)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.INTERRUPTED
    assert "ZeroDivisionError" in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
    assert done.stderr.endswith("\ninterrupted; the same command resumes\n")
