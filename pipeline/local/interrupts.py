"""Interrupts that come back as other errors, as what is raised within a job of Beam does, or that Python drops."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator

_AGAIN_AFTER_S = 0.01


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


def come_again(unraisable: sys.UnraisableHookArgs) -> None:
    """For `sys.unraisablehook`: what interrupts code that can raise nothing, as in compiled modules, comes once more.

    Python would show a trace there and go on as if nobody had interrupted it.
    """
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    # At once, it would be in the same place.
    later = threading.Timer(_AGAIN_AFTER_S, os.kill, (os.getpid(), signal.SIGINT))
    later.daemon = True
    later.start()
