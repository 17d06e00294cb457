"""Pages of reports: nothing from elsewhere, all text escaped, and something to say however far a run came."""

from __future__ import annotations

import dataclasses
import html.parser
import re
from collections import Counter

import pytest

from pipeline.report import plots, rendering, style
from pipeline.report.facts import (
    Calibration,
    Curve,
    Data,
    Listing,
    Measure,
    Ranks,
    Rating,
    Run,
    Slice,
    Step,
    Typical,
)

HOSTILE = "<script>alert('x')</script> & \"Amélie\""


def measure(value: float) -> Measure:
    return Measure(value=value, low=value - 0.01, high=value + 0.01)


def rating(name: str, rmse: float) -> Rating:
    return Rating(
        name=name, rmse=measure(rmse), mae=measure(0.7), ndcg=measure(0.9), pairwise=measure(0.7), difference=0.1
    )


def part(feature: str, value: str) -> Slice:
    return Slice(feature=feature, value=value, ratings=100, rmse=0.9, baseline=0.95, mae=0.7, ndcg=0.9)


BARE = Run(run_id="", began="2026-11-27 03:00:00 UTC", succeeded=False, verdict="The ratings could not be read.")
FULL = Run(
    run_id="2026-11-27T03:00:00",
    began="2026-11-27 03:00:00 UTC",
    succeeded=True,
    verdict="The new model is in use.",
    pushed=f"output/{HOSTILE}",
    preset="default",
    fitted=(HOSTILE,),
    bound=0.95,
    data=Data(
        source=HOSTILE,
        scale=(1.0, 5.0),
        sizes={"train": 72, "test": 20},
        histogram={"1": 6, "5": 14},
        activity=Ranks(points=tuple((rank, 2000 // rank) for rank in range(1, 1001)), values=2000),
        popularity=Ranks(points=((1, 9), (2, 4)), values=2),
        rejected=1,
        reasons={HOSTILE: 1},
        columns=("genres",),
        licence=HOSTILE,
    ),
    anomalies=(HOSTILE,),
    curves=(Curve(name="loss", points=((1, 2.0), (2, 1.0))),),
    models=(rating("this model", 0.86), rating("user + title bias", 0.94)),
    slices=(part("title popularity", "3-9"), part("title popularity", "200+"), part("user activity", "3-9")),
    calibration=Calibration(levels=((0.5, 0.49), (0.8, None)), rmse=0.86, promised=0.87),
    listings=(Listing(name="this model", users=9, ndcg=measure(0.4), recall=0.3, coverage=0.2, gini=None),),
    typical=(Typical(activity="3-9", titles=((HOSTILE, True), ("Heat (1995)", False))),),
    steps=(Step(component="Trainer", state="done", seconds=2.0),),
    lineage={"Data": {"SHA-256 of ratings.csv": HOSTILE}},
    notes=(HOSTILE,),
)


class Page(html.parser.HTMLParser):
    """What is in a page: tags, attributes, and text without style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def full() -> str:
    return rendering.report(FULL)


def test_nothing_is_loaded_from_elsewhere(full: str) -> None:
    page = Page(full)
    assert not {"script", "link", "iframe", "img", "object", "embed", "form", "image", "use"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "action")]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in full
    assert "@import" not in full
    assert len(full.encode()) < 1 << 20


def test_hostile_text_is_shown_as_text(full: str) -> None:
    assert "<script" not in full
    assert Page(full).text.count(HOSTILE) >= 8


def test_links_lead_to_what_is_there_once(full: str) -> None:
    page = Page(full)
    ids = Counter(value for name, value in page.attributes if name == "id")
    assert max(ids.values()) == 1
    assert {value[1:] for name, value in page.attributes if name == "href"} <= set(ids)


def test_each_plot_has_a_name_and_its_numbers(full: str) -> None:
    page = Page(full)
    assert page.tags["svg"] == page.tags["figure"] == page.tags["details"] == 9
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert "Ratings by value" in labels
    assert "0.8500" in page.text  # the lower end of an interval


def test_text_of_plots_takes_the_colour_of_the_page(full: str) -> None:
    filled = re.findall(r'<text[^>]* fill="([^"]*)"', full)
    assert filled
    assert set(filled) == {"currentColor"}


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("background", ["#ffffff", "#f6f8fa", "#14181d", "#1d232a"])
@pytest.mark.parametrize("colour", style.SERIES)
def test_marks_can_be_told_from_the_background(colour: str, background: str) -> None:
    assert background in rendering.templates().loader.get_source(rendering.templates(), "style.css")[0]
    dark, light = sorted((luminance(colour), luminance(background)))
    assert (light + 0.05) / (dark + 0.05) >= 3.0


def test_a_run_that_came_nowhere_has_a_page() -> None:
    page = Page(rendering.report(BARE))
    assert "The ratings could not be read." in page.text
    assert "No model was judged." in page.text
    assert "svg" not in page.tags


@pytest.mark.parametrize("field", ["models", "slices", "listings", "typical", "steps", "curves", "calibration", "data"])
def test_any_part_may_be_missing(field: str) -> None:
    empty = {"calibration": None, "data": Data()}.get(field, ())
    assert "The new model is in use." in rendering.report(dataclasses.replace(FULL, **{field: empty}))


def test_long_curves_keep_their_ends() -> None:
    points = tuple((rank, 5000 - rank) for rank in range(1, 1001))
    plot = plots.ranks("activity", "users", Ranks(points=points, values=4000))
    assert plot.rows[0] == ("1", "4,999")
    assert plot.rows[-1] == ("1,000", "4,000")
    assert len(plot.rows) <= 60
