"""`movie-ranking recommend` and `movie-ranking similar`: titles that the pushed model picks, for one user or all."""

from __future__ import annotations

import functools
import math
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from modules.errors import UserError
from pipeline.commands import asked, options
from pipeline.commands.errors import usage_errors
from pipeline.commands.options import Name, Path
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from pipeline.local.pushed_model import PushedModel

# Ratings that are named for and against a title.
_REASONS_FOR, _REASONS_AGAINST = 3, 1
# What rounds to nothing is not shown.
_LEAST_SHOWN = 0.005
_YEARS = re.compile(r"(\d{4})(?:-(\d{4}))?")
TOP_OPTION = click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many titles.")
# What is read as titles, one a line.
_FILE: dict[str, Any] = {"type": Path(exists=True, dir_okay=False, allow_dash=True), "metavar": "FILE"}


class Years(click.ParamType):
    """A year, or the first and the last of several, joined by a dash."""

    name = "years"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = _YEARS.fullmatch(value)
        years = found and (int(found[1]), int(found[2] or found[1]))
        if not years or years[0] > years[1]:
            self.fail(f"expected a year, or the first and the last one, such as 1990-1999; got {value!r}", param, ctx)
        return years


@click.command()
@click.option("--user", type=Name(), metavar="ID", help="A user of the ratings, by id.")
@click.option(
    "--like",
    "likes",
    multiple=True,
    metavar="TITLE=STARS",
    help="Of somebody new: what that person gave a title; may be repeated.",
)
@click.option("--all-users", is_flag=True, help="Lists for all users of the ratings, into the file --to.")
@TOP_OPTION
@click.option("--why", is_flag=True, help="Say which ratings speak for and against each title, and what else does.")
@click.option(
    "--genre",
    "genres",
    type=Name(),
    multiple=True,
    metavar="GENRE",
    help="Titles of this genre alone; may be repeated, for titles of any of them.",
)
@click.option("--year", "years", type=Years(), metavar="YEAR[-YEAR]", help="Titles that came out then alone.")
@click.option("--exclude-file", **_FILE, help="Titles that are left out, one a line; - is standard input.")
@click.option("--only-file", **_FILE, help="Titles that may be recommended, one a line; others are left out.")
@click.option(
    "--to",
    "destination",
    type=Path(dir_okay=False),
    metavar="FILE",
    help="With --all-users: .parquet, .csv or .jsonl, with a line for each user and title.",
)
@click.option("--vectors", type=Path(file_okay=False), metavar="FOLDER", help="Write vectors of all users and titles.")
@options.options(options.BEAM)
@asked.OUTPUT_OPTION
def recommend(
    user: str | None,
    likes: tuple[str, ...],
    all_users: bool,
    top: int,
    why: bool,
    genres: tuple[str, ...],
    years: tuple[int, int] | None,
    exclude_file: str | None,
    only_file: str | None,
    destination: str | None,
    vectors: str | None,
    values: dict[str, Any],
    output: str,
) -> None:
    """Recommend titles of the whole catalogue, best first, with the stars that are predicted for them.

    For a user of the ratings, without what that user has rated; for somebody new, by --like; without either, what
    most people like. The order weighs who else rated what, popularity and genres: it is not that of the stars alone.

    With --all-users, lists for everybody go into one file, by a Beam pipeline: on this machine, or where --beam says.
    Interrupted, the same command goes on; the file is there when it is complete. --vectors writes users.parquet and
    titles.parquet, whose products are the scores of iALS, for a store of vectors.
    """
    _check(user, likes, all_users, why, destination, values)
    with usage_errors(OSError):
        exclude, only = (() if file is None else asked.read_titles(file) for file in (exclude_file, only_file))
    model = asked.load(output)
    with usage_errors(OSError):
        if genres or years:
            described = model.titles_with(genres, years)
            only = [title for title in only if title in set(described)] if only_file else described
            if not only:
                raise UserError("expected a title that all of --genre, --year and --only-file allow; there is none")
        if vectors:
            users, titles = model.write_vectors(vectors)
            click.echo(f"vectors of {users:,} users and {titles:,} titles in {vectors}")
        if all_users:
            _write_lists(model, destination or "", top, exclude, only, values)
    # What standard output does not take is the same everywhere, and none of the errors above.
    with usage_errors():
        if not all_users and (not vectors or user is not None or likes):
            _show(model, user, likes, top, why, exclude, only)


