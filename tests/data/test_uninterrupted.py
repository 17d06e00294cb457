"""An interrupt within an import comes when it is done."""

from __future__ import annotations

import builtins
import signal
import threading
import types
from collections.abc import Iterator

import pytest

from data import uninterrupted


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """As in a shell's foreground, wherever the tests run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupt_twice(passed: list[str]) -> None:
    with uninterrupted.put_off():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        passed.append("both")


def test_an_interrupt_comes_at_the_end() -> None:
    passed: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(passed)
    assert passed == ["both"]


def test_the_interrupt_of_a_block_that_fails_comes_all_the_same() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, uninterrupted.put_off():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ImportError("no such module")
    assert isinstance(raised.value.__context__, ImportError)


def test_pandas_is_loaded_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], builtins.__import__

    def interrupted(name: str, *given: object) -> types.ModuleType:
        if name == "pandas":
            signal.raise_signal(signal.SIGINT)
            loaded.append(name)
        return load(name, *given)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        uninterrupted.load_pandas()
    assert loaded


def test_without_an_interrupt_nothing_comes() -> None:
    passed = []
    with uninterrupted.put_off():
        passed.append(signal.getsignal(signal.SIGINT) is not signal.default_int_handler)
    assert passed == [True]


def test_ignored_interrupts_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted.put_off():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_threads_change_nothing() -> None:
    seen = []

    def look() -> None:
        with uninterrupted.put_off():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
