"""Plots as static SVG, each with its numbers as a table for those who cannot see it.

Vega-Lite draws them, in the process, without a browser or a network.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.report import style
from pipeline.report.facts import Calibration, Curve, Ranks, Rating, Slice, Step
from pipeline.report.numbers import count, decimal, percent

# Steps of a curve that are drawn of more.
_MOST_POINTS = 60
_LOG_AXIS = {"grid": False, "tickCount": 3}
Values = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot and its numbers.

    Attributes:
      name: unlike that of other plots of the page; letters and hyphens.
      title: what it shows.
      caption: how to read it.
      svg: an `<svg>` element, without style sheets, scripts or addresses.
      columns: headings of the table.
      rows: its cells.
    """

    name: str
    title: str
    caption: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def histogram(ratings: Mapping[str, int]) -> Plot:
    """How many ratings there are of each value."""
    values = [{"value": value, "ratings": number} for value, number in ratings.items()]
    total = sum(ratings.values())
    return Plot(
        name="histogram",
        title="Ratings by value",
        caption="How often each value is given, among the test ratings, which chance has picked.",
        svg=_draw(
            "Ratings by value",
            values,
            {
                "mark": "bar",
                "encoding": {"x": _name("value", "rating", axis={"labelAngle": 0}), "y": _number("ratings", "ratings")},
            },
        ),
        columns=("rating", "ratings", "share"),
        rows=tuple((value, count(number), percent(number / total)) for value, number in ratings.items()),
    )


def ranks(name: str, what: str, curve: Ranks) -> Plot:
    """How often the most frequent of users or titles come up.

    Args:
      name: of the plot.
      what: "users" or "titles".
      curve: their ratings by rank.
    """
    points = _thinned(curve.points)
    title = f"Ratings of the most active {what}" if what == "users" else f"Ratings of the most rated {what}"
    return Plot(
        name=name,
        title=title,
        caption=f"{count(curve.values)} {what} in all; the most frequent is number 1. Both axes are logarithmic.",
        svg=_draw(
            title,
            [{"rank": rank, "ratings": number} for rank, number in points],
            {
                "mark": "line",
                "encoding": {
                    "x": _number("rank", f"rank among {what}", scale={"type": "log"}, axis=_LOG_AXIS),
                    "y": _number("ratings", "ratings", scale={"type": "log"}, axis=_LOG_AXIS),
                },
            },
        ),
        columns=("rank", "ratings"),
        rows=tuple((count(rank), count(number)) for rank, number in points),
    )


def curve(logged: Curve, place: int) -> Plot:
    """What a fit logged.

    Args:
      logged: its points.
      place: among the curves of the page.
    """
    points = _thinned([each for each in logged.points if math.isfinite(each[1])])
    title = logged.name.replace("_", " ").replace("/", " ")
    return Plot(
        name=f"curve-{place}",
        title=f"Fit: {title}",
        caption="As Trainer logged it, step by step.",
        svg=_draw(
            title,
            [{"step": step, "value": value} for step, value in points],
            {
                "mark": {"type": "line", "point": len(points) < 12},
                "encoding": {"x": _number("step", "step"), "y": _number("value", title, scale={"zero": False})},
            },
        ),
        columns=("step", title),
        rows=tuple((count(step), decimal(value)) for step, value in points),
    )


def models(ratings: Sequence[Rating]) -> Plot:
    """The RMSE of each model with its interval."""
    known = [each for each in ratings if each.rmse.value is not None]
    values = [
        {
            "model": each.name,
            "rmse": each.rmse.value,
            "low": _or(each.rmse.low, each.rmse.value),
            "high": _or(each.rmse.high, each.rmse.value),
        }
        for each in known
    ]
    return Plot(
        name="models",
        title="Error of each model",
        caption="RMSE in stars on the test ratings, less is better; the bars are the intervals of 95 %.",
        svg=_draw(
            "Error of each model",
            values,
            {
                "layer": [
                    {"mark": "rule", "encoding": {"x": _error("low"), "x2": {"field": "high"}}},
                    {"mark": "point", "encoding": {"x": _error("rmse")}},
                ],
                "encoding": {"y": _name("model", None)},
            },
            height=28 * len(known),
        ),
        columns=("model", "RMSE", "from", "to"),
        rows=tuple((each.name, *map(decimal, (each.rmse.value, each.rmse.low, each.rmse.high))) for each in known),
    )


