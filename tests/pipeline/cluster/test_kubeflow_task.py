"""The entry point of a task on Kubeflow: what it tells TFX's, and what it makes of the answer."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

from pipeline.cluster import kubeflow_task
from tests.conftest import ROOT
from tests.pipeline.cluster.kubeflow_executors import FILE
from tests.pipeline.cluster.replay_environment import image_environment
from tests.pipeline.cluster.warm_python import WarmPython

EXAMPLES = {
    "instanceSchema": "title: tfx.Examples\ntype: object\nproperties:\n  split_names:\n    type: string\n"
}  # fmt: skip
MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
SPEC = {
    "artifacts": {"examples": {"artifactType": EXAMPLES}},
    "parameters": {"times": {"parameterType": "NUMBER_INTEGER"}},
}
LOG = {"name": "executor-logs", "uri": "s3://bucket/task/executor-logs", "type": {"schemaTitle": "system.Artifact"}}
EXECUTORS = "tests.pipeline.cluster.kubeflow_executors"


def given(folder: pathlib.Path, *, input_type: dict | None = None, log: bool = True) -> dict:
    """What the launcher tells of a task: 2.17 by default."""
    examples = {
        "name": "7",
        "uri": "s3://bucket/before/examples",
        "type": {"instanceSchema": ""} if input_type is None else input_type,
        "metadata": {"split_names": '["train"]', "display_name": "examples", "store_session_info": "{}"},
    }
    model = {"name": "model", "uri": "s3://bucket/task/model", "type": MODEL}
    return {
        "inputs": {"artifacts": {"examples": {"artifacts": [examples]}}, "parameterValues": {"times": 3.0}},
        "outputs": {
            "artifacts": {
                "model": {"artifacts": [model]},
                **({"executor-logs": {"artifacts": [LOG]}} if log else {}),
            },
            "outputFile": str(folder / "output_metadata.json"),
        },
    }


def tfx_arguments(document: dict, executor: str = "Copier") -> list[str]:
    return [
        "--executor_class_path", f"{EXECUTORS}.{executor}",
        "--json_serialized_invocation_args", json.dumps(document),
        "--json_serialized_inputs_spec_args", json.dumps(SPEC),
        "--runner=FnApiRunner",
    ]  # fmt: skip


def folders(folder: pathlib.Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of a container: the input's has its file, the output's is not there."""
    (folder / "before").mkdir()
    (folder / "before" / FILE).write_text("copied")
    return {"examples": str(folder / "before")}, {"model": str(folder / "model")}


def folder_arguments(inputs: dict[str, str], outputs: dict[str, str]) -> list[str]:
    """As the launcher leaves them."""
    found = kubeflow_task.folder_arguments(list(inputs), list(outputs))
    for side, each in (("inputs", inputs), ("outputs", outputs)):
        for key, path in each.items():
            found = [part.replace(f"{{{{$.{side}.artifacts['{key}'].path}}}}", path) for part in found]
    return found


def test_the_launcher_is_asked_for_the_folder_of_each_artifact() -> None:
    assert kubeflow_task.folder_arguments(["a"], ["b", "c"]) == [
        "--input_folder", "a", "{{$.inputs.artifacts['a'].path}}",
        "--output_folder", "b", "{{$.outputs.artifacts['b'].path}}",
        "--output_folder", "c", "{{$.outputs.artifacts['c'].path}}",
    ]  # fmt: skip


@pytest.mark.parametrize("input_type", [{}, {"instanceSchema": ""}, {"schemaTitle": "system.Dataset"}])
@pytest.mark.parametrize("log", [True, False])
def test_tfx_is_told_types_and_folders_of_what_the_component_names(
    tmp_path: pathlib.Path, input_type: dict, log: bool
) -> None:
    document = given(tmp_path, input_type=input_type, log=log)
    before = json.dumps(document)
    told = kubeflow_task.with_types_and_folders(document, SPEC, {"examples": "/in"}, {"model": "/out"})
    (examples,) = told["inputs"]["artifacts"]["examples"]["artifacts"]
    assert (examples["type"], examples["uri"], examples["name"]) == (EXAMPLES, "/in", "7")
    assert told["outputs"]["artifacts"] == {"model": {"artifacts": [{"name": "model", "uri": "/out", "type": MODEL}]}}
    assert told["inputs"]["parameterValues"] == {"times": 3.0}
    assert json.dumps(document) == before


def test_a_task_without_inputs_has_none(tmp_path: pathlib.Path) -> None:
    document = given(tmp_path)
    del document["inputs"]
    told = kubeflow_task.with_types_and_folders(document, {}, {}, {"model": "/out"})
    assert told["inputs"]["artifacts"] == {}


