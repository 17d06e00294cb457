"""Deploys a model to a Vertex endpoint, if its files are those that were judged."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.extensions.google_cloud_ai_platform.pusher import component, executor

from components import model_digest
from components.model_pusher import judged_digest


class Executor(executor.Executor):
    """TFX's executor, which looks at the model before it copies and deploys it."""

    def CheckBlessing(self, input_dict: dict[str, list[types.Artifact]]) -> bool:
        """Whether the model was blessed twice.

        Raises:
          IntegrityError: it was, but the verdicts or the files are of different models.
        """
        if not super().CheckBlessing(input_dict):
            return False
        model_digest.check(self.GetModelPath(input_dict), judged_digest(input_dict))
        return True


class EndpointPusher(component.Pusher):
    """TFX's Pusher for Vertex endpoints with the executor above.

    It cannot look at what the endpoint has loaded.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
