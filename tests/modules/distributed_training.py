"""Runs Trainer's entry point in a process of its own: `python distributed_training.py LIST_OF_ARGUMENTS.json [gpus]`.

With `gpus` the devices, which stay CPUs, are taken for GPUs where a preset does its sums in another way there.
"""

from __future__ import annotations

import json
import pathlib
import sys

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from modules import rating_pools, trainer


def main(path: str, devices: str = "") -> None:
    several = json.loads(pathlib.Path(path).read_text())
    if several[0]["custom_config"]["strategy"] == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if devices == "gpus":
        rating_pools.has_gpu = lambda: True
    for arguments in several:
        trainer.run_fn(FnArgs(**arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
