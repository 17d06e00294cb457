"""RatingsTrainer: TFX's Trainer that takes the side tables too, and open settings as parameters of their own.

TFX's Trainer hands no other input to `run_fn` than examples, Transform's graph and the schema. And its `custom_config`
is one JSON text, of which a cluster, which substitutes whole parameters, can change nothing. So the executor lays both
over `custom_config`: the folder of the tables, and the parameters that a submission has set. It runs as TFX's does, and
as long.

It cannot take a module file, a base model to start from, or hyperparameters of a Tuner.
"""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.trainer import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.channel import BaseChannel, Channel
from tfx.utils import json_utils

from modules import presets

TABLES_KEY = "tables"
PRESET_KEY, SEED_KEY, BUDGET_KEY = "preset", "seed", "training_budget"


def with_overrides(settings: dict[str, Any], exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Lays the parameters that are set over `custom_config`.

    Args:
      settings: `custom_config`, with `preset`, `seed` and `model`.
      exec_properties: may hold `preset`, `seed` and `training_budget`; a budget of 0 leaves the model's as it is.

    Raises:
      ValueError: an unknown preset, or one whose training has no length.
    """
    changed = {key: exec_properties[key] for key in (PRESET_KEY, SEED_KEY) if exec_properties.get(key) is not None}
    merged = {**settings, **changed}
    budget = exec_properties.get(BUDGET_KEY)
    if budget:
        merged["model"] = {**merged["model"], presets.budget_field(merged["preset"]): budget}
    return merged


class Executor(executor.GenericExecutor):
    """TFX's executor on the settings with the tables' folder and the parameters laid over them."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains; see `tfx.components.trainer.executor.GenericExecutor`."""
        key = standard_component_specs.CUSTOM_CONFIG_KEY
        settings = with_overrides(json_utils.loads(exec_properties[key]), exec_properties)
        settings[TABLES_KEY] = artifact_utils.get_single_uri(input_dict[TABLES_KEY])
        super().Do(input_dict, output_dict, {**exec_properties, key: json_utils.dumps(settings)})


class RatingsTrainerSpec(standard_component_specs.TrainerSpec):
    """Trainer's interface, the side tables, and the parameters that a submission may set."""

    INPUTS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.INPUTS,
        TABLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    PARAMETERS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.PARAMETERS,
        PRESET_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        SEED_KEY: component_spec.ExecutionParameter(type=int, optional=True),
        BUDGET_KEY: component_spec.ExecutionParameter(type=int, optional=True),
    }


class RatingsTrainer(base_component.BaseComponent):
    """Trains what `run_fn` defines, as TFX's Trainer does.

    ```
    trainer = RatingsTrainer(run_fn="modules.trainer.run_fn", examples=..., tables=..., custom_config=settings,
                             seed=RuntimeParameter(name="seed", ptype=int, default=42))
    ```

    Outputs:
      model: the exported model.
      model_run: logs of the training.
    """

    SPEC_CLASS = RatingsTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        run_fn: str,
        examples: BaseChannel,
        tables: BaseChannel,
        transform_graph: BaseChannel,
        schema: BaseChannel,
        train_args: trainer_pb2.TrainArgs,
        eval_args: trainer_pb2.EvalArgs,
        custom_config: dict[str, Any],
        preset: str | RuntimeParameter | None = None,
        seed: int | RuntimeParameter | None = None,
        training_budget: int | RuntimeParameter | None = None,
        executor_class: type[Any] | None = None,
    ) -> None:
        """Builds the component.

        Args:
          run_fn: import path of the function that trains.
          examples: what to train on.
          tables: the side tables, as splits `titles` and `users`; `run_fn` gets their folder as the setting `tables`.
          transform_graph: turns examples into the model's inputs.
          schema: of the examples.
          train_args: splits to fit on.
          eval_args: splits to choose on.
          custom_config: settings that `run_fn` gets, with `preset`, `seed` and `model`.
          preset: overrules the one in `custom_config`.
          seed: overrules the one in `custom_config`.
          training_budget: overrules how long the model is trained; 0 does not.
          executor_class: runs the training elsewhere.
        """
        spec = RatingsTrainerSpec(
            run_fn=run_fn,
            examples=examples,
            tables=tables,
            transform_graph=transform_graph,
            schema=schema,
            train_args=train_args,
            eval_args=eval_args,
            module_file=None,
            custom_config=json_utils.dumps(custom_config),
            preset=preset,
            seed=seed,
            training_budget=training_budget,
            model=Channel(type=standard_artifacts.Model),
            model_run=Channel(type=standard_artifacts.ModelRun),
        )
        elsewhere = executor_spec.ExecutorClassSpec(executor_class) if executor_class else None
        super().__init__(spec=spec, custom_executor_spec=elsewhere)
