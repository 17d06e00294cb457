"""Imports that an interrupt must not break off.

pyarrow loads pandas when it first makes an array of Python values, within compiled code, which makes something else of
an interrupt, or drops it: the command would go on, or show a trace. Here it is loaded before that.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import types
from collections.abc import Iterator


def load_pandas() -> None:
    """Loads what pyarrow will load; an interrupt comes when that is done."""
    with put_off():
        import pandas  # noqa: F401


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Has an interrupt come at the end of a block.

    Where interrupts are ignored, as in a shell's background, or in a thread, which gets none, nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, types.FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[-1])
