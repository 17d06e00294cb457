"""One pushed version, loaded by plain TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from modules import paths
from pipeline.serving import signatures
from pipeline.serving.errors import Code, RequestError, VersionError
from pipeline.serving.signatures import Signature

WARM_UP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
# What TensorFlow makes of a SavedModel of which a file is lost, cut or overwritten.
_DAMAGED = (OSError, ValueError, RuntimeError, LookupError, AttributeError, TypeError, tf.errors.OpError)
# Faults that lie in what was asked, by the codes of TensorFlow.
_OF_THE_REQUEST = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, tf.errors.FailedPreconditionError)
_FAULT_CHARACTERS = 500
# What TensorFlow says first where its message is not taken apart.
_PLACE = re.compile(r"^\{\{function_node [^}]*\}\}\s*")


class LoadedModel:
    """A loaded SavedModel; it may be asked from several threads at once.

    Attributes:
      number: of the version.
      digest: of its files, SHA-256.
      folder: of the version.
      signatures: those that can be asked for, by name.
      definitions: of all signatures, as the SavedModel has them.
    """

    def __init__(self, folder: str, number: int, digest: str) -> None:
        """Loads a version.

        Args:
          folder: of the version, such as one below a model's base path or what Trainer exported; gs:// too.
          number: of the version.
          digest: of its files.

        Raises:
          VersionError: it is damaged.
        """
        self.number, self.digest, self.folder = number, digest, folder
        try:
            # Held, since the functions below do not hold the variables.
            self._model = tf.saved_model.load(paths.plain(folder))
            self.definitions = signatures.definitions(folder)
            self._functions = {name: self._model.signatures[name] for name in self._model.signatures}
        except _DAMAGED as error:
            raise VersionError(
                Code.INTERNAL, f"expected a model that can be loaded; got: {_in_a_line(error)}"
            ) from error
        self.signatures = {name: Signature.of(name, self.definitions[name]) for name in self._functions}

    def warm_up(self, threads: int = 1) -> int:
        """Asks what was pushed along for that, so that the first requests do not wait for TensorFlow; counts it.

        Args:
          threads: how many requests are asked at once.

        Raises:
          VersionError: there is something that the model does not answer.
        """
        path = os.path.join(self.folder, WARM_UP_FILE)
        if not tf.io.gfile.exists(path):
            return 0
        try:
            records = list(tf.data.TFRecordDataset(paths.plain(path)).as_numpy_iterator())
            if not records:
                # TensorFlow takes a file that is shorter than the head of a record for one without records.
                raise VersionError(Code.INTERNAL, f"expected requests in {WARM_UP_FILE}; got none")
            with ThreadPoolExecutor(threads, thread_name_prefix="warm-up") as pool:
                return len(list(pool.map(self._warm_up, records)))
        except (*_DAMAGED, message.DecodeError, RequestError) as error:
            raise VersionError(
                Code.INTERNAL, f"expected answers to the requests of {WARM_UP_FILE}; got: {_in_a_line(error)}"
            ) from error

    def _warm_up(self, record: bytes) -> None:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        asked = signatures.find(self.signatures, request.model_spec.signature_name, Code.INVALID_ARGUMENT)
        self.run(asked, {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()})

    def call(self, pairs: Mapping[str, np.ndarray]) -> np.ndarray:
        """What the loaded object itself answers, without a signature.

        Args:
          pairs: user ids and titles by the names of their columns, strings of shape [pairs].

        Returns:
          ratings, float32 of shape [pairs, 1].

        Raises:
          tensorflow.errors.OpError: the model refuses the values.
        """
        return self._model({name: tf.constant(value) for name, value in pairs.items()}).numpy()

    def variable(self, name: str) -> np.ndarray | None:
        """The values of a variable that the model shows beside its signatures; None where it has none of that name."""
        found = getattr(self._model, name, None)
        return None if found is None else found.numpy()

    def run(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers a request.

        Args:
          signature: one of `signatures`.
          inputs: all of them, by name, of the types and shapes that it takes; strings are bytes in arrays of objects.

        Returns:
          all outputs by name.

        Raises:
          RequestError: the model refuses the values.
        """
        try:
            tensors = {
                name: tf.constant(value, signature.inputs[name].dtype, value.shape) for name, value in inputs.items()
            }
            return {name: value.numpy() for name, value in self._functions[signature.name](**tensors).items()}
        except _OF_THE_REQUEST as error:
            raise RequestError(Code.INVALID_ARGUMENT, _in_a_line(error)) from error
        except UnicodeDecodeError as error:
            # What TensorFlow says quotes bytes of the request, which need not be text.
            said = _cut(_without_places(error.object.decode(errors="backslashreplace")))
            raise RequestError(Code.INVALID_ARGUMENT, said) from error


def _in_a_line(error: Exception) -> str:
    """What went wrong; of TensorFlow's errors the line that says it."""
    said = _without_places(error.message) if isinstance(error, tf.errors.OpError) else str(error)
    return _cut(said) or type(error).__name__


def _without_places(message: str) -> str:
    """The line of TensorFlow's message that says it, without the places in the graph around it."""
    lines = [line for line in message.partition("[[{{")[0].splitlines() if line.strip()]
    return _PLACE.sub("", lines[-1]) if lines else ""


def _cut(text: str) -> str:
    """In one line, of not too many characters."""
    text = " ".join(text.split())
    return text if len(text) <= _FAULT_CHARACTERS else text[:_FAULT_CHARACTERS] + "…"
