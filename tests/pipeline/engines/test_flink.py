"""The settings of a standalone Flink, as far as a run depends on them when a task manager is lost."""

from __future__ import annotations

import re

from pipeline.config import beam_config
from pipeline.engines import flink

SETTINGS = flink.settings(workers=2, rpc_port=1, rest_port=2)


def test_workers_have_ended_before_a_job_goes_on() -> None:
    [seconds] = re.findall(r"^(\d+) s$", str(SETTINGS["restart-strategy.fixed-delay.delay"]))
    assert int(seconds) > beam_config.WORKER_KEPT_S["flink"]


def test_one_task_manager_of_two_has_the_slots_for_all() -> None:
    assert SETTINGS["taskmanager.numberOfTaskSlots"] >= SETTINGS["parallelism.default"]
