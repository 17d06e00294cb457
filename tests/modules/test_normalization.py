"""One spelling of ids and titles, in Python."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.normalization import normalize
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Argo (2012) ", "Argo (2012)"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("\t\u3000Cafe\u0301\u00a0\n", "Caf\u00e9"),
        # Blanks without a line break stay inside; with one, the whole run is one blank.
        ("a \t\u00a0 b", "a \t\u00a0 b"),
        ("a \t\r\n\n \u2003b", "a b"),
        ("a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\rj", "a b c d e f g h i j"),
        # A unit separator is blank, and no line break; a zero-width space and a NUL are neither.
        ("\x1fa\x1fb\x1f", "a\x1fb"),
        ("\u200ba\x00", "\u200ba\x00"),
        # A mark after a blank, or at the start, composes with nothing.
        ("e\n\u0301", "e \u0301"),
        (" \u0301e", "\u0301e"),
        # The angstrom sign; a composition that form C excludes.
        ("\u212b \u0958", "\u00c5 \u0915\u093c"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_cases(text: str, expected: str) -> None:
    assert normalize(text) == expected


TEXTS = st.text(st.sampled_from("ae\u00e9\u0301\u0323\u1100\u1161\u212b \t\n\r\x1c\x1f\x85\u00a0\u2000\u2028\u3000"))


@given(TEXTS)
def test_it_is_the_rule_as_regular_expressions_have_it_and_once_is_enough(text: str) -> None:
    one_line = re.sub(r"\s*[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*", " ", unicodedata.normalize("NFC", text))
    expected = re.sub(r"\A\s+|\s+\Z", "", one_line)
    assert normalize(text) == expected
    assert normalize(expected) == expected


def test_a_long_run_of_blanks_takes_no_longer_than_other_text() -> None:
    assert normalize("a" + " " * 1_000_000 + "b\n") == "a" + " " * 1_000_000 + "b"


def test_the_tables_have_it_without_tensorflow() -> None:
    script = "import sys, data.rejects; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
