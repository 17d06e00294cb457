"""Compiled jobs for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.cluster import resolve as cluster_resolve
from pipeline.config.pipeline_config import PipelineConfig

BUCKET = "gs://bucket"
IMAGE = "europe-docker.pkg.dev/project/repository/movie-ranking:1"


VALUES = {
    "artifacts": f"{BUCKET}/root",
    "data.root": f"{BUCKET}/ratings",
    "cluster.image": IMAGE,
    "cluster.project": "project",
    "cluster.region": "europe-west4",
    "trainer.preset": "notebook",
}


def resolve(
    platform: str = "vertex", assignments: tuple[str, ...] = (), values: Mapping[str, Any] = VALUES
) -> PipelineConfig:
    return cluster_resolve.resolve(values, platform=platform, assignments=assignments)


def compiled(platform: str = "vertex", assignments: tuple[str, ...] = (), schema: str = "2.1.0") -> dict:
    from pipeline.cluster import compiler

    return compiler.compile_job(resolve(platform, assignments), platform, schema)
