"""`movie-ranking benchmark`: figures that the documentation states, measured."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import click

from modules.presets import PRESETS
from pipeline.commands.errors import make_writable, usage_errors
from pipeline.commands.options import Path
from pipeline.commands.progress import reported
from pipeline.exit_codes import ExitCode

_DEFAULT_SPLITS = ("notebook", "u1")

OUTPUT = click.option(
    "--output",
    type=Path(file_okay=False, path_type=pathlib.Path),
    default="output/benchmark",
    show_default=True,
    metavar="FOLDER",
    help="Results, and the data and logs of `accuracy`.",
)
_MODEL = click.option(
    "--model",
    "path",
    type=Path(exists=True, file_okay=False, path_type=pathlib.Path),
    metavar="FOLDER",
    help="SavedModel to ask.  [default: the newest under output/serving_model]",
)


@click.group()
def benchmark() -> None:
    """Measure how good and how fast the models are, on this machine."""


def _names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


@benchmark.command()
@click.option(
    "--splits",
    callback=_names,
    metavar="NAME,…",
    help="Of MovieLens 100K: notebook (80,000 / 19,693 rows, as in the tutorial notebook), u1 to u5, ua, ub, random-1 "
    "to random-3 (80/20, drawn by these seeds). Made from seeds: synthetic-100k and synthetic-1m, each also with -side "
    "behind it, sparse, mostly-fives, binary, half-stars, ten, hundred, plays. latest-small: from --source. "
    "unfamiliar: all made from seeds; all: everything, latest-small where it is given.  "
    "[default: notebook,u1, or none with --data]",
)
@click.option(
    "--data",
    "own",
    type=Path(exists=True, file_okay=False, path_type=pathlib.Path),
    multiple=True,
    metavar="FOLDER",
    help="Data folder of your own, made by `data prepare`: taken as it is where it has train/ and test/, else a fifth "
    "drawn at random is the test part; may be repeated.",
)
@click.option(
    "--presets",
    default=",".join(PRESETS),
    show_default=True,
    callback=_names,
    metavar="NAME,…",
    help="Presets to measure; the first is the one that all others are compared with.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How often to repeat what is seeded."
)
@click.option(
    "--source",
    "raw",
    type=Path(exists=True, path_type=pathlib.Path),
    multiple=True,
    metavar="PATH",
    help="Folder or zip of the raw files of MovieLens 100K, or of latest-small; may be repeated.  [default: MovieLens "
    "100K is fetched, for splits of it]",
)
@click.option(
    "--peers/--no-peers",
    default=None,
    help="Measure Surprise, myFM and implicit, too: `pip install movie-ranking[peers]`.  [default: those that are "
    "installed]",
)
@OUTPUT
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX and the libraries write.")
def accuracy(
    splits: tuple[str, ...] | None,
    own: tuple[pathlib.Path, ...],
    presets: tuple[str, ...],
    seeds: int,
    raw: tuple[pathlib.Path, ...],
    peers: bool | None,
    output: pathlib.Path,
    verbose: bool,
) -> ExitCode | None:
    """Compare the presets with baselines and other libraries on published splits and on other data.

    Every preset is trained, exported, loaded again, and asked with user and title alone, and then for lists of ten
    titles. The tables, of ratings and of lists, are printed and saved as accuracy.md and accuracy.json; the first ends
    in the rows to which the first preset loses. What was measured before is taken over, until code, data or library
    change, so that an interrupted benchmark resumes.
    """
    from rich.text import Text

    from pipeline.local.capture import captured
    from pipeline.local.observers import terminal

    output = output.absolute()
    with usage_errors():
        make_writable(output, "--output")
    with captured(str(output / "logs" / "start-up.log"), also_on_terminal=verbose):
        from pipeline.config.pipeline_config import TrainerConfig
        from pipeline.experiments import accuracy as measuring
        from pipeline.experiments import accuracy_table as table
        from pipeline.experiments import list_methods, list_table
        from pipeline.experiments import peers as others
        from pipeline.experiments import splits as known_splits
        from pipeline.local.dag_runner import ComponentError

        gone = {} if peers is False else others.missing()
    if splits is None:
        splits = () if own else _DEFAULT_SPLITS
    else:
        _check("--splits", splits, (*known_splits.SPLITS, *known_splits.GROUPS))
    _check("--presets", presets, tuple(PRESETS))
    console = terminal()
    if gone:
        named = "; ".join(f"{package}: {reason}" for package, reason in gone.items())
        if peers:
            raise click.UsageError(f"--peers needs what cannot be imported: {named}; pip install movie-ranking[peers]")
        console.print(Text(f"left out, since they cannot be imported: {named}"))
    with reported() as progress:
        sources, data = known_splits.Sources.of(raw), output / "data"
        folders = {
            split: known_splits.make(split, data, sources=sources, progress=progress)
            for split in known_splits.expand(splits, sources)
        }
        for name, folder in known_splits.own_names(own).items():
            folders[name] = known_splits.make_own(folder, data / "own")
    # The first seed is the one that `movie-ranking run` takes.
    numbers = range(TrainerConfig().seed, TrainerConfig().seed + seeds)
    methods = [
        *(measuring.preset_method(name, numbers) for name in presets),
        *(measuring.baseline_method(name) for name in measuring.BASELINES),
        *(measuring.peer_method(peer, numbers) for peer in (() if peers is False else others.installed())),
        *list_methods.methods(numbers, peers=peers is not False),
    ]
    try:
        measurements, lists = measuring.measure(folders, methods, output, console, verbose=verbose)
    except ComponentError as error:
        click.echo(str(error), err=True)
        return ExitCode.FAILED
    rows = table.summarize(measurements)
    of_lists = list_table.summarize(lists)
    more = {
        "lists": [each.as_json() for each in lists],
        "lists_table": [dataclasses.asdict(row) for row in of_lists],
    }
    table.save(measurements, rows, output, more, list_table.as_markdown(of_lists))
    table.show(rows, console)
    list_table.show(of_lists, console)
    console.print(Text(table.losses(rows, measurements)))
    console.print(Text(f"saved in {output}: {table.TABLE_FILE}, {table.RESULTS_FILE}"))
    return None


@benchmark.command()
@_MODEL
@click.option(
    "--candidates", type=click.IntRange(min=1), default=1_000, show_default=True, help="Titles in a request to rank."
)
@click.option(
    "--requests",
    type=click.IntRange(min=1),
    default=2_000,
    show_default=True,
    help="How many requests to rank, and to recommend, to time.",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Pairs of user and title to rate for each batch size.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=42, show_default=True, help="Seeds the draw of users and titles."
)
@OUTPUT
def scoring(
    path: pathlib.Path | None, candidates: int, requests: int, pairs: int, seed: int, output: pathlib.Path
) -> None:
    """Measure how fast an exported model ranks, recommends and rates.

    The model is loaded into this process and asked for known users and titles, drawn at random, with NumPy arrays of
    strings: rank and recommend for their latency, predict in batches of several sizes for its throughput. The tables
    are printed, and saved as scoring.json. All cores that the process may use are used; `taskset -c 0,1` leaves it two.
    """
    from rich.text import Text

    from pipeline.experiments import scoring as measuring
    from pipeline.local.observers import terminal

    def report(text: str) -> None:
        click.echo(text, err=True)

    with usage_errors(OSError):
        make_writable(output, "--output")
        report("loading the model")
        model = measuring.ScoredModel.latest("output", report) if path is None else measuring.ScoredModel(path)
    measured = measuring.measure(model, candidates=candidates, requests=requests, pairs=pairs, seed=seed, report=report)
    measuring.save(measured, output)
    console = terminal()
    measuring.show(measured, console)
    console.print(Text(f"saved in {output}: {measuring.RESULTS_FILE}"))


@benchmark.command()
@_MODEL
@click.option(
    "--requests", type=click.IntRange(min=1), default=1_000, show_default=True, help="How many of each kind to time."
)
@click.option(
    "--clients",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many ask at once, after one has asked alone.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Requests a second that are due in the open loop, answered or not.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How long the open loop lasts, for each protocol.",
)
@click.option("--swap", type=click.IntRange(min=0), default=0, help="Versions to push under load.  [default: none]")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long that load lasts.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=42, show_default=True, help="Seeds the draw of users and titles."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON rather than as tables.")
@OUTPUT
def serving(path: pathlib.Path | None, as_json: bool, swap: int, output: pathlib.Path, **more: Any) -> None:
    """Measure how fast `movie-ranking serve` answers, beside the model in one process.

    Copies of the model are served on free ports of this machine. Over gRPC and REST it is asked to rate, rank and
    recommend: by one client, by several at once, and at a steady rate; with --swap, at that rate while versions are
    pushed. The tables are printed, and saved as serving.json.
    """
    from rich.text import Text

    from pipeline.experiments import scoring, serving_load
    from pipeline.local.observers import terminal

    def report(text: str) -> None:
        click.echo(text, err=True)

    with usage_errors(OSError):
        make_writable(output, "--output")
        report("loading the model")
        model = scoring.ScoredModel.latest("output", report) if path is None else scoring.ScoredModel(path)
        measured = serving_load.measure(model, output.absolute(), swaps=swap, report=report, **more)
    serving_load.save(measured, output)
    if as_json:
        click.echo(serving_load.as_text(measured))
        return
    console = terminal()
    serving_load.show(measured, console)
    console.print(Text(f"saved in {output}: {serving_load.RESULTS_FILE}"))


def _check(option: str, names: tuple[str, ...], choices: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in choices]
    if unknown or not names:
        raise click.BadParameter(
            f"expected names among {', '.join(choices)}; got {', '.join(unknown) or 'none'}", param_hint=option
        )
