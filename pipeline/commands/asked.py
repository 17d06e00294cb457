"""What is asked of the pushed model on the command line: an output folder, users, titles and files of titles."""

from __future__ import annotations

import codecs
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from modules.errors import UserError
from pipeline.commands.errors import check_address_space, usage_errors
from pipeline.commands.options import Path
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from pipeline.local.pushed_model import PushedModel

OUTPUT_OPTION = click.option(
    "--output",
    type=Path(),
    default="output",
    show_default=True,
    metavar="FOLDER",
    help="Output folder of the run that pushed.",
)


def load(output: str) -> PushedModel:
    """The pushed model under an output folder; ends the program if there is none."""
    with usage_errors():
        check_address_space()
        from pipeline.local.pushed_model import PushedModel

        return PushedModel.latest(output, lambda line: click.echo(printable(line), err=True))


def find(model: PushedModel, names: Sequence[str]) -> list[str]:
    """The titles that names stand for; a name that no title has stays as it is, and near misses are named.

    Raises:
      UserError: a name could be that of several titles.
    """
    from modules import features
    from pipeline.serving.title_search import TitleSearch

    search = TitleSearch(model.vocabulary(features.MOVIE_TITLE))
    titles = []
    for name in names:
        title = search.find(name)
        if title is None:
            alike = " or ".join(map(repr, search.suggest(name)))
            print(f"note: title {name!r} is unknown to the model{alike and f'; is it {alike}?'}", file=sys.stderr)
        titles.append(name if title is None else title)
    return titles


def read_titles(file: str) -> list[str]:
    """The titles of a file, one a line, or of standard input for `-`; blank lines are left out.

    Raises:
      UserError: it is not in UTF-8, or holds no title.
    """
    from modules.normalization import normalize

    content = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    remedy = "save it as UTF-8, such as with `iconv -f ENCODING -t UTF-8`"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"expected titles in UTF-8; got UTF-16 in {file}, by its first bytes; {remedy}")
    titles = []
    for number, line in enumerate(re.split(rb"\r\n?|\n", content.removeprefix(codecs.BOM_UTF8)), start=1):
        try:
            title = normalize(line.decode())
        except UnicodeDecodeError as error:
            raise UserError(
                f"expected titles in UTF-8; got {line[error.start]:#04x} at line {number}, byte {error.start + 1}, of "
                f"{file}; {remedy}"
            ) from error
        if "\0" in title:
            raise UserError(f"expected titles in UTF-8; got a NUL byte at line {number} of {file}; {remedy}")
        titles.append(title)
    if not any(titles):
        raise UserError(f"expected titles in {file}, one a line; got none; leave out --titles for all that are known")
    return [title for title in titles if title]


def warn_if_unknown(model: PushedModel, user: str, titles: Sequence[str]) -> None:
    """Says on standard error which of these names the model does not know."""
    from modules import features

    asked = [(features.USER_ID, "user", user), *((features.MOVIE_TITLE, "title", title) for title in titles)]
    vocabularies = {column: set(model.vocabulary(column)) for column in (features.USER_ID, features.MOVIE_TITLE)}
    for column, kind, value in asked:
        if value not in vocabularies[column]:
            print(f"note: {kind} {value!r} is unknown to the model", file=sys.stderr)
