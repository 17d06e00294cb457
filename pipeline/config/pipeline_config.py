"""The configuration of a pipeline: typed, checked when built, the same for every runner."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from data.splits import PARTS
from modules import distribution, presets
from modules.errors import UserError
from modules.model_configs import Retrieval
from pipeline.config import assignments as splitting
from pipeline.config import beam_config, locations, submission_parameters
from pipeline.config.beam_config import BeamConfig
from pipeline.config.cluster_config import ClusterConfig

_SHOWN_CHARACTERS = 200
HASHED_SPLITS = ("train", "eval", "test")
# Absolute, so that a run's record, its metadata and the workers of Beam name the same folder from everywhere.
Folder = Annotated[str, pydantic.Field(min_length=1), pydantic.AfterValidator(locations.absolute)]


class _Layer(pydantic.BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Layer):
    """Where the ratings are and what they look like."""

    root: Folder = pydantic.Field(
        description="folder with ratings.csv, or with train/, test/ and perhaps eval/ folders"
    )
    splits: tuple[str, ...] = pydantic.Field(
        HASHED_SPLITS, description="splits that the folder holds, or into which ratings.csv is hashed (72/8/20 %)"
    )
    given: bool = pydantic.Field(False, description="the folder holds the splits, as sub-folders of their names")
    rating_low: float = pydantic.Field(1.0, allow_inf_nan=False, description="lowest rating of the scale, stars")
    rating_high: float = pydantic.Field(5.0, allow_inf_nan=False, description="highest rating of the scale, stars")

    @pydantic.model_validator(mode="after")
    def _check(self) -> DataConfig:
        if not self.rating_low < self.rating_high:
            raise UserError(
                f"rating_low must be below rating_high; got {self.rating_low} and {self.rating_high}; "
                "see rating_scale in the data folder's ratings.json"
            )
        for split in ("train", "test"):
            if split not in self.splits:
                raise UserError(f"splits must have {split!r}; got {', '.join(self.splits)}")
        if not set(self.splits) <= set(PARTS) or len(set(self.splits)) < len(self.splits):
            raise UserError(f"splits must be among {', '.join(PARTS)}, each once; got {', '.join(self.splits)}")
        if not self.given and set(self.splits) != set(HASHED_SPLITS):
            raise UserError(
                f"splits must be {', '.join(HASHED_SPLITS)} where given is false, since ratings are then hashed into "
                f"these; got {', '.join(self.splits)}; set data.given=true if the folder has them, or leave splits out"
            )
        return self

    @property
    def has_eval(self) -> bool:
        """Whether there is a split of its own to choose on."""
        return "eval" in self.splits

    @property
    def fit_splits(self) -> list[str]:
        """What vocabularies and models are fitted on: everything but `test`."""
        return ["train", "eval"] if self.has_eval else ["train"]


class TrainerConfig(_Layer):
    """Which model is fitted, and how."""

    preset: str = pydantic.Field(presets.DEFAULT_PRESET, description=f"one of {', '.join(presets.PRESETS)}")
    seed: int = pydantic.Field(42, ge=0, le=2**32 - 1, description="seeds every random choice of the training")
    strategy: distribution.Name = pydantic.Field(
        "none",
        description="train on one device (none), on every GPU of the machine (mirrored), or on the workers in "
        "TF_CONFIG (multi_worker), each a process of its own; presets that train on one device alone take none",
    )
    model: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="values over the preset's defaults, by field name of its configuration"
    )

    retrieval: Retrieval = pydantic.Field(
        "als_ease",
        description="what the exported model picks titles of the catalogue by: iALS and EASE of who rated what, "
        "weighed by a learned order (als_ease), or nothing (none)",
    )

    @pydantic.field_validator("preset")
    @classmethod
    def _check_preset(cls, preset: str) -> str:
        presets.get(preset)
        return preset

    # Of the field, not of the whole, so that a fault within is named by its key, trainer.model.epochs.
    @pydantic.field_validator("model")
    @classmethod
    def _check_model(cls, model: dict[str, Any], others: pydantic.ValidationInfo) -> dict[str, Any]:
        if "preset" in others.data:
            presets.build_config(others.data["preset"], model)
        return model

    @pydantic.model_validator(mode="after")
    def _check(self) -> TrainerConfig:
        presets.check_strategy(self.preset, self.strategy)
        return self


class EvaluatorConfig(_Layer):
    """What a model must reach to be pushed."""

    rmse_bound: float | None = pydantic.Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="the highest test RMSE that is blessed, stars; left out: the preset's, by the width of the scale",
    )
    max_regression: float = pydantic.Field(
        0.0, ge=0, description="how much higher than the latest blessed model's the RMSE may be, stars"
    )
    baseline: Literal[presets.Baseline, "none"] | None = pydantic.Field(
        None,
        description="the baseline that a model must be better than, by the paired test on the test ratings, or none; "
        "left out: the preset's",
    )
    min_test_ratings: int = pydantic.Field(
        100, ge=1, description="a test split of fewer ratings blesses no model: they would not tell good from bad"
    )
    min_test_users: int = pydantic.Field(20, ge=1, description="a test split of fewer users blesses no model")
    lists_baseline: Literal["popularity", "none"] = pydantic.Field(
        "popularity",
        description="what the lists of a model that recommends must not be worse than, by the paired test on the NDCG "
        "of users: the most rated titles, or none",
    )
    max_ndcg_regression: float = pydantic.Field(
        0.01, ge=0, le=1, description="how much lower than the latest blessed model's the NDCG@10 of lists may be"
    )
    blessed_model: Literal["other", "latest", "none"] = pydantic.Field(
        "other",
        description="the model to compare with: the latest blessed one other than the candidate (so that an unchanged "
        "re-run is not judged anew), the latest blessed one (TFX's own resolver), or none",
    )


class ListsConfig(_Layer):
    """Lists of recommendations that a run leaves behind."""

    top: int | None = pydantic.Field(
        None, ge=1, description="titles in the list of each user of the ratings; left out: a run writes no lists"
    )
    form: Literal["parquet", "csv", "jsonl"] = pydantic.Field("parquet", description="form of the file of lists")


class PipelineConfig(_Layer):
    """Everything that a pipeline depends on."""

    name: str = pydantic.Field("movie-ranking", pattern=r"^[a-z][a-z0-9-]*$", description="name of the pipeline")
    output: Folder = pydantic.Field(
        "output", validate_default=True, description="folder for artifacts, metadata, logs and pushed models"
    )
    data: DataConfig
    trainer: TrainerConfig = pydantic.Field(default_factory=lambda: TrainerConfig())
    evaluator: EvaluatorConfig = pydantic.Field(default_factory=lambda: EvaluatorConfig())
    lists: ListsConfig = pydantic.Field(default_factory=lambda: ListsConfig())
    cache: bool = pydantic.Field(True, description="take the result of a component whose inputs and code are unchanged")
    beam: BeamConfig = pydantic.Field(default_factory=lambda: BeamConfig())
    artifacts: Folder | None = pydantic.Field(
        None, description="folder for artifacts, here or gs://BUCKET/FOLDER; left out: `artifacts` in the output folder"
    )
    runtime_parameters: tuple[submission_parameters.Name, ...] = pydantic.Field(
        (), description="what a compiled pipeline leaves open until it is submitted; a local run leaves nothing open"
    )
    cluster: ClusterConfig = pydantic.Field(default_factory=lambda: ClusterConfig())

    @pydantic.model_validator(mode="after")
    def _check(self) -> PipelineConfig:
        if self.lists.top is not None and self.trainer.retrieval == "none":
            raise UserError(
                f"expected a model that recommends for lists.top {self.lists.top}; got trainer.retrieval none, which "
                "leaves that out; change one"
            )
        job, several = self.cluster.training_job, self.trainer.strategy == "multi_worker"
        if job is not None and (job.workers > 1) != several:
            raise UserError(
                "expected strategy multi_worker for a training job of two workers or more, and another for one; got "
                f"trainer.strategy {self.trainer.strategy} and cluster.training_job.workers {job.workers}; change one"
            )
        # What is missing is said when the configuration is built, not when the first Beam pipeline starts.
        _ = self.beam_args
        return self

    @property
    def beam_args(self) -> list[str]:
        """Arguments of every Beam pipeline."""
        return beam_config.arguments(
            self.beam, self.cluster, pipeline_root=self.pipeline_root, data_root=self.data.root
        )

    @property
    def pipeline_root(self) -> str:
        """Where artifacts go."""
        return self.artifacts or os.path.join(self.output, locations.ARTIFACTS_FOLDER)

    @property
    def is_local(self) -> bool:
        """Whether the output folder is on this machine; elsewhere the platform keeps the metadata."""
        return not locations.is_remote(self.output)

    @property
    def metadata_path(self) -> str:
        """The ML Metadata database of local runs."""
        return os.path.join(self.output, locations.METADATA_FILE)

    @property
    def serving_dir(self) -> str:
        """Where models are pushed, one folder a version."""
        return os.path.join(self.output, locations.SERVING_FOLDER)

    @property
    def rmse_bound(self) -> float:
        """The bound in force, stars."""
        return self.preset_rmse_bound if self.evaluator.rmse_bound is None else self.evaluator.rmse_bound

    @property
    def baseline(self) -> str | None:
        """The baseline in force; None if there is none to beat."""
        return presets.required_baseline(self.evaluator.baseline or self.trainer.preset)

    @property
    def preset_rmse_bound(self) -> float:
        """The preset's bound, which is for a scale that spans four stars, by the width of the scale, stars."""
        width = self.data.rating_high - self.data.rating_low
        return presets.get(self.trainer.preset).rmse_bound * width / 4

    def parameter_default(self, name: submission_parameters.Name) -> submission_parameters.Scalar:
        """The value of a submission parameter where a submission sets none."""
        values: dict[submission_parameters.Name, submission_parameters.Scalar] = {
            "data_root": self.data.root,
            "preset": self.trainer.preset,
            "seed": self.trainer.seed,
            "rmse_bound": float(self.rmse_bound),
            "training_budget": 0,
        }
        return values[name]


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns {"trainer.seed": 7} into {"trainer": {"seed": 7}}.

    Raises:
      UserError: a key goes through the value of another.
    """
    layers: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        place = layers
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UserError(f"{key}: {parent} is already set to a value of its own")
        place[leaf] = value
    return layers


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Turns `trainer.model.epochs=5` into nested values; the right side is read as YAML.

    Raises:
      UserError: no `=`, no YAML, or a key that goes through the value of another.
    """
    texts = splitting.split(assignments, example="trainer.seed=7")
    return nested({key: read_yaml(text, f"{key}={text}") for key, text in texts.items()})


