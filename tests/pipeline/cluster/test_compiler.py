"""Compiled jobs against the graph, the published specification and a golden file."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

import google.auth
from click.testing import CliRunner
from google.cloud.aiplatform_v1.types import PipelineJob
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.data_types import RuntimeParameter
from tfx.utils import name_utils

from components import ratings_evaluator
from pipeline.cluster import compiler, kubeflow_task
from pipeline.commands.compile import compile_
from pipeline.config import submission_parameters
from pipeline.exit_codes import ExitCode
from pipeline.graph.pipeline import create_pipeline
from tests.conftest import ROOT
from tests.pipeline.cluster.cluster_jobs import BUCKET, IMAGE, VALUES, compiled, resolve

GOLDEN = ROOT / "tests" / "golden"
SCHEMAS = ("2.0.0", "2.1.0")
ENTRY_POINT = ["python", "-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"]
ENDPOINT = ("cluster.endpoint.name=films", "cluster.endpoint.serving_image=europe-docker.pkg.dev/p/r/serving")
FLAGS = ["--pipeline-root", f"{BUCKET}/root", "--data", f"{BUCKET}/ratings", "--image", IMAGE, "--preset", "notebook"]


@pytest.fixture(scope="module", params=SCHEMAS)
def schema(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def job(schema: str) -> dict:
    return compiled(schema=schema)


@pytest.fixture(scope="module")
def nodes() -> dict:
    return {node.id: node for node in create_pipeline(resolve()).components}


def tasks(job: dict) -> dict:
    return job["pipelineSpec"]["root"]["dag"]["tasks"]


def containers(job: dict) -> dict:
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    return {
        label.removesuffix("_executor"): executor["container"]
        for label, executor in executors.items()
        if "container" in executor
    }


def test_the_published_protocol_buffers_accept_it(job: dict, schema: str) -> None:
    spec = json_format.ParseDict(job["pipelineSpec"], pipeline_spec_pb2.PipelineSpec())
    deployment = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec), pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    assert spec.schema_version == schema
    assert spec.pipeline_info.name == "movie-ranking"
    assert {component.executor_label for component in spec.components.values()} == set(deployment.executors)
    accepted = PipelineJob.from_json(json.dumps(job), ignore_unknown_fields=False)
    assert accepted.runtime_config.gcs_output_directory == f"{BUCKET}/root"


def test_there_is_a_task_for_every_node_and_two_for_the_resolver(job: dict, nodes: dict) -> None:
    resolver = {"BlessedModel-model-blessing-resolver", "BlessedModel-model-resolver"}
    assert set(tasks(job)) == set(nodes) - {"BlessedModel"} | resolver
    assert set(containers(job)) == set(nodes) - {"BlessedModel"}


def test_edges_are_those_of_the_graph(job: dict, nodes: dict) -> None:
    for name, node in nodes.items():
        if name == "BlessedModel":
            continue
        task = tasks(job)[name]
        edges = {
            key: (source["taskOutputArtifact"]["producerTask"], source["taskOutputArtifact"]["outputArtifactKey"])
            for key, source in task.get("inputs", {}).get("artifacts", {}).items()
        }
        expected = {key: (channel.producer_component_id, channel.output_key) for key, channel in node.inputs.items()}
        if name == "Evaluator":
            # A resolver becomes a task for each kind of artifact that it finds.
            (key,) = (key for key, (producer, _) in edges.items() if producer.startswith("BlessedModel"))
            expected[key] = ("BlessedModel-model-resolver", "model")
        assert edges == expected
        upstream = {each.id for each in node.upstream_nodes} - {"BlessedModel"}
        assert set(task.get("dependentTasks", [])) - {"BlessedModel-model-resolver"} == upstream


def test_every_container_runs_the_image_with_the_executor_of_its_node(job: dict, nodes: dict, schema: str) -> None:
    for name, container in containers(job).items():
        assert container["image"] == IMAGE
        assert container["command"] == ENTRY_POINT
        arguments = container["args"]
        executor = arguments[arguments.index("--executor_class_path") + 1]
        assert executor == name_utils.get_full_name(nodes[name].executor_spec.executor_class)
        assert arguments[arguments.index("--json_serialized_invocation_args") + 1] == "{{$}}"
        assert ("--json_serialized_inputs_spec_args" in arguments) == (schema == "2.1.0")
    assert {name for name, each in containers(job).items() if "lifecycle" in each} == set(compiler.READERS)


def test_every_parameter_is_the_graphs_or_left_open(job: dict, nodes: dict, schema: str) -> None:
    open_ones = set()
    for name in containers(job):
        compiled_values = tasks(job)[name].get("inputs", {}).get("parameters", {})
        given = {key: value for key, value in nodes[name].exec_properties.items() if value is not None}
        assert set(compiled_values) == set(given)
        for key, value in given.items():
            if isinstance(value, RuntimeParameter):
                assert compiled_values[key] == {"componentInputParameter": value.name}
                open_ones.add((name, key, value.name))
                continue
            constant = compiled_values[key]["runtimeValue"]
            found = constant["constant"] if schema == "2.1.0" else next(iter(constant["constantValue"].values()))
            # Integers are texts in the JSON of the first schema version.
            assert str(found) == str(value) or float(found) == float(value)
    assert open_ones == {
        *((reader, "input_base", "data_root") for reader in compiler.READERS),
        ("Trainer", "preset", "preset"),
        ("Trainer", "seed", "seed"),
        ("Trainer", "training_budget", "training_budget"),
        ("Evaluator", "rmse_bound", "rmse_bound"),
        ("Evaluator", "baseline", "preset"),
        ("ReportGen", "preset", "preset"),
        ("ReportGen", "seed", "seed"),
    }


def test_open_parameters_have_their_types_and_defaults(job: dict, schema: str) -> None:
    definitions = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    names = {"str": "STRING", "int": "NUMBER_INTEGER", "float": "NUMBER_DOUBLE"}
    if schema == "2.0.0":
        names = {"str": "STRING", "int": "INT", "float": "DOUBLE"}
    types = {name: each.get("parameterType") or each["type"] for name, each in definitions.items()}
    assert types == {each.name: names[each.type.__name__] for each in submission_parameters.PARAMETERS}
    defaults = {
        "data_root": f"{BUCKET}/ratings", "preset": "notebook", "seed": 42, "rmse_bound": 1.2, "training_budget": 0,
    }  # fmt: skip
    if schema == "2.1.0":
        assert {name: each["defaultValue"] for name, each in definitions.items()} == defaults
        assert job["runtimeConfig"]["parameterValues"] == defaults
    else:
        values = {name: next(iter(each.values())) for name, each in job["runtimeConfig"]["parameters"].items()}
        # 64-bit integers are texts in the JSON of a protocol buffer.
        assert {**values, "seed": int(values["seed"]), "training_budget": int(values["training_budget"])} == defaults


def test_the_evaluator_is_one_whose_blessing_names_the_model(nodes: dict) -> None:
    # What TFX's entry point asks before it writes the model's name into the blessing, by which it is found again.
    from tfx.components.evaluator import executor

    assert issubclass(nodes["Evaluator"].executor_spec.executor_class, executor.Executor)
    assert nodes["Evaluator"].executor_spec.executor_class is ratings_evaluator.Executor


def test_it_is_the_local_graph(tmp_path: pathlib.Path) -> None:
    from pipeline.config import resolve as local

    closed = resolve().model_copy(update={"runtime_parameters": ()})
    ours = {node.id: node for node in create_pipeline(closed).components}
    config = local.resolve({"data.root": f"{BUCKET}/ratings", "trainer.preset": "notebook", "output": str(tmp_path)})
    for other in create_pipeline(config).components:
        node = ours.pop(other.id)
        if other.id == "BlessedModel":
            continue
        assert {each.id for each in node.upstream_nodes} == {each.id for each in other.upstream_nodes}
        if other.id != "Pusher":
            assert node.exec_properties == other.exec_properties
    assert not ours


def test_nothing_is_contacted_and_no_credentials_are_sought(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def refuse(*details: object, **more: object) -> None:
        raise AssertionError(f"asked for {details} {more}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(google.auth, "default", refuse)
    path = tmp_path / "job.json"
    done = CliRunner().invoke(compile_, [*FLAGS, "-o", str(path)])
    assert done.exit_code == ExitCode.PUSHED, done.output
    assert json.loads(path.read_text())["pipelineSpec"]["schemaVersion"] == "2.1.0"
    assert [each.name for each in tmp_path.iterdir()] == ["job.json"]


def normalised(job: dict) -> dict:
    """Without what differs between TFX releases or with each edit of the code; long texts by their hash."""
    job = json.loads(re.sub(r"\b[0-9a-f]{16}\b", "<fingerprint>", json.dumps(job)))
    job["pipelineSpec"]["sdkVersion"] = "<version>"
    job["labels"] = {key: value for key, value in job["labels"].items() if not key.startswith("tfx_")}

    def short(value: object) -> object:
        if isinstance(value, dict):
            return {
                key: f"{each.splitlines()[0]} {hashlib.sha256(each.encode()).hexdigest()[:8]}"
                if key == "instanceSchema"
                else short(each)
                for key, each in value.items()
            }
        return [short(each) for each in value] if isinstance(value, list) else value

    return short(job)  # type: ignore[return-value]


@pytest.mark.parametrize("platform", ["vertex", "kubeflow"])
def test_the_golden_file_shows_every_change(platform: str) -> None:
    # After an intended change: UPDATE_GOLDEN=1 pytest tests/pipeline/cluster/test_compiler.py -k golden
    path = GOLDEN / f"movie_ranking_{platform}.json"
    text = json.dumps(normalised(compiled(platform)), indent=2, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path: pathlib.Path) -> None:
    texts = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.json"
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "compile", *FLAGS, "-o", str(path)]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_resources_retries_and_caching_come_from_the_configuration() -> None:
    job = compiled(
        assignments=(
            "cluster.components.all.retries=2",
            "cluster.components.all.cpu=2",
            "cluster.components.Trainer.cpu=8",
            "cluster.components.Trainer.memory_gb=30",
            "cluster.components.Trainer.accelerator=NVIDIA_TESLA_T4",
            "cluster.components.Trainer.accelerators=2",
            "cluster.components.Trainer.retries=0",
            "cluster.components.RatingsExampleGen.cache=false",
            "cluster.components.RatingsExampleGen.retry_delay_s=10",
        )
    )
    assert containers(job)["Pusher"]["resources"] == {"cpuLimit": 2.0}
    assert containers(job)["Trainer"]["resources"] == {
        "cpuLimit": 8.0, "memoryLimit": 30.0, "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "2"},
    }  # fmt: skip
    assert containers(job)["RatingsExampleGen"]["resources"] == {"cpuLimit": 2.0}
    assert tasks(job)["Pusher"]["retryPolicy"] == {
        "maxRetryCount": 2, "backoffDuration": "60s", "backoffFactor": 2.0, "backoffMaxDuration": "3600s",
    }  # fmt: skip
    assert "maxRetryCount" not in tasks(job)["Trainer"]["retryPolicy"]
    assert tasks(job)["RatingsExampleGen"]["retryPolicy"]["backoffDuration"] == "10s"
    assert "retryPolicy" not in tasks(job)["BlessedModel-model-resolver"]
    assert tasks(job)["RatingsExampleGen"]["cachingOptions"] == {}
    assert tasks(job)["Trainer"]["cachingOptions"] == {"enableCache": True}


def test_without_settings_the_platforms_defaults_hold() -> None:
    job = compiled(assignments=("cache=false",))
    assert not any("resources" in container for container in containers(job).values())
    assert not any("retryPolicy" in task or "cachingOptions" in task for task in tasks(job).values())


def test_labels_and_identity_come_from_the_configuration() -> None:
    key = "projects/project/locations/europe-west4/keyRings/ring/cryptoKeys/key"
    job = compiled(
        assignments=(
            "cluster.labels.team=films",
            "cluster.service_account=tasks@project.iam.gserviceaccount.com",
            "cluster.network=projects/1/global/networks/default",
            f"cluster.encryption_key={key}",
        )
    )
    accepted = PipelineJob.from_json(json.dumps(job), ignore_unknown_fields=False)
    assert accepted.labels["team"] == "films"
    assert accepted.service_account == "tasks@project.iam.gserviceaccount.com"
    assert accepted.network == "projects/1/global/networks/default"
    assert accepted.encryption_spec.kms_key_name == key


def test_kubeflow_gets_neither_a_resolver_nor_cached_ratings() -> None:
    job = compiled("kubeflow")
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    assert not any("resolver" in executor for executor in executors.values())
    assert "BlessedModel" not in json.dumps(job)
    for reader in compiler.READERS:
        assert tasks(job)[reader]["cachingOptions"] == {}
    assert tasks(job)["Transform"]["cachingOptions"] == {"enableCache": True}


def test_kubeflow_starts_tasks_by_an_entry_point_that_is_told_their_folders() -> None:
    job, vertex = compiled("kubeflow"), containers(compiled("vertex", ("evaluator.blessed_model=none",)))
    for name, container in containers(job).items():
        assert container["command"] == list(kubeflow_task.COMMAND)
        component = job["pipelineSpec"]["components"][name]
        inputs, outputs = (
            component.get(side, {}).get("artifacts", {}) for side in ("inputDefinitions", "outputDefinitions")
        )
        added = kubeflow_task.folder_arguments(sorted(inputs), sorted(outputs))
        assert len(added) == 3 * len([*inputs, *outputs]) > 0
        assert container["args"] == [*vertex[name]["args"], *added]


def test_every_artifact_has_a_type_that_kubeflow_can_record() -> None:
    # Its launcher ends at a schema without a title, and at one that is somewhere else.
    for component in compiled("kubeflow")["pipelineSpec"]["components"].values():
        for side in ("inputDefinitions", "outputDefinitions"):
            for definition in component.get(side, {}).get("artifacts", {}).values():
                assert re.match(r"title: tfx\.\w+\n", definition["artifactType"]["instanceSchema"])
                # An empty one ends it, too.
                assert definition.get("metadata") != {}


@pytest.mark.parametrize(
    ("platform", "changed", "assignments", "message"),
    [
        ("vertex", {"cluster.image": None}, (), "cluster.image"),
        ("vertex", {"artifacts": "/tmp/root"}, (), "gs://BUCKET"),
        ("kubeflow", {"artifacts": "/mnt/root[1]"}, (), "got /mnt/root[1]; rename it"),
        ("vertex", {"artifacts": None}, (), "--pipeline-root"),
        ("vertex", {"data.root": None}, (), "--data"),
        ("vertex", {}, ("evaluator.blessed_model=other",), "strategy of local runs"),
        ("kubeflow", {}, ("evaluator.blessed_model=latest",), "does not implement"),
        ("kubeflow", {}, ENDPOINT, "need Vertex AI"),
        ("kubeflow", {"artifacts": "s3://bucket/root"}, (), "gs://BUCKET/FOLDER; got 's3://bucket/root'"),
        ("kubeflow", {"artifacts": "/mnt/root"}, (), "gs://BUCKET/FOLDER; got '/mnt/root'"),
        ("kubeflow", {}, ("beam.runner=dataflow",), "which no other machine sees"),
        ("kubeflow", {}, ("beam.runner=flink", "beam.job_endpoint=host:8099"), "which no other machine sees"),
        ("vertex", {}, ("cluster.components.Trainer.cpus=8",), "cpus"),
        ("vertex", {"cluster.project": None}, ENDPOINT, "cluster.project and cluster.region"),
    ],
)
def test_what_a_platform_cannot_do_is_refused(platform, changed, assignments, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        resolve(platform, assignments, {**VALUES, **changed})


def test_settings_of_an_unknown_component_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected all or one of .*Trainer.*; got Trainr"):
        compiled(assignments=("cluster.components.Trainr.cpu=8",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "kubeflow", "--schema", "2.0.0"], "takes schema 2.1.0"),
        (["--set", "trainer.sed=3"], "trainer.sed"),
        (["-o", f"{__file__}/job.json"], __file__),
    ],
)
def test_the_command_line_tells_bad_input(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(compile_, [*FLAGS, *arguments])
    assert done.exit_code == ExitCode.BAD_INPUT
    assert message in done.output
    assert "Traceback" not in done.output


def test_list_parameters_needs_no_other_flag() -> None:
    done = CliRunner().invoke(compile_, ["--list-parameters", "--preset", "notebook"], terminal_width=200)
    assert done.exit_code == 0, done.output
    for parameter in submission_parameters.PARAMETERS:
        assert parameter.name in done.output
        assert parameter.type.__name__ in done.output
    assert "42" in done.output
    assert "1.2" in done.output


def test_without_kubeflows_packages_the_remedy_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "kfp.py").write_text("raise ModuleNotFoundError(\"No module named 'kfp'\", name='kfp')")
    script = "import sys; from pipeline.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", script, "compile", *FLAGS]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.BAD_INPUT
    assert "movie-ranking[kfp]" in done.stderr


def test_a_file_is_replaced_as_a_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "job.json"
    path.write_text("old")
    compiler.write({"b": 1, "a": 2}, str(path))
    assert path.read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
