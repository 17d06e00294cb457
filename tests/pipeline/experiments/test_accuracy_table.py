"""The table on the terminal, and the rows to which the first preset loses."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from pipeline.experiments import accuracy_table
from pipeline.experiments.accuracy_table import Kind, Measurement, Row

FIGURES = ("rmse", "mae", "ndcg_at_10", "pairwise_accuracy", "fit_seconds", "fit_cpu_seconds")
ROW = Row(
    split="u1",
    method="preset a",
    seeds=1,
    better=False,
    **dict.fromkeys(FIGURES, 0.5),
    **dict.fromkeys(("rmse_deviation", "difference", "difference_error")),
)


def measured(method: str, kind: Kind, errors: list[float], split: str = "u1") -> Measurement:
    squared = np.square(errors)
    figures = {**dict.fromkeys(FIGURES, 0.0), "rmse": float(np.sqrt(squared.mean()))}
    return Measurement(split=split, method=method, kind=kind, seed=0, squared_errors=squared, **figures)


def shown_at(width: int, rows: list[Row], *, terminal: bool = True) -> list[str]:
    file = io.StringIO()
    accuracy_table.show(rows, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue().splitlines()


def test_brackets_in_names_are_shown() -> None:
    row = dataclasses.replace(ROW, split="[u1]", method="peer [bold]")
    shown = "\n".join(shown_at(140, [row], terminal=False))
    assert "[u1]" in shown
    assert "peer [bold]" in shown


class TestBetter:
    def test_by_hand(self) -> None:
        """Squared errors 1 and 4 of the preset against 1 and 1: RMSE 1.5811 and 1.

        Contributions of the rows: 1 / (2 x 1.5811) and 4 / (2 x 1.5811) to the one, 1/2 and 1/2 to the other; their
        differences lie 0.9487 apart, so that their standard deviation is 0.6708, and the error 0.4743.
        """
        rows = accuracy_table.summarize(
            [
                measured("preset a", "preset", [1, 2]),
                measured("one", "baseline", [1, -1]),
                # RMSE 1.1402, hence a difference of -0.4409 with an error of 0.4743 - 0.1316 = 0.3428: it is better.
                measured("close", "peer", [1, np.sqrt(1.6)]),
                # RMSE 1.3964, hence -0.1847; contributions 0.8146 and 0.5819 against 0.3162 and 1.2649: 0.5907.
                measured("within the error", "peer", [np.sqrt(2.275), np.sqrt(1.625)]),
                measured("worse", "peer", [3, 3]),
                measured("noise floor", "floor", [1, -1]),
            ]
        )
        assert rows[1].difference == pytest.approx(1 - np.sqrt(2.5))
        assert rows[1].difference_error == pytest.approx(0.9486833 / np.sqrt(2) / np.sqrt(2))
        assert rows[2].difference_error == pytest.approx(0.342783, abs=1e-5)
        assert rows[3].difference == pytest.approx(-0.184717, abs=1e-5)
        assert rows[3].difference_error == pytest.approx(0.590710, abs=1e-5)
        assert [row.better for row in rows] == [False, True, True, False, False, False]
        assert [row.cells()[4] for row in rows] == ["", "yes", "yes", "", "", ""]

    def test_it_is_said_of_each_split(self) -> None:
        measurements = [
            measured("preset a", "preset", [1, 2]),
            measured("one", "baseline", [1, -1]),
            measured("preset a", "preset", [1, 1], "plays"),
            measured("one", "baseline", [1, 2], "plays"),
        ]
        rows = accuracy_table.summarize(measurements)
        assert [row.better for row in rows] == [False, True, False, False]
        assert accuracy_table.losses(rows, measurements) == (
            "preset a loses by more than one standard error to\n- u1: one (-0.5811 ± 0.4743)"
        )
        assert accuracy_table.losses(rows[2:], measurements) == (
            "preset a loses to no other row by more than one standard error."
        )

    def test_without_a_preset_nothing_is_compared(self) -> None:
        measurements = [measured("one", "baseline", [1, 2]), measured("two", "baseline", [1, 1])]
        rows = accuracy_table.summarize(measurements)
        assert [row.better for row in rows] == [False, False]
        assert accuracy_table.losses(rows, measurements) == ""

    def test_a_preset_without_a_number_loses(self) -> None:
        rows = accuracy_table.summarize(
            [
                measured("preset a", "preset", [np.nan, 2]),
                measured("one", "baseline", [1, -1]),
                measured("nan, too", "peer", [np.nan, 1]),
            ]
        )
        assert [row.better for row in rows] == [False, True, False]

    @pytest.mark.filterwarnings("error")
    def test_no_error_at_all_is_a_number_like_any_other(self) -> None:
        rows = accuracy_table.summarize([measured("preset a", "preset", [1, 1]), measured("one", "peer", [0, 0])])
        assert (rows[1].difference, rows[1].difference_error, rows[1].better) == (-1.0, 0.0, True)


@pytest.mark.parametrize(
    ("rmse", "cell"),
    [
        (0.87524, "0.8752"),
        (9.4999, "9.4999"),
        (16.549, "16.549"),
        (1702.13, "1702.1"),
        (28_180.4, "28180"),
        (np.nan, "nan"),
    ],
)
def test_digits_are_those_that_matter(rmse: float, cell: str) -> None:
    assert dataclasses.replace(ROW, rmse=rmse).cells()[2] == cell


ROWS = [
    dataclasses.replace(
        ROW,
        split=split,
        method=method,
        rmse_deviation=0.0004,
        difference=-0.0064,
        difference_error=0.0005,
        better=True,
        fit_seconds=120.0,
    )
    for split in ("synthetic-100k-side", "mean of u1 to u5")
    for method in ("preset default", "myFM ids + side + implicit")
]


class TestWidth:
    def test_a_hundred_columns_hold_what_matters(self) -> None:
        lines = shown_at(100, ROWS)
        assert max(map(len, lines)) <= 100
        header = next(line for line in lines if "RMSE" in line)
        assert header.split() == ["method", "RMSE", "difference", "better", "NDCG@10", "pairwise", "fit", "s"]
        (line,) = {line.strip() for line in lines if line.strip().startswith("myFM ids + side + implicit")}
        assert line.split()[6:] == [
            "0.5000",
            "±",
            "0.0004",
            "-0.0064",
            "±",
            "0.0005",
            "yes",
            "0.5000",
            "0.5000",
            "120.0",
        ]
        assert " ".join(accuracy_table.LEGEND.split()) in " ".join(" ".join(lines).split())
        assert "The terminal is too narrow for CPU s, MAE; accuracy.md has them." in lines
        assert [line.strip() for line in lines if line.strip() in {row.split for row in ROWS}] == [
            "synthetic-100k-side",
            "mean of u1 to u5",
        ]

    def test_a_wide_one_holds_everything(self) -> None:
        for lines in (shown_at(160, ROWS), shown_at(80, ROWS, terminal=False)):
            assert any(line.split()[-4:] == ["s", "MAE", "CPU", "s"] for line in lines)
            assert not any("too narrow" in line for line in lines)
