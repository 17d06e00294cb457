"""Tensors of the gRPC interface, as protocol buffers and as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from pipeline.serving.errors import invalid
from pipeline.serving.json_values import check_text
from pipeline.serving.limits import Limits
from pipeline.serving.signatures import Signature

# Where a tensor keeps its values, unless as bytes.
_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.uint8: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}
_MOST_DIMENSIONS = 254


def inputs(
    tensors: Mapping[str, tensor_pb2.TensorProto], signature: Signature, limits: Limits
) -> dict[str, np.ndarray]:
    """The tensors of a request.

    Args:
      tensors: by name, as whoever asks made them.
      signature: that is asked for.
      limits: on the number of values.

    Raises:
      RequestError: they are not of the names, types and shapes that the signature takes, or there are too many values.
    """
    left = limits.values
    arrays = {}
    for name, tensor in tensors.items():
        if name not in signature.inputs:
            arrays[name] = np.empty(0)
            continue
        wanted = signature.inputs[name].dtype
        if tensor.dtype != wanted.as_datatype_enum:
            raise invalid(f'expected input "{name}" of type {wanted.name}; got {_type_name(tensor.dtype)}')
        left -= _size(tensor, name, left, limits.values)
        arrays[name] = _array(tensor, name, wanted)
    signature.check_inputs(arrays)
    return arrays


def _size(tensor: tensor_pb2.TensorProto, name: str, left: int, most: int) -> int:
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or len(sizes) > _MOST_DIMENSIONS or any(size < 0 for size in sizes):
        raise invalid(f'expected a tensor of known shape in input "{name}"; got {sizes}')
    size = math.prod(sizes)
    if size > left:
        raise invalid(f"expected up to {most:,} values in a request; got more; ask in several requests")
    return size


def _array(tensor: tensor_pb2.TensorProto, name: str, dtype: tf.DType) -> np.ndarray:
    """The values, of which the last one stands for all that lack, as in TensorFlow."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    size = math.prod(shape)
    if dtype not in _FIELDS:
        raise invalid(f'expected no input of type {dtype.name}, as "{name}" is')
    values = getattr(tensor, _FIELDS[dtype])
    if tensor.tensor_content:
        if dtype == tf.string or len(tensor.tensor_content) != size * dtype.size:
            raise invalid(f'expected {size} values of type {dtype.name} in input "{name}"; got other bytes')
        array = np.frombuffer(tensor.tensor_content, dtype.as_numpy_dtype)
    else:
        if len(values) > size or (size and not values):
            raise invalid(f'expected {size} values in input "{name}", by its shape; got {len(values)}')
        array = np.empty(size, object if dtype == tf.string else dtype.as_numpy_dtype)
        if size:
            if dtype.is_integer and not all(dtype.min <= value <= dtype.max for value in values):
                raise invalid(f'expected values of type {dtype.name} in input "{name}"; got others')
            array[: len(values)] = list(values)
            array[len(values) :] = values[-1]
    if dtype.is_floating and not np.isfinite(array).all():
        raise invalid(f'expected finite numbers in input "{name}"; got NaN or an infinity')
    if dtype == tf.string:
        for value in values:
            check_text(value, name)
    return array.reshape(shape)


def _type_name(number: int) -> str:
    try:
        return tf.as_dtype(number).name
    except TypeError:
        return f"type {number}"


def proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """A tensor whose values are in the field of their type, as TensorFlow Serving sends them."""
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    tensor = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, _FIELDS[dtype]).extend(array.ravel().tolist())
    return tensor


def request(name: str, signature: Signature, inputs: Mapping[str, np.ndarray]) -> predict_pb2.PredictRequest:
    """A request to `Predict`.

    Args:
      name: of the model.
      signature: that is asked for.
      inputs: all of them, by name.
    """
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = name, signature.name
    for each, array in inputs.items():
        message.inputs[each].CopyFrom(proto(array))
    return message


def response(
    name: str, version: int, signature: Signature, outputs: Mapping[str, np.ndarray]
) -> predict_pb2.PredictResponse:
    """An answer of `Predict`.

    Args:
      name: of the model.
      version: that answered.
      signature: that answered.
      outputs: those that were asked for, by name.
    """
    message = predict_pb2.PredictResponse()
    message.model_spec.name, message.model_spec.signature_name = name, signature.name
    message.model_spec.version.value = version
    for each, array in outputs.items():
        message.outputs[each].CopyFrom(proto(array))
    return message
