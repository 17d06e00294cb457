from __future__ import annotations

import io
import pathlib

import pytest
from rich.console import Console

from data import synthetic
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.local import report
from pipeline.local.outcome import Outcome

NOTHING = {
    "split_sizes": {},
    "metrics": {},
    "slices": {},
    "comparison": {},
    "baseline_model": None,
    "pushed_path": None,
}


@pytest.mark.parametrize(
    ("side_features", "said"),
    [
        (False, "none: the model knows users and titles by their ratings alone"),
        (True, "genres, release_year, user_age, user_gender, user_occupation, user_zip_code"),
    ],
)
def test_it_says_what_the_models_do_without(tmp_path: pathlib.Path, side_features: bool, said: str) -> None:
    synthetic.write(tmp_path, rows=100, users=20, titles=30, seed=0, side_features=side_features)
    stream = io.StringIO()
    outcome = Outcome(exit_code=ExitCode.FAILED, reasons=["a reason [sic]"], **NOTHING)
    config = PipelineConfig(data={"root": str(tmp_path)}, trainer={"preset": "notebook"})
    report.show(Console(file=stream, width=200), config, outcome, {}, 1.5)
    shown = stream.getvalue()
    assert said in shown
    assert f"not pushed: {MEANINGS[ExitCode.FAILED]}" in shown
    assert "a reason [sic]" in shown
