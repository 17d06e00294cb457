"""A local run: whose fault a failure is, and what cannot be run."""

from __future__ import annotations

import pytest

from components.errors import AnomaliesError, EvidenceError
from data.errors import DataError
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import ExitCode
from pipeline.local import run
from pipeline.local.dag_runner import ComponentError


@pytest.mark.parametrize(
    ("causes", "code"),
    [
        ([], ExitCode.FAILED),
        ([OSError("full")], ExitCode.FAILED),
        ([AnomaliesError("mood")], ExitCode.ANOMALIES),
        ([DataError("row 3")], ExitCode.BAD_INPUT),
        ([RuntimeError("wrapped"), EvidenceError("no test ratings")], ExitCode.NOT_BLESSED),
        # Beam wraps what a worker raises.
        ([RuntimeError("wrapped"), DataError("row 3")], ExitCode.BAD_INPUT),
    ],
)
def test_the_exit_code_says_whose_fault_it_is(causes: list[Exception], code: ExitCode) -> None:
    error: Exception = ComponentError("Trainer", "trainer.log", "it failed")
    for effect, cause in zip([error, *causes], causes, strict=False):
        effect.__cause__ = cause
    assert run.exit_code_of(error) == code


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (
            "BlessedModel",
            None,
            "expected one of RatingsExampleGen, .*ReportGen; got BlessedModel, which is not part of",
        ),
        (None, "BlessedModel", "got BlessedModel, which is not part of this pipeline"),
        ("Evaluator", "Trainer", "--from Evaluator comes after --to Trainer; the order is RatingsExampleGen, "),
    ],
)
def test_components_that_cannot_be_run_are_refused(tmp_path, first: str | None, last: str | None, said: str) -> None:
    config = PipelineConfig(
        data={"root": str(tmp_path)}, output=str(tmp_path / "out"), evaluator={"blessed_model": "none"}
    )
    with pytest.raises(ValueError, match=said):
        run.run(config, from_component=first, to_component=last, plain=True)
