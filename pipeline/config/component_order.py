"""The components of a local run in the order in which they run; here, so that help need not build the graph."""

from __future__ import annotations

from collections.abc import Iterable

COMPONENTS = (
    "RatingsExampleGen",
    "TablesExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "BlessedModel",
    "Evaluator",
    "ServableValidator",
    "Pusher",
    "ReportGen",
)


def position(component: str) -> int:
    """Where in the order a component comes; one that is not named comes before the last, which reports on all.

    TFX sorts a graph by layers, and within one by chance: a component that waits for few others would run early.
    """
    last = len(COMPONENTS) - 1
    if component == COMPONENTS[last]:
        return last + 1
    return COMPONENTS.index(component) if component in COMPONENTS else last


def in_order(components: Iterable[str]) -> list[str]:
    """The components in the order in which they run."""
    return sorted(components, key=position)
