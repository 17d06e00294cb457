"""Processes that left files behind, and whether they may still come back to them."""

from __future__ import annotations

import os


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
