"""The table at the end of a run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from components import baseline_comparison
from data.errors import DataError
from data.sidecar import Sidecar
from modules import features, serving
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.graph import evaluation
from pipeline.local.outcome import Outcome, slice_order

PREDICTORS = {
    baseline_comparison.MODEL: "this model",
    serving.USER_TITLE_BIAS: "user + title bias",
    serving.TITLE_MEAN: "title mean",
    serving.GLOBAL_MEAN: "global mean",
}


def show(
    console: Console,
    config: PipelineConfig,
    outcome: Outcome,
    ended: dict[str, tuple[str, float]],
    seconds: float,
) -> None:
    """Prints what a run came to.

    Args:
      console: where to.
      config: of the run.
      outcome: of the run.
      ended: state and seconds of each component.
      seconds: the whole run took.
    """
    if outcome.comparison:
        console.print(_comparison_table(outcome))
    if outcome.slices:
        console.print(_slice_table(outcome))
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(config, outcome, ended, seconds):
        facts.add_row(name, value)
    console.print(facts)
    if outcome.exit_code == ExitCode.PUSHED:
        console.print(f"[bold green]pushed[/] to {outcome.pushed_path}", highlight=False, soft_wrap=True)
    else:
        console.print(f"[bold red]not pushed[/]: {MEANINGS[outcome.exit_code]}", highlight=False, soft_wrap=True)
        for reason in outcome.reasons:
            console.print(f"  {reason}", highlight=False, markup=False, soft_wrap=True)


def _comparison_table(outcome: Outcome) -> Table:
    """All test ratings, then those that models find hardest: the model beside the title mean."""
    table = Table("on the test ratings", "RMSE", "MAE", "NDCG@10", "pairwise accuracy", title_justify="left")

    def add(name: str, predictor: str, label: str) -> None:
        row = outcome.comparison[name][predictor]
        values = (row[key] for key in ("rmse", "mae", "ndcg_at_10", "pairwise_accuracy"))
        table.add_row(label, *("" if value is None else f"{value:.4f}" for value in values))

    for predictor, label in PREDICTORS.items():
        add(baseline_comparison.OVERALL, predictor, label)
    for name in outcome.comparison:
        if name != baseline_comparison.OVERALL:
            table.add_section()
            count = outcome.comparison[name][baseline_comparison.MODEL]["ratings"]
            for predictor in (baseline_comparison.MODEL, serving.TITLE_MEAN):
                add(name, predictor, f"{name} ({count:,}): {PREDICTORS[predictor]}")
    return table


def _slice_table(outcome: Outcome) -> Table:
    table = Table("slice (ratings when fitted)", "test ratings", "RMSE", "MAE", "NDCG@10")
    for key in sorted(outcome.slices, key=slice_order):
        values = outcome.slices[key]
        shown = (values.get(name) for name in (evaluation.RMSE, evaluation.MAE, evaluation.NDCG))
        numbers = ("" if value is None else f"{value:.4f}" for value in shown)
        table.add_row(f"{key[0].replace('_', ' ')} {key[1]}", f"{values['example_count']:,.0f}", *numbers)
    return table


def _facts(
    config: PipelineConfig, outcome: Outcome, ended: dict[str, tuple[str, float]], seconds: float
) -> list[tuple[str, str]]:
    facts = [("data", config.data.root)]
    if outcome.split_sizes:
        sizes = ", ".join(f"{split} {size:,}" for split, size in outcome.split_sizes.items())
        facts.append(("rows", f"{sum(outcome.split_sizes.values()):,} in: {sizes}; {_rejected(config.data.root)}"))
    facts.append(("side features", _side_features(config.data.root)))
    if "AnomalyGate" in ended:
        facts.append(
            ("anomalies", "none" if outcome.exit_code != ExitCode.ANOMALIES else str(len(outcome.reasons) - 2))
        )
    if outcome.metrics:
        bound = f"RMSE {outcome.metrics[evaluation.RMSE]:.4f}, to be below {config.rmse_bound:.4f}"
        facts.append(("evaluation", bound))
        facts.append(("blessed model before", outcome.baseline_model or "none"))
    executed = [name for name, (state, _) in ended.items() if state == "done" and name != "BlessedModel"]
    if ended and not executed and outcome.exit_code == ExitCode.PUSHED:
        facts.append(("cache", "nothing has changed since an earlier run; no component was executed"))
    facts.append(
        ("time", f"{seconds:.1f} s: " + ", ".join(f"{name} {spent:.1f}" for name, (_, spent) in ended.items()))
    )
    return facts


def _rejected(root: str) -> str:
    try:
        return f"{Sidecar.read(root).rejected:,} rejected when it was prepared"
    except DataError:
        return "no record of rejected rows"


def _side_features(root: str) -> str:
    """What the data say of users and titles beside the ratings, which the presets can do without."""
    try:
        columns = Sidecar.read(root).columns
    except DataError:
        return "no record of the columns"
    described = [column.name for column in features.OPTIONAL_COLUMNS if column.describes != "rating"]
    present = [name for name in described if name in columns]
    return ", ".join(present) if present else "none: the model knows users and titles by their ratings alone"
