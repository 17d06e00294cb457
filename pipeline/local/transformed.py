"""The pipeline up to Transform, for commands that fit models by themselves."""

from __future__ import annotations

import dataclasses
import os

import tensorflow_transform as tft
from tfx.orchestration.pipeline import RunOptions
from tfx.types import artifact_utils, standard_artifacts

from components import example_files
from modules import dataset, paths, progress, side_tables
from modules.ratings import Ratings
from modules.side_features import SideFeatures
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.pipeline import create_pipeline
from pipeline.local.dag_runner import LocalRunner
from pipeline.local.observers import Observer
from pipeline.local.run_artifacts import RunArtifacts

_TABLES, _LAST = "TablesExampleGen", "Transform"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformed:
    """Examples in their splits, and the graph that turns them into what models take.

    Attributes:
      config: of the pipeline that made them.
      output: Transform's graph and vocabularies.
      side_features: what is known of users and titles.
      files: paths of each split's examples.
    """

    config: PipelineConfig
    output: tft.TFTransformOutput
    side_features: SideFeatures
    files: dict[str, list[str]]

    def load(self, split: str) -> Ratings:
        """Reads the ratings of a split."""
        data = self.config.data
        return dataset.load_ratings(
            self.files[split],
            self.output,
            self.side_features,
            low=data.rating_low,
            high=data.rating_high,
            report=progress.report,
        )


def run_to_transform(config: PipelineConfig, observer: Observer, *, verbose: bool = False) -> Transformed:
    """Runs the pipeline on this machine until the ratings are ready for a model; what was done before is kept.

    Args:
      config: of the pipeline; its trainer changes nothing here.
      observer: told of each component.
      verbose: leave what components write on the terminal as well.

    Raises:
      ComponentError: a component failed, or the data does not fit the schema.
    """
    runner = LocalRunner(os.path.join(config.output, "logs"), observer, verbose=verbose)
    runner.run(create_pipeline(config), run_options=RunOptions(to_nodes=[_TABLES, _LAST]))
    artifacts = RunArtifacts(config.metadata_path, runner.executions)
    examples = standard_artifacts.Examples()
    examples.set_mlmd_artifact(artifacts.require("RatingsExampleGen", "examples"))
    return Transformed(
        config=config,
        output=tft.TFTransformOutput(paths.plain(artifacts.require(_LAST, "transform_graph").uri)),
        side_features=SideFeatures(side_tables.read(artifacts.require(_TABLES, "examples").uri)),
        files={
            split: example_files.split_files(examples, [split])
            for split in artifact_utils.decode_split_names(examples.split_names)
        },
    )
