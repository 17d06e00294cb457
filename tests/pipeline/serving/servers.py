"""Servers in a thread of the tests' own process, and what asks them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import io
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from pipeline.serving import server
from pipeline.serving.journal import Journal
from pipeline.serving.limits import Limits

# For machines that have much else to do.
TIMEOUT_S = 300
PATIENT = Limits(seconds=60.0, head_seconds=60.0)


@dataclasses.dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}, self.body
        assert self.headers["content-type"].startswith("application/json")
        return self.json["error"]


class Running:
    """A server that runs, and its ports."""

    def __init__(self, ports: server.Listening, log: io.StringIO) -> None:
        self.rest, self.grpc, self._log = ports.rest, ports.grpc, log

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.rest, timeout=TIMEOUT_S)
        try:
            content = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def predict(self, body: Any, path: str = "/v1/models/movie_ranking:predict", **headers: str) -> Answer:
        return self.ask("POST", path, body, headers)

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            yield channel

    @contextlib.contextmanager
    def prediction(self) -> Iterator[prediction_service_pb2_grpc.PredictionServiceStub]:
        with self.channel() as channel:
            yield prediction_service_pb2_grpc.PredictionServiceStub(channel)

    @contextlib.contextmanager
    def models(self) -> Iterator[model_service_pb2_grpc.ModelServiceStub]:
        with self.channel() as channel:
            yield model_service_pb2_grpc.ModelServiceStub(channel)

    def wait_for(self, what: Any, seconds: float = TIMEOUT_S) -> None:
        """Waits until a condition holds."""
        pause = threading.Event()
        for _ in range(int(seconds / 0.05)):
            if what():
                return
            pause.wait(0.05)
        raise AssertionError(f"not within {seconds} s; log: {self._log.getvalue()[-3000:]}")

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.ask("GET", "/readyz").status == 200)

    def states(self) -> dict[int, str]:
        answer = self.ask("GET", "/v1/models/movie_ranking")
        return {int(each["version"]): each["state"] for each in answer.json.get("model_version_status", [])}


@contextlib.contextmanager
def running(output: pathlib.Path, ready: bool = True, **settings: Any) -> Iterator[Running]:
    """A server in a thread, on ports that are free."""
    loop, log = asyncio.new_event_loop(), io.StringIO()
    started, stop, faults, found = threading.Event(), asyncio.Event(), [], []
    made = server.Settings(
        output=str(output), rest_port=0, grpc_port=0, **{"poll_seconds": 0.1, "limits": PATIENT, **settings}
    )

    async def main() -> None:
        try:
            async with server.running(made, Journal(log), Journal(log)) as ports:
                found.append(ports)
                started.set()
                await stop.wait()
        except BaseException as error:
            faults.append(error)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(TIMEOUT_S)
    if faults:
        raise faults[0]
    try:
        running = Running(found[0], log)
        if ready:
            running.wait_until_ready()
        yield running
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        loop.close()


def predict_request(signature: str, inputs: dict[str, Any], **spec: Any) -> predict_pb2.PredictRequest:
    """A request of the model's own types: texts are strings, `k` is int32."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = spec.pop("name", "movie_ranking"), signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor(name, value)))
    return request


def tensor(name: str, value: Any) -> tf.Tensor:
    """An input of a signature, by its name."""
    dtype = {"k": tf.int32, "user_rating": tf.float32}.get(name, tf.string)
    return tf.constant(value, dtype)


def arrays(response: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(each) for name, each in response.outputs.items()}
