"""From flags, files and environment to a `PipelineConfig`."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data.errors import DataError
from data.progress import Progress, silent
from data.sidecar import BINARY, RATINGS_FILE, Sidecar, ratings_files
from data.splits import PARTS
from modules.errors import UserError
from pipeline.config import locations

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import DataConfig, PipelineConfig

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
      UserError: a file, an assignment or the data cannot be used as they are, or do not fit one another.
      pydantic.ValidationError: a field is unknown, or out of range.
    """
    from pipeline.config import pipeline_config as configuration

    asked = layers(values, config_file=config_file, assignments=assignments)
    root = asked["data"].get("root") or _movielens_100k(progress)
    described = describe_data(root)
    config = configuration.PipelineConfig(**configuration.merge({"data": described}, asked))
    if not locations.is_remote(root):
        _check_layout(config.data, described.get("splits", []))
    return config


def layers(values: Mapping[str, Any], *, config_file: str | None, assignments: tuple[str, ...]) -> dict[str, Any]:
    """What file, flags and assignments ask for, laid over one another as nested dicts, `data` always among them.

    Nothing is checked yet but the place of the data, by which their layout is looked up.

    Raises:
      UserError: the file cannot be read or holds no fields, an assignment is none, or the data folder is no text, or
        a file.
    """
    from pipeline.config import pipeline_config as configuration

    given = {} if config_file is None else _fields(config_file)
    asked = configuration.merge(
        {"data": {}}, given, configuration.nested(values), configuration.parse_assignments(assignments)
    )
    root = asked["data"].get("root", ".") if isinstance(asked["data"], dict) else None
    if not isinstance(root, str) or not root:
        raise UserError(
            f"expected a folder in --data or data.root, such as `data: {{root: FOLDER}}`; got data: {asked['data']!r}"
        )
    if os.path.isfile(os.path.expanduser(root)):
        raise UserError(
            f"expected a folder in --data or data.root; got the file {root}; make a folder of it with `movie-ranking "
            f"data prepare {root} --destination FOLDER`, and give that"
        )
    return asked


def _fields(config_file: str) -> dict[str, Any]:
    """The fields that a YAML file holds; none if it is empty."""
    from pipeline.config import pipeline_config as configuration

    try:
        content = pathlib.Path(config_file).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"expected a YAML file with fields; got {config_file}: {error.strerror}") from error
    given = configuration.read_yaml(content, config_file)
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise UserError(
            f"{config_file} must hold fields of the configuration, such as `trainer: {{seed: 7}}`; got {given!r:.200}"
        )
    return given


def describe_data(root: str) -> dict[str, Any]:
    """The fields of `DataConfig` that are read off a data folder itself; of a folder in the cloud, its place alone.

    Raises:
      DataError: the folder has no ratings, some that would be left aside, others than those that its record names, no
        record of their scale, or preferences that are all the same.
      UserError: it is in a place that TFX knows no file system for.
    """
    if locations.is_remote(root):
        return {"root": root}
    folder = pathlib.Path(locations.absolute(root))
    found = {part: files for part in ("", *PARTS) if (files := ratings_files(folder, part))}
    given = [part for part in found if part]
    if not found:
        raise DataError(
            f"expected {RATINGS_FILE}, or the folders train/ and test/ with one each, in {folder}; found neither; "
            "make it with `movie-ranking data prepare` or `movie-ranking data fetch`"
        )
    if given and "" in found:
        raise DataError(
            f"expected the ratings of {folder} there, or in train/ and test/ below; got {found[''][0]} and "
            f"{found[given[0]][0]}; move one of them elsewhere"
        )
    if given and not {"train", "test"} <= set(given):
        raise DataError(
            f"expected ratings in both train/ and test/ of {folder}; got {found[given[0]][0]} alone; add the other, or "
            "make the folder with `movie-ranking data prepare --train FILE --test FILE`"
        )
    sidecar = Sidecar.read(folder)
    sidecar.check_ratings(folder)
    if sidecar.feedback == BINARY:
        raise DataError(
            f"expected ratings that differ in {folder}; got what `data prepare --implicit` makes of counts, 1 for each "
            "pair, of which a rating model has nothing to learn; prepare them with --transform log or rank"
        )
    low, high = sidecar.rating_scale
    scale = {"root": root, "rating_low": low, "rating_high": high}
    return {**scale, "given": True, "splits": given} if given else scale


def _check_layout(asked: DataConfig, given: Sequence[str]) -> None:
    """Refuses a layout of the data other than that of the folder.

    Args:
      asked: the settings, which overrule what was read off the folder.
      given: the splits that the folder holds, or none.

    Raises:
      UserError: the folder has not the splits that are asked for, or has them where none are.
    """
    if asked.given != bool(given):
        holds = f"the splits {', '.join(given)}" if given else "ratings that are not divided"
        raise UserError(
            f"expected data.given={str(bool(given)).lower()} for {asked.root}, which holds {holds}; got "
            f"{str(asked.given).lower()}; leave it out, or give another folder"
        )
    absent = [split for split in asked.splits if given and split not in given]
    if absent:
        raise UserError(
            f"expected data.splits among those of {asked.root}, {', '.join(given)}; got {', '.join(absent)}, too; "
            "leave it out, or add ratings for it"
        )


def _movielens_100k(progress: Progress) -> str:
    from data import fetch

    return str(fetch.fetch(progress=progress).folder)
