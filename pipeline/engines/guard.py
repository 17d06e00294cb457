"""Runs a program for as long as somebody holds this process' standard input open, so that it outlives nobody.

`python guard.py FOLDER COMMAND...` starts the command in a group of processes of its own. When the command ends, or
standard input does, as it does however the holder ends, what is left of the group is ended, and the folder removed.
The standard library alone is needed, so that this starts within milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading

# What a program gets to end its workers.
GRACE_S = 10.0
STARTED = "started as process "


def main() -> int:
    """Runs the command; gives its exit code, or 128 and the number of the signal that ended it."""
    folder, command = sys.argv[1], sys.argv[2:]
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", flush=True)
        return 127
    print(f"{STARTED}{program.pid}", flush=True)
    threading.Thread(target=_end_with_holder, args=(program,), daemon=True).start()
    code = program.wait()
    _signal(program, signal.SIGKILL)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 128 - code if code < 0 else code


def _end_with_holder(program: subprocess.Popen) -> None:
    while os.read(0, 4096):
        pass
    _signal(program, signal.SIGTERM)
    try:
        program.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        program.kill()


def _signal(program: subprocess.Popen, number: int) -> None:
    """Sends a signal to a program and those that it started, as far as they are left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, number)


if __name__ == "__main__":
    sys.exit(main())
