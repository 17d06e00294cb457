"""Arguments of Beam against Beam's own parser, validator and environments, and against the compiled pipeline."""

from __future__ import annotations

import json
import tempfile

import pydantic
import pytest
from apache_beam.options import pipeline_options, pipeline_options_validator
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners import runner as beam_runner
from apache_beam.transforms import environments
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import base_beam_component
from tfx.orchestration.local import runner_utils
from tfx.proto.orchestration import executable_spec_pb2
from tfx.utils import dependency_utils

from pipeline.commands import options
from pipeline.config import beam_config
from pipeline.config import pipeline_config as configuration
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.pipeline import create_pipeline

IMAGE = "europe-docker.pkg.dev/project/repository/movie-ranking:1"
CLOUD = {"data": {"root": "gs://bucket/ratings", "given": True}, "artifacts": "gs://bucket/root"}
LOOPBACK = {"environment": "loopback"}
KEPT_BY_FLINK = "--environment_cache_millis=10000"
KEPT_BY_SPARK = "--environment_cache_millis=600000"
# Runner and settings, rest of the configuration, the arguments.
CASES = {
    "direct": ({}, {}, ["--runner=FnApiRunner", "--sdk_container_image=none"]),
    "direct, workers": (
        {"workers": 4},
        {},
        [
            "--runner=FnApiRunner",
            "--sdk_container_image=none",
            "--direct_num_workers=4",
            "--direct_running_mode=multi_processing",
        ],
    ),
    "direct, a worker a core": (
        {"workers": 0, "running_mode": "multi_threading", "args": ["--direct_runner_bundle_repeat=1"]},
        {},
        [
            "--runner=FnApiRunner",
            "--sdk_container_image=none",
            "--direct_num_workers=0",
            "--direct_running_mode=multi_threading",
            "--direct_runner_bundle_repeat=1",
        ],
    ),
    "flink, master": (
        {"runner": "flink", "flink_master": "[local]", "parallelism": 3, **LOOPBACK, "args": ["--flink_version=1.19"]},
        {},
        [
            "--runner=FlinkRunner",
            "--flink_master=[local]",
            "--parallelism=3",
            "--environment_type=LOOPBACK",
            KEPT_BY_FLINK,
            "--sdk_container_image=none",
            "--flink_version=1.19",
        ],
    ),
    "flink, job server": (
        {
            "runner": "flink",
            "job_endpoint": "jobs:8099",
            "environment": "external",
            "environment_config": "localhost:50000",
        },
        {},
        [
            "--runner=FlinkRunner",
            "--job_endpoint=jobs:8099",
            "--environment_type=EXTERNAL",
            "--environment_config=localhost:50000",
            KEPT_BY_FLINK,
            "--sdk_container_image=none",
        ],
    ),
    "spark, master": (
        {
            "runner": "spark",
            "spark_master_url": "spark://host:7077",
            "environment": "process",
            "environment_config": "/opt/boot",
        },
        {},
        [
            "--runner=SparkRunner",
            "--spark_master_url=spark://host:7077",
            "--environment_type=PROCESS",
            '--environment_config={"command": "/opt/boot", "env": {"TF_USE_LEGACY_KERAS": "1"}}',
            KEPT_BY_SPARK,
            "--sdk_container_image=none",
        ],
    ),
    "flink, an engine of its own": (
        {"runner": "flink"},
        {},
        [
            "--runner=FlinkRunner",
            "--environment_type=PROCESS",
            '--environment_config={"command": "movie-ranking-worker", "env": {"TF_USE_LEGACY_KERAS": "1"}}',
            KEPT_BY_FLINK,
            "--sdk_container_image=none",
        ],
    ),
    "spark, containers": (
        {"runner": "spark", "job_endpoint": "jobs:8099", "environment": "docker"},
        {**CLOUD, "cluster": {"image": IMAGE}},
        [
            "--runner=SparkRunner",
            "--job_endpoint=jobs:8099",
            "--environment_type=DOCKER",
            f"--environment_config={IMAGE}",
            KEPT_BY_SPARK,
            f"--sdk_container_image={IMAGE}",
        ],
    ),
    "dataflow, all from the cluster": (
        {"runner": "dataflow"},
        {**CLOUD, "cluster": {"image": IMAGE, "project": "my-project", "region": "europe-west4"}},
        [
            "--runner=DataflowRunner",
            "--project=my-project",
            "--region=europe-west4",
            "--temp_location=gs://bucket/root/dataflow",
            f"--sdk_container_image={IMAGE}",
            "--experiments=use_runner_v2",
        ],
    ),
    "dataflow, all of its own": (
        {
            "runner": "dataflow",
            "project": "another-project",
            "region": "us-east1",
            "temp_location": "gs://bucket/temp",
            "staging_location": "gs://bucket/staging",
            "image": "image:2",
            "machine_type": "n1-standard-4",
            "max_workers": 3,
            "subnetwork": "regions/us-east1/subnetworks/default",
        },
        {
            **CLOUD,
            "cluster": {
                "image": IMAGE,
                "project": "my-project",
                "region": "europe-west4",
                "service_account": "tasks@my-project.iam.gserviceaccount.com",
                "encryption_key": "key",
            },
        },
        [
            "--runner=DataflowRunner",
            "--project=another-project",
            "--region=us-east1",
            "--temp_location=gs://bucket/temp",
            "--staging_location=gs://bucket/staging",
            "--sdk_container_image=image:2",
            "--experiments=use_runner_v2",
            "--machine_type=n1-standard-4",
            "--max_num_workers=3",
            "--subnetwork=regions/us-east1/subnetworks/default",
            "--service_account_email=tasks@my-project.iam.gserviceaccount.com",
            "--dataflow_kms_key=key",
        ],
    ),
}


