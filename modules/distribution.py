"""Training on several devices or workers, by `tf.distribute`.

Every replica has the whole model and works on its share of each batch; the gradients of a batch are added up over the
replicas, so that a step is the one that a single device would take, up to the order of float additions.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Literal, get_args

import pydantic

from modules.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

Name = Literal["none", "mirrored", "multi_worker"]
NAMES: tuple[str, ...] = get_args(Name)
CLUSTER_VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


class _Addresses(pydantic.BaseModel, frozen=True):
    chief: tuple[str, ...] = pydantic.Field((), max_length=1)
    worker: tuple[str, ...] = ()


class _Task(pydantic.BaseModel, frozen=True):
    type: Literal["chief", "worker"]
    index: int = pydantic.Field(ge=0)


class _Cluster(pydantic.BaseModel, frozen=True):
    """What is read of TF_CONFIG; platforms write more keys into it."""

    cluster: _Addresses
    task: _Task

    @pydantic.model_validator(mode="after")
    def _check(self) -> _Cluster:
        addresses = getattr(self.cluster, self.task.type)
        if self.task.index >= len(addresses):
            raise UserError(
                f"task.index {self.task.index} is not below the {len(addresses)} of cluster.{self.task.type}"
            )
        return self


# One a process: every strategy numbers its collective operations from the start, and those of two would be mixed up.
@functools.cache
def create(name: str) -> tf.distribute.Strategy | None:
    """The strategy of that name, made once a process; None for `none`.

    `mirrored` takes every visible GPU, or CPU where there is none. `multi_worker` joins the workers in the environment
    variable TF_CONFIG, waits until all of them are there, and must come before anything else in TensorFlow.

    Raises:
      UserError: an unknown name, or TF_CONFIG is missing or malformed.
      RuntimeError: `multi_worker` after TensorFlow has run something in this process.
    """
    if name not in NAMES:
        raise UserError(f"strategy must be one of {', '.join(NAMES)}; got {name!r}")
    if name == "none":
        return None
    import tensorflow as tf

    if name == "multi_worker":
        _check_cluster(os.environ.get(CLUSTER_VARIABLE))
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise RuntimeError(
                "expected strategy multi_worker to come first in a process; TensorFlow has already run something in "
                "this one; let every worker be a process of its own, as a Vertex training job does "
                f"(cluster.training_job.workers), or take strategy mirrored ({error})"
            ) from error
    # Named, since by default a machine without GPUs mirrors over the first of its CPU devices alone.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether this process writes the model and the logs: the chief, or worker 0 where none is named so."""
    if strategy is None or strategy.cluster_resolver is None:
        return True
    resolver = strategy.cluster_resolver
    named = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" if named else resolver.task_id == 0


def wait_for_all(strategy: tf.distribute.Strategy | None) -> None:
    """Returns when every worker has called it."""
    if strategy is None or strategy.cluster_resolver is None:
        return
    import tensorflow as tf

    @tf.function(autograph=False)
    def meet() -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.ones([])), axis=None)

    # Reading the value is what waits.
    meet().numpy()


def _check_cluster(text: str | None) -> None:
    remedy = f"set it for every worker, such as {CLUSTER_VARIABLE}='{_EXAMPLE}', or take strategy mirrored or none"
    if text is None:
        raise UserError(f"strategy multi_worker needs the environment variable {CLUSTER_VARIABLE}; got none; {remedy}")
    try:
        _Cluster.model_validate_json(text)
    except pydantic.ValidationError as error:
        faults = "; ".join(
            ": ".join((".".join(map(str, fault["loc"])) or "as a whole", fault["msg"])) for fault in error.errors()
        )
        raise UserError(
            f"expected the workers, and which of them this is, in {CLUSTER_VARIABLE}; got {text!r} ({faults}); {remedy}"
        ) from error
