from __future__ import annotations

import json
import pathlib

import pydantic
import pytest

from data import synthetic
from data.errors import DataError
from modules import presets
from pipeline.config import locations, resolve
from pipeline.config import pipeline_config as configuration
from pipeline.config.pipeline_config import HASHED_SPLITS, DataConfig, PipelineConfig
from pipeline.graph.pipeline import create_pipeline
from pipeline.local import run


def build(**values: object) -> PipelineConfig:
    return PipelineConfig(**{"data": {"root": "ratings"}, **values})


def test_defaults_need_nothing_but_the_data() -> None:
    config = build()
    assert config.trainer.preset == presets.DEFAULT_PRESET
    assert config.rmse_bound == presets.PRESETS[presets.DEFAULT_PRESET].rmse_bound
    assert config.data.fit_splits == ["train", "eval"]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"colour": "red"}, "colour"),
        ({"trainer": {"seeds": 1}}, "trainer.seeds"),
        ({"trainer": {"seed": -1}}, "trainer.seed"),
        ({"trainer": {"seed": 2**32}}, "trainer.seed"),
        ({"trainer": {"preset": "best"}}, "preset must be one of"),
        ({"trainer": {"preset": "notebook", "model": {"epoch": 3}}}, "epoch"),
        ({"trainer": {"preset": "notebook", "model": {"epochs": 0}}}, "epochs"),
        ({"evaluator": {"rmse_bound": 0}}, "evaluator.rmse_bound"),
        ({"evaluator": {"max_regression": -0.1}}, "evaluator.max_regression"),
        ({"evaluator": {"blessed_model": "best"}}, "evaluator.blessed_model"),
        (
            {"evaluator": {"baseline": "latest"}},
            "evaluator.baseline: Input should be 'user_title_bias', 'title_mean', 'gl",
        ),
        ({"data": {"root": "x", "rating_low": 5.0, "rating_high": 1.0}}, "rating_low must be below"),
        ({"data": {"root": "x", "splits": ["train"]}}, "splits must have 'test'"),
        ({"data": {}}, "data.root"),
        ({"name": "Has Spaces"}, "name"),
        ({"trainer": {"preset": "notebook", "strategy": "tpu"}}, "trainer.strategy"),
        ({"trainer": {"preset": "default", "strategy": "mirrored"}}, "strategy mirrored needs a preset that trains on"),
        (
            {
                "trainer": {"preset": "notebook", "strategy": "mirrored"},
                "cluster": {"project": "p", "region": "r", "training_job": {"workers": 2}},
            },
            "got trainer.strategy mirrored and cluster.training_job.workers 2",
        ),
        (
            {
                "trainer": {"preset": "notebook", "strategy": "multi_worker"},
                "cluster": {"project": "p", "region": "r", "training_job": {}},
            },
            "got trainer.strategy multi_worker and cluster.training_job.workers 1",
        ),
    ],
)
def test_each_fault_is_named(values: dict, fault: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        build(**values)
    assert fault in configuration.explain(caught.value)


def test_a_run_on_this_machine_takes_no_several_workers() -> None:
    config = build(trainer={"preset": "notebook", "strategy": "multi_worker"})
    with pytest.raises(
        ValueError, match=r"expected strategy none or mirrored.*got multi_worker.*training_job\.workers"
    ):
        run.run(config)


def test_a_built_configuration_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        build().trainer.seed = 3  # type: ignore[misc]


def test_the_bound_grows_with_the_scale() -> None:
    ten_stars = build(data={"root": "x", "rating_low": 1.0, "rating_high": 10.0}, trainer={"preset": "notebook"})
    assert ten_stars.rmse_bound == pytest.approx(presets.PRESETS["notebook"].rmse_bound * 9 / 4)
    assert build(evaluator={"rmse_bound": 0.7}).rmse_bound == 0.7


def test_without_an_eval_split_the_fit_sees_train_alone() -> None:
    data = DataConfig(root="x", splits=("train", "test"), given=True)
    assert (data.has_eval, data.fit_splits) == (False, ["train"])


def test_assignments_nest_and_are_read_as_yaml() -> None:
    assert configuration.parse_assignments(("trainer.model.epochs=5", "cache=false", "name=a-b", "x.y=[1, 2]")) == {
        "trainer": {"model": {"epochs": 5}},
        "cache": False,
        "name": "a-b",
        "x": {"y": [1, 2]},
    }


@pytest.mark.parametrize("assignment", ["epochs", "=5"])
def test_an_assignment_without_key_or_value_is_refused(assignment: str) -> None:
    with pytest.raises(ValueError, match="expected KEY=VALUE"):
        configuration.parse_assignments((assignment,))


def test_an_assignment_through_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="trainer is already set"):
        configuration.parse_assignments(("trainer=3", "trainer.seed=4"))


