"""The table that an accuracy benchmark ends in: means over seeds, and differences on the same rows."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data import atomic

RESULTS_FILE, TABLE_FILE = "accuracy.json", "accuracy.md"
# The five folds of one cross-validation; their mean is shown once all are measured.
FOLDS = ("u1", "u2", "u3", "u4", "u5")
FOLDS_MEAN = "mean of u1 to u5"
HEADER = ("split", "method", "RMSE", "difference", "better", "NDCG@10", "pairwise", "fit s", "MAE", "CPU s")
# Left out of the table where a terminal is too narrow, the first one first.
_DISPENSABLE = ("CPU s", "MAE", "fit s", "pairwise", "NDCG@10")

Kind = Literal["preset", "baseline", "peer", "floor"]
# The row of the best possible prediction.
NOISE_FLOOR = "noise floor"

LEGEND = (
    "RMSE: mean ± standard deviation over seeds, in the unit of the split's ratings. Noise floor: RMSE of the best "
    "possible prediction of the same test rows. Difference: RMSE minus that of the first preset, ± standard error over "
    "the same test rows. Better: the first preset loses to this row by more than one such error. Pairwise: how often "
    "the better of two titles of a user is predicted higher. Fit s: seconds by the clock. CPU s: seconds of the "
    "processor, all threads together."
)
# Width of the table in characters, where no terminal gives one, and of what lies between two columns.
_WIDTH = 140
_GAP = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one method came to on one split with one seed.

    Attributes:
      split: name of the split.
      method: name of the method.
      kind: what the method is.
      seed: seed of the fit.
      fit_seconds: wall-clock time of fitting, without reading, export and prediction.
      fit_cpu_seconds: processor time of the same.
      rmse: in the unit of the ratings.
      mae: in the unit of the ratings.
      ndcg_at_10: see `metrics.ndcg_at_k`.
      pairwise_accuracy: see `metrics.pairwise_accuracy`.
      squared_errors: float64 [test rows], in the same order for all methods.
    """

    split: str
    method: str
    kind: Kind
    seed: int
    fit_seconds: float
    fit_cpu_seconds: float
    rmse: float
    mae: float
    ndcg_at_10: float
    pairwise_accuracy: float
    squared_errors: np.ndarray = dataclasses.field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Everything but the single errors."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "squared_errors"
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: means over seeds.

    Attributes:
      split: name of the split.
      method: name of the method.
      seeds: how many there are.
      rmse: in the unit of the split's ratings, as all errors and differences.
      rmse_deviation: standard deviation over seeds; None of a single one.
      difference: RMSE minus that of the first preset; None of that preset itself.
      difference_error: standard error of the difference over test rows.
      better: the first preset loses to this method by more than one standard error; never of the noise floor.
      mae: mean absolute error.
      ndcg_at_10: mean over users.
      pairwise_accuracy: mean over users.
      fit_seconds: wall-clock time.
      fit_cpu_seconds: processor time.
    """

    split: str
    method: str
    seeds: int
    rmse: float
    rmse_deviation: float | None
    difference: float | None
    difference_error: float | None
    better: bool
    mae: float
    ndcg_at_10: float
    pairwise_accuracy: float
    fit_seconds: float
    fit_cpu_seconds: float

    def cells(self) -> tuple[str, ...]:
        """The columns of HEADER."""
        # Four digits behind the point tell apart errors in stars; of larger units fewer say as much.
        digits = max(0, 5 - len(f"{self.rmse:.0f}"))
        deviation = "" if self.rmse_deviation is None else f" ± {self.rmse_deviation:.{digits}f}"
        paired = (
            "" if self.difference is None else f"{self.difference:+.{digits}f} ± {self.difference_error:.{digits}f}"
        )
        return (
            self.split,
            self.method,
            f"{self.rmse:.{digits}f}{deviation}",
            paired,
            "yes" if self.better else "",
            f"{self.ndcg_at_10:.4f}",
            f"{self.pairwise_accuracy:.4f}",
            f"{self.fit_seconds:.1f}",
            f"{self.mae:.{digits}f}",
            f"{self.fit_cpu_seconds:.1f}",
        )


def summarize(measurements: Sequence[Measurement]) -> list[Row]:
    """Means over seeds for each split and method, in the order in which they were measured.

    The rows of FOLDS_MEAN follow where all FOLDS were measured.
    """
    groups: dict[str, dict[str, list[Measurement]]] = {}
    for each in measurements:
        groups.setdefault(each.split, {}).setdefault(each.method, []).append(each)
    reference = _reference(measurements)
    rows = [_summary(split, {split: methods}, name, reference) for split, methods in groups.items() for name in methods]
    if all(fold in groups for fold in FOLDS):
        folds = {fold: groups[fold] for fold in FOLDS}
        rows += [_summary(FOLDS_MEAN, folds, name, reference) for name in groups[FOLDS[0]]]
    return rows


def _reference(measurements: Sequence[Measurement]) -> str | None:
    """The method that all others are compared with: the first preset."""
    return next((each.method for each in measurements if each.kind == "preset"), None)


def paired_difference(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> tuple[float, float]:
    """RMSE of the first minus RMSE of the second, each the mean over its seeds, and the standard error over rows.

    To first order (the delta method) a row's squared error e moves sqrt(mean e) by e / (2 sqrt(mean e)), divided by the
    number of rows; the standard error is that of the mean of these contributions' differences, row by row, so that what
    makes a row hard for both cancels.

    Args:
      first: for each seed, float [rows], squared errors.
      second: the same of the same rows.
    """
    one, other = (
        # Without any error there is nothing to move.
        np.mean([squared / (2 * np.sqrt(squared.mean() or 1.0)) for squared in seeds], axis=0)
        for seeds in (first, second)
    )
    difference = float(np.mean([np.sqrt(squared.mean()) for squared in first]))
    difference -= float(np.mean([np.sqrt(squared.mean()) for squared in second]))
    return difference, float(np.std(one - other, ddof=1) / np.sqrt(len(one)))


def losses(rows: Sequence[Row], measurements: Sequence[Measurement]) -> str:
    """Where the first preset loses to a row, in words; empty where there is no preset."""
    reference = _reference(measurements)
    if reference is None:
        return ""
    found = [f"{row.split}: {row.method} ({row.cells()[HEADER.index('difference')]})" for row in rows if row.better]
    if not found:
        return f"{reference} loses to no other row by more than one standard error."
    return f"{reference} loses by more than one standard error to\n" + "\n".join(f"- {each}" for each in found)


def show(rows: Sequence[Row], console: Console) -> None:
    """Prints the table, without some columns where the terminal is too narrow for all."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    lines = [dict(zip(HEADER, row.cells(), strict=True)) for row in rows]
    widths = {name: max(cell_len(text) for text in (name, *(line[name] for line in lines))) for name in HEADER[1:]}
    left_out = []
    for name in _DISPENSABLE:
        if sum(widths.values()) + _GAP * len(widths) > console.width:
            left_out.append(name)
            del widths[name]
    table = Table(title="accuracy on test ratings", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in widths:
        table.add_column(name, justify="left" if name in ("method", "better") else "right", overflow="fold")
    previous = None
    for row, line in zip(rows, lines, strict=True):
        if row.split != previous:
            if previous is not None:
                table.add_section()
            table.add_row(Text(row.split, style="bold"))
            previous = row.split
        table.add_row(*(Text(line[name]) for name in widths))
    console.print(table)
    console.print(LEGEND, highlight=False)
    if left_out:
        console.print(f"The terminal is too narrow for {', '.join(left_out)}; {TABLE_FILE} has them.", highlight=False)


def save(
    measurements: Sequence[Measurement],
    rows: Sequence[Row],
    output: pathlib.Path,
    more: Mapping[str, Any] | None = None,
    more_tables: str = "",
) -> None:
    """Writes RESULTS_FILE and TABLE_FILE into a folder.

    Args:
      measurements: what was measured.
      rows: the table of it.
      output: the folder.
      more: what else belongs into the results.
      more_tables: what else belongs behind the table, Markdown.
    """
    results = {
        "measurements": [each.as_json() for each in measurements],
        "table": [dataclasses.asdict(row) for row in rows],
        **(more or {}),
    }
    atomic.write_text(output / RESULTS_FILE, json.dumps(results, indent=2) + "\n")
    tables = f"{_overview(rows)}\n{markdown(HEADER, [row.cells() for row in rows])}"
    text = f"{tables}\n{losses(rows, measurements)}\n\n{LEGEND}\n"
    atomic.write_text(output / TABLE_FILE, text + (more_tables and f"\n{more_tables}"))


def _summary(
    title: str, folds: Mapping[str, Mapping[str, Sequence[Measurement]]], method: str, reference: str | None
) -> Row:
    """Means over seeds of means over folds; the test rows of the folds are taken as independent."""
    seeds = [methods[method] for methods in folds.values()]

    def mean(name: str) -> np.ndarray:
        """The mean of each seed."""
        return np.mean([[getattr(each, name) for each in fold] for fold in seeds], axis=0)

    rmse = mean("rmse")
    difference = difference_error = None
    better = False
    if reference not in (None, method):
        pairs = [
            paired_difference(*([each.squared_errors for each in methods[name]] for name in (method, reference)))
            for methods in folds.values()
        ]
        difference = float(np.mean([value for value, _ in pairs]))
        difference_error = float(np.sqrt(np.sum([error**2 for _, error in pairs])) / len(pairs))
        # A preset that came to no number loses to whatever did.
        lost = difference < -difference_error or np.isnan(difference)
        better = bool(lost and np.isfinite(rmse.mean())) and seeds[0][0].kind != "floor"
    return Row(
        split=title,
        method=method,
        seeds=len(rmse),
        rmse=float(rmse.mean()),
        rmse_deviation=float(rmse.std(ddof=1)) if len(rmse) > 1 else None,
        difference=difference,
        difference_error=difference_error,
        better=better,
        mae=float(mean("mae").mean()),
        ndcg_at_10=float(mean("ndcg_at_10").mean()),
        pairwise_accuracy=float(mean("pairwise_accuracy").mean()),
        fit_seconds=float(mean("fit_seconds").mean()),
        fit_cpu_seconds=float(mean("fit_cpu_seconds").mean()),
    )


def _overview(rows: Sequence[Row]) -> str:
    """Markdown: the RMSE of every method on every split."""
    splits = list(dict.fromkeys(row.split for row in rows))
    values: dict[str, dict[str, str]] = {}
    for row in rows:
        values.setdefault(row.method, {})[row.split] = row.cells()[HEADER.index("RMSE")]
    lines = [(method, *(by_split.get(split, "") for split in splits)) for method, by_split in values.items()]
    return markdown(("test RMSE", *splits), lines)


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ["---"] * len(header), *lines))
