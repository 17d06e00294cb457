"""The state of long computations in files, from which they go on after a kill."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Seconds of work that a kill may cost, beside what comes before the first state.
SECONDS = 60.0
# Of the states of all computations of one place.
FOLDER = "checkpoints"
_STATE, _UNFINISHED = "state.npz", "unfinished.npz"


def fingerprint(*parts: np.ndarray | str) -> str:
    """A name for a computation: of its inputs, and of the code and the TensorFlow that carry it out."""
    digest = hashlib.sha256(tf.version.VERSION.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).data)
    return digest.hexdigest()[:32]


class Checkpoint:
    """One computation's last state, which is complete or absent: it gets its name when it has been written.

    A state is written at most once a minute, so that short computations write none.
    """

    def __init__(self, folder: str | None) -> None:
        """Writes nothing yet.

        Args:
          folder: of this computation alone, here or on `gs://`; None keeps no state.
        """
        self._folder = folder
        self._written = time.monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        """The last state; None where there is none."""
        if self._folder is None or not tf.io.gfile.exists(self._path(_STATE)):
            return None
        with tempfile.TemporaryDirectory() as place:
            local = os.path.join(place, _STATE)
            tf.io.gfile.copy(self._path(_STATE), local)
            with np.load(local, allow_pickle=False) as arrays:
                return dict(arrays)

    def is_due(self) -> bool:
        """Whether it is time to write a state."""
        return self._folder is not None and time.monotonic() - self._written >= SECONDS

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Replaces the last state."""
        if self._folder is None:
            raise ValueError("expected a folder for states; got none; ask is_due first")
        tf.io.gfile.makedirs(self._folder)
        with tempfile.TemporaryDirectory() as place:
            local = os.path.join(place, _STATE)
            # NumPy would take an array of the name allow_pickle for a setting.
            arrays: dict[str, Any] = {**state}
            np.savez(local, **arrays)
            tf.io.gfile.copy(local, self._path(_UNFINISHED), overwrite=True)
        tf.io.gfile.rename(self._path(_UNFINISHED), self._path(_STATE), overwrite=True)
        self._written = time.monotonic()

    def _path(self, name: str) -> str:
        return os.path.join(self._folder or "", name)
