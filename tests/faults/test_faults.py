"""A few cases of the harness of each kind, on the notebook's preset."""

from __future__ import annotations

import pathlib

import pytest

from tests.faults.cases import KINDS
from tests.faults.harness import drawn, tried
from tests.faults.verdicts import Failure, Verdict
from tests.faults.workshop import Workshop

pytestmark = pytest.mark.slow

# Numbers of cases by kind. Runs are dear; these begin with nothing, or with the two stages that are needed anyway.
CASES = {kind: [0, 1] for kind in KINDS} | {
    kind: [0] for kind in ("full-run", "kill-push", "full-push", "damage-output", "damage-data", "kill-clean")
}
CASES["kill-run"] = [4]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("faults"), presets=("notebook",))


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in CASES.items() for case in cases])
def test_what_is_disturbed_ends_whole_or_is_refused_in_words(workshop: Workshop, kind: str, case: int) -> None:
    result = tried(workshop, *drawn(seed=1, case=case, only=[kind]))
    if result.verdict == Verdict.SKIPPED:
        pytest.skip(result.words)
    assert result.verdict != Verdict.FAILED, f"{result.words}\n{workshop.log.read_text(errors='replace')}"


def test_a_pushed_model_that_is_another_is_a_failure(workshop: Workshop) -> None:
    """The harness' own judge, on a folder whose newest version is not what was judged."""
    workshop.restore("notebook", "done")
    workshop.check_pushed("notebook")
    workshop.check_predict()
    (version,) = (pathlib.Path(path) for path in workshop.output.glob("serving_model/*"))
    with (version / "fingerprint.pb").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Failure, match="its files are not those that were judged"):
        workshop.check_pushed("notebook")
