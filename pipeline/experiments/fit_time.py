"""How long a fit takes: by the clock, and of the processor, which other work on the machine does not lengthen."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator


@dataclasses.dataclass
class FitTime:
    """Filled when the measured block ends.

    Attributes:
      seconds: wall-clock time.
      cpu_seconds: processor time of all threads of this process.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextlib.contextmanager
def timed() -> Iterator[FitTime]:
    """Measures the block."""
    spent = FitTime()
    wall, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent.seconds, spent.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