def build(beam: dict, **values: object) -> PipelineConfig:
    return PipelineConfig(**{"data": {"root": "/ratings", "given": True}, "output": "/output", "beam": beam, **values})


@pytest.mark.parametrize(("beam", "rest", "expected"), CASES.values(), ids=CASES)
def test_settings_become_the_arguments_of_the_runner(beam: dict, rest: dict, expected: list[str]) -> None:
    assert build(beam, **rest).beam_args == expected


@pytest.mark.parametrize(("beam", "rest", "expected"), CASES.values(), ids=CASES)
def test_beam_knows_every_argument_and_finds_no_fault(beam: dict, rest: dict, expected: list[str]) -> None:
    options = pipeline_options.PipelineOptions(build(beam, **rest).beam_args)
    known = set(options.get_all_options())
    for argument in expected:
        name = argument.removeprefix("--").partition("=")[0]
        assert name in known, f"Beam has no option {name}"
    # Without it, the validator asks Cloud Storage about the buckets.
    options.view_as(pipeline_options.TestOptions).dry_run = True
    runner = beam_runner.create_runner(options.view_as(pipeline_options.StandardOptions).runner)
    assert pipeline_options_validator.PipelineOptionsValidator(options, runner).validate() == []


@pytest.mark.parametrize(("beam", "rest", "expected"), CASES.values(), ids=CASES)
def test_tfx_packs_nothing(beam: dict, rest: dict, expected: list[str]) -> None:
    assert dependency_utils.make_beam_dependency_flags(build(beam, **rest).beam_args) == expected


def environment_of(case: str) -> beam_runner_api_pb2.Environment:
    beam, rest, _ = CASES[case]
    options = pipeline_options.PipelineOptions(build(beam, **rest).beam_args)
    return environments.Environment.from_options(options.view_as(pipeline_options.PortableOptions)).to_runner_api(None)


def test_environments_are_those_that_the_settings_name() -> None:
    docker = beam_runner_api_pb2.DockerPayload.FromString(environment_of("spark, containers").payload)
    assert docker.container_image == IMAGE
    process = beam_runner_api_pb2.ProcessPayload.FromString(environment_of("spark, master").payload)
    assert process.command == "/opt/boot"
    # Transform and the models need Keras 2 in the workers too.
    assert dict(process.env) == {"TF_USE_LEGACY_KERAS": "1"}
    external = beam_runner_api_pb2.ExternalPayload.FromString(environment_of("flink, job server").payload)
    assert external.endpoint.url == "localhost:50000"


FLINK = {"runner": "flink", "job_endpoint": "localhost:8099", "environment": "loopback"}
DATAFLOW = {"runner": "dataflow", "project": "p", "region": "r", "image": "i"}


