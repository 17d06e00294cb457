"""`make bench`, `make bench-scale` and `make bench-forms`: whole commands side by side, in alternating rounds.

Times are wall seconds of whole processes from outside; memory is the largest resident set of any one of a command's
processes. Rounds alternate between the commands, so that a machine that slows down slows all of them; medians are
shown.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import math
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from data import fetch, synthetic
from pipeline.local.run import LAST_RUN_FILE
from tests.bench.forms import FORMS, without_quotes

HERE = pathlib.Path(__file__).resolve().parent
COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]
START_UP = [
    sys.executable,
    "-c",
    "from pipeline import environment as e; e.prepare(); import pipeline.graph.pipeline, pipeline.local.report",
]


@dataclasses.dataclass
class Measured:
    """One run of one command."""

    seconds: float
    peak_mib: float
    components: dict[str, float]


def measure(command: list[str], expect: tuple[int, ...] = (0,)) -> Measured:
    """Runs a command to its end.

    Raises:
      RuntimeError: it ends with another code than expected; its output is part of the message.
    """
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if process.stdout is None:
        raise RuntimeError("no pipe to the command's output")
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    if code not in expect:
        raise RuntimeError(f"expected {command[:3]} to exit with {expect}; got {code}\n{output[-4000:]}")
    return Measured(seconds, usage.ru_maxrss / 1024, _component_seconds(output))


def _component_seconds(output: str) -> dict[str, float]:
    last = output.strip().splitlines()[-1] if output.strip() else ""
    return json.loads(last).get("seconds", {}) if last.startswith("{") else {}


def apart(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function in a process of its own: what a command takes at most holds what its parent does by then."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()


def run_ours(data: pathlib.Path, output: pathlib.Path, *arguments: str, cold: bool) -> Measured:
    """One run of the pipeline, on an empty output folder or on that of the run before."""
    if cold:
        shutil.rmtree(output, ignore_errors=True)
    measured = measure([*COMMAND, "run", "--data", str(data), "--output", str(output), *arguments])
    record = json.loads((output / LAST_RUN_FILE).read_text())
    if not cold and {part["state"] for name, part in record["components"].items() if name != "BlessedModel"} != {
        "cached"
    }:
        raise RuntimeError("the unchanged re-run executed a component")
    measured.components = {name: part["seconds"] for name, part in record["components"].items()}
    return measured


def run_plain(data: pathlib.Path, output: pathlib.Path) -> Measured:
    """One cold run of the plain TFX pipeline."""
    shutil.rmtree(output, ignore_errors=True)
    return measure([sys.executable, str(HERE / "plain_pipeline" / "run.py"), str(data), str(output)])


def plain_data(data: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The three columns that the plain pipeline knows; the others would only cost it time."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.read_csv(data / "ratings.csv", usecols=["user_id", "movie_title", "user_rating"], dtype=str)
    frame.to_csv(folder / "ratings.csv", index=False)
    return folder


def median(runs: list[Measured]) -> Measured:
    """Medians over rounds, figure by figure."""
    names = runs[0].components
    return Measured(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.peak_mib for run in runs),
        {name: statistics.median(run.components[name] for run in runs) for name in names},
    )


def growth_exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log seconds over log size, by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-3)) for value in seconds]
    mean_x, mean_y = statistics.mean(x), statistics.mean(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def save(path: pathlib.Path, results: dict[str, list[Measured]]) -> None:
    """Writes every round of every command as JSON."""
    path.write_text(json.dumps({n: [dataclasses.asdict(r) for r in runs] for n, runs in results.items()}, indent=2))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Benchmarks of whole commands."""


