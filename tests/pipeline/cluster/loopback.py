"""Services on this machine that speak the published protocols: Vertex AI by gRPC, Cloud Storage and Kubeflow."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.aiplatform_v1 import types
from google.protobuf import empty_pb2

PROJECT, REGION = "project", "europe-west4"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
SERVICE = "google.cloud.aiplatform.v1"
State, TaskState = types.PipelineState, types.PipelineTaskDetail.State


class VertexService:
    """Keeps jobs and schedules; each look at a job takes the next of its planned states.

    Attributes:
      requests: (method, request) in the order of arrival.
      authorizations: the header of each request.
      plans: jobs as they are to be seen, one a look, the last one for ever.
      refusal: status and message that every request is answered with.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.authorizations: list[str] = []
        self.plans: list[types.PipelineJob] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self._jobs: dict[str, types.PipelineJob] = {}

    def create_pipeline_job(self, request: types.CreatePipelineJobRequest) -> types.PipelineJob:
        job = types.PipelineJob(request.pipeline_job)
        job.name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
        job.state = State.PIPELINE_STATE_PENDING
        self._jobs[job.name] = job
        return job

    def get_pipeline_job(self, request: types.GetPipelineJobRequest) -> types.PipelineJob:
        job = self._jobs[request.name]
        if self.plans:
            plan = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
            job.state, job.job_detail = plan.state, plan.job_detail
        return job

    def cancel_pipeline_job(self, request: types.CancelPipelineJobRequest) -> empty_pb2.Empty:
        self._jobs[request.name].state = State.PIPELINE_STATE_CANCELLED
        return empty_pb2.Empty()

    def create_schedule(self, request: types.CreateScheduleRequest) -> types.Schedule:
        schedule = types.Schedule(request.schedule)
        schedule.name = f"{request.parent}/schedules/1"
        return schedule

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods, by their names in the published protocol."""
        empty = empty_pb2.Empty.SerializeToString
        methods: dict[str, tuple[Callable[[Any], Any], Any, Callable[[Any], bytes]]] = {
            "PipelineService/CreatePipelineJob": (
                self.create_pipeline_job, types.CreatePipelineJobRequest, types.PipelineJob.serialize,
            ),
            "PipelineService/GetPipelineJob": (
                self.get_pipeline_job, types.GetPipelineJobRequest, types.PipelineJob.serialize,
            ),
            "PipelineService/CancelPipelineJob": (self.cancel_pipeline_job, types.CancelPipelineJobRequest, empty),
            "ScheduleService/CreateSchedule": (
                self.create_schedule, types.CreateScheduleRequest, types.Schedule.serialize,
            ),
        }  # fmt: skip
        service = self

        class Handler(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
                name = details.method.removeprefix(f"/{SERVICE}.")
                if name not in methods:
                    return None
                call, request_type, serialize = methods[name]

                def answer(request: Any, context: grpc.ServicerContext) -> Any:
                    headers = dict(context.invocation_metadata())
                    service.authorizations.append(headers.get("authorization", ""))
                    service.requests.append((name, request))
                    if service.refusal:
                        context.abort(*service.refusal)
                    try:
                        return call(request)
                    except KeyError as error:
                        context.abort(grpc.StatusCode.NOT_FOUND, f"{error} is not there")

                return grpc.unary_unary_rpc_method_handler(answer, request_type.deserialize, serialize)

        return Handler()


def plan(state: str, tasks: dict[str, str], outputs: dict[str, dict[str, dict[str, Any]]] | None = None,
         errors: dict[str, str] | None = None) -> types.PipelineJob:  # fmt: skip
    """A job as a look at it shows it: states of its tasks, properties of their outputs, messages of their errors."""
    details = []
    for position, (name, task_state) in enumerate(tasks.items()):
        detail = types.PipelineTaskDetail(task_id=position, task_name=name, state=TaskState[task_state])
        for key, metadata in (outputs or {}).get(name, {}).items():
            artifact = types.Artifact(metadata=metadata)
            detail.outputs[key] = types.PipelineTaskDetail.ArtifactList(artifacts=[artifact])
        if errors and name in errors:
            detail.error = {"code": 9, "message": errors[name]}
        details.append(detail)
    return types.PipelineJob(state=State[f"PIPELINE_STATE_{state}"], job_detail={"task_details": details})


@contextlib.contextmanager
def serve_vertex(service: VertexService, folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Serves on a free port; yields its address and the file of the certificate to trust."""
    key, certificate = _self_signed()
    path = folder / "roots.pem"
    path.write_bytes(certificate)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    try:
        yield f"localhost:{port}", path
    finally:
        server.stop(None)


