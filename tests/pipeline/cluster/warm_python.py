"""Runs commands of `python -m`, each in a fork of one process that has imported the large libraries and run nothing.

Every container of a job imports TensorFlow, TFX and Beam first, which takes most of the time of a small one. What a
command does here is what a process of its own would do: it has the variables, the folder and the arguments that it was
given, begins at `__main__`, and leaves nothing behind for the next one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence

LIBRARIES = ("tensorflow", "apache_beam", "tensorflow_transform", "tfx.v1", "tfx.components.evaluator.constants")


class WarmPython:
    """The process; it ends with the `with` block."""

    def __init__(self, environment: Mapping[str, str], folder: pathlib.Path) -> None:
        """Starts it.

        Args:
          environment: the variables that commands see.
          folder: that they are started in.
        """
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=dict(environment), cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs `-m MODULE ARGUMENTS…`; all that it writes is in `stdout`.

        Args:
          command: the arguments of Python.

        Raises:
          ValueError: it is none of `-m`.
          RuntimeError: the process has ended.
        """
        if command[0] != "-m":
            raise ValueError(f"expected -m and a module; got {command[:2]}")
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as output:
            print(json.dumps({"arguments": command[1:], "output": output.name}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
            if not answer:
                raise RuntimeError(f"expected an exit code; the process has ended with {self._process.wait()}")
            return subprocess.CompletedProcess(list(command), json.loads(answer), output.read())

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve() -> None:
    """Runs what comes on standard input, a command a line, and answers with its exit code."""
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(_run(asked["arguments"], asked["output"]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(arguments: list[str], output: str) -> int:
    """Runs a module as the main program, in a child; its exit code."""
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = arguments
    code = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve()
