"""The report as an artifact: made of what the other components put out, and of nothing else."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components import curated_schema, report_gen
from components.columnar_statistics_gen import ColumnarStatisticsGen
from modules import training_log
from pipeline.report import rendering
from tests import support
from tests.components.test_columnar_statistics_gen import describe
from tests.components.test_model_pusher import artifact
from tests.components.test_ratings_evaluator import evaluate, save

# No other text has it.
USER = "person-"
SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, types.Artifact]:
    """What a run has put out in which Pusher pushed."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(3)
    pairs = rng.permutation([(user, title) for user in range(40) for title in range(60) if (user * 7 + title) % 13 < 4])
    rows = [
        {"user_id": f"{USER}{user}", "movie_title": f"<b>{title}</b>", "user_rating": float(rng.integers(1, 6))}
        for user, title in pairs
    ]
    examples = artifact(standard_artifacts.Examples, folder / "examples")
    for split, part in (("train", rows[:400]), ("test", rows[400:])):
        (folder / "examples" / f"Split-{split}").mkdir()
        support.write_examples(folder / "examples" / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz", part)
    schema = artifact(standard_artifacts.Schema, folder / "schema")
    curated = curated_schema.curate(1.0, 5.0, set())
    (folder / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(curated))
    anomalies = artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
    for split in SPLITS:
        (folder / "anomalies" / f"Split-{split}").mkdir()
        (folder / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").write_bytes(
            anomalies_pb2.Anomalies().SerializeToString()
        )
    for made in (examples, anomalies):
        made.split_names = artifact_utils.encode_split_names(list(SPLITS))
    model_run = artifact(standard_artifacts.ModelRun, folder / "model_run")
    with training_log.open_log(model_run.uri) as log:
        for step in (1, 2, 3):
            log("loss", 1.0 / step, step)
    (folder / "model_run" / training_log.CHOSEN_FILE).write_text("form plain")
    evaluation, blessing = evaluate(folder / "evaluated", examples, save(folder / "model", error=1.0), bound=0.9)
    return {
        "examples": examples,
        "statistics": describe(ColumnarStatisticsGen.EXECUTOR_SPEC.executor_class, examples, folder),
        "schema": schema,
        "anomalies": anomalies,
        "model_run": model_run,
        "evaluation": artifact(standard_artifacts.ModelEvaluation, pathlib.Path(evaluation)),
        "blessing": blessing,
        "infra_blessing": artifact(standard_artifacts.InfraBlessing, folder / "infra", blessed=1),
        "pushed_model": artifact(
            standard_artifacts.PushedModel, folder / "pushed", pushed=1, pushed_destination="serving/17"
        ),
    }


def page_of(folder: pathlib.Path, given: dict[str, types.Artifact]) -> str:
    report = artifact(simple_artifacts.File, folder / "report")
    inputs = {key: [each] for key, each in given.items()}
    report_gen.Executor().Do(inputs, {"report": [report]}, {"preset": "fast", "seed": 7})
    (path,) = (folder / "report").iterdir()
    assert path.name == "report.html"
    return path.read_text(encoding="utf-8")


def test_a_pushed_model_has_a_report(tmp_path: pathlib.Path, given: dict[str, types.Artifact]) -> None:
    page = page_of(tmp_path, given)
    assert "The new model is in use: a prediction is typically" in page
    assert "Pushed as serving/17" in page
    for said in (
        "form plain", "None: the ratings fit the schema.", "Fit: loss", "user + title bias", "1 to 5", "Preset fast",
        "An RMSE of at most 0.9000 is allowed", given["model_run"].uri, "Ratings of the most active users",
    ):  # fmt: skip
        assert said in page, said
    assert len(page.encode()) < 1 << 20


def test_no_user_is_named_and_titles_are_text(tmp_path: pathlib.Path, given: dict[str, types.Artifact]) -> None:
    page = page_of(tmp_path, given)
    assert USER not in page
    assert "<b>" not in page


def test_a_model_that_was_not_blessed_has_the_reason(tmp_path: pathlib.Path, given: dict[str, types.Artifact]) -> None:
    evaluation, blessing = evaluate(
        tmp_path / "evaluated", given["examples"], save(tmp_path / "model", error=2.0), bound=0.9
    )
    changed = {
        "evaluation": artifact(standard_artifacts.ModelEvaluation, pathlib.Path(evaluation)),
        "blessing": blessing,
        "pushed_model": artifact(standard_artifacts.PushedModel, tmp_path / "pushed", pushed=0),
    }
    page = page_of(tmp_path, given | changed)
    assert "The new model is not good enough to be used" in page
    assert "above the bound of 0.9000" in page
    assert "Pushed as" not in page


def test_an_unservable_model_has_the_reason(tmp_path: pathlib.Path, given: dict[str, types.Artifact]) -> None:
    infra = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra", blessed=0)
    infra.set_string_custom_property("model_digest", given["blessing"].get_string_custom_property("model_digest"))
    (tmp_path / "infra" / "INFRA_NOT_BLESSED").write_text("serving_default is not finite")
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed", pushed=0)
    page = page_of(tmp_path, {**given, "infra_blessing": infra, "pushed_model": pushed})
    assert "The new model could not be loaded and asked" in page
    assert "serving_default is not finite" in page


def test_another_page_of_the_same_plots_draws_none_of_them_again(
    tmp_path: pathlib.Path, given: dict[str, types.Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    import vl_convert

    page = page_of(tmp_path / "first", given)
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda view: pytest.fail("a plot was drawn again"))
    again = page_of(tmp_path / "second", given)
    assert page.count("<svg") == again.count("<svg") > 3


def test_the_component_carries_what_the_cache_compares() -> None:
    channels = {key: types.Channel(type=each.type) for key, each in report_gen.ReportGenSpec.INPUTS.items()}
    component = report_gen.ReportGen(**channels, preset="fast", seed=7, code_fingerprint="abc")
    assert component.exec_properties == {"preset": "fast", "seed": 7, "code_fingerprint": "abc"}
    assert set(component.inputs) == set(channels)
    assert component.outputs["report"].type is simple_artifacts.File


def test_its_templates_are_the_ones_that_are_counted() -> None:
    folder = pathlib.Path(rendering.__file__).parent
    assert {name for each in rendering.READS for name in (path.name for path in (folder / each).iterdir())} == set(
        rendering.templates().list_templates()
    )
