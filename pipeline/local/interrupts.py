"""Interrupts that come back as other errors: what is raised within a job of Beam ends it as a RuntimeError."""

from __future__ import annotations

import contextlib
import signal
import threading
import types
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Ends with KeyboardInterrupt, whatever error a block ends with, once the user has interrupted it.

    Where interrupts are ignored, as in a shell's background, or in a thread, which gets none, nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def note(number: int, frame: types.FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
