"""One spelling of user ids and titles: the rule, as Python has it; `modules.normalization_ops` has it as a graph."""

from __future__ import annotations

import unicodedata


def normalize(text: str) -> str:
    """The one spelling of an id or a title.

    It is in Unicode's normal form C; blanks at both ends are gone, and every run of blanks that holds a line break is
    one blank. Blanks are what `str.isspace` takes for blank, line breaks what `str.splitlines` splits at. What is
    normalized once stays as it is. Form C is that of the running Python's `unicodedata.unidata_version`: characters
    that a later version of Unicode assigns may stay as they are.
    """
    lines = map(str.strip, unicodedata.normalize("NFC", text).splitlines())
    return " ".join(line for line in lines if line)
