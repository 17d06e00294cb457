"""What the signatures of a SavedModel take and give."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from pipeline.serving.errors import Code, RequestError, VersionError, invalid

DEFAULT = "serving_default"
# Strings of this input are serialized tf.Examples; those of all others are text.
EXAMPLES = "examples"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What a signature says of one tensor.

    Attributes:
      name: of the input or output.
      dtype: of its values.
      shape: its sizes, None where any will do; None for a tensor of any rank.
    """

    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, name: str, info: meta_graph_pb2.TensorInfo) -> TensorSpec:
        """Reads what a SavedModel says."""
        dims = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        shape = None if dims is None else tuple(None if size < 0 else size for size in dims)
        return cls(name=name, dtype=tf.as_dtype(info.dtype), shape=shape)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses a tensor of another shape.

        Raises:
          RequestError: it is none that the signature takes.
        """
        if self.shape is None:
            return
        if len(shape) != len(self.shape) or any(
            size not in (None, given) for size, given in zip(self.shape, shape, strict=True)
        ):
            wanted = ", ".join("any" if size is None else str(size) for size in self.shape)
            raise invalid(f'expected input "{self.name}" of shape [{wanted}]; got {list(shape)}')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """A signature.

    Attributes:
      name: of the signature.
      method: the name of the method that it serves, such as "tensorflow/serving/predict".
      inputs: by name.
      outputs: by name.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @classmethod
    def of(cls, name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
        """Reads what a SavedModel says."""
        inputs, outputs = (
            {each: TensorSpec.of(each, info) for each, info in tensors.items()}
            for tensors in (definition.inputs, definition.outputs)
        )
        return cls(name=name, method=definition.method_name, inputs=inputs, outputs=outputs)

    def check_inputs(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Refuses inputs that are not those of the signature, by name and shape.

        Raises:
          RequestError: there are others, in words of TensorFlow Serving where it has some.
        """
        if inputs.keys() != self.inputs.keys():
            given, wanted = (",".join(sorted(names)) for names in (inputs, self.inputs))
            extra, missing = (
                ",".join(sorted(names))
                for names in (inputs.keys() - self.inputs.keys(), self.inputs.keys() - inputs.keys())
            )
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(self.inputs)} len({{{given}}}) != "
                f"len({{{wanted}}}). Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
            )
        for name, value in inputs.items():
            self.inputs[name].check(value.shape)

    def check_outputs(self, names: list[str]) -> None:
        """Refuses a choice of outputs that the signature has not, or the same twice.

        Raises:
          RequestError: it is such a choice.
        """
        seen: set[str] = set()
        for name in names:
            if name not in self.outputs:
                there = ",".join(sorted(self.outputs))
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{there}}}."
                )
            if name in seen:
                raise invalid(f"duplicate output tensor alias: {name}")
            seen.add(name)


def definitions(folder: str) -> dict[str, meta_graph_pb2.SignatureDef]:
    """All that a SavedModel says of its signatures, by name.

    Raises:
      tensorflow.errors.OpError: there is no such file.
      VersionError: it is none that TensorFlow writes.
    """
    with tf.io.gfile.GFile(os.path.join(folder, "saved_model.pb"), "rb") as file:
        content = file.read()
    try:
        model = saved_model_pb2.SavedModel.FromString(content)
    except message.DecodeError as error:
        raise VersionError(
            Code.INTERNAL, f"expected a model that can be loaded; got: saved_model.pb is damaged: {error}"
        ) from error
    return {name: each for graph in model.meta_graphs for name, each in graph.signature_def.items()}


def find(signatures: Mapping[str, Signature], name: str, code: Code) -> Signature:
    """The signature of a name; without any, the default one.

    Args:
      signatures: by name.
      name: as it was asked for.
      code: with which another name is refused: TensorFlow Serving's REST and gRPC differ.

    Raises:
      RequestError: there is none of that name.
    """
    name = name or DEFAULT
    if name not in signatures:
        raise RequestError(code, f'Serving signature name: "{name}" not found in signature def')
    return signatures[name]


def not_of_method(signatures: Mapping[str, Signature], name: str, method: str) -> RequestError:
    """Why a signature does not answer to `classify` or `regress`, for which a recommender has none.

    Args:
      signatures: by name.
      name: as it was asked for.
      method: "classify" or "regress".
    """
    name = name or DEFAULT
    if name not in signatures:
        return invalid(f"No signature was found with the name: {name}")
    kind = {"classify": "classification", "regress": "regression"}[method]
    return invalid(
        f"Expected {kind} signature method_name to be tensorflow/serving/{method}. Was: {signatures[name].method}"
    )
