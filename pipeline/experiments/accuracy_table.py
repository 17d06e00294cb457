"""The table that an accuracy benchmark ends in: means over seeds, and differences on the same rows."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from data import atomic

RESULTS_FILE, TABLE_FILE = "accuracy.json", "accuracy.md"
# The five folds of one cross-validation; their mean is shown once all are measured.
FOLDS = ("u1", "u2", "u3", "u4", "u5")
FOLDS_MEAN = "mean of u1 to u5"
HEADER = ("split", "method", "RMSE", "difference", "NDCG@10", "pairwise", "MAE", "fit s", "CPU s")

LEGEND = (
    "RMSE: mean ± standard deviation over seeds. Difference: RMSE minus that of the first preset, ± standard error "
    "over the same test rows. Pairwise: how often the better of two titles of a user is predicted higher. Fit s: "
    "seconds by the clock. CPU s: seconds of the processor, all threads together."
)
# Width of the table in characters, where no terminal gives one.
_WIDTH = 140


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one method came to on one split with one seed.

    Attributes:
      split: name of the split.
      method: name of the method.
      kind: what the method is: preset, baseline or peer.
      seed: seed of the fit.
      fit_seconds: wall-clock time of fitting, without reading, export and prediction.
      fit_cpu_seconds: processor time of the same.
      rmse: stars.
      mae: stars.
      ndcg_at_10: see `metrics.ndcg_at_k`.
      pairwise_accuracy: see `metrics.pairwise_accuracy`.
      squared_errors: float64 [test rows], stars^2; in the same order for all methods.
    """

    split: str
    method: str
    kind: str
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
      rmse: stars.
      rmse_deviation: standard deviation over seeds, stars; None of a single one.
      difference: RMSE minus that of the first preset, stars; None of that preset itself.
      difference_error: standard error of the difference over test rows, stars.
      mae: stars.
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
    mae: float
    ndcg_at_10: float
    pairwise_accuracy: float
    fit_seconds: float
    fit_cpu_seconds: float

    def cells(self) -> tuple[str, ...]:
        """The columns of HEADER."""
        deviation = "" if self.rmse_deviation is None else f" ± {self.rmse_deviation:.4f}"
        paired = "" if self.difference is None else f"{self.difference:+.4f} ± {self.difference_error:.4f}"
        return (
            self.split,
            self.method,
            f"{self.rmse:.4f}{deviation}",
            paired,
            f"{self.ndcg_at_10:.4f}",
            f"{self.pairwise_accuracy:.4f}",
            f"{self.mae:.4f}",
            f"{self.fit_seconds:.1f}",
            f"{self.fit_cpu_seconds:.1f}",
        )


def summarize(measurements: Sequence[Measurement]) -> list[Row]:
    """Means over seeds for each split and method, in the order in which they were measured.

    The rows of FOLDS_MEAN follow where all FOLDS were measured.
    """
    groups: dict[str, dict[str, list[Measurement]]] = {}
    for each in measurements:
        groups.setdefault(each.split, {}).setdefault(each.method, []).append(each)
    reference = next((each.method for each in measurements if each.kind == "preset"), None)
    rows = [_summary(split, {split: methods}, name, reference) for split, methods in groups.items() for name in methods]
    if all(fold in groups for fold in FOLDS):
        folds = {fold: groups[fold] for fold in FOLDS}
        rows += [_summary(FOLDS_MEAN, folds, name, reference) for name in groups[FOLDS[0]]]
    return rows


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
        np.mean([squared / (2 * np.sqrt(squared.mean())) for squared in seeds], axis=0) for seeds in (first, second)
    )
    difference = float(np.mean([np.sqrt(squared.mean()) for squared in first]))
    difference -= float(np.mean([np.sqrt(squared.mean()) for squared in second]))
    return difference, float(np.std(one - other, ddof=1) / np.sqrt(len(one)))


def show(rows: Sequence[Row], console: Console) -> None:
    """Prints the table."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    table = Table(*HEADER, title="accuracy on test ratings")
    previous = ""
    for row in rows:
        if previous not in ("", row.split):
            table.add_section()
        cells = row.cells()
        table.add_row("" if row.split == previous else cells[0], *cells[1:])
        previous = row.split
    console.print(table, markup=False)
    console.print(LEGEND, highlight=False)


def save(measurements: Sequence[Measurement], rows: Sequence[Row], output: pathlib.Path) -> None:
    """Writes RESULTS_FILE and TABLE_FILE into a folder."""
    results = {
        "measurements": [each.as_json() for each in measurements],
        "table": [dataclasses.asdict(row) for row in rows],
    }
    atomic.write_text(output / RESULTS_FILE, json.dumps(results, indent=2) + "\n")
    atomic.write_text(
        output / TABLE_FILE, f"{_overview(rows)}\n{_markdown(HEADER, [row.cells() for row in rows])}\n{LEGEND}\n"
    )


def _summary(
    title: str, folds: Mapping[str, Mapping[str, Sequence[Measurement]]], method: str, reference: str | None
) -> Row:
    """Means over seeds of means over folds; the test rows of the folds are taken as independent."""
    seeds = [methods[method] for methods in folds.values()]

    def mean(name: str) -> np.ndarray:
        """The mean of each seed."""
        return np.mean([[getattr(each, name) for each in fold] for fold in seeds], axis=0)

    difference = difference_error = None
    if reference not in (None, method):
        pairs = [
            paired_difference(*([each.squared_errors for each in methods[name]] for name in (method, reference)))
            for methods in folds.values()
        ]
        difference = float(np.mean([value for value, _ in pairs]))
        difference_error = float(np.sqrt(np.sum([error**2 for _, error in pairs])) / len(pairs))
    rmse = mean("rmse")
    return Row(
        split=title,
        method=method,
        seeds=len(rmse),
        rmse=float(rmse.mean()),
        rmse_deviation=float(rmse.std(ddof=1)) if len(rmse) > 1 else None,
        difference=difference,
        difference_error=difference_error,
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
    return _markdown(("test RMSE", *splits), lines)


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ["---"] * len(header), *lines))
