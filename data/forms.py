"""The form of a text file of ratings of one's own: what separates its fields, where its rows start, what they name."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
import statistics
from collections.abc import Collection, Sequence

from data import kinds
from data.choices import Choices
from data.errors import LayoutError
from data.rejects import shown
from data.tables import header_of, lines_of, parse_record

# What separates fields, by its name in messages.
SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|", "two colons": "::"}
_EXCEL = re.compile(r'"?sep=(.)"?\r?\n')
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_SAMPLE_ROWS = 100
_SHOWN_FIELDS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """How rows are written.

    Attributes:
      separator: what stands between fields.
      names: of the columns; empty where there is no header.
      width: fields in a row.
      head: lines before the first row.
      sample: some rows of the start, where they could be parsed.
    """

    separator: str
    names: tuple[str, ...]
    width: int
    head: int
    sample: tuple[tuple[str, ...], ...]

    @property
    def separated_by(self) -> str:
        """The separator in words, such as "tab"."""
        return separator_name(self.separator)


def separator_name(separator: str) -> str:
    """A separator in words, such as "tab"."""
    return next((name for name, each in SEPARATORS.items() if each == separator), repr(separator))


def separator_of(text: str) -> str:
    r"""The separator that a user names, by itself, in words, or as `\t`.

    Raises:
      LayoutError: it is none.
    """
    separator = {**SEPARATORS, r"\t": "\t"}.get(text, text)
    if separator not in SEPARATORS.values() and (
        len(separator) != 1 or separator in '"\r\n' or not separator.isascii()
    ):
        raise LayoutError(
            f"expected a separator of one ASCII character, `::`, or one of {', '.join(SEPARATORS)}; got {text!r}"
        )
    return separator


def find(start: bytes, name: str, choices: Choices, wanted: Collection[str]) -> Form:
    """Finds out how the rows of a file are written.

    The separator is the one under which the header names most of the wanted columns, and of those the one with most
    fields; without a header, the one under which the first rows agree on the most fields.

    Args:
      start: UTF-8 that the file starts with.
      name: of the file, in messages.
      choices: what the user knows of it.
      wanted: names of columns that are looked for.

    Raises:
      LayoutError: there is no header where one is expected, or it looks like data.
    """
    text = lines_of(start)
    skipped = 0
    asked = None if choices.separator is None else separator_of(choices.separator)
    excel = _EXCEL.match(text.getvalue())
    if excel:
        asked = asked or excel[1]
        skipped = 1
    body = text.getvalue()[excel.end() if excel else 0 :]
    forms: list[Form] = []
    problems: list[LayoutError] = []
    for separator in [asked] if asked else SEPARATORS.values():
        try:
            forms.append(_form(body, name, separator, choices, skipped))
        except LayoutError as problem:
            problems.append(problem)
    if problems and not any(set(form.names).intersection(wanted) for form in forms):
        raise problems[0]
    if choices.header is False:
        return max(forms, key=lambda form: (_agreeing(form), form.width))
    form = max(forms, key=lambda form: (len(set(form.names).intersection(wanted)), form.width))
    if choices.header is None:
        _refuse_data(form, name, wanted)
    return form


def _form(body: str, name: str, separator: str, choices: Choices, skipped: int) -> Form:
    lines = lines_of(body.encode("utf-8", "surrogateescape"))
    quoted = choices.quotes and len(separator) == 1
    names: list[str] = []
    head = 0
    if choices.header is not False:
        names, head = header_of(lines, name, separator, choices.escape, quoted=quoted)
    rows = []
    for _ in range(_SAMPLE_ROWS):
        try:
            row = parse_record(lines, separator, choices.escape, quoted=quoted)
        except csv.Error:  # judged when the rows are read; the sample ends here
            break
        if not row:
            break
        rows.append(tuple(row))
    # The last row may be cut where the sample ends.
    sample = tuple(rows[:-1] if len(rows) > 1 else rows)
    return Form(
        separator=separator,
        names=tuple(names),
        width=len(names) or statistics.mode([len(row) for row in sample] or [0]),
        head=head + skipped,
        sample=sample,
    )


def _agreeing(form: Form) -> int:
    return sum(len(row) == form.width > 1 for row in form.sample)


def _refuse_data(form: Form, name: str, wanted: Collection[str]) -> None:
    """Refuses a header of which a wanted name, or most names, are numbers."""
    numbers = [each for each in form.names if _NUMBER.fullmatch(each)]
    if not numbers or (not set(numbers).intersection(wanted) and 2 * len(numbers) <= len(form.names)):
        return
    has_names = form.names[0] not in numbers
    kinds.refuse_matrix(
        form.names if has_names else (),
        form.sample if has_names else (form.names, *form.sample),
        name,
        form.separator,
    )
    raise LayoutError(
        f"{name}, line {form.head}: expected a header with the columns' names; got {first_fields(form.names)}, which "
        "looks like data; give --no-header, and say which column is which by number, such as --columns "
        "user_id=1,movie_title=2,user_rating=3; or, where these are names, --header"
    )


def first_fields(fields: Sequence[str]) -> str:
    """Some fields of a row for a message."""
    more = f" and {len(fields) - _SHOWN_FIELDS} more" if len(fields) > _SHOWN_FIELDS else ""
    return ", ".join(shown(field) for field in itertools.islice(fields, _SHOWN_FIELDS)) + more
