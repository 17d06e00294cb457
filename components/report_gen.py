"""ReportGen: the report of a run as an artifact, as the last step of a pipeline."""

from __future__ import annotations

import datetime
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components import model_digest, outcome, report_facts
from components.releases import releases
from components.run_results import Results
from pipeline.report import rendering

REPORT_FILE = "report.html"
PRESET_KEY, SEED_KEY, REPORT_KEY = "preset", "seed", "report"
_CODE_FINGERPRINT_KEY = "code_fingerprint"
# By the name of the input, which is that of the field of `Results`.
_INPUTS = {
    "examples": standard_artifacts.Examples,
    "statistics": standard_artifacts.ExampleStatistics,
    "schema": standard_artifacts.Schema,
    "anomalies": standard_artifacts.ExampleAnomalies,
    "model_run": standard_artifacts.ModelRun,
    "evaluation": standard_artifacts.ModelEvaluation,
    "blessing": standard_artifacts.ModelBlessing,
    "infra_blessing": standard_artifacts.InfraBlessing,
    "pushed_model": standard_artifacts.PushedModel,
}


class Executor(base_executor.BaseExecutor):
    """Makes the report of what it is given."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `report.html`.

        Args:
          input_dict: see `ReportGen`, one artifact each.
          output_dict: `report`.
          exec_properties: `preset` and `seed`.
        """
        given = {key: artifact_utils.get_single_instance(input_dict[key]) for key in _INPUTS}
        results = Results(**given)
        now = datetime.datetime.now(datetime.timezone.utc)
        facts = report_facts.facts_of(
            results,
            outcome.outcome_of(results),
            began=now.strftime("%Y-%m-%d %H:%M:%S UTC"),
            preset=exec_properties[PRESET_KEY],
            lineage={
                "Model": {"SHA-256": given["blessing"].get_string_custom_property(model_digest.PROPERTY)},
                "Configuration": {key: str(exec_properties[key]) for key in (PRESET_KEY, SEED_KEY)},
                "Artifacts": {key: artifact.uri for key, artifact in given.items()},
                "Versions": releases(),
            },
        )
        report = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        with fileio.open(os.path.join(report.uri, REPORT_FILE), "w") as file:
            file.write(rendering.report(facts))


class ReportGenSpec(component_spec.ComponentSpec):
    """What the components before put out, and what they do not tell."""

    PARAMETERS = {  # noqa: RUF012
        PRESET_KEY: component_spec.ExecutionParameter(type=str),
        SEED_KEY: component_spec.ExecutionParameter(type=int),
        _CODE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {key: component_spec.ChannelParameter(type=kind) for key, kind in _INPUTS.items()}  # noqa: RUF012
    OUTPUTS = {REPORT_KEY: component_spec.ChannelParameter(type=simple_artifacts.File)}  # noqa: RUF012


class ReportGen(base_component.BaseComponent):
    """Writes the report of the run, for people, once it is settled whether the model is pushed.

    It waits for Pusher, so that no report that fails keeps a model from being pushed. Its facts are those of its
    inputs; a local run, which knows seconds, settings and the data folder, too, writes another report in the end.

    ```
    report = ReportGen(
        examples=ratings.outputs["examples"], statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"], anomalies=validator.outputs["anomalies"],
        model_run=trainer.outputs["model_run"], evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"], infra_blessing=servable.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"], preset="default", seed=42,
    )
    ```

    Outputs:
      report: the file `report.html`, which loads nothing from elsewhere and names no user.
    """

    SPEC_CLASS = ReportGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        anomalies: types.BaseChannel,
        model_run: types.BaseChannel,
        evaluation: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        pushed_model: types.BaseChannel,
        preset: str | RuntimeParameter,
        seed: int | RuntimeParameter,
        code_fingerprint: str = "",
    ) -> None:
        """Builds the component.

        Args:
          examples: the ratings.
          statistics: of the ratings.
          schema: of the ratings, with their scale.
          anomalies: where the ratings do not fit it.
          model_run: Trainer's logs.
          evaluation: of the model.
          blessing: Evaluator's verdict.
          infra_blessing: ServableValidator's.
          pushed_model: whether, and where, the model was pushed.
          preset: of the model.
          seed: that the model was fitted with.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            ReportGenSpec(
                examples=examples,
                statistics=statistics,
                schema=schema,
                anomalies=anomalies,
                model_run=model_run,
                evaluation=evaluation,
                blessing=blessing,
                infra_blessing=infra_blessing,
                pushed_model=pushed_model,
                preset=preset,
                seed=seed,
                code_fingerprint=code_fingerprint,
                report=types.Channel(type=simple_artifacts.File),
            )
        )
