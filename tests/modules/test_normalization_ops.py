"""The graph's normalization against that of Python."""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.normalization import normalize
from modules.normalization_ops import BLANKS, LINE_BREAKS, normalize_tensor

CHARACTERS = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if not 0xD800 <= code < 0xE000 and not 0xFDD0 <= code < 0xFDF0 and code & 0xFFFE != 0xFFFE
]
MARKS = [each for each in CHARACTERS if unicodedata.combining(each)]
# What a character of form C is made of, where it is made of two.
PAIRS = [
    "".join(chr(int(code, 16)) for code in unicodedata.decomposition(each).split())
    for each in CHARACTERS
    if unicodedata.decomposition(each)[:1] not in ("", "<") and unicodedata.is_normalized("NFC", each)
]


def check(texts: list[str]) -> None:
    answers = [answer.decode() for answer in normalize_tensor(tf.constant(texts, tf.string)).numpy()]
    differ = [(text, answer) for text, answer in zip(texts, answers, strict=True) if answer != normalize(text)]
    assert not differ


@pytest.mark.parametrize("pattern", ["{}", "e{}\u0301"])
def test_every_character(pattern: str) -> None:
    check([pattern.format(each) for each in CHARACTERS])


def test_the_classes_are_those_of_python() -> None:
    everything = "".join(CHARACTERS)
    assert re.findall(f"[{BLANKS}]", everything) == [each for each in CHARACTERS if each.isspace()]
    breaks = [each for each in everything if len(f".{each}.".splitlines()) == 2]
    assert re.findall(f"[{LINE_BREAKS}]", everything) == breaks


def test_every_pair_that_composes_and_those_that_something_blocks() -> None:
    assert len(PAIRS) > 900
    between = ["", "\u0334", "\u0323", "\u0301", "\u0345", "a", "\u200d", " ", "\n", "\x00"]
    check([f"{pair[0]}{each}{pair[1]}" for pair in PAIRS for each in between])
    check([f"{pair}{pair[1]}\u0323{pair[1]}" for pair in PAIRS])
    check([first + second for first in {pair[0] for pair in PAIRS} for second in {pair[1] for pair in PAIRS}])


def test_marks_of_all_classes_in_any_order() -> None:
    # One mark of each combining class is enough for the order, and those with which letters compose.
    by_class = {unicodedata.combining(each): each for each in MARKS}
    check([f"a{one}{other}e" for one, other in itertools.product(by_class.values(), repeat=2)])
    check(["o" + "".join(each) for each in itertools.permutations("\u0323\u0302\u0301\u031b\u0328")])
    check(["".join(reversed(by_class.values())) * 3])


def test_every_syllable_of_hangul() -> None:
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4)]
    check([unicodedata.normalize("NFD", each) for each in syllables])
    check([f"{each}\u11a8" for each in syllables])
    # With the neighbours of each row of letters.
    codes = itertools.chain(range(0x10FF, 0x1114), range(0x1160, 0x1177), range(0x11A6, 0x11C4))
    jamo = [chr(code) for code in codes]
    check(["".join(each) for each in itertools.product(jamo, repeat=2)])


COMPOSING = st.sampled_from([*"aeo \n\u212b\u0958\ufb1d\u0344\U0001d15e", *sorted({*"".join(PAIRS)})])
ASSIGNED = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.lists(st.text(st.one_of(ASSIGNED, COMPOSING, st.sampled_from(MARKS))), max_size=50)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_random_texts(texts: list[str]) -> None:
    check(texts)


@pytest.mark.parametrize(
    "text",
    [
        b"a\xff e\xcc\x81 ",
        b" \xe2\x82",
        b"\xed\xa0\x80e\xcc\x81\n",
        b"\xc0\x80e\xcc\x81",
        b"\xf4\x90\x80\x80\n",
        b"\xef\xbf\xbe\n",
    ],
)
def test_what_is_no_text_stays_as_it_is_and_harms_nothing_beside_it(text: bytes) -> None:
    for batch, expected in (
        ([text], [text]),
        ([b"e\xcc\x81", text, b" a"], [b"\xc3\xa9", text, b"a"]),
    ):
        assert normalize_tensor(tf.constant(batch)).numpy().tolist() == expected


def test_no_texts() -> None:
    assert normalize_tensor(tf.constant([], tf.string)).shape == (0,)
