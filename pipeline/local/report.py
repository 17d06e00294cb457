"""The tables at the end of a run."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.errors import DataError
from data.sidecar import Sidecar
from modules import judge, serving
from modules.sliced_metrics import EXAMPLE_COUNT, MAE, NDCG, OVERALL, PAIRWISE_ACCURACY, RMSE, SliceKey
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.local.outcome import Outcome

MODELS = {
    judge.CANDIDATE: "this model",
    judge.BLESSED: "blessed model",
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
    if outcome.evaluation:
        console.print(_model_table(outcome))
        console.print(_slice_table(outcome))
    # What comes from users and data is text: a `[local]` in a path is no markup.
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(config, outcome, ended, seconds):
        facts.add_row(name, Text(value))
    console.print(facts)
    if outcome.exit_code == ExitCode.PUSHED:
        verdict = Text.assemble(("pushed", "bold green"), f" to {outcome.pushed_path}")
    else:
        verdict = Text.assemble(("not pushed", "bold red"), f": {MEANINGS[outcome.exit_code]}")
    for line in (verdict, *(Text(f"  {reason}") for reason in outcome.reasons)):
        console.print(line, soft_wrap=True)


def _model_table(outcome: Outcome) -> Table:
    """Each model on all test ratings."""
    table = Table("on the test ratings", "RMSE", "MAE", "NDCG@10", "pairwise accuracy", title_justify="left")
    measured = outcome.evaluation[OVERALL]
    for model in (each for each in MODELS if each in measured):
        numbers = (measured[model][name] for name in (RMSE, MAE, NDCG, PAIRWISE_ACCURACY))
        table.add_row(MODELS[model], *map(_decimal, numbers))
    return table


def _slice_table(outcome: Outcome) -> Table:
    """The candidate by what was known of user and title, beside the RMSE of the best baseline; 80 columns wide."""
    headings = ("slice\n(ratings when fitted)", "test\nratings", "RMSE", "of user +\ntitle bias", "MAE", "NDCG@10")
    table = Table(*headings)
    for key in sorted(filter(None, outcome.evaluation), key=_slice_order):
        mine, bias = (outcome.evaluation[key][model] for model in (judge.CANDIDATE, serving.USER_TITLE_BIAS))
        numbers = map(_decimal, (mine[RMSE], bias[RMSE], mine[MAE], mine[NDCG]))
        table.add_row(f"{key[0].replace('_', ' ')} {key[1]}", f"{mine[EXAMPLE_COUNT]:,.0f}", *numbers)
    return table


def _slice_order(key: SliceKey) -> tuple[str, int]:
    """Sorts slices by feature, then by how much was known."""
    feature, value = key
    return feature, serving.SLICE_NAMES.index(value)


def _decimal(value: float) -> str:
    """Four decimals; nothing where there is no such number."""
    return "" if math.isnan(value) else f"{value:.4f}"


def _facts(
    config: PipelineConfig, outcome: Outcome, ended: dict[str, tuple[str, float]], seconds: float
) -> list[tuple[str, str]]:
    facts = [("data", config.data.root)]
    if outcome.split_sizes:
        sizes = ", ".join(f"{split} {size:,}" for split, size in outcome.split_sizes.items())
        facts.append(("rows", f"{sum(outcome.split_sizes.values()):,} in: {sizes}; {_rejected(config.data.root)}"))
    facts.append(("side features", _side_features(config.data.root)))
    if "AnomalyGate" in ended:
        # AnomalyGate puts each on a line of its own, and indents it.
        found = sum(line.startswith("  ") for line in outcome.reasons if outcome.exit_code == ExitCode.ANOMALIES)
        facts.append(("anomalies", str(found or "none")))
    if outcome.evaluation:
        facts.append(("evaluation", f"RMSE {outcome.metrics[RMSE]:.4f}, at most {config.rmse_bound:.4f} is allowed"))
        facts.append(("blessed model before", outcome.blessed_model or "none"))
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
        columns = Sidecar.read(root).side_columns
    except DataError:
        return "no record of the columns"
    return ", ".join(columns) if columns else "none: the model knows users and titles by their ratings alone"
