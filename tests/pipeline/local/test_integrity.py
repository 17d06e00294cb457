"""What is served is what was judged: models that are damaged between the steps of a run, and between runs."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import pytest

from components import model_digest, probe_process, pushed_versions
from data import synthetic
from pipeline.exit_codes import ExitCode
from pipeline.local.pushed_model import PushedModel
from tests.pipeline.local.test_end_to_end import BLESS_ANY, run_pipeline, states

pytestmark = pytest.mark.slow

QUICK = (*BLESS_ANY, "trainer.model.epochs=1")
# No model is refused for another seed's.
WHATEVER_WAS_BLESSED = ("evaluator.max_regression=9", "evaluator.max_ndcg_regression=1")
WEIGHTS = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=3_000, users=40, titles=80, seed=1)
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


def served(output: pathlib.Path) -> dict[int, str]:
    return pushed_versions.versions(str(output / "serving_model"))


def trained(output: pathlib.Path) -> pathlib.Path:
    """The model that was trained last."""
    folders = (output / "artifacts" / "Trainer" / "model").iterdir()
    return max(folders, key=lambda folder: int(folder.name)) / "Format-Serving"


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@contextlib.contextmanager
def damaged(path: pathlib.Path) -> Iterator[None]:
    """A file with a bit flipped, which is mended afterwards."""
    flip(path)
    yield
    flip(path)


def executed(record: dict) -> set[str]:
    return {name for name, state in states(record).items() if state == "done"} - {"BlessedModel"}


def assert_newest_is_pushed(output: pathlib.Path, record: dict) -> None:
    """What the run names is what TensorFlow Serving takes, what `predict` takes, and what was judged."""
    newest = served(output)[max(served(output))]
    assert record["pushed_path"] == newest == str(PushedModel.latest(str(output), print).path)
    assert model_digest.of_folder(newest) == model_digest.of_folder(str(trained(output)))


# The tests of this class run in order, on one output folder, as a user's runs would.
class TestOneOutputFolder:
    def test_the_first_model_is_pushed(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        code, record = run_pipeline(ratings, output, *QUICK)
        assert code == ExitCode.PUSHED
        assert record["notes"] == []
        assert_newest_is_pushed(output, record)

    @pytest.mark.parametrize("damage", ["flipped", "cut", "deleted", "half a version above it"])
    def test_a_damaged_version_is_pushed_again(self, ratings, output: pathlib.Path, damage: str, capfd) -> None:
        before = served(output)
        version = pathlib.Path(before[max(before)])
        if damage == "flipped":
            flip(version / WEIGHTS)
        elif damage == "cut":
            (version / "saved_model.pb").write_bytes((version / "saved_model.pb").read_bytes()[:100])
        elif damage == "deleted":
            shutil.rmtree(version)
        else:
            (version.parent / str(int(version.name) + 5)).mkdir()
        code, record = run_pipeline(ratings, output, *QUICK)
        assert code == ExitCode.PUSHED
        assert executed(record) == {"Pusher", "ReportGen"}
        (note,) = record["notes"]
        assert note.startswith(f"{version} ")
        assert note.endswith("; the model is pushed again")
        assert note.split()[-1] in capfd.readouterr().out
        assert max(served(output)) > max(before) or damage == "deleted"
        assert_newest_is_pushed(output, record)

    def test_an_unchanged_run_executes_nothing(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        before = served(output)
        code, record = run_pipeline(ratings, output, *QUICK)
        assert (code, executed(record), record["notes"]) == (ExitCode.PUSHED, set(), [])
        assert served(output) == before

    def test_too_few_test_ratings_or_users_bless_nothing(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        before = served(output)
        few = ("evaluator.min_test_ratings=1000", "evaluator.min_test_users=41")
        code, record = run_pipeline(ratings, output, *QUICK, *few)
        assert code == ExitCode.NOT_BLESSED
        count = record["split_sizes"]["test"]
        assert (
            f"{count} test ratings are too few to judge a model by; at least 1,000 are needed" in record["reasons"][0]
        )
        assert "40 users with test ratings are too few" in record["reasons"][1]
        assert served(output) == before
        code, record = run_pipeline(ratings, output, *QUICK, *few, from_component="Pusher")
        assert code == ExitCode.NOT_BLESSED
        assert record["reasons"] == [
            "an earlier run did not bless the model; run with --from Evaluator, which says why"
        ]
        assert served(output) == before

    def test_without_a_whole_model_nothing_is_pushed_again(self, ratings, output: pathlib.Path) -> None:
        run_pipeline(ratings, output, *QUICK)
        before = served(output)
        with damaged(trained(output) / WEIGHTS), damaged(pathlib.Path(before[max(before)]) / WEIGHTS):
            code, record = run_pipeline(ratings, output, *QUICK, from_component="Pusher")
            assert code == ExitCode.FAILED
            assert record["pushed_path"] is None
            assert "the files that were judged" in record["reasons"][0]
            assert "--from Trainer --no-cache" in record["reasons"][0]
            assert served(output) == before
        # Mended, both are what they were.
        assert run_pipeline(ratings, output, *QUICK)[0] == ExitCode.PUSHED
        assert served(output) == before

    @pytest.mark.parametrize(("seed", "file"), [(5, "saved_model.pb"), (6, WEIGHTS)])
    def test_a_model_that_is_damaged_after_evaluator_is_not_pushed(
        self, ratings, output: pathlib.Path, seed: int, file: str
    ) -> None:
        before = served(output)
        settings = (*QUICK, f"trainer.seed={seed}", *WHATEVER_WAS_BLESSED)
        assert run_pipeline(ratings, output, *settings, to_component="Evaluator")[0] == ExitCode.STOPPED_EARLY
        model = trained(output)
        if file == WEIGHTS:
            flip(model / file)
        else:
            os.truncate(model / file, 1000)
        code, record = run_pipeline(ratings, output, *settings, from_component="ServableValidator")
        assert code != ExitCode.PUSHED
        assert served(output) == before
        # A whole run trains it anew, judges that, and says why.
        code, record = run_pipeline(ratings, output, *settings)
        assert code == ExitCode.PUSHED
        assert f"{model.parent}, which Trainer made, was damaged or changed; it is not used again" in record["notes"]
        assert {"Trainer", "Evaluator", "Pusher"} <= executed(record)
        assert_newest_is_pushed(output, record)

    @pytest.mark.parametrize(
        ("component", "key", "damage"),
        [
            ("RatingsExampleGen", "examples", "cut"),
            ("Transform", "transform_graph", "flipped"),
            ("StatisticsGen", "statistics", "deleted"),
            ("Evaluator", "evaluation", "emptied"),
        ],
    )
    def test_damaged_results_are_made_again(
        self, ratings, output: pathlib.Path, component: str, key: str, damage: str, capfd
    ) -> None:
        settings = (*QUICK, *WHATEVER_WAS_BLESSED)
        run_pipeline(ratings, output, *settings)
        folder = max((output / "artifacts" / component / key).iterdir(), key=lambda each: int(each.name))
        file = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        if damage == "deleted":
            shutil.rmtree(folder)
        elif damage == "flipped":
            flip(file)
        else:
            os.truncate(file, 0 if damage == "emptied" else file.stat().st_size // 2)
        code, record = run_pipeline(ratings, output, *settings)
        assert code == ExitCode.PUSHED
        assert component in executed(record)
        fault = "is gone" if damage == "deleted" else "was damaged or changed; it is not used again"
        assert f"{folder}, which {component} made, {fault}" in record["notes"]
        assert f"which {component} made" in " ".join(capfd.readouterr().out.split())
        assert_newest_is_pushed(output, record)
        code, record = run_pipeline(ratings, output, *settings)
        assert (code, executed(record), record["notes"]) == (ExitCode.PUSHED, set(), [])

    def test_a_model_that_is_judged_good_again_is_the_one_that_is_served(self, ratings, output: pathlib.Path) -> None:
        """Each run names the model that it made the newest, though every component but Pusher is cached."""
        settings = {seed: (*QUICK, f"trainer.seed={seed}", *WHATEVER_WAS_BLESSED) for seed in (7, 8)}
        for seed in (7, 8, 7):
            code, record = run_pipeline(ratings, output, *settings[seed])
            assert code == ExitCode.PUSHED
            newest = served(output)[max(served(output))]
            assert record["pushed_path"] == newest == str(PushedModel.latest(str(output), print).path)
        assert executed(record) <= {"Evaluator", "Pusher", "ReportGen"}

    def test_a_blessed_model_that_is_gone_blocks_nothing(self, ratings, output: pathlib.Path, capfd) -> None:
        settings = (*QUICK, "trainer.seed=9", *WHATEVER_WAS_BLESSED)
        _, record = run_pipeline(ratings, output, *settings)
        number, _, folder = record["blessed_model"].partition(" ")
        shutil.rmtree(folder.strip("()"))
        code, record = run_pipeline(ratings, output, *settings)
        assert code == ExitCode.PUSHED
        said = f"blessed model {number} is passed over: its files are gone from {folder.strip('()')}"
        assert said in record["notes"]
        assert record["blessed_model"]
        assert record["blessed_model"].split()[0] != number
        assert "is passed over" in " ".join(capfd.readouterr().out.split())
        assert "Trainer" not in executed(record)
        assert_newest_is_pushed(output, record)

    def test_a_probe_that_was_killed_is_asked_again(self, ratings, output: pathlib.Path, tmp_path) -> None:
        killed = tmp_path / "python"
        killed.write_text("#!/bin/sh\nread request\nkill -KILL $$\n")
        killed.chmod(0o755)
        settings = (*QUICK, "trainer.seed=4", *WHATEVER_WAS_BLESSED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(probe_process.sys, "executable", str(killed))
            code, record = run_pipeline(ratings, output, *settings)
        assert code == ExitCode.FAILED
        assert "was ended by SIGKILL" in record["reasons"][0]
        code, record = run_pipeline(ratings, output, *settings)
        assert code == ExitCode.PUSHED
        assert executed(record) == {"ServableValidator", "Pusher", "ReportGen"}
        assert_newest_is_pushed(output, record)
