"""What a submission may change."""

from __future__ import annotations

import re

import pytest

from pipeline.config import submission_parameters


def test_values_get_the_types_of_their_parameters() -> None:
    parsed = submission_parameters.parse(
        ("seed=7", "rmse_bound=1", "data_root=gs://b/x=y", "preset=notebook", "training_budget=3")
    )
    assert parsed == {
        "seed": 7,
        "rmse_bound": 1.0,
        "data_root": "gs://b/x=y",
        "preset": "notebook",
        "training_budget": 3,
    }
    assert isinstance(parsed["rmse_bound"], float)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "expected KEY=VALUE, such as seed=7"),
        ("sed=7", "data_root, preset, seed, rmse_bound, training_budget"),
        ("seed=many", "seed must be of type int; got 'many'"),
        ("data_root=gs://b/run[1]", "got gs://b/run[1]; rename it"),
        ("rmse_bound=low", "rmse_bound must be of type float"),
    ],
)
def test_what_is_no_value_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        submission_parameters.parse((assignment,))
