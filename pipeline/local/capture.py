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
    with open(path, "a", encoding="utf-8") as file, contextlib.ExitStack() as stack:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter(FORMAT))
        root = logging.getLogger()
        stack.callback(_restore, root, root.level, root.handlers[:])
        root.handlers = [*root.handlers, handler] if also_on_terminal else [handler]
        root.setLevel(logging.INFO)
        if not also_on_terminal:
            stack.enter_context(_redirected(file.fileno()))
            stack.enter_context(contextlib.redirect_stdout(file))
            stack.enter_context(contextlib.redirect_stderr(file))
        yield


def _restore(logger: logging.Logger, level: int, handlers: list[logging.Handler]) -> None:
    logger.setLevel(level)
    logger.handlers = handlers


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
