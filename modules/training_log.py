"""TensorBoard's scalars, written without TensorBoard: recent TensorFlow no longer installs it beside itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

# Beside the logs: what was chosen for the model, in one line.
CHOSEN_FILE = "chosen.txt"
# What marks a tensor of a summary as a point of TensorBoard's scalar dashboard.
_SCALARS = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})


@contextlib.contextmanager
def open_log(log_dir: str | None) -> Iterator[Callable[[str, float, int], None]]:
    """Opens an event file for as long as the context lasts.

    Args:
      log_dir: folder of the event file, created if need be; None writes nothing.

    Yields:
      A function of name, value and step that writes one point.
    """
    if log_dir is None:
        yield lambda name, value, step: None
        return
    writer = tf.summary.create_file_writer(log_dir)

    def scalar(name: str, value: float, step: int) -> None:
        with writer.as_default():
            tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=_SCALARS)

    try:
        yield scalar
    finally:
        writer.close()
