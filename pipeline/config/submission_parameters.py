"""What may change from one submission of a compiled pipeline to the next.

The configuration holds a valid value for each; `PipelineConfig.runtime_parameters` names those that a compiled pipeline
leaves open, and the value is then their default. A local run leaves none open.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from modules.errors import UserError
from pipeline.config import assignments as splitting
from pipeline.config import locations

Scalar = str | int | float
Name = Literal["data_root", "preset", "seed", "rmse_bound", "training_budget"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmissionParameter:
    """One value that a submission may set.

    Attributes:
      name: as it is given to `--parameter` and shown by the platform.
      type: str, int or float.
      meaning: one line for help texts.
    """

    name: Name
    type: type[str] | type[int] | type[float]
    meaning: str


PARAMETERS = (
    SubmissionParameter(name="data_root", type=str, meaning="folder of the ratings, laid out as at compile time"),
    SubmissionParameter(name="preset", type=str, meaning="the model"),
    SubmissionParameter(name="seed", type=int, meaning="seeds every random choice of the training"),
    SubmissionParameter(name="rmse_bound", type=float, meaning="the highest test RMSE that is blessed, stars"),
    SubmissionParameter(
        name="training_budget",
        type=int,
        meaning="passes over the ratings: epochs, or sweeps of a sampler; 0: as the preset or trainer.model has it",
    ),
)
NAMES: tuple[Name, ...] = tuple(parameter.name for parameter in PARAMETERS)


def parse(assignments: tuple[str, ...]) -> dict[str, Scalar]:
    """Turns `seed=7` into a value of the parameter's type.

    Raises:
      UserError: no `=`, an unknown name, a value of another type, or a folder that a cluster takes for a pattern.
    """
    types = {parameter.name: parameter.type for parameter in PARAMETERS}
    values: dict[str, Scalar] = {}
    for name, text in splitting.split(assignments, example="seed=7").items():
        if name not in types:
            raise UserError(f"expected a parameter of {', '.join(types)}; got {name!r}")
        kind = types[name]  # type: ignore[index]
        try:
            values[name] = kind(text)
        except ValueError:
            raise UserError(f"{name} must be of type {kind.__name__}; got {text!r}") from None
        if name == "data_root":
            locations.check_no_pattern(text)
    return values
