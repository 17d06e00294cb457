"""The program that starts a Python worker of Beam from this installation, for environment `process`.

It does for an installation what Beam's own boot program does for a container: it asks the runner's provision service
what the worker has to know, and becomes the worker. Nothing is fetched or installed, since all code is here; a job that
brings packages is refused.

The contract is Beam's: https://s.apache.org/beam-fn-api-container-contract.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from modules.errors import UserError
from pipeline import environment
from pipeline.exit_codes import ExitCode

if TYPE_CHECKING:
    from apache_beam.portability.api import beam_runner_api_pb2

_PROVISION_S = 60
# Beam stages this list of the packages of where the job was submitted of its own accord, and boot merely logs it.
_LIST_OF_PACKAGES = "submission_environment_dependencies.txt"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker until the runner lets go of it.

    Args:
      arguments: `--id` and `--provision_endpoint`, with which runners start a worker; the other endpoints only where
        the provision service does not name them.
    """
    parser = argparse.ArgumentParser(prog="movie-ranking-worker", description="Starts a Python worker of Beam.")
    parser.add_argument("--id", required=True, help="of the worker")
    parser.add_argument("--provision_endpoint", required=True, help="HOST:PORT that says what the worker has to know")
    for name in ("logging_endpoint", "control_endpoint", "artifact_endpoint"):
        parser.add_argument(f"--{name}", default="", help="HOST:PORT, unless the provision service names it")
    parser.add_argument("--semi_persist_dir", default="/tmp", help="folder for what outlives the worker")
    given = parser.parse_args(arguments)
    environment.prepare()
    try:
        os.environ.update(_variables(given))
    except UserError as error:
        parser.exit(ExitCode.BAD_INPUT, f"{parser.prog}: {error}\n")
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _variables(given: argparse.Namespace) -> dict[str, str]:
    """What Beam's worker reads from its environment.

    Raises:
      UserError: the job brings packages.
    """
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
    from google.protobuf import json_format, text_format

    with grpc.insecure_channel(given.provision_endpoint) as channel:
        info = (
            beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
            .GetProvisionInfo(
                beam_provision_api_pb2.GetProvisionInfoRequest(),
                metadata=[("worker_id", given.id)],
                timeout=_PROVISION_S,
            )
            .info
        )
    _require_no_packages(info.dependencies)

    def text(endpoint: endpoints_pb2.ApiServiceDescriptor, url: str) -> str:
        return text_format.MessageToString(
            endpoint if endpoint.url else endpoints_pb2.ApiServiceDescriptor(url=url), as_one_line=True
        )

    variables = {
        "WORKER_ID": given.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text(info.logging_endpoint, given.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text(info.control_endpoint, given.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "SEMI_PERSISTENT_DIRECTORY": given.semi_persist_dir,
    }
    if info.HasField("status_endpoint"):
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = text(info.status_endpoint, "")
    return variables


def _require_no_packages(dependencies: Iterable[beam_runner_api_pb2.ArtifactInformation]) -> None:
    """Refuses what a job has staged for its workers to install or load: a worker without it would be another one."""
    from apache_beam.portability import common_urns
    from apache_beam.portability.api import beam_runner_api_pb2

    names = [
        beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(dependency.role_payload).staged_name
        if dependency.role_urn == common_urns.artifact_roles.STAGING_TO.urn
        else dependency.role_urn
        for dependency in dependencies
    ]
    if brought := [name for name in names if name != _LIST_OF_PACKAGES]:
        raise UserError(
            f"expected a job without packages of its own; got {', '.join(brought)}; install them on each worker beside "
            "movie-ranking, and leave out the --beam-arg that stages them, or take environment docker"
        )