def test_merge_goes_deep_and_later_wins() -> None:
    assert configuration.merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=200, users=20, titles=30, seed=0)
    return folder


def test_what_is_given_later_wins(ratings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("trainer: {preset: notebook, seed: 1, model: {epochs: 2}}\nevaluator: {rmse_bound: 0.8}\n")
    config = resolve.resolve(
        {"data.root": str(ratings), "output": str(tmp_path), "trainer.seed": 2, "trainer.strategy": "mirrored"},
        config_file=str(file),
        assignments=("trainer.model.epochs=4",),
    )
    assert (config.trainer.preset, config.trainer.seed, config.trainer.model) == ("notebook", 2, {"epochs": 4})
    assert config.trainer.strategy == "mirrored"
    assert config.rmse_bound == 0.8
    assert config.data.root == str(ratings)
    assert (config.data.rating_low, config.data.rating_high) == tuple(
        json.loads((ratings / "ratings.json").read_text())["rating_scale"]
    )


def test_an_empty_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"expected ratings.csv, or the folders train/ and test/"):
        resolve.resolve({"data.root": str(tmp_path)})


def test_ratings_without_a_record_of_their_scale_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ratings.csv").write_text("user_id,movie_title,user_rating\n1,A,3\n")
    with pytest.raises(DataError, match=r"ratings\.json"):
        resolve.resolve({"data.root": str(tmp_path)})


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs"])
def test_a_folder_in_the_cloud_is_not_looked_into_and_keeps_its_name(scheme: str) -> None:
    assert resolve.describe_data(f"{scheme}://bucket/ratings") == {"root": f"{scheme}://bucket/ratings"}
    config = resolve.resolve(
        {"data.root": f"{scheme}://bucket/ratings", "output": f"{scheme}://bucket/output/"},
        assignments=(f"artifacts={scheme}://bucket/artifacts",),
    )
    assert config.data.root == f"{scheme}://bucket/ratings"
    assert (config.output, config.is_local) == (f"{scheme}://bucket/output", False)
    assert config.pipeline_root == f"{scheme}://bucket/artifacts"
    assert config.serving_dir == f"{scheme}://bucket/output/serving_model"


@pytest.mark.parametrize(
    "folders", [{"data.root": "az://b/ratings"}, {"data.root": "gs://b/ratings", "output": "file:///tmp"}]
)
def test_a_place_that_tfx_does_not_know_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"expected a folder on this machine, or in gs://, s3://, hdfs://; got"):
        resolve.resolve(folders)


def test_metadata_and_logs_of_a_run_stay_on_this_machine() -> None:
    config = build(output="gs://bucket/output", data={"root": "gs://bucket/ratings"})
    with pytest.raises(ValueError, match=r"expected a folder on this machine for output.*--set artifacts=gs://bucket/"):
        run.run(config)


@pytest.mark.parametrize("place", ["data", "artifacts"])
def test_what_tensorflow_cannot_read_is_refused_before_anything_runs(tmp_path: pathlib.Path, place: str) -> None:
    roots = {"data": {"root": "s3://bucket/x"}} if place == "data" else {"artifacts": "s3://bucket/x"}
    with pytest.raises(ValueError, match=r"or in gs://, which TensorFlow .* reads.*got s3://bucket/x; s3:// needs"):
        run.run(build(output=str(tmp_path), **roots), plain=True)
    assert not (tmp_path / "metadata.sqlite").exists()


@pytest.mark.parametrize("folder", ["/data", "data", "gs://bucket/ratings"])
def test_folders_here_and_in_cloud_storage_are_readable(folder: str) -> None:
    locations.check_readable(folder)


