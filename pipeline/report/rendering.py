"""A run's report as one page of HTML that loads nothing from elsewhere."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jinja2

from pipeline.report import plots
from pipeline.report.facts import Data, Listing, Measure, Rating, Run, Slice
from pipeline.report.numbers import count, decimal, percent

_PACKAGE = "pipeline.report"
# The folders beside this module that it reads.
READS = ("templates",)
# Curves that are drawn of more.
_MOST_CURVES = 4


@functools.cache
def templates() -> jinja2.Environment:
    """The templates, in which all text is escaped; `parts.html` has the macros that other pages share."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, *READS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(decimal=decimal, count=count, percent=percent)
    return environment


def report(run: Run) -> str:
    """The page of a run."""
    return (
        templates()
        .get_template("report.html")
        .render(
            run=run,
            data_facts=_data_facts(run.data),
            reasons=[(reason, count(rows)) for reason, rows in run.data.reasons.items()],
            plots=_plots(run),
            ratings=list(map(_rating_cells, run.models)),
            slices=list(map(_slice_cells, run.slices)),
            listings=list(map(_listing_cells, run.listings)),
            total=sum(step.seconds for step in run.steps),
        )
    )


def _data_facts(data: Data) -> dict[str, str]:
    facts = {"source": data.source or "not recorded"}
    if data.sizes:
        sizes = ", ".join(f"{split} {count(size)}" for split, size in data.sizes.items())
        facts["ratings"] = f"{count(sum(data.sizes.values()))}: {sizes}"
    if data.scale:
        facts["scale"] = f"{data.scale[0]:g} to {data.scale[1]:g}"
    for name, ranks in (("users in training", data.activity), ("titles in training", data.popularity)):
        if ranks:
            facts[name] = count(ranks.values)
    facts["rejected"] = "not recorded" if data.rejected is None else f"{count(data.rejected)} rows"
    if data.columns is not None:
        facts["beside the ratings"] = ", ".join(data.columns) or "nothing is known of users and titles"
    facts["licence"] = data.licence or "not recorded"
    return facts


def _plots(run: Run) -> dict[str, Any]:
    """The plots of each section."""
    of_data = [plots.histogram(run.data.histogram)] if run.data.histogram else []
    for name, what, ranks in (
        ("activity", "users", run.data.activity),
        ("popularity", "titles", run.data.popularity),
    ):
        if ranks and ranks.points:
            of_data.append(plots.ranks(name, what, ranks))
    of_metrics = [plots.models(run.models)] if run.models else []
    for feature, parts in itertools.groupby(run.slices, key=lambda each: each.feature):
        of_metrics.append(plots.slices(f"slices-{feature.replace(' ', '-')}", list(parts)))
    if run.calibration:
        of_metrics.append(plots.calibration(run.calibration))
    return {
        "data": of_data,
        "training": [plots.curve(each, place) for place, each in enumerate(run.curves[:_MOST_CURVES])],
        "metrics": of_metrics,
        "time": plots.seconds(run.steps) if run.steps else None,
    }


def _measure(measured: Measure) -> str:
    text = decimal(measured.value)
    return text if measured.low is None else f"{text} [{decimal(measured.low)}, {decimal(measured.high)}]"


def _rating_cells(rating: Rating) -> tuple[str, ...]:
    difference = decimal(rating.difference)
    if rating.difference is not None and rating.difference_stderr is not None:
        difference = f"{difference} ± {decimal(rating.difference_stderr)}"
    measures = (rating.rmse, rating.mae, rating.ndcg, rating.pairwise)
    return (rating.name, *map(_measure, measures), difference)


def _slice_cells(part: Slice) -> tuple[str, ...]:
    numbers = map(decimal, (part.rmse, part.baseline, part.mae, part.ndcg))
    return (f"{part.feature} {part.value}", count(part.ratings), *numbers)


def _listing_cells(listing: Listing) -> tuple[str, ...]:
    return (
        listing.name,
        count(listing.users),
        _measure(listing.ndcg),
        decimal(listing.recall),
        percent(listing.coverage, 0),
        decimal(listing.gini, 2),
    )
