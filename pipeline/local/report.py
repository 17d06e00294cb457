"""The tables at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from components.evaluation_files import SIGNIFICANT_Z
from components.outcome import MODELS, Outcome
from data.errors import DataError
from data.sidecar import Sidecar
from modules import judge, list_judge, presets, serving
from modules.list_metrics import (
    LIST_COVERAGE,
    LIST_DIVERSITY,
    LIST_GINI,
    LIST_LEAD,
    LIST_LEAD_Z,
    LIST_NDCG,
    LIST_RECALL,
    LIST_USERS,
)
from modules.sliced_metrics import (
    EXAMPLE_COUNT,
    EXPECTED_RMSE,
    MAE,
    MSE_DIFFERENCE,
    MSE_DIFFERENCE_STDERR,
    MSE_DIFFERENCE_Z,
    NDCG,
    OVERALL,
    PAIRWISE_ACCURACY,
    RMSE,
    SHARES_INSIDE,
    USER_COUNT,
    SliceKey,
)
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.local.printable import printable

# Models whose lists are judged, for people.
_LISTING = {
    judge.CANDIDATE: "this model",
    judge.BLESSED: "blessed model",
    list_judge.POPULARITY: "most rated titles",
}
# Of fewer ratings a share has a standard error of more than five points.
_ENOUGH_FOR_SHARES = 100
# A difference from here on, or its standard error, is written with an exponent.
_MANY_DIGITS = 1e5


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
        if LIST_NDCG in outcome.metrics:
            console.print(_list_table(outcome))
        if EXPECTED_RMSE in outcome.metrics:
            console.print(_calibration_table(outcome))
    # What comes from users and data is text: a `[local]` in a path is no markup.
    facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for name, value in _facts(config, outcome, ended, seconds):
        facts.add_row(name, Text(value))
    console.print(facts)
    for verdict in _verdicts(outcome):
        console.print(verdict, soft_wrap=True)
    for line in (*outcome.reasons, *_advice(config, outcome)):
        console.print(Text(printable(f"  {line}")), soft_wrap=True)


def _verdicts(outcome: Outcome) -> Iterator[Text]:
    """Whether the model was pushed, and what failed after that."""
    pushed = outcome.exit_code == ExitCode.PUSHED or outcome.pushed_path is not None
    if pushed:
        yield Text.assemble(("pushed", "bold green"), f" to {outcome.pushed_path}")
    if outcome.exit_code != ExitCode.PUSHED:
        said = "failed after that" if pushed else "not pushed"
        yield Text.assemble((said, "bold red"), f": {MEANINGS[outcome.exit_code]}")


def _advice(config: PipelineConfig, outcome: Outcome) -> list[str]:
    """What a model is worth that was not blessed, and what would bless it; nothing after another verdict."""
    rmse = outcome.metrics.get(RMSE, math.nan)
    if outcome.exit_code != ExitCode.NOT_BLESSED or not math.isfinite(rmse):
        return []
    measured = outcome.evaluation[OVERALL]
    baselines = {MODELS[name]: measured[name][RMSE] for name in judge.BASELINES}
    beside = ", ".join(f"{name} {other:.4f} ({_compared(rmse, other)})" for name, other in baselines.items())
    lines = [
        f"a rating is typically {rmse:.4f} off, on a scale from {config.data.rating_low:g} to "
        f"{config.data.rating_high:g}; {_origin_of_bound(config)}",
        f"RMSE of baselines on the same {measured[judge.CANDIDATE][EXAMPLE_COUNT]:,.0f} ratings: {beside}",
    ]
    better = [name for name, other in baselines.items() if other <= rmse]
    if better:
        lines.append(
            f"a looser bound is no remedy: {', '.join(better)}, mere averages, predict at least as well; first try "
            "another preset or more training, or look at the ratings"
        )
    z = math.inf if config.baseline is None else measured[config.baseline].get(MSE_DIFFERENCE_Z, math.nan)
    lost = not z >= SIGNIFICANT_Z
    if lost and not better:
        lines.append("another preset or more ratings may make it better; more test ratings may show that it is better")
    needed = []
    if lost:
        needed.append("--set evaluator.baseline=none")
    if rmse > config.rmse_bound:
        needed.append(f"--rmse-bound {_rounded_up(rmse)}")
    regression = rmse - measured.get(judge.BLESSED, {}).get(RMSE, math.inf)
    if regression > config.evaluator.max_regression:
        needed.append(f"--set evaluator.max_regression={_rounded_up(regression)}")
    if measured.get(list_judge.POPULARITY, {}).get(LIST_LEAD_Z, 0.0) < -SIGNIFICANT_Z:
        needed.append("--set evaluator.lists_baseline=none")
    worse = -measured.get(judge.BLESSED, {}).get(LIST_LEAD, 0.0)
    if worse > config.evaluator.max_ndcg_regression:
        needed.append(f"--set evaluator.max_ndcg_regression={_rounded_up(worse)}")
    counts = {"ratings": EXAMPLE_COUNT, "users": USER_COUNT}
    for what, name in counts.items():
        count = measured[judge.CANDIDATE][name]
        if count < getattr(config.evaluator, f"min_test_{what}"):
            needed.append(f"--set evaluator.min_test_{what}={count:.0f}")
    if needed:
        lines.append(f"{' '.join(needed)} would bless it{', as bad as it is' if better else ''}")
    return lines


def _origin_of_bound(config: PipelineConfig) -> str:
    """Where the bound comes from, and what it would be on this scale if nobody had set it."""
    preset, low, high = config.trainer.preset, config.data.rating_low, config.data.rating_high
    usual = presets.get(preset).rmse_bound
    scaled = "" if high - low == 4 else f", {config.preset_rmse_bound:.4f} for ratings from {low:g} to {high:g}"
    source = "is that of" if config.evaluator.rmse_bound is None else "was set by you; without, it would be that of"
    return f"the bound {source} preset {preset}, {usual:.4f} for ratings from 1 to 5{scaled}"


def _compared(rmse: float, other: float) -> str:
    return f"the model is {abs(rmse - other):.4f} {'better' if rmse < other else 'worse'}"


def _rounded_up(value: float) -> str:
    """Four significant digits, and no less than the value, so that it can be given as a bound."""
    step = 10.0 ** (math.floor(math.log10(value)) - 3)
    return f"{math.ceil(value / step) * step:.4g}"


def _model_table(outcome: Outcome) -> Table:
    """Each model on all test ratings."""
    headings = ("on the test\nratings", "RMSE", "MAE", "NDCG@10", "pairwise\naccuracy", "MSE above this\nmodel's")
    table = Table(*headings, title_justify="left")
    measured = outcome.evaluation[OVERALL]
    for model in (each for each in MODELS if each in measured):
        numbers = (measured[model][name] for name in (RMSE, MAE, NDCG, PAIRWISE_ACCURACY))
        table.add_row(MODELS[model], *map(_decimal, numbers), _with_stderr(measured[model]))
    return table


def _with_stderr(measured: dict[str, float]) -> str:
    """By how much the mean squared error is above the candidate's, and the standard error of that."""
    difference, stderr = (measured.get(name, math.nan) for name in (MSE_DIFFERENCE, MSE_DIFFERENCE_STDERR))
    if math.isnan(stderr):
        return ""
    larger = max(abs(difference), stderr)
    if larger >= _MANY_DIGITS:
        return f"{difference:.2e} ± {stderr:.1e}".replace("e+0", "e").replace("e+", "e")
    decimals = _decimals(larger)
    return f"{difference:,.{decimals}f} ± {stderr:,.{decimals}f}"


