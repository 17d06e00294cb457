"""`movie-ranking predict` and `movie-ranking rank`: the pushed model from the command line."""

from __future__ import annotations

import sys

import click

from pipeline.commands import asked
from pipeline.commands.errors import usage_errors
from pipeline.commands.options import Name, Path
from pipeline.local.printable import printable

USER_OPTION = click.option("--user", type=Name(), required=True, metavar="ID", help="The user's id, as in the ratings.")


@click.command()
@USER_OPTION
@click.option(
    "--title", "titles", type=Name(), required=True, multiple=True, metavar="TITLE", help="A title; may be repeated."
)
@asked.OUTPUT_OPTION
def predict(user: str, titles: tuple[str, ...], output: str) -> None:
    """Rate titles for a user, in stars, and say how sure that is: a third of ratings lie further off than ±.

    A title is found without its year, its article or its capitals where that leaves no other. Unknown users and titles
    get what is known of users and titles at large.
    """
    model = asked.load(output)
    with usage_errors():
        found = asked.find(model, titles)
    asked.warn_if_unknown(model, user, ())
    for rated in model.rate(user, found):
        click.echo(printable(str(rated)))


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
@asked.OUTPUT_OPTION
def rank(user: str, file: str | None, top: int, exclude_seen: bool, output: str) -> None:
    """Rank titles for a user by their predicted stars: those of a file, or every title that the model knows.

    Out of the whole catalogue the best stars are those of titles that few people know; `recommend` picks what the user
    would choose.
    """
    from modules import features

    with usage_errors(OSError):
        given = None if file is None else asked.read_titles(file)
    model = asked.load(output)
    if given is None:
        print("note: this is the order of predicted stars; `movie-ranking recommend` picks titles", file=sys.stderr)
    with usage_errors():
        candidates = model.vocabulary(features.MOVIE_TITLE) if given is None else given
        asked.warn_if_unknown(model, user, given or ())
    if exclude_seen:
        from pipeline.local import pushed_model

        with usage_errors():
            seen = pushed_model.seen_titles(output, user)
        candidates = [title for title in candidates if title not in seen]
    for place, rated in enumerate(model.rank(user, candidates)[:top], start=1):
        click.echo(printable(f"{place:>3}  {rated}"))
