"""`modules.normalization.normalize` as TensorFlow operations, for Transform's graph and so for every exported model.

TensorFlow itself has no normal forms, and TensorFlow Text's are operations that TensorFlow Serving does not have. Form
C is here the algorithm of Unicode Standard Annex #15: decompose, sort marks by their combining classes, compose. Its
tables are those of the `unicodedata` of the Python that traces the graph, and so is its version of Unicode.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Inside a class of a regular expression, of Python as of RE2: the line breaks of `str.splitlines`, the blanks of
# `str.isspace`.
LINE_BREAKS = "\n\v\f\r\x1c-\x1e\x85\u2028\u2029"
BLANKS = "\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

_CODE_POINTS = sys.maxunicode + 1
# No code point behind these has a decomposition or a combining class.
_CODES = range(0x30000)
# Surrogates are no UTF-8, and TensorFlow writes no noncharacters.
_NO_CHARACTERS = (
    *range(0xD800, 0xE000),
    *range(0xFDD0, 0xFDF0),
    *(plane + last for plane in range(0, _CODE_POINTS, 0x10000) for last in (0xFFFE, 0xFFFF)),
)
# Hangul syllables are composed by arithmetic: of a leading consonant, a vowel and perhaps a trailing consonant.
_LEADING, _VOWELS, _TRAILING, _SYLLABLES = (
    range(0x1100, 0x1113),
    range(0x1161, 0x1176),
    range(0x11A8, 0x11C3),
    range(0xAC00, 0xD7A4),
)
_SYLLABLES_A_VOWEL = len(_TRAILING) + 1


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def normalize_tensor(texts: tf.Tensor) -> tf.Tensor:
    """The one spelling of ids or titles, as `normalize` has it.

    Texts that cannot change, such as nearly all of a European catalogue, cost one look. The others are spelled anew,
    each distinct one once.

    Args:
      texts: string [batch], UTF-8. What is not UTF-8, or holds one of Unicode's noncharacters, stays as it is.

    Returns:
      string [batch].
    """
    plain = tf.strings.regex_full_match(texts, _plain_pattern())
    return tf.cond(tf.reduce_all(plain), lambda: texts, lambda: _respelled(texts, tf.where(~plain)))


def _respelled(texts: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """The texts, string [batch], with those at some positions, int64 [n, 1], normalized."""
    distinct, index = tf.unique(tf.gather_nd(texts, positions))
    valid = tf.strings.regex_full_match(distinct, f"[{_class_without(*_NO_CHARACTERS)}]*")
    one_line = tf.strings.regex_replace(tf.where(valid, distinct, ""), f"[{BLANKS}]*[{LINE_BREAKS}][{BLANKS}]*", " ")
    stripped = tf.strings.regex_replace(one_line, f"^[{BLANKS}]+|[{BLANKS}]+$", "")
    # One text of all of them: no line break is left in any, and none composes with what stands beside it.
    codes = tf.strings.unicode_decode(tf.strings.reduce_join("\n" + stripped), "UTF-8")
    joined = tf.strings.unicode_encode(_composed(_ordered(_decomposed(codes))), "UTF-8")
    spelled = tf.strings.split([joined], "\n").values[1:]
    return tf.tensor_scatter_nd_update(texts, positions, tf.gather(tf.where(valid, spelled, distinct), index))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tables:
    """What Unicode says of code points, but for Hangul syllables.

    Attributes:
      decomposed: full canonical decomposition of each code point that has one.
      composed: the code point that a pair is composed to.
      joining: combining class of what may join the code points before it: marks (above 0), and starters (0) that stand
        second in a pair.
    """

    decomposed: dict[int, list[int]]
    composed: dict[tuple[int, int], int]
    joining: dict[int, int]


@functools.cache
def _tables() -> _Tables:
    decomposed: dict[int, list[int]] = {}
    composed: dict[tuple[int, int], int] = {}
    joining = dict.fromkeys((*_VOWELS, *_TRAILING), 0)
    for code in _CODES:
        character = chr(code)
        combining_class, mapping = unicodedata.combining(character), unicodedata.decomposition(character)
        if combining_class:
            joining[code] = combining_class
        if mapping and not mapping.startswith("<"):
            decomposed[code] = [ord(each) for each in unicodedata.normalize("NFD", character)]
            if unicodedata.is_normalized("NFC", character):
                first, second = (int(each, 16) for each in mapping.split())
                composed[first, second] = code
                joining[second] = unicodedata.combining(chr(second))
    return _Tables(decomposed=decomposed, composed=composed, joining=joining)


@functools.cache
def _plain_pattern() -> str:
    """Matches UTF-8 without line breaks, blanks at the ends, and whatever form C might change."""
    tables = _tables()
    unstable = [code for code in tables.decomposed if not unicodedata.is_normalized("NFC", chr(code))]
    assigned = "".join(map(chr, _CODES))
    breaks, blanks = ([ord(each) for each in re.findall(f"[{those}]", assigned)] for those in (LINE_BREAKS, BLANKS))
    inside = _class_without(*_NO_CHARACTERS, *unstable, *tables.joining, *breaks)
    ends = _class_without(*_NO_CHARACTERS, *unstable, *tables.joining, *blanks)
    return f"(?:[{ends}](?:[{inside}]*[{ends}])?)?"


def _class_without(*codes: int) -> str:
    """The inside of a class of RE2's, of all code points but these."""
    left = np.delete(np.arange(_CODE_POINTS), codes)
    runs = np.split(left, np.flatnonzero(np.diff(left) > 1) + 1)
    return "".join(rf"\x{{{run[0]:x}}}-\x{{{run[-1]:x}}}" for run in runs)


