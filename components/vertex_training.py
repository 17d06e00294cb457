"""Starts the Trainer as a Vertex custom training job."""

from __future__ import annotations

from tfx.dsl.components.base import base_executor
from tfx.extensions.google_cloud_ai_platform.trainer import executor

from components import ratings_trainer


class Executor(executor.GenericExecutor):
    """Hands inputs, outputs and parameters to a job that runs `ratings_trainer.Executor`, and waits for it."""

    def _GetExecutorClass(self) -> type[base_executor.BaseExecutor]:
        return ratings_trainer.Executor