def read_yaml(text: str | bytes, place: str) -> Any:
    """Reads YAML; `place` is where it stands, for the message.

    Raises:
      UserError: it is none.
    """
    import yaml

    from pipeline.config import bounded_yaml

    try:
        return bounded_yaml.load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        fault = ", ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"expected YAML in {place}; got{at}: {fault}{_remedy(fault)}") from error
    except yaml.reader.ReaderError as error:
        # Its position counts bytes where they do not decode, and characters where one is not allowed.
        read = text if isinstance(text, str) or error.encoding != "unicode" else text.decode()
        line = len(read[: error.position].splitlines() or [""])
        raise UserError(
            f"expected YAML in {place}, which is text in UTF-8; got at line {line}: {error.reason}; save it as UTF-8"
        ) from error
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(f"expected YAML in {place}; got a value that cannot be read: {error}") from error


def _remedy(fault: str) -> str:
    """What mends the faults of YAML that people make most."""
    if "'\\t'" in fault:
        return "; indent with blanks, not with tabs"
    if "escape" in fault:
        return "; put it between single quotes, where a backslash is a backslash"
    return ""


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts laid over one another; later ones win.

    Raises:
      UserError: fields are laid over a value of their layer's name, which would be lost.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(value, dict) and not (old is None or isinstance(old, dict)):
                raise UserError(f"expected fields in {key}, such as {', '.join(map(str, value))}; got {key}: {old!r}")
            merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _cut(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def explain(error: pydantic.ValidationError) -> str:
    """A validation error in one line a fault: the key, what is wrong, what was given."""
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "configuration"
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(
            f"{key}: {message} (got {_cut(fault['input'])})" if fault["type"] != "value_error" else f"{key}: {message}"
        )
    return "\n".join(lines)