def _slice_table(outcome: Outcome) -> Table:
    """The candidate by what was known of user and title, beside the RMSE of the best baseline; 80 columns wide."""
    headings = ("slice\n(ratings when fitted)", "test\nratings", "RMSE", "of user +\ntitle bias", "MAE", "NDCG@10")
    table = Table(*headings)
    for key in sorted(filter(None, outcome.evaluation), key=_slice_order):
        mine, bias = (outcome.evaluation[key][model] for model in (judge.CANDIDATE, serving.USER_TITLE_BIAS))
        numbers = map(_decimal, (mine[RMSE], bias[RMSE], mine[MAE], mine[NDCG]))
        table.add_row(_slice_name(key), f"{mine[EXAMPLE_COUNT]:,.0f}", *numbers)
    return table


def _list_table(outcome: Outcome) -> Table:
    """Lists of the best titles: of each model that makes some, and the candidate's by what was known of users."""
    headings = ("lists of ten", "users", "NDCG@10", "Recall\n@10", "titles\nshown", "Gini", "alike")
    table = Table(*headings)
    measured = outcome.evaluation[OVERALL]
    for model, name in _LISTING.items():
        if LIST_NDCG in measured.get(model, {}):
            table.add_row(name, *_list_cells(measured[model]))
    for key in sorted(filter(None, outcome.evaluation), key=_slice_order):
        mine = outcome.evaluation[key][judge.CANDIDATE]
        if LIST_NDCG in mine:
            table.add_row(f"activity {key[1]}", *_list_cells(mine))
    return table


