"""Progress of long work: a logger that a runner may show live and that otherwise ends in the log."""

from __future__ import annotations

import logging
import math
import time

LOGGER_NAME = "movie_ranking.progress"


def report(text: str) -> None:
    """Tells how far the work is, in a few words."""
    logging.getLogger(LOGGER_NAME).info(text)


class Pace:
    """How fast counted work goes, and how long the rest takes at that pace."""

    def __init__(self, unit: str, *, done: int = 0) -> None:
        """Starts the clock.

        Args:
          unit: what is counted, such as "sweeps"; "bytes" are shown as megabytes.
          done: how many were done before.
        """
        self._unit, self._before = unit, done
        self._began = time.monotonic()

    def skip(self, done: int) -> None:
        """So many are done, too, and took no time."""
        self._before += done

    def after(self, done: int, total: int) -> str:
        """Rate and time left, such as "12.3 sweeps/s, 0:12 left"; empty as long as nothing has been done.

        Args:
          done: how many are done by now.
          total: how many there are.
        """
        seconds = time.monotonic() - self._began
        if done <= self._before or seconds <= 0:
            return ""
        rate = (done - self._before) / seconds
        return self._rate(rate) + (f", {_clock(math.ceil((total - done) / rate))} left" if done < total else "")

    def counted(self, done: int, total: int) -> str:
        """How many are done, of how many, and what `after` says."""
        return ", ".join(filter(None, (f"{done:,}/{total:,}", self.after(done, total))))

    def _rate(self, rate: float) -> str:
        if self._unit == "bytes":
            return f"{rate / 1e6:,.1f} MB/s"
        times = ((rate, "s"), (60 * rate, "min"), (3600 * rate, "h"))
        count, time_unit = next((each for each in times if each[0] >= 1), times[-1])
        return f"{count:,.{0 if count >= 100 else 1}f} {self._unit}/{time_unit}"


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
