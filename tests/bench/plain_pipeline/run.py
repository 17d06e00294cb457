"""Yardstick: nine stock TFX components with stock settings around module.py.

`TF_USE_LEGACY_KERAS=1 python run.py DATA_FOLDER OUTPUT_FOLDER`. Prints a JSON line with the seconds of each component.
"""

from __future__ import annotations

import json
import os
import sys

import ml_metadata
import tensorflow_model_analysis as tfma
from tfx import v1 as tfx


def create_pipeline(data: str, output: str) -> tfx.dsl.Pipeline:
    module = os.path.join(os.path.dirname(os.path.abspath(__file__)), "module.py")
    buckets = [tfx.proto.SplitConfig.Split(name=name, hash_buckets=n) for name, n in (("train", 8), ("eval", 2))]
    examples = tfx.components.CsvExampleGen(
        input_base=data,
        output_config=tfx.proto.Output(split_config=tfx.proto.SplitConfig(splits=buckets)),
    )
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"], module_file=module
    )
    trainer = tfx.components.Trainer(
        module_file=module,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(num_steps=10),
        eval_args=tfx.proto.EvalArgs(num_steps=5),
    )
    baseline = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("BlessedModel")
    bound = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(upper_bound={"value": 1.5}))
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=tfma.EvalConfig(
            model_specs=[tfma.ModelSpec(label_key="user_rating", prediction_key="predicted_rating")],
            slicing_specs=[tfma.SlicingSpec()],
            metrics_specs=[
                tfma.MetricsSpec(metrics=[tfma.MetricConfig(class_name="RootMeanSquaredError", threshold=bound)])
            ],
            options={"include_default_metrics": {"value": False}},
        ),
    )
    destination = tfx.proto.PushDestination.Filesystem(base_directory=os.path.join(output, "serving_model"))
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(filesystem=destination),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="plain",
        pipeline_root=os.path.join(output, "artifacts"),
        metadata_connection_config=connection(output),
        components=[
            examples, statistics, schema, validator, transform, trainer, baseline, evaluator, pusher
        ],
    )  # fmt: skip


def connection(output: str):
    return tfx.orchestration.metadata.sqlite_metadata_connection_config(os.path.join(output, "metadata.sqlite"))


def component_seconds(output: str) -> dict[str, float]:
    """Seconds from the registration of each component's execution to its last update."""
    store = ml_metadata.MetadataStore(connection(output))
    seconds = {}
    for execution in store.get_executions():
        name = (
            execution.properties["component_id"].string_value
            or store.get_execution_types_by_id([execution.type_id])[0].name.rsplit(".", 1)[-1]
        )
        spent = execution.last_update_time_since_epoch - execution.create_time_since_epoch
        seconds[name] = round(spent / 1000, 2)
    return seconds


if __name__ == "__main__":
    tfx.orchestration.LocalDagRunner().run(create_pipeline(sys.argv[1], sys.argv[2]))
    print(json.dumps({"seconds": component_seconds(sys.argv[2])}))
