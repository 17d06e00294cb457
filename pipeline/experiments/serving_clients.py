"""What asks a server, from arrays to arrays: over gRPC and over REST, as a program would."""

from __future__ import annotations

import dataclasses
import http.client
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

MODEL_NAME = "movie_ranking"
TIMEOUT_S = 30.0
GRPC, REST = "gRPC", "REST"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A request.

    Attributes:
      signature: that is asked.
      inputs: by name; strings in arrays of objects.
    """

    signature: str
    inputs: Mapping[str, np.ndarray]


class FailedError(Exception):
    """The server did not answer, or refused."""


Ask = Callable[[Question], Mapping[str, Any]]


class GrpcClient:
    """One connection over gRPC."""

    def __init__(self, port: int) -> None:
        """Connects to a port of this machine."""
        # Without it, the clients of a process share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def ask(self, question: Question) -> Mapping[str, Any]:
        """The outputs by name, as arrays.

        Raises:
          FailedError: there are none.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, question.signature
        for name, value in question.inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._stub.Predict(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise FailedError(f"gRPC {error.code().name}: {error.details()}") from error
        return {name: tf.make_ndarray(output) for name, output in response.outputs.items()}

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


class RestClient:
    """One connection over HTTP, which is kept."""

    def __init__(self, port: int) -> None:
        """Connects to a port of this machine with the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def ask(self, question: Question) -> Mapping[str, Any]:
        """The outputs by name, as lists, or the one output.

        Raises:
          FailedError: there are none.
        """
        inputs = {name: value.tolist() for name, value in question.inputs.items()}
        body = json.dumps({"signature_name": question.signature, "inputs": inputs})
        try:
            self._connection.request("POST", f"/v1/models/{MODEL_NAME}:predict", body)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise FailedError(f"REST {type(error).__name__}: {error}") from error
        if response.status != http.HTTPStatus.OK:
            raise FailedError(f"REST {response.status}: {answer[:200].decode(errors='replace')}")
        outputs = json.loads(answer)["outputs"]
        return outputs if isinstance(outputs, dict) else {"": outputs}

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


Client = GrpcClient | RestClient
