"""What differs between two runs, and what it changed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from modules import judge
from modules.sliced_metrics import OVERALL, Evaluation
from modules.user_bootstrap import NAMES
from pipeline.local import run_facts, run_report
from pipeline.local.past_runs import PastRun

# Groups of lineage in which runs of the same pipeline differ by what they were given.
_GROUPS = ("Data", "Code", "Configuration", "Versions")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs side by side.

    Attributes:
      differs: by group (data, code, configuration, versions), by name, what the first and the second run have; None
        where it has no such thing.
      metrics: by name, of the candidate on all test ratings; likewise.
      slices: by slice, such as "user_activity 3-9", then as `metrics`.
    """

    differs: dict[str, dict[str, tuple[str | None, str | None]]]
    metrics: dict[str, tuple[float | None, float | None]]
    slices: dict[str, dict[str, tuple[float | None, float | None]]]


def compare(metadata_path: str, first: PastRun, second: PastRun) -> Comparison:
    """Compares two runs of one ML Metadata database."""
    runs = (first, second)
    before, after = (run_facts.lineage_of(metadata_path, each) for each in runs)
    old, new = (run_report.outcome_of(metadata_path, each).evaluation for each in runs)
    slices = {
        " ".join(key): _both(_candidate(old, key), _candidate(new, key))
        for key in sorted({*old, *new})
        if key != OVERALL
    }
    return Comparison(
        differs={
            group: found for group in _GROUPS if (found := _differing(before.get(group, {}), after.get(group, {})))
        },
        metrics=_both(_candidate(old, OVERALL), _candidate(new, OVERALL)),
        slices={name: metrics for name, metrics in slices.items() if metrics},
    )


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names = dict.fromkeys((*before, *after))
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _candidate(evaluation: Evaluation, key: tuple[str, ...]) -> dict[str, float]:
    """The finite metrics of the candidate; ends of intervals are none."""
    measured = evaluation.get(key, {}).get(judge.CANDIDATE, {})
    return {name: value for name, value in measured.items() if math.isfinite(value) and name not in NAMES}


def _both(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float | None, float | None]]:
    return {name: (before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))}
