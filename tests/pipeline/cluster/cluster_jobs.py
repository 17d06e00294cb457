"""Compiled jobs for tests."""

from __future__ import annotations

from typing import Any

from pipeline.cluster import resolve as cluster_resolve
from pipeline.config.pipeline_config import PipelineConfig

BUCKET = "gs://bucket"
IMAGE = "europe-docker.pkg.dev/project/repository/movie-ranking:1"


def resolve(platform: str = "vertex", assignments: tuple[str, ...] = (), **values: Any) -> PipelineConfig:
    settings = {
        "pipeline_root": f"{BUCKET}/root",
        "data": f"{BUCKET}/ratings",
        "image": IMAGE,
        "project": "project",
        "region": "europe-west4",
        "preset": "notebook",
    }
    return cluster_resolve.resolve(platform=platform, assignments=assignments, **{**settings, **values})


def compiled(platform: str = "vertex", assignments: tuple[str, ...] = (), schema: str = "2.1.0", **values: Any) -> dict:
    from pipeline.cluster import compiler

    return compiler.compile_job(resolve(platform, assignments, **values), schema)
