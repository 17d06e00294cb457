"""The server as a process: started by its command, without TFX, over TLS, and ended by SIGTERM."""

from __future__ import annotations

import http.client
import json
import pathlib
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow_serving.apis import prediction_log_pb2, prediction_service_pb2_grpc

from pipeline.commands.serve import serve
from pipeline.exit_codes import ExitCode
from tests.conftest import ROOT
from tests.pipeline.serving import servers
from tests.pipeline.serving.conftest import KNOWN

PAIR = {"signature_name": "predict", "inputs": {"user_id": ["u1"], "movie_title": [KNOWN]}}
# What the image of the server has not.
ABSENT = (
    "apache_beam",
    "kfp",
    "ml_metadata",
    "optuna",
    "pandas",
    "pooch",
    "pyarrow",
    "rich",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_model_analysis",
    "tensorflow_recommenders",
    "tensorflow_transform",
    "tf_keras",
    "tfx",
    "tfx_bsl",
    "yaml",
)
SCRIPT = f"""
import sys
from importlib.machinery import PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if each is PathFinder else each for each in sys.meta_path]
from movie_ranking_main import main
main()
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", SCRIPT, "serve", "--rest-port", "0", "--grpc-port", "0", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def event(self, name: str) -> dict[str, Any]:
        """The first event of a name, once it is there."""
        pause = threading.Event()
        for _ in range(3000):
            for line in list(self.lines):
                if line.startswith("{") and (event := json.loads(line))["event"] == name:
                    return event
            assert self.process.poll() is None, self.lines
            pause.wait(0.1)
        raise AssertionError(self.lines)

    def ask(self, path: str, body: Any, context: ssl.SSLContext | None = None) -> tuple[int, Any]:
        request = urllib.request.Request(f"{self.event('listening')['rest']}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=servers.TIMEOUT_S, context=context) as response:
            return response.status, json.load(response)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(servers.TIMEOUT_S)
        self._reader.join()
        return code


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.process.kill()
        process.process.wait()


@pytest.mark.slow
def test_it_serves_without_tfx_and_ends_after_what_is_under_way(
    output: pathlib.Path, tmp_path: pathlib.Path, started: list[Process]
) -> None:
    log, kept = tmp_path / "access.jsonl", tmp_path / "kept"
    options = ("--access-log", str(log), "--log-requests", str(kept), "--log-share", "1", "--log-seconds", "3600")
    started.append(server := Process("--output", str(output), *options))
    assert server.event("ready")
    status, answer = server.ask("/v1/models/movie_ranking:predict", PAIR)
    assert (status, len(answer["outputs"])) == (200, 1)
    # Many at once when it is told to stop: those that it took are answered.
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(server.ask("/v1/models/movie_ranking:predict", PAIR)[0])
        except OSError as error:
            answers.append(error)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert server.end() == 0
    for thread in threads:
        thread.join()
    refused = [each for each in answers if each != 200]
    assert all("Connection refused" in str(each) or "reset" in str(each) for each in refused), refused
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line["status"] == 200 for line in lines) == 21 - len(refused)
    (file,) = kept.glob("*.tfrecord")
    records = [prediction_log_pb2.PredictionLog.FromString(each.numpy()) for each in tf.data.TFRecordDataset(str(file))]
    assert {each.log_metadata.request_origin for each in records} == {line["request_id"] for line in lines}
    assert records[0].predict_log.request.inputs["movie_title"].string_val == [KNOWN.encode()]
    assert records[0].predict_log.response.outputs["predicted_rating"].float_val
    events = [json.loads(line)["event"] for line in server.lines if line.startswith("{")]
    assert events == ["listening", "loaded", "in service", "ready", "stopping", "stopped"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return paths


@pytest.mark.slow
def test_both_ports_speak_tls(output: pathlib.Path, certificate: tuple[str, str]) -> None:
    with servers.running(output, ready=False, certificate=certificate[0], key=certificate[1]) as served:
        context = ssl.create_default_context(cafile=certificate[0])
        served.wait_for(lambda: any(each["event"] == "ready" for each in served.events))
        url = f"https://127.0.0.1:{served.rest}/v1/models/movie_ranking:predict"
        with urllib.request.urlopen(url, json.dumps(PAIR).encode(), timeout=60, context=context) as response:
            assert json.load(response)["outputs"]
        root = pathlib.Path(certificate[0]).read_bytes()
        with grpc.secure_channel(f"localhost:{served.grpc}", grpc.ssl_channel_credentials(root)) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert stub.Predict(servers.predict_request("predict", PAIR["inputs"]), timeout=60).outputs
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            served.predict(PAIR)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "{folder}/none"], "expected the output folder of a run in --output; got {folder}/none"),
        (["--certificate", "{folder}/key"], "expected --certificate and --key together"),
        (["--certificate", "{folder}/key", "--key", "{folder}/key"], "expected a certificate in {folder}/key"),
        (["--api-key-file", "{folder}/key"], "expected a key of 16 characters or more in {folder}/key; got 5"),
        (["--access-log", "{folder}/no/file"], "expected a file in --access-log that can be written"),
        (["--max-seconds", "0"], "0.0 is not in the range x>0"),
        (["--model-name", "a/b"], "expected a name of letters, digits"),
        (["--rest-port", "65536"], "65536 is not in the range"),
        (["--host", "192.0.2.1"], "expected an address that is free; got 192.0.2.1:0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_served(
    output: pathlib.Path, tmp_path: pathlib.Path, options: list[str], said: str
) -> None:
    (tmp_path / "key").write_text("short")
    given = [each.format(folder=tmp_path) for each in options]
    ports = [] if "--rest-port" in given else ["--rest-port", "0"]
    done = CliRunner().invoke(serve, ["--output", str(output), "--grpc-port", "0", *ports, *given])
    assert done.exit_code == ExitCode.BAD_INPUT, (done.output, done.exception)
    assert said.format(folder=tmp_path) in " ".join(done.output.split())


def test_a_port_that_is_taken_is_named(served: servers.Running, output: pathlib.Path) -> None:
    for option, port in (("--rest-port", served.rest), ("--grpc-port", served.grpc)):
        other = "--grpc-port" if option == "--rest-port" else "--rest-port"
        done = CliRunner().invoke(serve, ["--output", str(output), option, str(port), other, "0"])
        assert done.exit_code == ExitCode.BAD_INPUT, (done.output, done.exception)
        assert f"got 127.0.0.1:{port}:" in done.output
        assert option in done.output