def _list_cells(measured: dict[str, float]) -> tuple[str, ...]:
    """Users, then what the columns of lists hold; titles of a list are alike by their genres."""
    ndcg = f"{_decimal(measured[LIST_NDCG])} ± {_decimal(measured[f'{LIST_NDCG}_stderr'])}"
    return (
        f"{measured[LIST_USERS]:,.0f}",
        ndcg,
        _decimal(measured[LIST_RECALL]),
        _percent(measured[LIST_COVERAGE], 0),
        f"{measured[LIST_GINI]:.2f}",
        _percent(1.0 - measured[LIST_DIVERSITY], 0),
    )


def _calibration_table(outcome: Outcome) -> Table:
    """Whether the candidate is as sure as it may be: on all test ratings, and by slices with enough of them."""
    levels = (f"of\n{_percent(level, 0)}" for level in SHARES_INSIDE)
    table = Table("test ratings inside\ntheir intervals", *levels, "RMSE", "RMSE\npromised")
    for key in (OVERALL, *sorted(filter(None, outcome.evaluation), key=_slice_order)):
        mine = outcome.evaluation[key][judge.CANDIDATE]
        if key == OVERALL or mine[EXAMPLE_COUNT] >= _ENOUGH_FOR_SHARES:
            shares = (_percent(mine[name]) for name in SHARES_INSIDE.values())
            table.add_row(_slice_name(key), *shares, _decimal(mine[RMSE]), _decimal(mine[EXPECTED_RMSE]))
    return table


def _slice_name(key: SliceKey) -> str:
    return " ".join(key).replace("_", " ") if key else "all"


def _slice_order(key: SliceKey) -> tuple[str, int]:
    """Sorts slices by feature, then by how much was known."""
    feature, value = key
    return feature, serving.SLICE_NAMES.index(value)


def _decimal(value: float) -> str:
    """Four decimals, fewer of large numbers; nothing where there is no such number."""
    return "" if math.isnan(value) else f"{value:,.{_decimals(value)}f}"


def _decimals(value: float) -> int:
    """How many decimals make five digits of a number; at most four."""
    return max(0, 5 - len(f"{abs(value):.4f}".partition(".")[0]))


def _percent(share: float, decimals: int = 1) -> str:
    return "" if math.isnan(share) else f"{100 * share:.{decimals}f} %"


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
    facts += [
        (name, line) for name, line in zip(("model", "recommends by"), outcome.fitted.split("\n"), strict=False) if line
    ]
    if outcome.evaluation:
        beaten = "" if config.baseline is None else f"; it must be better than {MODELS[config.baseline]}"
        bound = f"at most {config.rmse_bound:.4f} is allowed{beaten}"
        facts.append(("evaluation", f"RMSE {outcome.metrics[RMSE]:.4f}, {bound}"))
        facts.append(("blessed model before", outcome.blessed_model or "none"))
    executed = [name for name, (state, _) in ended.items() if state == "done" and name != "BlessedModel"]
    if ended and not executed and outcome.exit_code == ExitCode.PUSHED:
        facts.append(("cache", "nothing has changed since an earlier run; no component was executed"))
    if outcome.lists_path:
        facts.append(("lists of all users", outcome.lists_path))
    facts += [("note", line) for line in outcome.notes]
    facts.append(
        ("time", f"{seconds:.1f} s: " + ", ".join(f"{name} {spent:.1f}" for name, (_, spent) in ended.items()))
    )
    return facts


def _record(root: str) -> Sidecar | None:
    """What is recorded of the files of a data folder; None where nothing is, as of one made by hand."""
    try:
        sidecar = Sidecar.read(root)
    except DataError:
        return None
    return sidecar if sidecar.files else None


def _rejected(root: str) -> str:
    sidecar = _record(root)
    return f"{sidecar.rejected:,} rejected when it was prepared" if sidecar else "no record of rejected rows"


def _side_features(root: str) -> str:
    """What the data say of users and titles beside the ratings, which the presets can do without."""
    sidecar = _record(root)
    if sidecar is None:
        return "no record of the columns"
    columns = sidecar.side_columns
    return ", ".join(columns) if columns else "none: the model knows users and titles by their ratings alone"
