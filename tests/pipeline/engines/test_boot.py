"""Boot programs against loopback services for provision, artifacts, control and logging, Beam's own contracts.

`movie-ranking-worker` boots workers of an installation, Beam's own program those of the image.
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import grpc
import pooch
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.portability.artifact_service import ArtifactRetrievalService, BeamFilesystemHandler
from google.protobuf import json_format, struct_pb2

from tests.conftest import ROOT

UP_S = 240
BUILD_S = 480
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * UP_S)]
OURS = [sys.executable, "-c", "from pipeline.engines.boot import main; main()"]
BEAM = "github.com/apache/beam/sdks/v2"
# What Beam stages for each job that runs elsewhere.
PACKAGES = "submission_environment_dependencies.txt"


class Runner(
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
):
    """As much of a runner as a worker needs to come up.

    Attributes:
      dependencies: files that the job has staged.
    """

    dependencies: Sequence[beam_runner_api_pb2.ArtifactInformation] = ()

    def __init__(self) -> None:
        self.asked: queue.Queue[str] = queue.Queue()
        self.connected: queue.Queue[str] = queue.Queue()
        self.over: queue.Queue[None] = queue.Queue()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor())
        self.url = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self.server)
        artifacts = ArtifactRetrievalService(BeamFilesystemHandler(None).file_reader)
        beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(artifacts, self.server)
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self.server)
        beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(self, self.server)
        self.server.start()

    def GetProvisionInfo(self, request, context):
        self.asked.put(dict(context.invocation_metadata())["worker_id"])
        here = endpoints_pb2.ApiServiceDescriptor(url=self.url)
        options = json_format.ParseDict({"beam:option:experiments:v1": ["beam_fn_api"]}, struct_pb2.Struct())
        return beam_provision_api_pb2.GetProvisionInfoResponse(
            info=beam_provision_api_pb2.ProvisionInfo(
                pipeline_options=options,
                logging_endpoint=here,
                control_endpoint=here,
                artifact_endpoint=here,
                dependencies=self.dependencies,
            )
        )

    def Control(self, responses, context):
        self.connected.put(dict(context.invocation_metadata())["worker_id"])
        # The worker has nothing to do, and ends when this does.
        self.over.get()
        yield from ()

    def Logging(self, entries, context):
        for _ in entries:
            pass
        yield from ()


@pytest.fixture
def runner() -> Iterator[Runner]:
    started = Runner()
    yield started
    started.over.put(None)
    started.server.stop(None)


@pytest.fixture(scope="module")
def beams() -> list[str]:
    """Beam's boot program of the image's version, built once for all sessions; skips where it cannot be built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go, which builds Beam's boot program, is not installed")
    found = re.search(r"^apache-beam==([\d.]+)", (ROOT / "requirements" / "image.txt").read_text(), re.MULTILINE)
    assert found is not None
    version = found[1]
    program = pathlib.Path(pooch.os_cache("movie-ranking")) / "beam-boot" / version / "container"
    if not program.exists():
        known = subprocess.run(
            [go, "list", "-m", f"{BEAM}@v{version}"],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        if known.returncode != 0:
            pytest.skip(f"Beam's boot program cannot be fetched: {known.stderr.strip()}")
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            built = subprocess.run(
                [go, "install", f"{BEAM}/python/container@v{version}"],
                cwd="/",
                env={**os.environ, "GOBIN": folder},
                capture_output=True,
                text=True,
                timeout=BUILD_S,
                check=False,
            )
            if built.returncode != 0:
                pytest.skip(f"what Beam's boot program is built of cannot be fetched: {built.stderr.strip()[-1000:]}")
            pathlib.Path(folder, program.name).replace(program)
    return [str(program)]


def staged(folder: pathlib.Path, name: str) -> beam_runner_api_pb2.ArtifactInformation:
    """A file of a job, as its runner offers it to workers under a name."""
    file = folder / "offered"
    file.write_text(f"what is in {name}")
    return beam_runner_api_pb2.ArtifactInformation(
        type_urn=common_urns.artifact_types.FILE.urn,
        type_payload=beam_runner_api_pb2.ArtifactFilePayload(path=str(file)).SerializeToString(),
        role_urn=common_urns.artifact_roles.STAGING_TO.urn,
        role_payload=beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=name).SerializeToString(),
    )


def check_comes_up(runner: Runner, command: Sequence[str], folder: pathlib.Path, **environment: str) -> None:
    """Starts a worker, sees it connect to the runner, and sees it end with the runner."""
    with (folder / "said").open("w") as said:
        worker = subprocess.Popen(
            [*command, "--id=w-1", f"--provision_endpoint={runner.url}", f"--semi_persist_dir={folder}"],
            # Beam's program writes a file into the folder in which it is started.
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stderr=said,
        )
    try:
        assert runner.asked.get(timeout=UP_S) == "w-1"
        assert runner.connected.get(timeout=UP_S) == "w-1"
        runner.over.put(None)
        assert worker.wait(UP_S) == 0, (folder / "said").read_text()
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_comes_up_and_ends_with_the_runner(runner: Runner, tmp_path: pathlib.Path) -> None:
    runner.dependencies = [staged(tmp_path, PACKAGES)]
    check_comes_up(runner, OURS, tmp_path)


@pytest.mark.timeout(BUILD_S + 3 * UP_S)
def test_beams_program_brings_a_worker_up_from_this_environment(
    runner: Runner, tmp_path: pathlib.Path, beams: list[str]
) -> None:
    runner.dependencies = [staged(tmp_path, PACKAGES)]
    # As in the image.
    here = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    check_comes_up(
        runner, beams, tmp_path, PATH=here, RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT="1", TF_USE_LEGACY_KERAS="1"
    )
    assert (tmp_path / "staged" / PACKAGES).read_text() == f"what is in {PACKAGES}"


def test_a_job_with_packages_is_refused(runner: Runner, tmp_path: pathlib.Path) -> None:
    runner.dependencies = [staged(tmp_path, PACKAGES), staged(tmp_path, "requirements.txt")]
    done = subprocess.run(
        [*OURS, "--id=w-1", f"--provision_endpoint={runner.url}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=UP_S,
        check=False,
    )
    assert done.returncode == 2
    assert "got requirements.txt; install" in done.stderr
    assert runner.connected.empty()


def test_what_is_missing_is_said() -> None:
    done = subprocess.run([*OURS, "--id=w-1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--provision_endpoint" in done.stderr
