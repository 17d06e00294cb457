"""Compiled jobs for tests."""

from __future__ import annotations

from typing import Any

from pipeline import cluster_resolve
from pipeline.config import PipelineConfig

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
    from pipeline import kubeflow_v2_runner

    return kubeflow_v2_runner.compile_job(resolve(platform, assignments, **values), schema)
