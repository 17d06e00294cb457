"""From flags, files and environment to a `PipelineConfig`."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

from data.errors import DataError
from data.progress import Progress, silent
from data.sidecar import RATINGS_FILE, Sidecar
from pipeline.config import locations

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import PipelineConfig


def resolve(
    *,
    preset: str | None = None,
    data: str | None = None,
    output: str | None = None,
    seed: int | None = None,
    strategy: str | None = None,
    rmse_bound: float | None = None,
    cache: bool | None = None,
    beam: str | None = None,
    beam_args: tuple[str, ...] = (),
    config_file: str | None = None,
    assignments: tuple[str, ...] = (),
    progress: Progress = silent,
) -> PipelineConfig:
    """Builds the configuration; what is given first here gives way to what is given later: data folder, file, flags.

    Args:
      preset: name of the model.
      data: folder with the ratings; left out (and not in the file either): MovieLens 100K, fetched if need be.
      output: folder for everything the pipeline writes.
      seed: of the training.
      strategy: of the training, one of `distribution.NAMES`.
      rmse_bound: stars.
      cache: whether results of earlier runs may be taken.
      beam: what runs Beam pipelines, one of `beam_config.RUNNERS`.
      beam_args: more arguments of Beam, instead of those of the file; none: the file's.
      config_file: YAML file with fields of `PipelineConfig`.
      assignments: texts such as "trainer.model.epochs=5".
      progress: told how far fetching is.

    Raises:
      ValueError: something is unknown or out of range (pydantic.ValidationError included), or the data is not there.
    """
    import yaml

    from pipeline.config import pipeline_config as configuration

    layers: list[dict[str, Any]] = []
    if config_file is not None:
        with open(config_file, encoding="utf-8") as file:
            layers.append(yaml.safe_load(file) or {})
        if not isinstance(layers[-1], dict):
            raise ValueError(f"{config_file} must hold fields of the configuration, such as `trainer: {{seed: 7}}`")
    flags = {
        "output": output,
        "cache": cache,
        "data": {"root": data},
        "trainer": {"preset": preset, "seed": seed, "strategy": strategy},
        "evaluator": {"rmse_bound": rmse_bound},
        "beam": {"runner": beam, "args": beam_args or None},
    }
    layers += [_given(flags), configuration.parse_assignments(assignments)]
    asked = configuration.merge(*layers)
    root = asked.get("data", {}).get("root") or _movielens_100k(progress)
    values = configuration.merge({"data": describe_data(root)}, asked)
    values["output"] = locations.absolute(values.get("output", "output"))
    return configuration.PipelineConfig(**values)


def describe_data(root: str) -> dict[str, Any]:
    """The fields of `DataConfig` that a data folder itself tells; of a folder in the cloud, its place alone.

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
    elif any(folder.glob("*.csv")):
        layout = {}
    else:
        raise DataError(
            f"expected {RATINGS_FILE}, or the folders train/ and test/, in {folder}; found neither; "
            "make it with `movie-ranking data prepare` or `movie-ranking data fetch`"
        )
    low, high = Sidecar.read(folder).rating_scale
    return {"root": str(folder), "rating_low": low, "rating_high": high, **layout}


def _movielens_100k(progress: Progress) -> str:
    from data import fetch

    return str(fetch.fetch(progress=progress).folder)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Drops the flags that were not given."""
    kept = {key: _given(value) if isinstance(value, dict) else value for key, value in flags.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}
