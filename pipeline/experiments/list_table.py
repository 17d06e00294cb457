"""The second table of an accuracy benchmark: lists of ten titles out of the whole catalogue."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.experiments.accuracy_table import FOLDS, FOLDS_MEAN, Kind, markdown
from pipeline.experiments.splits import RANDOM_SPLITS

HEADER = ("split", "method", "NDCG@10", "difference", "Recall@10", "titles shown", "fit s")
RANDOM_MEAN = f"mean of {', '.join(RANDOM_SPLITS)}"
LEGEND = (
    "Lists of ten titles out of all that have training ratings but those that the user has rated; liked is a test "
    "rating of four stars or more of 1 to 5, the upper quarter of another scale. NDCG@10: mean over users who liked "
    "something, ± standard deviation over seeds. Difference: that minus the NDCG@10 of the first preset, ± standard "
    "error over users. Recall@10: share of what was liked that is on the list. Titles shown: share of the catalogue "
    "that is on any."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListMeasurement:
    """What the lists of one method came to on one split with one seed.

    Attributes:
      split: name of the split.
      method: name of the method.
      kind: what the method is.
      seed: seed of the fit.
      fit_seconds: wall-clock time of fitting.
      ndcg: float64 [users], NDCG@10 of each, in the same order for all methods.
      recall_at_10: mean over users.
      coverage: share of the titles that are on any list.
    """

    split: str
    method: str
    kind: Kind
    seed: int
    fit_seconds: float
    ndcg: np.ndarray = dataclasses.field(repr=False)
    recall_at_10: float
    coverage: float

    def as_json(self) -> dict[str, Any]:
        """Everything, with the mean NDCG instead of that of each user."""
        return {**dataclasses.asdict(self), "ndcg": float(self.ndcg.mean())}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListRow:
    """A line of the table: means over seeds.

    Attributes:
      split: name of the split.
      method: name of the method.
      ndcg: mean over users.
      ndcg_deviation: standard deviation over seeds; None of a single one.
      difference: NDCG minus that of the first preset; None of that preset itself.
      difference_error: standard error of the difference over users.
      recall_at_10: mean over users.
      coverage: share of the titles.
      fit_seconds: wall-clock time.
    """

    split: str
    method: str
    ndcg: float
    ndcg_deviation: float | None
    difference: float | None
    difference_error: float | None
    recall_at_10: float
    coverage: float
    fit_seconds: float

    def cells(self) -> tuple[str, ...]:
        """The columns of HEADER."""
        deviation = "" if self.ndcg_deviation is None else f" ± {self.ndcg_deviation:.4f}"
        paired = "" if self.difference is None else f"{self.difference:+.4f} ± {self.difference_error:.4f}"
        return (
            self.split,
            self.method,
            f"{self.ndcg:.4f}{deviation}",
            paired,
            f"{self.recall_at_10:.4f}",
            f"{100 * self.coverage:.0f} %",
            f"{self.fit_seconds:.1f}",
        )


def summarize(measurements: Sequence[ListMeasurement]) -> list[ListRow]:
    """Means over seeds for each split and method, and those of the folds and of the random splits that are complete."""
    groups: dict[str, dict[str, list[ListMeasurement]]] = {}
    for each in measurements:
        groups.setdefault(each.split, {}).setdefault(each.method, []).append(each)
    reference = next((each.method for each in measurements if each.kind == "preset"), None)
    wanted = {split: (split,) for split in groups} | {FOLDS_MEAN: FOLDS, RANDOM_MEAN: tuple(RANDOM_SPLITS)}
    return [
        _summary(title, [groups[split] for split in splits], method, reference)
        for title, splits in wanted.items()
        if all(split in groups for split in splits)
        for method in groups[splits[0]]
    ]


def show(rows: Sequence[ListRow], console: Console) -> None:
    """Prints the table."""
    table = Table(title="lists of ten", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in HEADER[1:]:
        table.add_column(name, justify="left" if name == "method" else "right", overflow="fold")
    previous = None
    for row in rows:
        if row.split != previous:
            if previous is not None:
                table.add_section()
            table.add_row(Text(row.split, style="bold"))
            previous = row.split
        table.add_row(*map(Text, row.cells()[1:]))
    console.print(table)
    console.print(LEGEND, highlight=False)


def as_markdown(rows: Sequence[ListRow]) -> str:
    """The table and its legend."""
    return f"{markdown(HEADER, [row.cells() for row in rows])}\n{LEGEND}\n"


def _summary(
    title: str, splits: Sequence[Mapping[str, Sequence[ListMeasurement]]], method: str, reference: str | None
) -> ListRow:
    """Means over seeds of means over splits, whose users are taken as independent."""
    ndcg = np.mean([[each.ndcg.mean() for each in split[method]] for split in splits], axis=0)
    difference = difference_error = None
    if reference not in (None, method):
        gaps = [_by_user(split[method]) - _by_user(split[reference]) for split in splits]
        difference = float(np.mean([gap.mean() for gap in gaps]))
        errors = [gap.std(ddof=1) / np.sqrt(len(gap)) for gap in gaps]
        difference_error = float(np.sqrt(np.sum(np.square(errors))) / len(gaps))
    everything = [each for split in splits for each in split[method]]
    return ListRow(
        split=title,
        method=method,
        ndcg=float(ndcg.mean()),
        ndcg_deviation=float(ndcg.std(ddof=1)) if len(ndcg) > 1 else None,
        difference=difference,
        difference_error=difference_error,
        recall_at_10=float(np.mean([each.recall_at_10 for each in everything])),
        coverage=float(np.mean([each.coverage for each in everything])),
        fit_seconds=float(np.mean([each.fit_seconds for each in everything])),
    )


def _by_user(seeds: Sequence[ListMeasurement]) -> np.ndarray:
    return np.mean([each.ndcg for each in seeds], axis=0)