def test_flags_name_the_beam_runner_and_overrule_the_file(ratings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("beam: {runner: direct, workers: 2, args: [--streaming]}\n")
    from_file = resolve.resolve({"data.root": str(ratings)}, config_file=str(file))
    assert (from_file.beam.workers, from_file.beam.args) == (2, ("--streaming",))
    flags = resolve.resolve(
        {
            "data.root": str(ratings),
            "beam.runner": "flink",
            "beam.args": ("--flink_version=1.19", "--checkpointing_interval=1000"),
        },
        assignments=("beam.job_endpoint=localhost:8099", "beam.environment=loopback", "beam.parallelism=4"),
    )
    assert flags.beam_args == [
        "--runner=FlinkRunner",
        "--job_endpoint=localhost:8099",
        "--parallelism=4",
        "--environment_type=LOOPBACK",
        "--environment_cache_millis=10000",
        "--sdk_container_image=none",
        "--flink_version=1.19",
        "--checkpointing_interval=1000",
    ]


def test_a_file_that_is_no_mapping_is_refused(ratings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("- 1\n")
    with pytest.raises(ValueError, match="must hold fields of the configuration"):
        resolve.resolve({"data.root": str(ratings)}, config_file=str(file))


@pytest.mark.parametrize("content", [b"trainer: [1", b"trainer: \xff"], ids=["syntax", "bytes"])
def test_a_file_that_is_no_yaml_is_named(tmp_path: pathlib.Path, content: bytes) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected YAML in .*config\.yaml"):
        resolve.resolve(config_file=str(file))


@pytest.mark.parametrize("place", ["flag", "file", "assignment"])
def test_relative_folders_become_absolute_wherever_they_are_given(ratings, tmp_path, monkeypatch, place: str) -> None:
    monkeypatch.chdir(ratings.parent)
    folders = {"data.root": ratings.name, "output": "out", "artifacts": "made/artifacts"}
    if place == "flag":
        config = resolve.resolve(folders)
    elif place == "assignment":
        config = resolve.resolve(assignments=tuple(f"{key}={value}" for key, value in folders.items()))
    else:
        file = tmp_path / "config.yaml"
        file.write_text(f"data: {{root: {ratings.name}}}\noutput: out\nartifacts: made/artifacts\n")
        config = resolve.resolve(config_file=str(file))
    assert config.data.root == str(ratings)
    assert config.output == str(ratings.parent / "out")
    assert config.pipeline_root == str(ratings.parent / "made" / "artifacts")


@pytest.mark.parametrize("key", ["data.root", "output", "artifacts"])
@pytest.mark.parametrize("folder", ["gs://bucket/run[1]", "s3://bucket/run?", "hdfs://*/x"])
def test_remote_folders_that_are_patterns_are_refused(key: str, folder: str) -> None:
    """TFX would read run1 in place of run[1]."""
    with pytest.raises(pydantic.ValidationError, match=r"none of the characters \* \? \[.*; got .*; rename it"):
        PipelineConfig(**configuration.merge({"data": {"root": "ratings"}}, configuration.nested({key: folder})))


@pytest.mark.parametrize("key", ["data.root", "output", "artifacts"])
@pytest.mark.parametrize("folder", ["run[1]/ratings", "run?", "*", "[v2]data", "a[/b]c"])
def test_local_folders_may_have_any_name(key: str, folder: str, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = PipelineConfig(**configuration.merge({"data": {"root": "ratings"}}, configuration.nested({key: folder})))
    found = {"data.root": config.data.root, "output": config.output, "artifacts": config.pipeline_root}
    assert found[key] == str(tmp_path / folder)


def test_a_tilde_is_the_home_folder(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lay_out(tmp_path / "mine", "ratings.csv")
    config = resolve.resolve({"data.root": "~/mine", "output": "~/out"})
    assert (config.data.root, config.output) == (str(tmp_path / "mine"), str(tmp_path / "out"))


def lay_out(folder: pathlib.Path, *files: str) -> pathlib.Path:
    """A data folder made by hand, with ratings in these files."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("user_id,movie_title,user_rating\n1,A,3\n")
    (folder / "ratings.json").write_text('{"rating_scale": [0, 10]}')
    return folder


TRAIN, TEST, EVAL = "train/ratings.csv", "test/ratings-1.csv", "eval/ratings.csv"


@pytest.mark.parametrize(
    ("files", "given", "splits"),
    [
        (
            ["ratings.csv", "ratings-2.csv", "old/ratings.csv", "train/notes.csv", "test/notes.csv"],
            False,
            HASHED_SPLITS,
        ),
        ([TRAIN, TEST], True, ("train", "test")),
        ([TRAIN, TEST, EVAL, "mine.csv"], True, ("train", "eval", "test")),
    ],
)
def test_the_layout_is_that_of_the_files_with_ratings(files, given: bool, splits, tmp_path: pathlib.Path) -> None:
    data = resolve.resolve({"data.root": str(lay_out(tmp_path, *files))}).data
    assert (data.given, data.splits) == (given, splits)
    assert (data.rating_low, data.rating_high) == (0, 10)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["ratings.csv", TRAIN, TEST], r"got ratings\.csv and train/ratings\.csv; move one of them elsewhere"),
        (["ratings-2.csv", EVAL], r"got ratings-2\.csv and eval/ratings\.csv; move one of them elsewhere"),
        ([TRAIN], r"in both train/ and test/ of .*; got train/ratings\.csv alone; add the other"),
        ([TEST, EVAL], r"in both train/ and test/ of .*; got eval/ratings\.csv alone; add the other"),
        (
            ["train/notes.csv", "test/notes.csv"],
            r"expected ratings\.csv, or the folders train/ and test/ with one each",
        ),
    ],
)
def test_ratings_that_would_be_left_aside_are_refused(files, message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=message):
        resolve.resolve({"data.root": str(lay_out(tmp_path, *files))})


def test_ratings_other_than_the_recorded_ones_are_refused(tmp_path: pathlib.Path) -> None:
    synthetic.write(tmp_path, rows=50, users=10, titles=20, seed=0)
    resolve.resolve({"data.root": str(tmp_path)})
    (tmp_path / "ratings-2.csv").write_text("user_id,movie_title,user_rating\n1,A,3\n")
    with pytest.raises(DataError, match=r"ratings-2\.csv is not among them; remove it"):
        resolve.resolve({"data.root": str(tmp_path)})


@pytest.mark.parametrize(
    ("files", "assignment", "message"),
    [
        (
            [TRAIN, TEST, EVAL],
            "data.given=false",
            "data.given=true for .*, which holds the splits train, eval, test;",
        ),
        (
            [TRAIN, TEST],
            "data.given=false",
            "splits must be train, eval, test where given is false",
        ),
        (["ratings.csv"], "data.given=true", "expected data.given=false for .*, which holds ratings that are not div"),
        ([TRAIN, TEST], "data.splits=[train, eval, test]", "data.splits among those of .*, train, test; got eval, too"),
        (
            ["ratings.csv"],
            "data.splits=[train, test]",
            "splits must be train, eval, test where given is f.*; got train, test",
        ),
        ([TRAIN, TEST], "data.splits=[train, train, test]", "among train, eval, test, each once; got train, train, te"),
        ([TRAIN, TEST], "data.splits=[train, test, new]", "among train, eval, test, each once; got train, test, new"),
        ([TRAIN, TEST], "data.splits=[train]", "splits must have 'test'"),
        (["ratings.csv"], "data.rating_low=11", "rating_low must be below rating_high; got 11.0 and 10.0"),
        (["ratings.csv"], "data.rating_high=.inf", "finite"),
        (["ratings.csv"], "data.rating_high=.nan", "finite"),
    ],
)
def test_settings_that_the_data_do_not_have_are_refused(
    files, assignment: str, message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        resolve.resolve({"data.root": str(lay_out(tmp_path, *files))}, assignments=(assignment,))


def test_settings_of_the_data_are_heeded(tmp_path: pathlib.Path) -> None:
    folder = lay_out(tmp_path, TRAIN, TEST, EVAL)
    asked = ("data.splits=[train, test]", "data.given=true", "data.rating_low=1", "data.rating_high=9")
    config = resolve.resolve({"data.root": str(folder)}, assignments=asked)
    nodes = {node.id: node for node in create_pipeline(config).components}
    patterns = json.loads(nodes["RatingsExampleGen"].exec_properties["input_config"])["splits"]
    assert patterns == [{"name": name, "pattern": f"{name}/ratings*.csv"} for name in ("train", "test")]
    scales = [nodes["CuratedSchema"].exec_properties[name] for name in ("rating_low", "rating_high")]
    assert scales == [1, 9]
    assert json.loads(nodes["Trainer"].exec_properties["custom_config"])["rating_scale"] == [1, 9]
    # A preset's bound is meant for a scale that is 4 wide.
    assert (
        config.rmse_bound
        == 2
        * resolve.resolve(
            {"data.root": str(folder)}, assignments=("data.rating_low=1", "data.rating_high=5")
        ).rmse_bound
    )


def test_a_folder_that_nobody_names_is_absolute_too(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = build()
    assert (config.output, config.data.root) == (str(tmp_path / "output"), str(tmp_path / "ratings"))
    assert config.pipeline_root == str(tmp_path / "output" / "artifacts")


def test_keys_nest() -> None:
    assert configuration.nested({"trainer.seed": 7, "cache": False, "trainer.model.epochs": 5}) == {
        "trainer": {"seed": 7, "model": {"epochs": 5}},
        "cache": False,
    }