def slices(name: str, parts: Sequence[Slice]) -> Plot:
    """RMSE by slices of one feature, beside that of the biases.

    Args:
      name: of the plot.
      parts: slices of one feature, in their order.
    """
    series = ("this model", "user + title bias")
    values = [
        {"slice": part.value, "model": model, "rmse": value}
        for part in parts
        for model, value in zip(series, (part.rmse, part.baseline), strict=True)
        if value is not None and math.isfinite(value)
    ]
    feature = parts[0].feature
    return Plot(
        name=name,
        title=f"Error by {feature}",
        caption=f"RMSE in stars, less is better, by {feature}: how many ratings were known when the model was fitted.",
        svg=_draw(
            f"Error by {feature}",
            values,
            {
                "mark": "point",
                "encoding": {
                    "x": _name("slice", f"{feature}, ratings", axis={"labelAngle": 0}),
                    "y": _error("rmse"),
                    "color": _series("model", series, {"range": style.SERIES[:2]}),
                    "shape": _series("model", series, {"range": style.SHAPES[:2]}),
                },
            },
        ),
        columns=(feature, "test ratings", *series),
        rows=tuple((part.value, count(part.ratings), decimal(part.rmse), decimal(part.baseline)) for part in parts),
    )


def calibration(measured: Calibration) -> Plot:
    """Shares of ratings inside their intervals, beside what they should be."""
    known = [(level, share) for level, share in measured.levels if share is not None]
    return Plot(
        name="calibration",
        title="How sure the model may be",
        caption="Each point is an interval around the predictions: on the line it holds as many ratings as promised.",
        svg=_draw(
            "Calibration",
            [{"promised": level, "held": share} for level, share in known],
            {
                "layer": [
                    {
                        "data": {"values": [{"promised": end, "held": end} for end in (0.0, 1.0)]},
                        "mark": {"type": "line", "color": style.TEXT, "opacity": 0.5, "strokeDash": [4, 4]},
                    },
                    {"mark": "point"},
                ],
                "encoding": {
                    "x": _number("promised", "promised share", axis={"format": ".0%"}),
                    "y": _number("held", "share of test ratings", axis={"format": ".0%"}),
                },
            },
        ),
        columns=("promised", "held"),
        rows=tuple((percent(level), percent(share)) for level, share in measured.levels),
    )


def seconds(steps: Sequence[Step]) -> Plot:
    """How long each component took."""
    return Plot(
        name="seconds",
        title="Time by component",
        caption="Seconds on the clock; what was taken from the cache takes hardly any.",
        svg=_draw(
            "Time by component",
            [{"component": step.component, "seconds": step.seconds} for step in steps],
            {
                "mark": "bar",
                "encoding": {"y": _name("component", None), "x": _number("seconds", "seconds")},
            },
            height=20 * len(steps),
            width=200,
        ),
        columns=("component", "state", "seconds"),
        rows=tuple((step.component, step.state, decimal(step.seconds, 1)) for step in steps),
    )


def _or(value: float | None, other: float | None) -> float | None:
    return other if value is None else value


def _name(field: str, title: str | None, **more: Any) -> dict[str, Any]:
    """A channel of names, in the order of the data."""
    return {"field": field, "type": "nominal", "title": title, "sort": None, **more}


def _number(field: str, title: str, *, zero: bool = True, **more: Any) -> dict[str, Any]:
    """A channel of numbers, with ticks as people count."""
    channel = {"field": field, "type": "quantitative", "title": title, "axis": {"tickCount": 5}, **more}
    return channel if zero else {**channel, "scale": {"zero": False, "padding": 10}}


def _error(field: str) -> dict[str, Any]:
    """A channel of RMSE, which is never near 0."""
    return _number(field, "RMSE, stars", zero=False)


def _series(field: str, names: Sequence[str], scale: dict[str, Any]) -> dict[str, Any]:
    return {"field": field, "type": "nominal", "title": None, "scale": {"domain": list(names), **scale}}


def _thinned(points: Sequence[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The first, the last and points between, closer where steps are few, as on a logarithmic axis."""
    last = len(points) - 1
    if last < _MOST_POINTS:
        return list(points)
    places = (round(last ** (place / (_MOST_POINTS - 1))) for place in range(1, _MOST_POINTS))
    return [points[place] for place in dict.fromkeys(itertools.chain([0], places))]


def _draw(
    title: str, values: Values, view: dict[str, Any], *, width: int = style.WIDTH, height: int = style.HEIGHT
) -> Markup:
    """What a Vega-Lite view looks like."""
    drawn = _drawn(
        json.dumps(
            {
                "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
                "description": title,
                "width": width,
                "height": height,
                "data": {"values": values},
                "config": style.CONFIG,
                **view,
            }
        )
    )
    # The name for those who cannot see it; nothing within is for reading aloud, as there is the table.
    return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{Markup.escape(title)}" ', 1))


@functools.lru_cache(maxsize=64)
def _drawn(view: str) -> str:
    """The SVG of a view in JSON; a run draws the same plots for two pages."""
    # Loads an engine of 84 MB, in 0.5 s of CPU.
    import vl_convert

    return vl_convert.vegalite_to_svg(view)
