"""ModelPusher: TFX's Pusher that pushes what was judged, whole, under a number of its own.

What TFX's Pusher does not do: it copies whatever lies in the model's folder by then; a second model within a second is
left out and reported as pushed; and a push that is killed leaves half a version, which servers take. What this one does
about it is told in `model_digest` and `pushed_versions`.

What this one cannot do: it keeps no second copy of the model in its own artifact, takes no other destination than a
folder, and knows no versions but numbers.
"""

from __future__ import annotations

import os
from typing import Any

from tfx import types
from tfx.components import Pusher
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import model_digest, pushed_versions
from components.errors import IntegrityError

# Of the output, as TFX's own Pusher writes it.
DESTINATION_PROPERTY = "pushed_destination"
BLESSING_KEYS = (standard_component_specs.MODEL_BLESSING_KEY, standard_component_specs.INFRA_BLESSING_KEY)


def judged_digest(input_dict: dict[str, list[types.Artifact]]) -> str:
    """The digest that both verdicts name.

    Args:
      input_dict: `model_blessing` and `infra_blessing`, one artifact each.

    Raises:
      IntegrityError: one names none, or they are on different files.
    """
    first, second = (_digest(artifact_utils.get_single_instance(input_dict[key])) for key in BLESSING_KEYS)
    if first != second:
        raise IntegrityError(
            f"expected verdicts on the same files; got SHA-256 {first} and SHA-256 {second}: they were damaged or "
            f"changed in between; {model_digest.REMEDY}"
        )
    return first


def _digest(blessing: types.Artifact) -> str:
    """The digest that a verdict names."""
    digest = blessing.get_string_custom_property(model_digest.PROPERTY)
    if not digest:
        raise IntegrityError(
            f"expected a verdict that names the digest of the model that was judged; got none in {blessing.uri}; "
            "run with --from Evaluator --no-cache, which judges the model anew"
        )
    return digest


class Executor(executor.Executor):
    """Pushes a model that was blessed twice, if its files are those that were judged."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Makes the model the newest version in the folder of pushed models, unless it is that already.

        Args:
          input_dict: `model`, `model_blessing` and `infra_blessing`, one artifact each.
          output_dict: `pushed_model`, which gets the properties of TFX's Pusher, and the digest.
          exec_properties: `push_destination`, a folder.

        Raises:
          IntegrityError: the verdicts or the files are of different models; nothing was pushed.
          OSError: the folder cannot be written to, or is full; nothing was pushed.
        """
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        digest = judged_digest(input_dict)
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        version = pushed_versions.push(
            self.GetModelPath(input_dict), destination.filesystem.base_directory, expected=digest
        )
        self._MarkPushed(pushed, pushed_destination=version, pushed_version=os.path.basename(version))
        pushed.set_string_custom_property(model_digest.PROPERTY, digest)


class ModelPusher(Pusher):
    """Pushes a model to a folder of versions, if Evaluator and ServableValidator blessed it.

    ```
    pusher = ModelPusher(
        model=trainer.outputs["model"], model_blessing=evaluator.outputs["blessing"],
        infra_blessing=servable.outputs["blessing"], folder="output/serving_model", code_fingerprint="",
    )
    ```

    Outputs:
      pushed_model: where the model is, in the properties that TFX's Pusher writes, and its digest.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        folder: str,
        code_fingerprint: str,
    ) -> None:
        """Builds the component.

        Args:
          model: what was judged.
          model_blessing: Evaluator's verdict.
          infra_blessing: ServableValidator's.
          folder: of the versions; made where there is none.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=folder)
            ),
            custom_config={"code_fingerprint": code_fingerprint},
        )
