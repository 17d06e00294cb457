"""Text of which a terminal obeys nothing."""

from __future__ import annotations

import pytest

from pipeline.local.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Heat (1995)", "Heat (1995)"),
        ("Amélie 千 e\u0301 \xa0 \u200d", "Amélie 千 e\u0301 \xa0 \u200d"),
        ("\x1b[31mRed\x1b[0m", r"\x1b[31mRed\x1b[0m"),
        ("\x9b31m\x07\x7f\t", r"\x9b31m\x07\x7f\t"),
        ("a\nb\rc", r"a\nb\rc"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\u2028\u2029\udc80", r"\u2028\u2029\udc80"),
    ],
)
def test_what_would_be_obeyed_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_message_keeps_its_lines() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
