"""`movie-ranking predict` and `movie-ranking rank`: the pushed model from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import click

from pipeline.commands.errors import usage_errors

if TYPE_CHECKING:
    from pipeline.local.pushed_model import PushedModel

OUTPUT_OPTION = click.option(
    "--output", default="output", show_default=True, metavar="FOLDER", help="Output folder of the run that pushed."
)
USER_OPTION = click.option("--user", required=True, metavar="ID", help="The user's id, as in the ratings.")


@click.command()
@USER_OPTION
@click.option("--title", "titles", required=True, multiple=True, metavar="TITLE", help="A title; may be repeated.")
@OUTPUT_OPTION
def predict(user: str, titles: tuple[str, ...], output: str) -> None:
    """Rate titles for a user, in stars. Unknown users and titles get what is known of users and titles at large."""
    model = _load(output)
    _warn_if_unknown(model, user, titles)
    for title, rating in zip(titles, model.predict([user] * len(titles), titles), strict=True):
        click.echo(f"{rating:.2f}  {title}")


@click.command()
@USER_OPTION
@click.option(
    "--titles", "file", type=click.File(encoding="utf-8"), help="Candidates, one a line; - is standard input."
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many to show.")
@click.option("--exclude-seen", is_flag=True, help="Leave out what the user rated in the data of the last run.")
@OUTPUT_OPTION
def rank(user: str, file: TextIO | None, top: int, exclude_seen: bool, output: str) -> None:
    """Rank titles for a user, best first: those of a file, or every title that the model knows."""
    from modules import features
    from pipeline.local import pushed_model

    given = None if file is None else [line.strip() for line in file if line.strip()]
    if given is not None and not given:
        raise click.UsageError("expected titles, one a line; got none")
    model = _load(output)
    candidates = model.vocabulary(features.MOVIE_TITLE) if given is None else given
    _warn_if_unknown(model, user, given or ())
    if exclude_seen:
        with usage_errors():
            seen = pushed_model.seen_titles(output, user)
        candidates = [title for title in candidates if title not in seen]
    for place, (title, rating) in enumerate(model.rank(user, candidates)[:top], start=1):
        click.echo(f"{place:>3}  {rating:.2f}  {title}")


def _load(output: str) -> PushedModel:
    from pipeline.local.pushed_model import PushedModel

    with usage_errors():
        return PushedModel.latest(output)


def _warn_if_unknown(model: PushedModel, user: str, titles: tuple[str, ...] | list[str]) -> None:
    from modules import features

    asked = [(features.USER_ID, "user", user), *((features.MOVIE_TITLE, "title", title) for title in titles)]
    vocabularies = {column: set(model.vocabulary(column)) for column in (features.USER_ID, features.MOVIE_TITLE)}
    for column, kind, value in asked:
        if value not in vocabularies[column]:
            print(f"note: {kind} {value!r} is unknown to the model", file=sys.stderr)
