"""BulkRecommender: lists of recommendations for all users, as the last step of a pipeline.

TFX's BulkInferrer hands a model one serialized tf.Example at a time, by a signature that takes nothing else, and writes
each answer as a PredictionLog. Lists are asked of many users at once, with their length, and read as a table.
"""

from __future__ import annotations

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.utils import path_utils

from components import list_writer, model_digest, model_pusher
from components.list_writer import Wanted
from modules import progress

TOP_KEY, FORM_KEY, LISTS_KEY = "top", "form", "lists"
# Of the artifact: the file of lists, or nothing where no lists were written.
FILE_PROPERTY = "file"
_CODE_FINGERPRINT_KEY = "code_fingerprint"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the lists of a model that was blessed twice, if its files are those that were judged."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes one file of lists, or of a model that was not blessed, none.

        Args:
          input_dict: `model`, `model_blessing` and `infra_blessing`, one artifact each.
          output_dict: `lists`.
          exec_properties: `top` and `form`.

        Raises:
          IntegrityError: the verdicts or the files are of different models; nothing was written.
        """
        lists = artifact_utils.get_single_instance(output_dict[LISTS_KEY])
        verdicts = [artifact_utils.get_single_instance(input_dict[key]) for key in model_pusher.BLESSING_KEYS]
        if not all(verdict.get_int_custom_property("blessed") for verdict in verdicts):
            lists.set_string_custom_property(FILE_PROPERTY, "")
            return
        candidate = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        model = path_utils.serving_model_path(candidate.uri)
        model_digest.check(model, model_pusher.judged_digest(input_dict))
        form = exec_properties[FORM_KEY]
        path = os.path.join(lists.uri, f"recommendations.{form}")
        wanted, pace = Wanted(top=exec_properties[TOP_KEY]), progress.Pace("users")
        list_writer.write_lists(
            self._make_beam_pipeline,
            model,
            path,
            wanted,
            form,
            lambda what, done, total, _: progress.report(f"{what}: {pace.counted(done, total)}"),
        )
        lists.set_string_custom_property(FILE_PROPERTY, path)


class BulkRecommenderSpec(component_spec.ComponentSpec):
    """A model, the verdicts on it, and what is asked."""

    PARAMETERS = {  # noqa: RUF012
        TOP_KEY: component_spec.ExecutionParameter(type=int),
        FORM_KEY: component_spec.ExecutionParameter(type=str),
        _CODE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        standard_component_specs.MODEL_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing
        ),
        standard_component_specs.INFRA_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        LISTS_KEY: component_spec.ChannelParameter(type=standard_artifacts.InferenceResult),
    }


class BulkRecommender(base_beam_component.BaseBeamComponent):
    """Writes the best titles of every user of the ratings, if Evaluator and ServableValidator blessed the model.

    ```
    lists = BulkRecommender(
        model=trainer.outputs["model"], model_blessing=evaluator.outputs["blessing"],
        infra_blessing=servable.outputs["blessing"], top=10, form="parquet",
    )
    ```

    Outputs:
      lists: the file `recommendations.FORM`, see `list_writer.write_lists`; its path is the property `file`, which is
        empty where no lists were written.
    """

    SPEC_CLASS = BulkRecommenderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        top: int,
        form: list_writer.Form,
        code_fingerprint: str = "",
    ) -> None:
        """Builds the component.

        Args:
          model: what was judged.
          model_blessing: Evaluator's verdict.
          infra_blessing: ServableValidator's.
          top: titles of a list, at most.
          form: of the file.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            BulkRecommenderSpec(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                top=top,
                form=form,
                code_fingerprint=code_fingerprint,
                lists=types.Channel(type=standard_artifacts.InferenceResult),
            )
        )
