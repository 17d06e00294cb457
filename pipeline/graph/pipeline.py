"""The pipeline as a graph: the same one for every runner."""

from __future__ import annotations

from tfx.components import ExampleValidator, Pusher
from tfx.components.example_gen import utils
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.anomaly_gate import AnomalyGate
from components.baseline_comparison import BaselineComparison
from components.bounded_evaluator import BoundedEvaluator
from components.columnar_statistics_gen import ColumnarStatisticsGen
from components.columnar_transform import ColumnarTransform
from components.curated_schema import CuratedSchema
from components.ratings_example_gen import RatingsExampleGen
from components.ratings_trainer import RatingsTrainer
from components.servable_validator import ServableValidator
from modules import presets
from pipeline.config.pipeline_config import DataConfig, PipelineConfig
from pipeline.graph import blessed_model, evaluation, vertex
from pipeline.graph.fingerprint import fingerprint
from pipeline.graph.runtime_parameters import runtime_parameters

PREPROCESSING, TRAINER = "modules.preprocessing", "modules.trainer"


def create_pipeline(config: PipelineConfig) -> Pipeline:
    """Builds the graph; touches neither the network nor the data.

    Args:
      config: everything the pipeline depends on.
    """
    scale = {"rating_low": config.data.rating_low, "rating_high": config.data.rating_high}
    settings = {
        "preset": config.trainer.preset,
        "model": config.trainer.model,
        "seed": config.trainer.seed,
        "strategy": config.trainer.strategy,
        "rating_scale": list(scale.values()),
        "has_eval": config.data.has_eval,
        "code": fingerprint(TRAINER, "components.ratings_trainer", *_model_modules(config)),
    }

    examples = RatingsExampleGen(
        input_base=runtime_parameters(config, "data_root").get("data_root", config.data.root),
        input_config=_input_config(config.data),
        code_fingerprint=fingerprint("components.ratings_example_gen"),
    )
    statistics = ColumnarStatisticsGen(
        examples=examples.outputs["examples"], code_fingerprint=fingerprint("components.columnar_statistics_gen")
    ).with_id("StatisticsGen")
    schema = CuratedSchema(
        statistics=statistics.outputs["statistics"],
        code=fingerprint("components.curated_schema", resources=[("data", "schema.pbtxt")]),
        **scale,
    )
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    gate = AnomalyGate(anomalies=anomalies.outputs["anomalies"], code=fingerprint("components.anomaly_gate"))
    # Trainer applies the graph to whole batches itself.
    transform = ColumnarTransform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=f"{PREPROCESSING}.preprocessing_fn",
        analyzed_splits=config.data.fit_splits,
        code_fingerprint=fingerprint(PREPROCESSING, "components.columnar_transform"),
    ).with_id("Transform")
    transform.add_upstream_node(gate)
    trainer = RatingsTrainer(
        run_fn=f"{TRAINER}.run_fn",
        examples=examples.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=config.data.fit_splits[-1:]),
        **vertex.trainer_arguments(config, settings),
        **runtime_parameters(config, "preset", "seed", "training_budget"),
    ).with_id("Trainer")
    model = trainer.outputs["model"]
    comparison = BaselineComparison(
        examples=examples.outputs["examples"],
        model=model,
        split="test",
        code=fingerprint("components.baseline_comparison"),
    )
    blessed = _blessed_model(config, model)
    evaluator = BoundedEvaluator(
        examples=examples.outputs["examples"],
        model=model,
        baseline_model=blessed.outputs["model"] if blessed else None,
        example_splits=["test"],
        eval_config=evaluation.create_eval_config(config.rmse_bound, config.evaluator.max_regression),
        code_fingerprint=fingerprint("components.bounded_evaluator"),
        **runtime_parameters(config, "rmse_bound"),
    ).with_id("Evaluator")
    servable = ServableValidator(model=model, code=fingerprint("components.servable_validator"), **scale)
    approved = {
        "model": model,
        "model_blessing": evaluator.outputs["blessing"],
        "infra_blessing": servable.outputs["blessing"],
    }
    pusher = Pusher(
        **approved,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=config.serving_dir)
        ),
    )
    endpoint = vertex.endpoint_pusher(config, **approved)
    pushers = [pusher if config.cluster.pushes_to_folder else None, endpoint]
    nodes = [examples, statistics, schema, anomalies, gate, transform, trainer, comparison, blessed, evaluator]
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.pipeline_root,
        components=[node for node in (*nodes, servable, *pushers) if node is not None],
        enable_cache=config.cache,
        beam_pipeline_args=config.beam_args,
        metadata_connection_config=(
            metadata.sqlite_metadata_connection_config(config.metadata_path) if config.is_local else None
        ),
    )


def _model_modules(config: PipelineConfig) -> list[str]:
    """The model files that Trainer may run: all of them where a submission picks one."""
    if "preset" in config.runtime_parameters:
        return [preset.module for preset in presets.PRESETS.values()]
    return [presets.get(config.trainer.preset).module]


def _input_config(data: DataConfig) -> example_gen_pb2.Input:
    if not data.given:
        return utils.make_default_input_config("*.csv")
    splits = [example_gen_pb2.Input.Split(name=name, pattern=f"{name}/*.csv") for name in data.splits]
    return example_gen_pb2.Input(splits=splits)


def _blessed_model(config: PipelineConfig, candidate: Channel) -> Resolver | None:
    """The node that finds the model to compare with."""
    if config.evaluator.baseline == "none":
        return None
    channels = {
        blessed_model.MODEL: Channel(type=standard_artifacts.Model),
        blessed_model.BLESSING: Channel(type=standard_artifacts.ModelBlessing),
    }
    if config.evaluator.baseline == "latest":
        return Resolver(strategy_class=LatestBlessedModelStrategy, **channels).with_id("BlessedModel")
    channels[blessed_model.CANDIDATE] = candidate
    return Resolver(strategy_class=blessed_model.OtherBlessedModelStrategy, **channels).with_id("BlessedModel")
