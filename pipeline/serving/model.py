"""A version that can be asked, wherever it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from pipeline.serving.signatures import Signature


class Model(Protocol):
    """A version; it may be asked from several threads at once.

    Attributes:
      number: of the version.
      digest: of its files, SHA-256.
      folder: of the version.
      signatures: those that can be asked for, by name.
      definitions: of all signatures, as the SavedModel has them.
    """

    number: int
    digest: str
    folder: str
    signatures: dict[str, Signature]
    definitions: dict[str, meta_graph_pb2.SignatureDef]

    def run(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers a request.

        Args:
          signature: one of `signatures`.
          inputs: all of them, by name, of the types and shapes that it takes; strings are bytes in arrays of objects.

        Returns:
          all outputs by name.

        Raises:
          RequestError: the model refuses the values, or has come to an end.
        """

    def variable(self, name: str) -> np.ndarray | None:
        """The values of a variable that the model shows beside its signatures; None where it has none of that name.

        Raises:
          RequestError: the model has come to an end.
        """
