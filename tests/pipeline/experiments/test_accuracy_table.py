"""The table on the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.experiments import accuracy_table


def test_brackets_in_names_are_shown() -> None:
    figures = dict.fromkeys(("rmse", "mae", "ndcg_at_10", "pairwise_accuracy", "fit_seconds", "fit_cpu_seconds"), 0.5)
    absent = dict.fromkeys(("rmse_deviation", "difference", "difference_error"))
    row = accuracy_table.Row(split="[u1]", method="peer [bold]", seeds=1, **figures, **absent)
    shown = io.StringIO()
    accuracy_table.show([row], Console(file=shown))
    assert "[u1]" in shown.getvalue()
    assert "peer [bold]" in shown.getvalue()
