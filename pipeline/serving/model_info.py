"""Status and metadata of the model, in the forms of TensorFlow Serving."""

from __future__ import annotations

from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from pipeline.serving.answering import Answering
from pipeline.serving.errors import Code, RequestError, invalid
from pipeline.serving.model import Model
from pipeline.serving.versions import Status

SIGNATURE_DEF = "signature_def"


def statuses(answering: Answering, name: str, number: int | None, label: str | None) -> list[Status]:
    """Where the versions stand that are asked about, all of them without a number or a label.

    Raises:
      RequestError: there is no such model, label or version.
    """
    if name != answering.name:
        raise RequestError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
    if label is not None:
        if label not in answering.versions.labels.labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        number = answering.versions.labels.labels[label]
    found = [status for status in answering.versions.statuses() if number in (None, status.number)]
    if not found and number is not None:
        raise RequestError(Code.NOT_FOUND, f"Could not find version {number} of model {name}")
    if not found:
        raise RequestError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
    return found


def status_json(answering: Answering, name: str, number: int | None, label: str | None) -> dict[str, Any]:
    """The answer to `GET /v1/models/NAME`; see `statuses`."""
    return {
        "model_version_status": [
            {
                "version": str(status.number),
                "state": status.state.name,
                "status": {
                    "error_code": status.code.name if status.code else "OK",
                    "error_message": status.message,
                },
            }
            for status in statuses(answering, name, number, label)
        ]
    }


def status_proto(
    answering: Answering, name: str, number: int | None, label: str | None
) -> get_model_status_pb2.GetModelStatusResponse:
    """The answer to `GetModelStatus`; see `statuses`."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses(answering, name, number, label):
        added = response.model_version_status.add(version=status.number, state=int(status.state))
        # Present, although empty, where nothing went wrong, as TensorFlow Serving has it.
        added.status.SetInParent()
        if status.code:
            added.status.error_code = status.code.number
            added.status.error_message = status.message
    return response


def metadata_proto(name: str, model: Model) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The answer to `GetModelMetadata`."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = model.number
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    for each, definition in model.definitions.items():
        signature_map.signature_def[each].CopyFrom(definition)
    response.metadata[SIGNATURE_DEF].Pack(signature_map)
    return response


def metadata_json(name: str, model: Model) -> dict[str, Any]:
    """The answer to `GET /v1/models/NAME/metadata`."""
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.number)},
        "metadata": {
            SIGNATURE_DEF: {SIGNATURE_DEF: {each: _signature(found) for each, found in model.definitions.items()}}
        },
    }


def _signature(definition: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    return {
        "inputs": {name: _tensor(info) for name, info in definition.inputs.items()},
        "outputs": {name: _tensor(info) for name, info in definition.outputs.items()},
        "method_name": definition.method_name,
    }


def _tensor(info: meta_graph_pb2.TensorInfo) -> dict[str, Any]:
    shape = info.tensor_shape
    return {
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
        "name": info.name,
    }
