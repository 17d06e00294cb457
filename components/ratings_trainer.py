"""RatingsTrainer: TFX's Trainer, with the settings that a submission may change as parameters of their own.

`custom_config` is one JSON text, and a cluster substitutes whole parameters only. So what a compiled pipeline leaves
open is a parameter beside it, which the executor lays over it.
"""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.trainer import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.types.channel import BaseChannel, Channel
from tfx.utils import json_utils

from modules import presets

PRESET_KEY, SEED_KEY, BUDGET_KEY = "preset", "seed", "training_budget"
# Under either of these names a model's configuration says how often it passes over the ratings.
BUDGET_FIELDS = ("epochs", "iterations")


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
        merged["model"] = {**merged["model"], budget_field(merged["preset"]): budget}
    return merged


def budget_field(preset: str) -> str:
    """The field of a preset's model that says how long it is trained.

    Raises:
      ValueError: an unknown preset, or one without such a field.
    """
    fields = type(presets.build_config(preset, {})).model_fields
    for name in BUDGET_FIELDS:
        if name in fields:
            return name
    raise ValueError(
        f"expected a preset with one of the fields {', '.join(BUDGET_FIELDS)} for the training budget; "
        f"got {preset!r}, which has {', '.join(fields)}; leave the training budget at 0"
    )


class Executor(executor.GenericExecutor):
    """TFX's executor on the settings with the parameters laid over them."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains; see `tfx.components.trainer.executor.GenericExecutor`."""
        key = standard_component_specs.CUSTOM_CONFIG_KEY
        settings = with_overrides(json_utils.loads(exec_properties[key]), exec_properties)
        super().Do(input_dict, output_dict, {**exec_properties, key: json_utils.dumps(settings)})


class RatingsTrainerSpec(standard_component_specs.TrainerSpec):
    """Trainer's interface and the parameters that a submission may set."""

    PARAMETERS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.PARAMETERS,
        PRESET_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        SEED_KEY: component_spec.ExecutionParameter(type=int, optional=True),
        BUDGET_KEY: component_spec.ExecutionParameter(type=int, optional=True),
    }


class RatingsTrainer(base_component.BaseComponent):
    """Trains what `run_fn` defines, as TFX's Trainer does.

    ```
    trainer = RatingsTrainer(run_fn="modules.trainer.run_fn", examples=..., custom_config=settings,
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
