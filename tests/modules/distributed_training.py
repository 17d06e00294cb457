"""Runs Trainer's entry point in a process of its own: `python distributed_training.py LIST_OF_ARGUMENTS.json`."""

from __future__ import annotations

import json
import pathlib
import sys

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from modules import trainer


def main(path: str) -> None:
    several = json.loads(pathlib.Path(path).read_text())
    if several[0]["custom_config"]["strategy"] == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for arguments in several:
        trainer.run_fn(FnArgs(**arguments))


if __name__ == "__main__":
    main(sys.argv[1])
