"""The gRPC interface beside its answers: status, metadata, and what is refused and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.pipeline.serving.conftest import KNOWN
from tests.pipeline.serving.servers import TIMEOUT_S, Running, predict_request

PAIR = {"user_id": ["u1"], "movie_title": [KNOWN]}
Code = grpc.StatusCode


def refusal(call: Callable[..., Any], request: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call(request, timeout=TIMEOUT_S, **options)
    return refused.value.code(), refused.value.details()


def version_of(served: Running) -> int:
    return next(iter(served.states()))


def test_status(served: Running) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    with served.models() as stub:
        assert refusal(stub.GetModelStatus, request) == (Code.INVALID_ARGUMENT, "Missing ModelSpec")
        request.model_spec.name = "movie_ranking"
        for version in (None, version_of(served)):
            if version:
                request.model_spec.version.value = version
            (status,) = stub.GetModelStatus(request, timeout=TIMEOUT_S).model_version_status
            assert status.version == version_of(served)
            assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
            assert (status.status.error_code, status.status.error_message) == (0, "")
        request.model_spec.version.value = 1
        said = "Could not find version 1 of model movie_ranking"
        assert refusal(stub.GetModelStatus, request) == (Code.NOT_FOUND, said)
        request.model_spec.name = "other"
        assert refusal(stub.GetModelStatus, request)[0] == Code.NOT_FOUND


def test_metadata(served: Running) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "movie_ranking"
    with served.prediction() as stub:
        assert refusal(stub.GetModelMetadata, request)[0] == Code.INVALID_ARGUMENT
        request.metadata_field.append("signature_def")
        response = stub.GetModelMetadata(request, timeout=TIMEOUT_S)
        assert response.model_spec.version.value == version_of(served)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        rank = signatures.signature_def["rank"]
        assert rank.method_name == "tensorflow/serving/predict"
        assert rank.inputs["user_id"].dtype == tf.string.as_datatype_enum
        request.metadata_field[0] = "weights"
        assert refusal(stub.GetModelMetadata, request) == (
            Code.INVALID_ARGUMENT,
            "Metadata field weights is not supported",
        )


def test_each_answer_says_which_version_and_request_it_was(served: Running) -> None:
    with served.prediction() as stub:
        metadata = (("x-request-id", "abc-123"),)
        _, call = stub.Predict.with_call(predict_request("predict", PAIR), timeout=TIMEOUT_S, metadata=metadata)
        told = dict(call.trailing_metadata())
        assert (told["x-request-id"], told["x-model-version"]) == ("abc-123", str(version_of(served)))
        assert len(told["x-model-digest"]) == 64
        with pytest.raises(grpc.RpcError) as refused:
            stub.Predict(predict_request("none", PAIR), timeout=TIMEOUT_S, metadata=metadata)
        assert dict(refused.value.trailing_metadata())["x-request-id"] == "abc-123"


def test_what_a_recommender_has_no_signature_for(served: Running) -> None:
    with served.prediction() as stub:
        for method, request in (
            ("Classify", classification_pb2.ClassificationRequest()),
            ("Regress", regression_pb2.RegressionRequest()),
        ):
            assert refusal(getattr(stub, method), request) == (Code.INVALID_ARGUMENT, "Missing ModelSpec")
            request.model_spec.name = "movie_ranking"
            code, said = refusal(getattr(stub, method), request)
            assert (code, said.split(". ")[-1]) == (Code.INVALID_ARGUMENT, "Was: tensorflow/serving/predict")
        assert refusal(stub.MultiInference, inference_pb2.MultiInferenceRequest())[0] == Code.UNIMPLEMENTED
    with served.models() as stub:
        assert refusal(stub.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())[0] == (
            Code.UNIMPLEMENTED
        )


def tensor(dtype: int = tf.string.as_datatype_enum, shape: tuple[int, ...] = (1,), **values: Any) -> Any:
    made = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


def asked(signature: str = "predict", **tensors: tensor_pb2.TensorProto) -> predict_pb2.PredictRequest:
    request = predict_request(signature, {})
    for name, value in tensors.items():
        request.inputs[name].CopyFrom(value)
    return request


ONE = tensor(string_val=[b"a"])
FLOAT, INT = tf.float32.as_datatype_enum, tf.int32.as_datatype_enum
NO_TEXTS = {"exclude": tensor(shape=(0,)), "only": tensor(shape=(0,))}
REFUSED = {
    "no model": (predict_pb2.PredictRequest(), Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    "another model": (predict_request("", PAIR, name="other"), Code.NOT_FOUND, "Latest(other)"),
    "another version": (predict_request("predict", PAIR, version=3), Code.NOT_FOUND, "Specific(movie_ranking, 3)"),
    "another label": (
        predict_request("predict", PAIR, label="x"),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version",
    ),
    "another signature": (predict_request("none", PAIR), Code.FAILED_PRECONDITION, "not found"),
    "a missing input": (asked(user_id=ONE), Code.INVALID_ARGUMENT, "Missing but required: {movie_title}"),
    "one more": (asked(user_id=ONE, movie_title=ONE, year=ONE), Code.INVALID_ARGUMENT, "Sent extra: {year}"),
    "another type": (
        asked(user_id=tensor(FLOAT, float_val=[1.0]), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        'expected input "user_id" of type string; got float32',
    ),
    "no type": (asked(user_id=tensor(0), movie_title=ONE), Code.INVALID_ARGUMENT, "of type string; got"),
    "another shape": (
        asked("rank", user_id=tensor(shape=(2,), string_val=[b"a", b"b"]), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        'input "user_id" of shape [1]; got [2]',
    ),
    "an unknown shape": (
        asked(user_id=tensor(shape=(-1,), string_val=[b"a"]), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        "expected a tensor of known shape",
    ),
    "a shape that would take all memory": (
        asked(user_id=tensor(shape=(1 << 40, 1 << 20), string_val=[b"a"]), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        "expected up to 20,000 values in a request",
    ),
    "too few values": (asked(user_id=tensor(), movie_title=ONE), Code.INVALID_ARGUMENT, "expected 1 values"),
    "too many values": (
        asked(user_id=tensor(string_val=[b"a", b"b"]), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        'expected 1 values in input "user_id", by its shape; got 2',
    ),
    "no UTF-8": (
        asked(user_id=tensor(string_val=[b"\xff"]), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        'expected UTF-8 in input "user_id"; got 0xff',
    ),
    "strings as bytes": (
        asked(user_id=tensor(tensor_content=b"\x01a"), movie_title=ONE),
        Code.INVALID_ARGUMENT,
        "got other bytes",
    ),
    "bytes of another length": (
        asked(
            "recommend_for",
            movie_title=ONE,
            user_rating=tensor(FLOAT, tensor_content=b"abc"),
            k=tensor(INT, (), int_val=[1]),
            **NO_TEXTS,
        ),
        Code.INVALID_ARGUMENT,
        "expected 1 values of type float32",
    ),
    "NaN": (
        asked(
            "recommend_for",
            movie_title=ONE,
            user_rating=tensor(FLOAT, float_val=[float("nan")]),
            k=tensor(INT, (), int_val=[1]),
            **NO_TEXTS,
        ),
        Code.INVALID_ARGUMENT,
        "expected finite numbers",
    ),
    "no tf.Example": (
        asked("", examples=tensor(string_val=[b"nonsense"])),
        Code.INVALID_ARGUMENT,
        "Could not parse example input",
    ),
}


@pytest.mark.parametrize("request_name", REFUSED)
def test_what_is_malformed_is_refused_and_the_next_request_answered(served: Running, request_name: str) -> None:
    request, code, said = REFUSED[request_name]
    with served.prediction() as stub:
        found, details = refusal(stub.Predict, request)
        assert (found, said in details) == (code, True), details
        assert stub.Predict(predict_request("predict", PAIR), timeout=TIMEOUT_S).outputs


def test_outputs_are_chosen_by_names_that_there_are(served: Running) -> None:
    for names, said in ((["none"], "output tensor alias not found"), (["predicted_rating"] * 2, "duplicate output")):
        request = predict_request("predict", PAIR)
        request.output_filter.extend(names)
        with served.prediction() as stub:
            assert said in refusal(stub.Predict, request)[1]


def test_bytes_that_are_no_message_are_refused(served: Running) -> None:
    with served.channel() as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        said = "expected a message of /tensorflow.serving.PredictionService/Predict"
        assert refusal(call, b"\xff\xff\xff") == (Code.INVALID_ARGUMENT, said)
        assert refusal(channel.unary_unary("/tensorflow.serving.PredictionService/Explode"), b"")[0] == (
            Code.UNIMPLEMENTED
        )
    with served.prediction() as stub:
        assert stub.Predict(predict_request("predict", PAIR), timeout=TIMEOUT_S).outputs


def test_the_last_value_stands_for_those_that_lack_as_in_tensorflow(served: Running) -> None:
    request = predict_request("predict", {"movie_title": [KNOWN, KNOWN]})
    request.inputs["user_id"].CopyFrom(tensor(shape=(2,), string_val=[b"u1"]))
    with served.prediction() as stub:
        ratings = tf.make_ndarray(stub.Predict(request, timeout=TIMEOUT_S).outputs["predicted_rating"])
    assert ratings[0, 0] == ratings[1, 0]
