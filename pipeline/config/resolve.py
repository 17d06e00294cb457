"""From flags, files and environment to a `PipelineConfig`."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data.errors import DataError
from data.progress import Progress, silent
from data.sidecar import RATINGS_FILE, RATINGS_PATTERN, Sidecar
from pipeline.config import locations

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import PipelineConfig

NOTHING: Mapping[str, Any] = {}


def resolve(
    values: Mapping[str, Any] = NOTHING,
    *,
    config_file: str | None = None,
    assignments: tuple[str, ...] = (),
    progress: Progress = silent,
) -> PipelineConfig:
    """Builds the configuration; what is named first here gives way to what is named later: data folder, file, flags.

    Args:
      values: of flags, by the key of the field, such as {"trainer.seed": 7}; without "data.root", here and in the file:
        MovieLens 100K, fetched if need be.
      config_file: YAML file with fields of `PipelineConfig`.
      assignments: texts such as "trainer.model.epochs=5".
      progress: told how far fetching is.

    Raises:
      ValueError: something is unknown or out of range (pydantic.ValidationError included), or the data is not there.
    """
    from pipeline.config import pipeline_config as configuration

    asked = layers(values, config_file=config_file, assignments=assignments)
    root = asked["data"].get("root") or _movielens_100k(progress)
    return configuration.PipelineConfig(**configuration.merge({"data": describe_data(root)}, asked))


def layers(values: Mapping[str, Any], *, config_file: str | None, assignments: tuple[str, ...]) -> dict[str, Any]:
    """What file, flags and assignments ask for, laid over one another as nested dicts, `data` always among them.

    Nothing is checked yet but the place of the data, by which their layout is looked up.

    Raises:
      ValueError: the file holds no fields, an assignment is none, or the data folder is no text.
    """
    from pipeline.config import pipeline_config as configuration

    given: Any = {}
    if config_file is not None:
        given = configuration.read_yaml(pathlib.Path(config_file).read_bytes(), config_file) or {}
        if not isinstance(given, dict):
            raise ValueError(f"{config_file} must hold fields of the configuration, such as `trainer: {{seed: 7}}`")
    asked = configuration.merge(
        {"data": {}}, given, configuration.nested(values), configuration.parse_assignments(assignments)
    )
    root = asked["data"].get("root", ".") if isinstance(asked["data"], dict) else None
    if not isinstance(root, str) or not root:
        raise ValueError(
            f"expected a folder in --data or data.root, such as `data: {{root: FOLDER}}`; got data: {asked['data']!r}"
        )
    return asked


def describe_data(root: str) -> dict[str, Any]:
    """The fields of `DataConfig` that are read off a data folder itself; of a folder in the cloud, its place alone.

    Raises:
      DataError: the folder has no ratings, or no record of their scale.
      ValueError: it is in a place that TFX knows no file system for.
    """
    if locations.is_remote(root):
        return {"root": root}
    folder = pathlib.Path(root).absolute()
    given = [split for split in ("train", "eval", "test") if (folder / split).is_dir()]
    if {"train", "test"} <= set(given):
        layout: dict[str, Any] = {"given": True, "splits": given}
    elif any(folder.glob(RATINGS_PATTERN)):
        layout = {}
    else:
        raise DataError(
            f"expected {RATINGS_FILE}, or the folders train/ and test/, in {folder}; found neither; "
            "make it with `movie-ranking data prepare` or `movie-ranking data fetch`"
        )
    low, high = Sidecar.read(folder).rating_scale
    return {"root": root, "rating_low": low, "rating_high": high, **layout}


def _movielens_100k(progress: Progress) -> str:
    from data import fetch

    return str(fetch.fetch(progress=progress).folder)
