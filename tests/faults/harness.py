"""Disturbs commands at random, gives them again, and checks that they end as undisturbed ones do, or say why not.

```
python -m tests.faults.harness --cases 200 --seed 1
python -m tests.faults.harness --seed 1 --case 17        # repeats one
python -m tests.faults.harness --cases 20 --only kill-run --minutes 30
```

Ends with code 1 if a case failed; the folder of each that did is kept.
"""

from __future__ import annotations

import collections
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from pipeline import environment

environment.prepare()

from tests.faults.cases import KINDS
from tests.faults.verdicts import Failure, Result, Verdict
from tests.faults.workshop import PRESETS, Workshop


def drawn(seed: int, case: int, only: Sequence[str] = ()) -> tuple[str, random.Random]:
    """The kind of a case, and what its further choices are drawn with: the same for the same arguments.

    Args:
      seed: of all choices.
      case: its number.
      only: the kinds that there may be; none for all.
    """
    rng = random.Random(f"{seed}/{case}")
    kinds = list(only or KINDS)
    return rng.choices(kinds, [KINDS[kind][1] for kind in kinds])[0], rng


def tried(workshop: Workshop, kind: str, rng: random.Random) -> Result:
    """Tries a case."""
    workshop.clear()
    try:
        return KINDS[kind][0](workshop, rng)
    except Failure as failure:
        return Result(Verdict.FAILED, str(failure))


def summary(results: dict[str, list[Result]]) -> Table:
    """What came of the cases, by kind."""
    table = Table("kind", "tried", *(verdict.value for verdict in Verdict))
    everything = [result for each in results.values() for result in each]
    for kind, of_kind in (*results.items(), ("all", everything)):
        counts = collections.Counter(result.verdict for result in of_kind)
        tries = len(of_kind) - counts[Verdict.SKIPPED]
        table.add_row(kind, str(tries), *(str(counts[verdict]) for verdict in Verdict))
    return table


@click.command()
@click.option("--cases", default=200, show_default=True, help="How many.")
@click.option("--seed", default=1, show_default=True, help="All choices are drawn from it.")
@click.option("--case", "only_case", type=int, help="Try this one of the cases alone.")
@click.option("--only", multiple=True, type=click.Choice(list(KINDS)), help="Cases of this kind; may be repeated.")
@click.option("--preset", "presets", multiple=True, type=click.Choice(PRESETS), help="Of runs; may be repeated.")
@click.option("--minutes", type=float, help="Begin no case after this time.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Where to work; undisturbed runs are kept there for the next time.  [default: a temporary one]",
)
def main(
    cases: int,
    seed: int,
    only_case: int | None,
    only: tuple[str, ...],
    presets: tuple[str, ...],
    minutes: float | None,
    folder: pathlib.Path | None,
) -> None:
    """Tries cases one after the other."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    root = folder or pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    workshop = Workshop(root, presets or PRESETS)
    results: dict[str, list[Result]] = collections.defaultdict(list)
    failures = []
    more = [f"--only {kind}" for kind in only] + [f"--preset {preset}" for preset in presets]
    began = time.monotonic()
    for case in range(cases) if only_case is None else [only_case]:
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            console.print(f"{minutes:g} minutes are over")
            break
        kind, rng = drawn(seed, case, only)
        since = time.monotonic()
        result = tried(workshop, kind, rng)
        results[kind].append(result)
        repeat = " ".join([f"--seed {seed} --case {case}", *more])
        console.print(
            f"{case:>4} {kind:<16} {result.verdict.value}, {time.monotonic() - since:.0f} s: {result.words} [{repeat}]",
            markup=False,
            soft_wrap=True,
        )
        if result.verdict == Verdict.FAILED:
            kept = root / "failed" / f"{seed}-{case}-{kind}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(workshop.data.parent, kept, symlinks=True)
            shutil.copy(workshop.log, kept)
            failures.append(f"{repeat}: {kind}: {result.words}; kept in {kept}")
    console.print(summary(results))
    for line in failures:
        console.print(line, markup=False, soft_wrap=True)
    if folder is None and not failures:
        shutil.rmtree(root)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