def _check(
    user: str | None,
    likes: Sequence[str],
    all_users: bool,
    why: bool,
    destination: str | None,
    values: dict[str, Any],
) -> None:
    """Refuses options that do not go together."""
    people = {"--user": user is not None, "--like": bool(likes), "--all-users": all_users}
    if len(given := [name for name, is_given in people.items() if is_given]) > 1:
        raise click.UsageError(
            f"expected one of {', '.join(people)}; got {' and '.join(given)}; "
            "a user's own ratings are those of the data"
        )
    if all_users != (destination is not None):
        raise click.UsageError("expected --all-users and --to together; got one of them; --to names the file of lists")
    if all_users and why:
        raise click.UsageError("expected --why with --user or --like; got it with --all-users; ask for one user")
    if values and not all_users:
        raise click.UsageError("expected --beam with --all-users; got it without; one user needs no Beam pipeline")


def _show(
    model: PushedModel,
    user: str | None,
    likes: Sequence[str],
    top: int,
    why: bool,
    exclude: Sequence[str],
    only: Sequence[str],
) -> None:
    given = dict(_read_like(text) for text in likes)
    found = asked.find(model, list(given))
    if user is not None:
        asked.warn_if_unknown(model, user, ())
    ratings = dict(zip(found, given.values(), strict=True))
    listed = model.recommend(user, ratings, top, exclude=exclude, only=only)
    reasons = model.explain(user, ratings, [rated.title for rated in listed]) if why else []
    for place, rated in enumerate(listed, start=1):
        click.echo(printable(f"{place:>3}  {rated}"))
        if why:
            reason = reasons[place - 1]
            speak_for, against = reason.strongest(_REASONS_FOR, _REASONS_AGAINST)
            for word, shares in (("for it", speak_for), ("against", against), ("besides", list(reason.rest.items()))):
                said = [f"{name} {share:+.2f}" for name, share in shares if abs(share) >= _LEAST_SHOWN]
                if said:
                    click.echo(printable(f"     {word}: {', '.join(said)}"))


def _write_lists(
    model: PushedModel,
    destination: str,
    top: int,
    exclude: Sequence[str],
    only: Sequence[str],
    values: dict[str, Any],
) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components import list_writer
    from components.list_writer import Wanted
    from pipeline.commands.progress import reported
    from pipeline.config.beam_config import BeamConfig, arguments
    from pipeline.config.cluster_config import ClusterConfig
    from pipeline.local import engine
    from pipeline.local.interrupts import kept

    model.check_recommends()
    form = list_writer.form_of(destination)
    asked_beam = BeamConfig(**{key.removeprefix("beam."): value for key, value in values.items()})
    folder = str(pathlib.Path(destination).absolute().parent)
    tell = functools.partial(click.echo, err=True)
    with engine.reachable(asked_beam, None, tell) as reached, reported() as progress, kept():
        pipeline_options = PipelineOptions(
            arguments(reached.beam, ClusterConfig(), pipeline_root=folder, data_root=folder), save_main_session=False
        )
        written = list_writer.write_lists(
            lambda: beam.Pipeline(options=pipeline_options),
            str(model.path.absolute()),
            str(pathlib.Path(destination).absolute()),
            Wanted(top=top, exclude=tuple(exclude), only=tuple(only)),
            form,
            progress,
        )
    again = f", {written.taken} of {written.shards} parts from before" if written.taken else ""
    click.echo(f"{written.lines:,} titles for {written.users:,} users in {destination}{again}")


@click.command()
@click.argument("title", type=Name())
@TOP_OPTION
@asked.OUTPUT_OPTION
def similar(title: str, top: int, output: str) -> None:
    """Show what the people choose who choose TITLE; how alike two titles are is 1 at most."""
    from modules import features

    model = asked.load(output)
    with usage_errors():
        (found,) = asked.find(model, [title])
        if found not in model.vocabulary(features.MOVIE_TITLE):
            raise UserError(f"expected a title of the catalogue; got {title!r}")
        listed = model.similar(found, top)
    for place, (name, cosine) in enumerate(listed, start=1):
        click.echo(printable(f"{place:>3}  {cosine:.2f}  {name}"))


def _read_like(text: str) -> tuple[str, float]:
    """The title and the stars of TITLE=STARS.

    Raises:
      UserError: it is not that.
    """
    from modules.normalization import normalize

    title, separator, stars = text.rpartition("=")
    try:
        rating = float(stars)
    except ValueError:
        rating = math.nan
    if not separator or not normalize(title) or not math.isfinite(rating):
        raise UserError(f"expected --like TITLE=STARS, such as 'Heat (1995)=5'; got {text!r}")
    return normalize(title), rating
