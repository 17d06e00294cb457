"""The parameters that a compiled pipeline leaves open, as TFX takes them."""

from __future__ import annotations

from tfx.orchestration.data_types import RuntimeParameter

from pipeline.config.pipeline_config import PipelineConfig
from pipeline.config.submission_parameters import PARAMETERS


def runtime_parameters(config: PipelineConfig) -> dict[str, RuntimeParameter]:
    """The parameters that the configuration leaves open, by name; none for a local run."""
    return {
        each.name: RuntimeParameter(
            name=each.name, ptype=each.type, default=config.parameter_default(each.name), description=each.meaning
        )
        for each in PARAMETERS
        if each.name in config.runtime_parameters
    }
