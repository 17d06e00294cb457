"""The gRPC interface, as TensorFlow Serving has it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import numpy as np
from google.protobuf import message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from modules import features
from pipeline.serving import example_users, model_info, signatures, tensor_protos
from pipeline.serving.answering import Answering, Call, Question, request_id
from pipeline.serving.errors import Code, RequestError, invalid
from pipeline.serving.keys import ApiKey
from pipeline.serving.limits import Limits
from pipeline.serving.model import Model
from pipeline.serving.signatures import Signature

REQUEST_ID, MODEL_VERSION, MODEL_DIGEST = "x-request-id", "x-model-version", "x-model-digest"
_logger = logging.getLogger(__name__)


class _PredictQuestion(Question[predict_pb2.PredictResponse]):
    """A request to `Predict`."""

    def __init__(self, request: predict_pb2.PredictRequest, name: str, limits: Limits) -> None:
        self._request, self._name, self._limits = request, name, limits
        self.number, self.label = _version(request.model_spec)

    def user(self) -> str | None:
        for name in (features.USER_ID.name, signatures.EXAMPLES):
            if name in self._request.inputs and (values := self._request.inputs[name].string_val):
                if name == signatures.EXAMPLES:
                    return example_users.user_of_example(values[0])
                return values[0].decode(errors="replace")
        return None

    def read(self, model: Model) -> tuple[Signature, Mapping[str, np.ndarray]]:
        signature = signatures.find(model.signatures, self._request.model_spec.signature_name, Code.FAILED_PRECONDITION)
        signature.check_outputs(list(self._request.output_filter))
        return signature, tensor_protos.inputs(self._request.inputs, signature, self._limits)

    def write(
        self, model: Model, signature: Signature, outputs: Mapping[str, np.ndarray]
    ) -> predict_pb2.PredictResponse:
        wanted = self._request.output_filter or outputs
        return tensor_protos.response(self._name, model.number, signature, {name: outputs[name] for name in wanted})


def _version(spec: model_pb2.ModelSpec) -> tuple[int | None, str | None]:
    """The version or the label that is asked for."""
    choice = spec.WhichOneof("version_choice")
    return (
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _answered(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Makes a method of a service tell who asked, refuse who may not, and say what went wrong."""

    @functools.wraps(method)
    async def answer(self: _Service, request: Any, context: grpc.aio.ServicerContext) -> Any:
        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        call = Call(
            protocol="grpc",
            what=method.__name__,
            request_id=request_id(metadata.get(REQUEST_ID)),
            client=context.peer() or "",
        )
        code, said, response = Code.INTERNAL, "", None
        try:
            if self.key is not None:
                self.key.check(metadata.get("x-api-key"), metadata.get("authorization"))
            response = await method(self, request, context, call)
        except RequestError as error:
            code, said = error.code, str(error)
        except asyncio.CancelledError:
            self.answering.told(call, "CANCELLED")
            raise
        except Exception:
            _logger.exception("request %s failed", call.request_id)
            said = "internal error; the log of the server tells more"
        trailing = [(REQUEST_ID, call.request_id)]
        number, digest = self.answering.version_of(call)
        if number:
            trailing += [(MODEL_VERSION, number), (MODEL_DIGEST, digest)]
        self.answering.told(call, code.name if response is None else "OK")
        if response is None:
            await context.abort(getattr(grpc.StatusCode, code.name), said, tuple(trailing))
        context.set_trailing_metadata(tuple(trailing))
        return response

    return answer


class _Parsing(grpc.aio.ServerInterceptor):
    """Refuses bytes that are no message of the procedure, for which gRPC itself has a trace alone."""

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """Has a procedure's own messages parsed here."""
        handler = await continuation(details)
        if handler is None:
            return None

        async def answer(content: bytes, context: grpc.aio.ServicerContext) -> Any:
            try:
                request = handler.request_deserializer(content)
            except message.DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"expected a message of {details.method}")
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, response_serializer=handler.response_serializer)


class _Service:
    """What both services share.

    Attributes:
      answering: answers.
      key: that requests must bring; None for none.
    """

    def __init__(self, answering: Answering, key: ApiKey | None) -> None:
        self.answering, self.key = answering, key


class PredictionService(_Service, prediction_service_pb2_grpc.PredictionServiceServicer):
    """`tensorflow.serving.PredictionService`."""

    @_answered
    async def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext, call: Call
    ) -> predict_pb2.PredictResponse:
        """Answers any signature."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        self.answering.check_name(request.model_spec.name)
        question = _PredictQuestion(request, self.answering.name, self.answering.limits)
        return await self.answering.answer(question, call, context.time_remaining())

    @_answered
    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.aio.ServicerContext, call: Call
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells what the signatures take and give."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != model_info.SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        model = self.answering.holds(request.model_spec.name, *_version(request.model_spec))
        call.take(model)
        return model_info.metadata_proto(self.answering.name, model)

    @_answered
    async def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.aio.ServicerContext, call: Call
    ) -> None:
        """Refuses: a recommender has no signature that classifies."""
        self._refuse(request, call, "classify")

    @_answered
    async def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.aio.ServicerContext, call: Call
    ) -> None:
        """Refuses: a recommender has no signature that regresses."""
        self._refuse(request, call, "regress")

    @_answered
    async def MultiInference(self, request: Any, context: grpc.aio.ServicerContext, call: Call) -> None:
        """Refuses: it is made of what classifies and regresses."""
        raise RequestError(Code.UNIMPLEMENTED, "expected Predict; MultiInference is not served")

    def _refuse(self, request: Any, call: Call, method: str) -> None:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        model = self.answering.holds(request.model_spec.name, *_version(request.model_spec))
        call.take(model)
        raise signatures.not_of_method(model.signatures, request.model_spec.signature_name, method)


class ModelService(_Service, model_service_pb2_grpc.ModelServiceServicer):
    """`tensorflow.serving.ModelService`."""

    @_answered
    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext, call: Call
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells where the versions stand."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return model_info.status_proto(self.answering, request.model_spec.name, *_version(request.model_spec))

    @_answered
    async def HandleReloadConfigRequest(self, request: Any, context: grpc.aio.ServicerContext, call: Call) -> None:
        """Refuses: which versions are served follows from what is pushed, and from labels."""
        raise RequestError(
            Code.UNIMPLEMENTED,
            "expected no change of the configuration; versions are labelled by `movie-ranking versions`",
        )


def server(answering: Answering, key: ApiKey | None) -> grpc.aio.Server:
    """A server with both services, and no port yet."""
    limits = answering.limits
    made = grpc.aio.server(
        interceptors=[_Parsing()],
        maximum_concurrent_rpcs=4 * limits.under_way,
        options=[
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.server_handshake_timeout_ms", int(limits.head_seconds * 1e3)),
            # Half-open connections are noticed by what they do not answer.
            ("grpc.keepalive_time_ms", int(limits.idle_seconds * 1e3)),
            ("grpc.keepalive_timeout_ms", int(limits.head_seconds * 1e3)),
            # Two servers on one port would answer by turns.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(answering, key), made)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(answering, key), made)
    return made
