"""A compiled job as a file: read, checked, and changed for one submission."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pydantic

from modules import presets
from modules.errors import UserError
from pipeline.cluster import kubeflow_task
from pipeline.config import submission_parameters
from pipeline.config.pipeline_config import explain

NAMED_BY_TYPE = {"STRING": str, "INT": int, "DOUBLE": float, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledJob:
    """What `movie-ranking compile` wrote.

    Attributes:
      path: of the file.
      content: a Vertex PipelineJob; `pipelineSpec` is what Kubeflow takes.
    """

    path: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: str) -> CompiledJob:
        """Reads a job.

        Raises:
          UserError: the file is not there, or is no compiled job.
        """
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except FileNotFoundError:
            raise UserError(f"expected a compiled job in {path}; there is none; run `movie-ranking compile`") from None
        except (OSError, ValueError) as error:
            raise UserError(f"expected a compiled job in {path}; it cannot be read: {error}") from error
        job = cls(path=path, content=content)
        try:
            _ = (job.name, job.schema, job.pipeline_root, job.is_for_kubeflow, job.defaults())
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"expected pipelineSpec and runtimeConfig of a compiled job in {path}; run `movie-ranking compile` anew"
            ) from error
        return job

    @property
    def spec(self) -> dict[str, Any]:
        """The pipeline specification."""
        return self.content["pipelineSpec"]

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.spec["pipelineInfo"]["name"]

    @property
    def schema(self) -> str:
        """The version of the pipeline specification."""
        return self.spec["schemaVersion"]

    @property
    def pipeline_root(self) -> str:
        """The folder for artifacts."""
        return self.content["runtimeConfig"]["gcsOutputDirectory"]

    @property
    def is_for_kubeflow(self) -> bool:
        """Whether its tasks start as Kubeflow Pipelines needs it, and not by TFX's own entry point, as on Vertex AI."""
        executors = self.spec["deploymentSpec"]["executors"].values()
        return all(tuple(each.get("container", {}).get("command", ())) == kubeflow_task.COMMAND for each in executors)

    def defaults(self) -> dict[str, submission_parameters.Scalar]:
        """Values that parameters have where a submission sets none."""
        runtime = self.content["runtimeConfig"]
        if "parameterValues" in runtime:
            return dict(runtime["parameterValues"])
        definitions = self.spec["root"]["inputDefinitions"]["parameters"]
        # 64-bit integers are texts in the JSON of a protocol buffer.
        return {
            name: NAMED_BY_TYPE[definitions[name]["type"]](next(iter(value.values())))
            for name, value in runtime.get("parameters", {}).items()
        }

    def check(self, values: dict[str, submission_parameters.Scalar]) -> None:
        """Accepts the values that a submission sets if the job can run with them.

        Raises:
          UserError: a value is out of range, or goes badly with the compiled ones.
        """
        unknown = set(values) - set(self.defaults())
        if unknown:
            raise UserError(f"{self.path} has no parameter {', '.join(sorted(unknown))}; compile it anew")
        for name in ("seed", "training_budget"):
            if values.get(name, 0) < 0:  # type: ignore[operator]
                raise UserError(f"{name} must not be below 0; got {values[name]}")
        if not values.get("rmse_bound", 1) > 0:  # type: ignore[operator]
            raise UserError(f"rmse_bound must be above 0 stars; got {values['rmse_bound']}")
        if "preset" in values:
            self._check_preset(str(values["preset"]), "rmse_bound" in values)
        if values.keys() & {"preset", "training_budget"}:
            self._check_model({**self.defaults(), **values})

    def _check_preset(self, name: str, has_bound: bool) -> None:
        preset = presets.get(name)
        compiled = self.defaults()["preset"]
        if name == compiled:
            return
        if self.trainer_settings["model"]:
            raise UserError(
                f"{self.path} was compiled with values of trainer.model for preset {compiled}; compile it anew for "
                f"preset {name}"
            )
        if not has_bound:
            raise UserError(
                f"another preset has another bound: give --parameter rmse_bound=STARS too; "
                f"{name}'s own is {preset.rmse_bound} on a scale of 1 to 5 stars"
            )

    def _check_model(self, values: dict[str, submission_parameters.Scalar]) -> None:
        """Refuses what Trainer would refuse, after all before it was paid for."""
        name, budget = str(values["preset"]), values["training_budget"]
        presets.check_strategy(name, self.trainer_settings["strategy"])
        if not budget:
            return
        model = {**self.trainer_settings["model"], presets.budget_field(name): budget}
        try:
            presets.build_config(name, model)
        except pydantic.ValidationError as error:
            raise UserError(
                f"training_budget={budget} does not go with preset {name} as {self.path} has it: {explain(error)}; "
                "give another training_budget, or compile it anew"
            ) from error

    @property
    def trainer_settings(self) -> dict[str, Any]:
        """What was compiled for Trainer: `preset`, `model`, `seed`, `strategy` and more."""
        value = self.spec["root"]["dag"]["tasks"]["Trainer"]["inputs"]["parameters"]["custom_config"]["runtimeValue"]
        return json.loads(value["constant"] if "constant" in value else value["constantValue"]["stringValue"])

    def without_cache(self) -> CompiledJob:
        """The same job, each task of which is run."""
        content = copy.deepcopy(self.content)
        for task in content["pipelineSpec"]["root"]["dag"]["tasks"].values():
            task["cachingOptions"] = {}
        return dataclasses.replace(self, content=content)
