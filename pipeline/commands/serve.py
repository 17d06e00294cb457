"""`movie-ranking predict` and `movie-ranking rank`: the pushed model from the command line."""

from __future__ import annotations

import codecs
import math
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.commands.errors import usage_errors
from pipeline.commands.options import Name, Path

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
USER_OPTION = click.option("--user", type=Name(), required=True, metavar="ID", help="The user's id, as in the ratings.")


@click.command()
@USER_OPTION
@click.option(
    "--title", "titles", type=Name(), required=True, multiple=True, metavar="TITLE", help="A title; may be repeated."
)
@OUTPUT_OPTION
def predict(user: str, titles: tuple[str, ...], output: str) -> None:
    """Rate titles for a user, in stars, and say how sure that is: a third of ratings lie further off than ±.

    A title is found without its year, its article or its capitals where that leaves no other. Unknown users and titles
    get what is known of users and titles at large.
    """
    model = _load(output)
    with usage_errors():
        found = _find(model, titles)
    _warn_if_unknown(model, user, ())
    for rated in model.rate(user, found):
        click.echo(str(rated))


@click.command()
@USER_OPTION
@click.option(
    "--titles",
    "file",
    type=Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Candidates, one a line; - is standard input.",
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many to show.")
@click.option("--exclude-seen", is_flag=True, help="Leave out what the user rated in the data of the last run.")
@OUTPUT_OPTION
def rank(user: str, file: str | None, top: int, exclude_seen: bool, output: str) -> None:
    """Rank titles for a user, best first: those of a file, or every title that the model knows."""
    from modules import features
    from pipeline.local import pushed_model

    with usage_errors(OSError):
        given = None if file is None else _read_titles(file)
    model = _load(output)
    candidates = model.vocabulary(features.MOVIE_TITLE) if given is None else given
    _warn_if_unknown(model, user, given or ())
    if exclude_seen:
        with usage_errors():
            seen = pushed_model.seen_titles(output, user)
        candidates = [title for title in candidates if title not in seen]
    for place, rated in enumerate(model.rank(user, candidates)[:top], start=1):
        click.echo(f"{place:>3}  {rated}")


@click.command()
@click.option("--user", type=Name(), metavar="ID", help="A user of the ratings, by id.")
@click.option(
    "--like",
    "likes",
    multiple=True,
    metavar="TITLE=STARS",
    help="Of somebody new: what that person gave a title; may be repeated.",
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many titles.")
@click.option(
    "--exclude-file",
    type=Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Titles that are left out, one a line; - is standard input.",
)
@click.option(
    "--only-file",
    type=Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Titles that may be recommended, one a line; others are left out.",
)
@OUTPUT_OPTION
def recommend(
    user: str | None, likes: tuple[str, ...], top: int, exclude_file: str | None, only_file: str | None, output: str
) -> None:
    """Recommend titles of the whole catalogue, best first, with the stars that are predicted for them.

    For a user of the ratings, without what that user has rated; for somebody new, by --like; without either, what
    most people like. The order weighs who else rated what, popularity and genres: it is not that of the stars alone.
    """
    if user is not None and likes:
        raise click.UsageError("expected --user or --like; got both; a user's own ratings are those of the data")
    with usage_errors(OSError):
        exclude, only = (None if file is None else _read_titles(file) for file in (exclude_file, only_file))
    model = _load(output)
    with usage_errors():
        given = dict(_read_like(text) for text in likes)
        found = _find(model, list(given))
        if user is not None:
            _warn_if_unknown(model, user, ())
        ratings = dict(zip(found, given.values(), strict=True))
        listed = model.recommend(user, ratings, top, exclude=exclude or (), only=only or ())
    for place, rated in enumerate(listed, start=1):
        click.echo(f"{place:>3}  {rated}")


@click.command()
@click.argument("title", type=Name())
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many titles.")
@OUTPUT_OPTION
def similar(title: str, top: int, output: str) -> None:
    """Show what the people choose who choose TITLE; how alike two titles are is 1 at most."""
    from modules import features

    model = _load(output)
    with usage_errors():
        (found,) = _find(model, [title])
        if found not in model.vocabulary(features.MOVIE_TITLE):
            raise ValueError(f"expected a title of the catalogue; got {title!r}")
        listed = model.similar(found, top)
    for place, (name, cosine) in enumerate(listed, start=1):
        click.echo(f"{place:>3}  {cosine:.2f}  {name}")


def _read_like(text: str) -> tuple[str, float]:
    """The title and the stars of TITLE=STARS.

    Raises:
      ValueError: it is not that.
    """
    from modules.normalization import normalize

    title, separator, stars = text.rpartition("=")
    try:
        rating = float(stars)
    except ValueError:
        rating = math.nan
    if not separator or not normalize(title) or not math.isfinite(rating):
        raise ValueError(f"expected --like TITLE=STARS, such as 'Heat (1995)=5'; got {text!r}")
    return normalize(title), rating


def _load(output: str) -> PushedModel:
    from pipeline.local.pushed_model import PushedModel

    with usage_errors(OSError):
        return PushedModel.latest(output)


def _find(model: PushedModel, names: Sequence[str]) -> list[str]:
    """The titles that names stand for; a name that no title has stays as it is, and near misses are named.

    Raises:
      ValueError: a name could be that of several titles.
    """
    from modules import features
    from pipeline.local.title_search import TitleSearch

    search = TitleSearch(model.vocabulary(features.MOVIE_TITLE))
    titles = []
    for name in names:
        title = search.find(name)
        if title is None:
            alike = " or ".join(map(repr, search.suggest(name)))
            print(f"note: title {name!r} is unknown to the model{alike and f'; is it {alike}?'}", file=sys.stderr)
        titles.append(name if title is None else title)
    return titles


def _read_titles(file: str) -> list[str]:
    """The titles of a file, one a line, or of standard input for `-`; blank lines are left out.

    Raises:
      ValueError: it is not in UTF-8, or holds no title.
    """
    from modules.normalization import normalize

    content = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    remedy = "save it as UTF-8, such as with `iconv -f ENCODING -t UTF-8`"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"expected titles in UTF-8; got UTF-16 in {file}, by its first bytes; {remedy}")
    titles = []
    for number, line in enumerate(re.split(rb"\r\n?|\n", content.removeprefix(codecs.BOM_UTF8)), start=1):
        try:
            title = normalize(line.decode())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"expected titles in UTF-8; got {line[error.start]:#04x} at line {number}, byte {error.start + 1}, of "
                f"{file}; {remedy}"
            ) from error
        if "\0" in title:
            raise ValueError(f"expected titles in UTF-8; got a NUL byte at line {number} of {file}; {remedy}")
        titles.append(title)
    if not any(titles):
        raise ValueError(f"expected titles in {file}, one a line; got none; leave out --titles for all that are known")
    return [title for title in titles if title]


def _warn_if_unknown(model: PushedModel, user: str, titles: Sequence[str]) -> None:
    from modules import features

    asked = [(features.USER_ID, "user", user), *((features.MOVIE_TITLE, "title", title) for title in titles)]
    vocabularies = {column: set(model.vocabulary(column)) for column in (features.USER_ID, features.MOVIE_TITLE)}
    for column, kind, value in asked:
        if value not in vocabularies[column]:
            print(f"note: {kind} {value!r} is unknown to the model", file=sys.stderr)
