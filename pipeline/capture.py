"""Keeps what a component writes, from Python and from C++, in a log file of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextlib.contextmanager
def captured(path: str, *, also_on_terminal: bool) -> Iterator[None]:
    """Sends standard output, standard error and logging to the end of a file.

    Args:
      path: the file; its folder is made.
      also_on_terminal: leave the streams alone, and only copy what goes through logging to the file.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    root = logging.getLogger()
    level, others = root.level, [] if also_on_terminal else root.handlers[:]
    with open(path, "a", encoding="utf-8") as file, contextlib.ExitStack() as stack:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
        for other in others:
            root.removeHandler(other)
            stack.callback(root.addHandler, other)
        root.setLevel(logging.INFO)
        stack.callback(root.setLevel, level)
        stack.callback(root.removeHandler, handler)
        if not also_on_terminal:
            stack.enter_context(_redirected(file.fileno()))
        yield


@contextlib.contextmanager
def _redirected(target: int) -> Iterator[None]:
    """Points the file descriptors 1 and 2 at another one, so that C++ code is caught too."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in saved:
            os.dup2(target, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
