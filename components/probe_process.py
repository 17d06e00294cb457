"""Processes of their own that probe an exported model; see `servable_probe`.

Most of what such a process does is to load TensorFlow, for which it needs no model. Where it is known that a model will
come, the process may be started ahead.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

TIMEOUT_S = 600


class _ProbeProcess:
    """A process that probes one model."""

    def __init__(self) -> None:
        # A file, since nobody reads what the process writes while it waits.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # By this process' path: `-m` would look first in the current folder, which may have other `components`.
        script = f"import sys; sys.path[:] = {sys.path!r}; from components import servable_probe; servable_probe.main()"
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
        except subprocess.TimeoutExpired:
            return [f"the model did not answer within {TIMEOUT_S} s"]
        finally:
            self.stop()
        if self._process.returncode:
            self._errors.seek(0)
            said = self._errors.read().strip()[-2000:]
            return [f"the process that loaded the model ended with {self._process.returncode}: {said}"]
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
    """
    global _ahead
    process, _ahead = _ahead or _ProbeProcess(), None
    return process.probe(model_path, low, high)
