"""The pipeline as a graph: the same one for every runner."""

from __future__ import annotations

from tfx.components import ExampleValidator
from tfx.components.example_gen import utils
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, trainer_pb2
from tfx.types import artifact_utils

from components.anomaly_gate import AnomalyGate
from components.bulk_recommender import BulkRecommender
from components.columnar_statistics_gen import ColumnarStatisticsGen
from components.columnar_transform import ColumnarTransform
from components.curated_schema import CuratedSchema
from components.model_pusher import ModelPusher
from components.ratings_evaluator import RatingsEvaluator
from components.ratings_example_gen import RatingsExampleGen
from components.ratings_trainer import RatingsTrainer
from components.report_gen import ReportGen
from components.servable_validator import ServableValidator
from components.tables_example_gen import TablesExampleGen
from data.sidecar import ratings_pattern
from modules import presets
from pipeline.config.pipeline_config import DataConfig, PipelineConfig
from pipeline.graph import vertex
from pipeline.graph.blessed_model import blessed_model_resolver
from pipeline.graph.fingerprint import fingerprint
from pipeline.graph.runtime_parameters import runtime_parameters

PREPROCESSING, TRAINER = "modules.preprocessing", "modules.trainer"


def create_pipeline(config: PipelineConfig) -> Pipeline:
    """Builds the graph, in the order of the data; touches neither the network nor the data.

    Args:
      config: everything the pipeline depends on.
    """
    opened = runtime_parameters(config)
    data_root = opened.get("data_root", config.data.root)
    scale = {"rating_low": config.data.rating_low, "rating_high": config.data.rating_high}

    ratings = RatingsExampleGen(
        input_base=data_root,
        input_config=_input_config(config.data),
        code_fingerprint=fingerprint("components.ratings_example_gen"),
    )
    tables = TablesExampleGen(
        input_base=data_root,
        code_fingerprint=fingerprint("components.tables_example_gen"),
    )
    statistics = ColumnarStatisticsGen(
        examples=ratings.outputs["examples"],
        code_fingerprint=fingerprint("components.columnar_statistics_gen"),
    ).with_id("StatisticsGen")
    schema = CuratedSchema(
        statistics=statistics.outputs["statistics"],
        code_fingerprint=fingerprint("components.curated_schema"),
        **scale,
    )
    anomalies = ExampleValidator(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
    )
    gate = AnomalyGate(
        anomalies=anomalies.outputs["anomalies"],
        code_fingerprint=fingerprint("components.anomaly_gate"),
    )
    transform = ColumnarTransform(
        examples=ratings.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=f"{PREPROCESSING}.preprocessing_fn",
        analyzed_splits=artifact_utils.encode_split_names(config.data.fit_splits),
        code_fingerprint=fingerprint(PREPROCESSING, "components.columnar_transform"),
    ).with_id("Transform")
    transform.add_upstream_node(gate)
    trainer = RatingsTrainer(
        run_fn=f"{TRAINER}.run_fn",
        examples=ratings.outputs["examples"],
        tables=tables.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=config.data.fit_splits[-1:]),
        **vertex.trainer_arguments(config, _training_settings(config)),
        **{name: opened[name] for name in ("preset", "seed", "training_budget") if name in opened},
    ).with_id("Trainer")
    model = trainer.outputs["model"]
    blessed = blessed_model_resolver(config.evaluator.blessed_model, candidate=model)
    evaluator = RatingsEvaluator(
        examples=ratings.outputs["examples"],
        model=model,
        baseline_model=blessed.outputs["model"] if blessed else None,
        split="test",
        rmse_bound=opened.get("rmse_bound", config.rmse_bound),
        max_regression=config.evaluator.max_regression,
        # That of the preset which a submission picks, unless another baseline was asked for.
        baseline=config.evaluator.baseline or opened.get("preset", config.trainer.preset),
        min_ratings=config.evaluator.min_test_ratings,
        min_users=config.evaluator.min_test_users,
        lists_baseline=config.evaluator.lists_baseline,
        max_ndcg_regression=config.evaluator.max_ndcg_regression,
        code_fingerprint=fingerprint("components.ratings_evaluator"),
    ).with_id("Evaluator")
    servable = ServableValidator(
        model=model,
        code_fingerprint=fingerprint("components.servable_validator"),
        **scale,
    )
    approved = {
        "model": model,
        "model_blessing": evaluator.outputs["blessing"],
        "infra_blessing": servable.outputs["blessing"],
    }
    pusher = ModelPusher(
        **approved,
        folder=config.serving_dir,
        code_fingerprint=fingerprint("components.model_pusher"),
    ).with_id("Pusher")
    lists = None
    if config.lists.top is not None:
        lists = BulkRecommender(
            **approved,
            top=config.lists.top,
            form=config.lists.form,
            code_fingerprint=fingerprint("components.bulk_recommender"),
        )
    endpoint = vertex.endpoint_pusher(config, **approved)
    pushers = [each for each in (pusher if config.cluster.pushes_to_folder else None, endpoint) if each is not None]
    report = ReportGen(
        examples=ratings.outputs["examples"],
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        anomalies=anomalies.outputs["anomalies"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=servable.outputs["blessing"],
        pushed_model=pushers[0].outputs["pushed_model"],
        preset=opened.get("preset", config.trainer.preset),
        seed=opened.get("seed", config.trainer.seed),
        code_fingerprint=fingerprint("components.report_gen"),
    )
    report.add_upstream_nodes(pushers)
    nodes = [ratings, tables, statistics, schema, anomalies, gate, transform, trainer, blessed, evaluator, servable]
    last = [*pushers, lists, report]
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.pipeline_root,
        components=[node for node in (*nodes, *last) if node is not None],
        enable_cache=config.cache,
        beam_pipeline_args=config.beam_args,
        metadata_connection_config=(
            metadata.sqlite_metadata_connection_config(config.metadata_path) if config.is_local else None
        ),
    )


def _input_config(data: DataConfig) -> example_gen_pb2.Input:
    """The files of the ratings: one input split for each folder that the data come split in, else one for all."""
    if not data.given:
        return utils.make_default_input_config(ratings_pattern())
    splits = [example_gen_pb2.Input.Split(name=name, pattern=ratings_pattern(name)) for name in data.splits]
    return example_gen_pb2.Input(splits=splits)


def _training_settings(config: PipelineConfig) -> dict[str, object]:
    """What `modules.trainer.run_fn` gets; the fingerprint is of the model files that a submission may pick from."""
    picked = presets.PRESETS if "preset" in config.runtime_parameters else [config.trainer.preset]
    return {
        "preset": config.trainer.preset,
        "model": config.trainer.model,
        "retrieval": config.trainer.retrieval,
        "seed": config.trainer.seed,
        "strategy": config.trainer.strategy,
        "rating_scale": [config.data.rating_low, config.data.rating_high],
        "has_eval": config.data.has_eval,
        "code_fingerprint": fingerprint(
            TRAINER, "components.ratings_trainer", *(presets.get(name).module for name in picked)
        ),
    }