@pytest.mark.parametrize("artifacts", [{}, {"model": {}}, {"model": {"artifacts": [{}, {}]}}])
def test_an_artifact_that_is_missing_or_several_is_an_error(tmp_path: pathlib.Path, artifacts: dict) -> None:
    document = given(tmp_path)
    document["outputs"]["artifacts"] = artifacts
    with pytest.raises(RuntimeError, match="expected one artifact model; got"):
        kubeflow_task.with_types_and_folders(document, SPEC, {"examples": "/in"}, {"model": "/out"})


def test_the_launcher_is_told_uris_again(tmp_path: pathlib.Path) -> None:
    metadata = {
        "all": "/c/model", "file": "/c/model/x", "other": "/c/model_run", "text": "in /c/model", "input": "/c/before/y",
        "number": 1.0,
    }  # fmt: skip
    written = {"artifacts": {"model": {"artifacts": [{"name": "model", "uri": "/c/model", "metadata": metadata}]}}}
    told = kubeflow_task.with_uris(written, given(tmp_path), {"examples": "/c/before"}, {"model": "/c/model"})
    (model,) = told["artifacts"]["model"]["artifacts"]
    assert model["uri"] == "s3://bucket/task/model"
    assert model["metadata"] == {
        **metadata, "all": "s3://bucket/task/model", "file": "s3://bucket/task/model/x",
        "input": "s3://bucket/before/examples/y",
    }  # fmt: skip


@pytest.mark.slow
class TestWithTfx:
    @pytest.fixture(scope="class")
    def environment(self) -> dict[str, str]:
        return {**image_environment(ROOT / "Dockerfile"), "PYTHONPATH": str(ROOT)}

    @pytest.fixture(scope="class")
    def python(self, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
        python = WarmPython(environment, tmp_path_factory.mktemp("home"))
        yield python
        python.close()

    def test_a_task_does_its_work_in_the_folders(self, python: WarmPython, tmp_path: pathlib.Path) -> None:
        inputs, outputs = folders(tmp_path)
        arguments = [*tfx_arguments(given(tmp_path)), *folder_arguments(inputs, outputs)]
        done = python.run([*kubeflow_task.COMMAND[1:], *arguments])
        assert done.returncode == 0, done.stdout[-3000:]
        assert (tmp_path / "model" / FILE).read_text() == "copied 3"
        (model,) = json.loads((tmp_path / "output_metadata.json").read_text())["artifacts"]["model"]["artifacts"]
        assert model["uri"] == "s3://bucket/task/model"
        assert model["metadata"]["made"] == f"s3://bucket/task/model/{FILE}"
        assert model["metadata"]["read"] == "s3://bucket/before/examples"
        assert model["metadata"]["others"] == f"{tmp_path}/model_run"
        assert model["metadata"]["told"] == "Examples [\"train\"] ['model']"

    @pytest.mark.parametrize(
        ("input_type", "log", "message"),
        [
            ({"instanceSchema": ""}, False, "'NoneType' object has no attribute 'get'"),
            (EXAMPLES, True, "No module named 'system'"),
        ],
        ids=["empty type", "log of the launcher"],
    )
    def test_tfx_alone_fails_at_what_the_launcher_tells(
        self, python: WarmPython, tmp_path: pathlib.Path, input_type: dict, log: bool, message: str
    ) -> None:
        # Where this no longer fails, TFX has mended it.
        document = given(tmp_path, input_type=input_type, log=log)
        done = python.run(["-m", kubeflow_task.TFX_ENTRY_POINT, *tfx_arguments(document)])
        assert done.returncode == 1
        assert message in done.stdout

    def test_an_error_of_the_executor_fails_the_task(self, python: WarmPython, tmp_path: pathlib.Path) -> None:
        arguments = [*tfx_arguments(given(tmp_path), "Fails"), *folder_arguments(*folders(tmp_path))]
        done = python.run([*kubeflow_task.COMMAND[1:], *arguments])
        assert done.returncode == 1
        assert "expected another task; got this one" in done.stdout
        assert not (tmp_path / "output_metadata.json").exists()

    def test_an_abort_while_python_ends_is_no_fault_of_the_task(
        self, environment: dict[str, str], tmp_path: pathlib.Path
    ) -> None:
        arguments = [*tfx_arguments(given(tmp_path), "AbortsAtExit"), *folder_arguments(*folders(tmp_path))]
        command = [sys.executable, *kubeflow_task.COMMAND[1:], *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert os.path.isfile(tmp_path / "model" / FILE)
        assert "s3://bucket/task/model" in (tmp_path / "output_metadata.json").read_text()