def _self_signed() -> tuple[bytes, bytes]:
    """A private key and a certificate for localhost, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(key), certificate.public_bytes(serialization.Encoding.PEM)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_service_account(path: pathlib.Path) -> str:
    """Writes a service account's key file, made up on the spot; returns a part of its private key."""
    key = _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).decode()
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": key,
        "client_email": f"submitter@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        # Not asked: Google's client signs what it sends by itself.
        "token_uri": "https://127.0.0.1:1/token",
    }
    path.write_text(json.dumps(account), encoding="utf-8")
    return key.splitlines()[5]


Answer = tuple[int, dict[str, Any]]


@contextlib.contextmanager
def serve_http(answer: Callable[[str, str, dict[str, Any], dict[str, str]], Answer]) -> Iterator[str]:
    """Serves JSON on a free port; `answer` gets method, path with query, body and headers. Yields the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = "json" in (self.headers.get("Content-Type") or "")
            body = json.loads(raw) if raw and is_json else dict(urllib.parse.parse_qsl(raw.decode()))
            status, content = answer(self.command, self.path, body, dict(self.headers))
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *details: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class StorageService:
    """Cloud Storage, as far as it takes to ask whether a bucket is there.

    Attributes:
      buckets: their names.
      created: buckets that someone made.
      status: of every answer, if not None.
    """

    def __init__(self, *buckets: str) -> None:
        self.buckets = set(buckets)
        self.created: list[str | None] = []
        self.status: int | None = None

    def answer(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        if self.status:
            return self.status, {"error": {"code": self.status, "message": "you shall not look"}}
        match = re.match(r"/storage/v1/b/([^/?]+)", path)
        if method == "GET" and match:
            if match[1] in self.buckets:
                return 200, {"kind": "storage#bucket", "name": match[1]}
            return 404, {"error": {"code": 404, "message": "The specified bucket does not exist."}}
        self.created.append(body.get("name"))
        return 200, {"kind": "storage#bucket", "name": body.get("name")}


class KubeflowService:
    """The API of Kubeflow Pipelines 2.

    Attributes:
      requests: (method, path, body) in the order of arrival.
      plans: answers to looks at a run, one a look, the last one for ever.
      experiments: those that there are.
      refusal: status and body that creating a run is answered with.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.plans: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.refusal: Answer | None = None

    def answer(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        plain = path.split("?")[0]
        self.requests.append((method, path, body))
        if self.refusal and plain.endswith("/runs"):
            return self.refusal
        if plain == "/apis/v2beta1/healthz":
            return 200, {"multi_user": False}
        if plain == "/apis/v2beta1/experiments":
            made = {"experiment_id": "experiment-1", "display_name": body.get("display_name", "")}
            return (200, made) if method == "POST" else (200, {"experiments": self.experiments})
        if plain == "/apis/v2beta1/runs" and method == "POST":
            return 200, {**body, "run_id": "run-1", "state": "PENDING"}
        if plain == "/apis/v2beta1/recurringruns" and method == "POST":
            return 200, {**body, "recurring_run_id": "recurring-1"}
        if plain == "/apis/v2beta1/runs/run-1:terminate":
            return 200, {}
        if plain == "/apis/v2beta1/runs/run-1":
            return 200, {"run_id": "run-1", **(self.plans.pop(0) if len(self.plans) > 1 else self.plans[0])}
        return 404, {"error": "not found", "message": f"{plain} is not there"}
