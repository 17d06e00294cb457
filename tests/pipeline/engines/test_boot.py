"""The boot program against a loopback provision, control and logging service, which are Beam's own contracts."""

from __future__ import annotations

import concurrent.futures
import queue
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from google.protobuf import json_format, struct_pb2

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-c", "from pipeline.engines.boot import main; main()"]
UP_S = 120


class Runner(
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
):
    """As much of a runner as a worker needs to come up."""

    def __init__(self) -> None:
        self.asked: queue.Queue[str] = queue.Queue()
        self.connected: queue.Queue[str] = queue.Queue()
        self.over: queue.Queue[None] = queue.Queue()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor())
        self.url = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self.server)
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self.server)
        beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(self, self.server)
        self.server.start()

    def GetProvisionInfo(self, request, context):
        self.asked.put(dict(context.invocation_metadata())["worker_id"])
        here = endpoints_pb2.ApiServiceDescriptor(url=self.url)
        options = json_format.ParseDict({"beam:option:experiments:v1": ["beam_fn_api"]}, struct_pb2.Struct())
        return beam_provision_api_pb2.GetProvisionInfoResponse(
            info=beam_provision_api_pb2.ProvisionInfo(
                pipeline_options=options, logging_endpoint=here, control_endpoint=here
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


def test_a_worker_comes_up_and_ends_with_the_runner(runner: Runner) -> None:
    worker = subprocess.Popen(
        [*COMMAND, "--id=w-1", f"--provision_endpoint={runner.url}"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        assert runner.asked.get(timeout=UP_S) == "w-1"
        assert runner.connected.get(timeout=UP_S) == "w-1"
        runner.over.put(None)
        _, said = worker.communicate(timeout=UP_S)
        assert worker.returncode == 0, said
    finally:
        worker.kill()
        worker.wait()


def test_what_is_missing_is_said() -> None:
    done = subprocess.run([*COMMAND, "--id=w-1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--provision_endpoint" in done.stderr