@cli.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--output", type=click.Path(path_type=pathlib.Path), default="output/bench", show_default=True)
def laptop(rounds: int, output: pathlib.Path) -> None:
    """MovieLens 100K: the notebook as a script, the plain TFX pipeline, and ours."""
    console = Console()
    data = fetch.fetch().folder
    output.mkdir(parents=True, exist_ok=True)
    plain = plain_data(data, output / "plain_data")
    ours = output / "ours"
    notebook = ["--preset", "notebook"]
    commands = {
        "notebook as a script": lambda: measure(
            [sys.executable, str(HERE / "notebook_script.py"), str(data / "ratings.csv")]
        ),
        "plain TFX pipeline": lambda: run_plain(plain, output / "plain"),
        "ours, cold": lambda: run_ours(data, ours, *notebook, cold=True),
        "ours, unchanged re-run": lambda: run_ours(data, ours, *notebook, cold=False),
        "movie-ranking --help": lambda: measure([*COMMAND, "--help"]),
        "start-up alone": lambda: measure(START_UP),
    }
    results: dict[str, list[Measured]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            console.print(f"round {number + 1} of {rounds}: {name}", highlight=False)
            results[name].append(command())
    save(output / "laptop.json", results)
    medians = {name: median(runs) for name, runs in results.items()}
    table = Table("median of " + str(rounds), "seconds", "peak MiB", "to plain")
    for name, result in medians.items():
        ratio = result.seconds / medians["plain TFX pipeline"].seconds
        table.add_row(name, f"{result.seconds:.2f}", f"{result.peak_mib:,.0f}", f"{ratio:.2f}")
    console.print(table)
    console.print(_component_table({name: medians[name].components for name in ("plain TFX pipeline", "ours, cold")}))


@cli.command()
@click.option("--largest", type=click.Choice(["1M", "10M", "25M"]), default="10M", show_default=True)
@click.option("--preset", default="notebook", show_default=True)
@click.option("--plain/--no-plain", default=False, help="Measure the plain pipeline at 1M, too.")
@click.option("--output", type=click.Path(path_type=pathlib.Path), default="output/bench", show_default=True)
def scale(largest: str, preset: str, plain: bool, output: pathlib.Path) -> None:
    """Synthetic ratings of growing number: seconds of each component, peak memory, growth exponent."""
    console = Console()
    sizes = [size for size in (100_000, 1_000_000, 10_000_000, 25_000_000) if size <= int(largest[:-1]) * 1_000_000]
    results: dict[str, list[Measured]] = {}
    for size in sizes:
        data = output / f"synthetic-{size}"
        # Users and titles of the release of that size: 25M has 162,541 and 59,047.
        synthetic.write(
            data, rows=size, users=max(size // 150, 500), titles=min(max(size // 400, 1000), 59_000), seed=0
        )
        console.print(f"{size:,} ratings", highlight=False)
        arguments = ("--preset", preset, "--rmse-bound", "9")
        results[f"{size:,}"] = [run_ours(data, output / f"ours-{size}", *arguments, cold=True)]
        if plain and size == 1_000_000:
            columns = plain_data(data, output / "plain-scale-data")
            results["plain TFX pipeline, 1,000,000"] = [run_plain(columns, output / "plain-scale")]
    save(output / f"scale-{preset}.json", results)
    table = Table("ratings", "seconds", "peak MiB")
    for name, (result,) in results.items():
        table.add_row(name, f"{result.seconds:.1f}", f"{result.peak_mib:,.0f}")
    console.print(table)
    ours = {f"{size:,}": results[f"{size:,}"][0] for size in sizes}
    console.print(_component_table({name: result.components for name, result in ours.items()}))
    if len(sizes) > 2:
        # From 1M on: below it, fixed costs hide the growth.
        ranges = [sizes[1:end] for end in range(3, len(sizes) + 1)]
        exponents = Table("growth exponent", *(f"{each[0]:,} to {each[-1]:,}" for each in ranges))
        rows = {
            name: {size: ours[f"{size:,}"].components[name] for size in sizes}
            for name in ours[f"{sizes[0]:,}"].components
        }
        rows["whole run"] = {size: ours[f"{size:,}"].seconds for size in sizes}
        for name, seconds in rows.items():
            if max(seconds.values()) >= 1.0:
                slopes = (growth_exponent(each, [seconds[size] for size in each]) for each in ranges)
                exponents.add_row(name, *(f"{slope:.2f}" for slope in slopes))
        console.print(exponents)


def _write_source(rows: int, folder: pathlib.Path, target: pathlib.Path) -> None:
    users, titles = max(rows // 150, 500), min(max(rows // 400, 1000), 59_000)
    synthetic.write(folder / "made", rows=rows, users=users, titles=titles, seed=0, side_features=True)
    without_quotes(folder / "made" / "ratings.csv", target)
    shutil.rmtree(folder / "made")


def _write_form(name: str, source: pathlib.Path, target: pathlib.Path) -> None:
    FORMS[name][1](source, target)


@cli.command()
@click.option("--rows", type=click.IntRange(min=1000), default=25_000_000, show_default=True)
@click.option(
    "--form", "names", type=click.Choice(list(FORMS)), multiple=True, help="These alone, beside the plain one."
)
@click.option("--output", type=click.Path(path_type=pathlib.Path), default="output/bench", show_default=True)
def forms(rows: int, names: tuple[str, ...], output: pathlib.Path) -> None:
    """`data prepare` of the same synthetic ratings in every form that it reads: seconds, to the plain one, memory."""
    console = Console()
    folder = output / f"forms-{rows}"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source.csv"
    if not source.exists():
        apart(_write_source, rows, folder, source)
        console.print(f"{rows:,} ratings", highlight=False)
    results: dict[str, list[Measured]] = {}
    for name in FORMS if not names else dict.fromkeys(("plain", *names)):
        file, _, options = FORMS[name]
        apart(_write_form, name, source, folder / file)
        command = [*COMMAND, "data", "prepare", str(folder / file), "--destination", str(folder / "out"), *options]
        results[name] = [measure(command)]
        mib = (folder / file).stat().st_size >> 20
        console.print(
            f"{name}, {mib:,} MiB: {results[name][0].seconds:.1f} s, {results[name][0].peak_mib:,.0f} MiB",
            highlight=False,
        )
        (folder / file).unlink()
    save(output / f"forms-{rows}.json", results)
    table = Table("form", "seconds", "to plain", "peak MiB")
    for name, (result,) in results.items():
        ratio = result.seconds / results["plain"][0].seconds
        table.add_row(name, f"{result.seconds:.1f}", f"{ratio:.2f}", f"{result.peak_mib:,.0f}")
    console.print(table)


def _component_table(columns: dict[str, dict[str, float]]) -> Table:
    table = Table("seconds of a component", *columns)
    for name in dict.fromkeys(name for components in columns.values() for name in components):
        values = (components.get(name) for components in columns.values())
        table.add_row(name, *("" if value is None else f"{value:.2f}" for value in values))
    return table


if __name__ == "__main__":
    cli()