@pytest.mark.parametrize(
    ("beam", "rest", "fault"),
    [
        ({"runner": "prism"}, {}, "beam.runner"),
        ({"colour": "red"}, {}, "beam.colour"),
        ({"workers": -1}, {}, "beam.workers"),
        ({"workers": 2, "running_mode": "in_memory"}, {}, "several workers; got workers 2 and running_mode in_memory"),
        (
            {"flink_master": "h:1"},
            {},
            "expected of runner direct no setting but workers, running_mode and args; got fl",
        ),
        ({"job_endpoint": "h:1"}, {}, "got job_endpoint (of flink and spark)"),
        ({**FLINK, "workers": 2}, {}, "got workers (of direct)"),
        ({**FLINK, "runner": "spark", "parallelism": 2}, {}, "got parallelism (of flink)"),
        ({**DATAFLOW, "environment": "docker"}, CLOUD, "got environment (of flink and spark)"),
        ({**FLINK, "parallelism": 0}, {}, "beam.parallelism"),
        ({**FLINK, "job_endpoint": "localhost"}, {}, "beam.job_endpoint"),
        ({**FLINK, "flink_master": "h:1"}, {}, "one of flink_master, for which a job server is started, and job_e"),
        ({**FLINK, "environment": "external"}, {}, "expected HOST:PORT of a worker pool as environment_config"),
        ({**FLINK, "environment_config": "x"}, {}, "expected no environment_config with environment loopback; got x"),
        ({**FLINK, "image": "i"}, {}, "an image with environment docker alone; got one with loopback"),
        ({**FLINK, "environment": "docker"}, CLOUD, "expected an image with movie-ranking for environment docker"),
        (
            {**FLINK, "environment": "docker", "image": "i"},
            {},
            "expected data in a folder that code in a container can reach, such as gs://BUCKET/FOLDER; got /ratings",
        ),
        (DATAFLOW, {}, "expected gs://BUCKET/FOLDER as beam.temp_location of Dataflow; got /output/artifacts/dataflow"),
        ({**DATAFLOW, "temp_location": "gs://bucket"}, CLOUD, "expected gs://BUCKET/FOLDER as beam.temp_location"),
        ({**DATAFLOW, "staging_location": "/tmp"}, CLOUD, "expected gs://BUCKET/FOLDER as beam.staging_location"),
        ({**DATAFLOW, "temp_location": "gs://b/t"}, {}, "expected data in a folder that Dataflow's workers can reach"),
        (
            {**DATAFLOW, "temp_location": "gs://b/t"},
            {**CLOUD, "artifacts": "s3://bucket/root"},
            "expected artifacts in a folder that Dataflow's workers can reach",
        ),
        ({**DATAFLOW, "project": None}, CLOUD, "expected beam.project or cluster.project with runner dataflow"),
        ({**DATAFLOW, "region": None}, CLOUD, "expected beam.region or cluster.region with runner dataflow"),
        ({**DATAFLOW, "image": None}, CLOUD, "expected beam.image or cluster.image with runner dataflow"),
        ({"args": ["workers=2"]}, {}, "expected arguments such as --NAME=VALUE in beam.args; got 'workers=2'"),
        ({"args": ["--runner=PrismRunner"]}, {}, "expected the runner in beam.runner"),
        ({"args": ["--runner", "PrismRunner"]}, {}, "expected the runner in beam.runner"),
    ],
)
def test_each_fault_is_named(beam: dict, rest: dict, fault: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        build(beam, **rest)
    assert fault in configuration.explain(caught.value)


def test_the_command_line_names_every_runner() -> None:
    assert options.RUNNERS == beam_config.RUNNERS
    assert set(CASES_BY_RUNNER) == set(beam_config.RUNNERS)


CASES_BY_RUNNER = {beam.get("runner", "direct"): (beam, rest) for beam, rest, _ in CASES.values()}


@pytest.mark.parametrize("runner", beam_config.RUNNERS)
def test_every_beam_component_has_the_arguments_and_no_other(runner: str) -> None:
    beam, rest = CASES_BY_RUNNER[runner]
    config = build(beam, output=tempfile.mkdtemp(), **rest)
    pipeline = create_pipeline(config)
    deployment = runner_utils.extract_local_deployment_config(compiler.Compiler().compile(pipeline))
    with_beam = {each.id for each in pipeline.components if isinstance(each, base_beam_component.BaseBeamComponent)}
    assert {"RatingsExampleGen", "StatisticsGen", "Transform", "Evaluator"} <= with_beam
    for component in pipeline.components:
        if component.id == "BlessedModel":
            continue  # A resolver has no executor.
        spec = runner_utils.extract_executor_spec(deployment, component.id)
        if component.id in with_beam:
            assert isinstance(spec, executable_spec_pb2.BeamExecutableSpec), component.id
            assert [each.value.string_value for each in spec.beam_pipeline_args_placeholders] == config.beam_args
        else:
            assert "--runner" not in str(spec), component.id


def test_json_in_an_argument_survives_the_way_to_the_worker() -> None:
    argument = next(each for each in build(*CASES["spark, master"][:1]).beam_args if "environment_config" in each)
    assert json.loads(argument.partition("=")[2])["command"] == "/opt/boot"
