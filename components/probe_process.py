"""Processes of their own that probe an exported model; see `pipeline.serving.servable_probe`.

Most of what such a process does is to load TensorFlow, for which it needs no model. Where it is known that a model will
come, the process may be started ahead.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile

from components.errors import ProbeError

TIMEOUT_S = 600
# Modules that are started by name, of which no import tells: `pipeline.graph.fingerprint` reads this.
STARTS = ("pipeline.serving.servable_probe",)


class _ProbeProcess:
    """A process that probes one model."""

    def __init__(self) -> None:
        # A file, since nobody reads what the process writes while it waits.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # By this process' path: `-m` would look first in the current folder, which may have other `components`.
        script = f"import importlib, sys; sys.path[:] = {sys.path!r}; importlib.import_module({STARTS[0]!r}).main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def probe(self, model_path: str, low: float, high: float) -> list[str]:
        request = json.dumps({"model": model_path, "low": low, "high": high})
        try:
            answer, _ = self._process.communicate(request, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ProbeError(
                f"expected the model to answer within {TIMEOUT_S} s; got nothing; the same command asks it again, "
                "better while the machine has less to do"
            ) from error
        finally:
            self.stop()
        code = self._process.returncode
        if code or not answer.strip():
            self._errors.seek(0)
            said = self._errors.read().strip()[-2000:]
            ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            memory = " (out of memory, perhaps)" if -code == signal.SIGKILL else ""
            raise ProbeError(
                f"expected an answer of the process that loads the model; it {ended}{memory}"
                f"{f', and wrote: {said}' if said else ''}; the same command asks it again"
            )
        return json.loads(answer.splitlines()[-1])["failures"]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


_ahead: _ProbeProcess | None = None


def start_ahead() -> None:
    """Starts the process that the next call of `probe` will use, unless one waits already."""
    global _ahead
    if _ahead is None:
        _ahead = _ProbeProcess()


def stop_ahead() -> None:
    """Stops the process that waits, if there is one."""
    global _ahead
    if _ahead is not None:
        _ahead.stop()
        _ahead = None


def probe(model_path: str, low: float, high: float) -> list[str]:
    """What does not hold of an exported model, in words; empty if it is servable.

    Args:
      model_path: folder of the SavedModel.
      low: no rating may be lower.
      high: no rating may be higher.

    Raises:
      ProbeError: the process was killed, failed, or did not answer in time.
    """
    global _ahead
    process, _ahead = _ahead or _ProbeProcess(), None
    return process.probe(model_path, low, high)
