"""How fast counted work goes, and how long the rest takes."""

from __future__ import annotations

import pytest

from modules import progress
from modules.progress import Pace


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("unit", "seconds", "done", "total", "said"),
    [
        ("sweeps", 2.0, 25, 100, "12.5 sweeps/s, 0:06 left"),
        ("sweeps", 8.0, 100, 100, "12.5 sweeps/s"),
        ("trials", 90.0, 2, 30, "1.3 trials/min, 21:00 left"),
        ("sweeps", 5.0, 5, 10, "1.0 sweeps/s, 0:05 left"),
        ("sweeps", 1.0, 100, 200, "100 sweeps/s, 0:01 left"),
        ("trials", 60.0, 1, 61, "1.0 trials/min, 1:00:00 left"),
        ("tasks", 3600.0, 1, 3, "1.0 tasks/h, 2:00:00 left"),
        ("tasks", 7200.0, 1, 2, "0.5 tasks/h, 2:00:00 left"),
        ("rows", 2.0, 3_000_000, 3_000_001, "1,500,000 rows/s, 0:01 left"),
        ("bytes", 2.0, 5_000_000, 10_000_000, "2.5 MB/s, 0:02 left"),
    ],
)
def test_rate_and_time_left(clock: Clock, unit: str, seconds: float, done: int, total: int, said: str) -> None:
    pace = Pace(unit)
    clock.now += seconds
    assert pace.after(done, total) == said


def test_what_was_done_before_says_nothing_of_the_rate(clock: Clock) -> None:
    pace = Pace("sweeps", done=50)
    clock.now += 10
    assert pace.after(50, 100) == ""
    assert pace.after(60, 100) == "1.0 sweeps/s, 0:40 left"
    pace.skip(5)
    assert pace.after(65, 100) == "1.0 sweeps/s, 0:35 left"


def test_counts_come_first(clock: Clock) -> None:
    pace = Pace("users")
    assert pace.counted(0, 12_000) == "0/12,000"
    clock.now += 2
    assert pace.counted(3_000, 12_000) == "3,000/12,000, 1,500 users/s, 0:06 left"


def test_no_time_gives_no_rate(clock: Clock) -> None:
    assert Pace("rows").after(5, 10) == ""
