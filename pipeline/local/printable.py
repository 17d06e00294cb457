"""Text for a terminal, which obeys some characters instead of showing them."""

from __future__ import annotations

import unicodedata

# Controls, halves of characters, and breaks of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# These change the direction of all that follows.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, *, keep: str = "") -> str:
    r"""A text in which a terminal obeys nothing: what it would is escaped, such as ESC as `\x1b`.

    Args:
      text: any text, such as a title.
      keep: characters that stay as they are, such as the line breaks of a message.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each in keep or not _is_obeyed(each) else ascii(each)[1:-1] for each in text)


def _is_obeyed(character: str) -> bool:
    return character in _DIRECTIONS or unicodedata.category(character) in _OBEYED