def _decomposed(codes: tf.Tensor) -> tf.Tensor:
    """The full canonical decompositions, int32 [m], of code points, int32 [n]; Hangul syllables stay whole."""
    keys, decompositions = zip(*sorted(_tables().decomposed.items()), strict=True)
    width = max(map(len, decompositions))
    padded = np.array([each + [-1] * (width - len(each)) for each in decompositions])
    row, found = _find(keys, codes)
    alone = tf.pad(codes[:, tf.newaxis], [[0, 0], [0, width - 1]], constant_values=-1)
    parts = tf.where(found[:, tf.newaxis], tf.gather(tf.constant(padded, tf.int32), row), alone)
    return tf.boolean_mask(parts, parts >= 0)


def _ordered(codes: tf.Tensor) -> tf.Tensor:
    """Code points, int32 [n], with the marks between two starters in the order of their combining classes."""
    _, classes = _joining(codes)
    starters = tf.cumsum(tf.cast(classes == 0, tf.int64))
    return tf.gather(codes, tf.argsort(starters * 256 + tf.cast(classes, tf.int64), stable=True))


def _composed(codes: tf.Tensor) -> tf.Tensor:
    """Canonical composition: int32 [m] of decomposed code points, int32 [n], that begin with a starter."""

    def compose_once(codes: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The first pair of each cluster: a starter that joins nothing before it, and what follows up to the next one.
        # What is composed in one cluster means nothing to another, and later pairs of a cluster build on earlier ones.
        joins, classes = _joining(codes)
        starters = tf.where(classes == 0)[:, 0]
        starter = tf.gather(starters, tf.cumsum(tf.cast(classes == 0, tf.int64), exclusive=True)[1:] - 1)
        followed = classes[:-1]
        blocked = (followed > 0) & (followed >= classes[1:])
        composite, exists = _composite(tf.gather(codes, starter), codes[1:])
        pairs = tf.where(exists & ~blocked)[:, 0]
        clusters = tf.gather(tf.cumsum(tf.cast(~joins, tf.int64))[1:], pairs)
        first = tf.boolean_mask(pairs, tf.concat([[0], clusters], 0)[:-1] != clusters)
        codes = tf.tensor_scatter_nd_update(
            codes, tf.gather(starter, first)[:, tf.newaxis], tf.gather(composite, first)
        )
        gone = tf.scatter_nd(first[:, tf.newaxis] + 1, tf.ones_like(first), tf.shape(codes, tf.int64))
        return tf.boolean_mask(codes, gone == 0), tf.size(first) > 0

    codes, _ = tf.while_loop(
        lambda _, more: more, compose_once, (codes, True), shape_invariants=(tf.TensorShape([None]), tf.TensorShape([]))
    )
    return codes


def _composite(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What pairs of code points, int32 [n] each, are composed to, int32 [n], and whether they are, bool [n]."""
    table = _tables().composed
    keys = sorted(table)
    row, found = _find(
        [one * _CODE_POINTS + other for one, other in keys],
        tf.cast(first, tf.int64) * _CODE_POINTS + tf.cast(second, tf.int64),
    )
    composite = tf.gather(tf.constant([table[key] for key in keys], tf.int32), row)
    with_vowel = _within(first, _LEADING) & _within(second, _VOWELS)
    syllable = _SYLLABLES.start + len(_VOWELS) * _SYLLABLES_A_VOWEL * (first - _LEADING.start)
    syllable += _SYLLABLES_A_VOWEL * (second - _VOWELS.start)
    open_syllable = (first - _SYLLABLES.start) % _SYLLABLES_A_VOWEL == 0
    with_trailing = _within(first, _SYLLABLES) & open_syllable & _within(second, _TRAILING)
    closed = first + second - _TRAILING.start + 1
    composite = tf.where(with_vowel, syllable, tf.where(with_trailing, closed, composite))
    return composite, found | with_vowel | with_trailing


def _within(codes: tf.Tensor, block: range) -> tf.Tensor:
    return (codes >= block.start) & (codes < block.stop)


def _joining(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether code points, int32 [n], may join what is before them, bool [n], and combining classes, int32 [n]."""
    keys, classes = zip(*sorted(_tables().joining.items()), strict=True)
    row, found = _find(keys, codes)
    return found, tf.where(found, tf.gather(tf.constant(classes, tf.int32), row), 0)


def _find(keys: Sequence[int], codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where code points or pairs, integer [n], are among sorted keys, int32 [n], and whether they are, bool [n]."""
    sorted_keys = tf.constant(keys, codes.dtype)
    row = tf.minimum(tf.searchsorted(sorted_keys, codes), len(keys) - 1)
    return row, tf.gather(sorted_keys, row) == codes
