"""How each model is configured: names, bounds and defaults, apart from the models, which take TensorFlow."""

from __future__ import annotations

from typing import Literal

import pydantic

from modules.errors import UserError

# Batch means take ten batches of two sweeps at least.
_PILOT_SWEEPS = 20


class ModelConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The configuration of a preset's model."""

    def of_short_fit(self) -> ModelConfig:
        """The same for a fit of which a rough model is wanted, and soon."""
        return self


class BayesianConfig(ModelConfig):
    """Size of the model, strength of its priors, length of the chain."""

    form: Literal["expressive", "plain", "cautious", "biases"] | None = pydantic.Field(
        None, description="form of the model; left out: that which rates held-out ratings best"
    )
    form_weight: float = pydantic.Field(
        1.0, ge=0, le=1, description="weight of the form beside the biases; chosen with the form"
    )
    factors: int = pydantic.Field(20, gt=0, description="numbers in the vector of a user and a title, beside the bias")
    iterations: int = pydantic.Field(800, gt=0, description="the most sweeps of the sampler")
    burn_in: int = pydantic.Field(80, ge=0, description="first sweeps that do not count, fewer than iterations")
    tolerance: float = pydantic.Field(
        0.4,
        ge=0,
        description="the chain ends when its Monte Carlo error adds less than this share of the standard error that "
        "the RMSE of as many ratings has",
    )
    pilot_iterations: int = pydantic.Field(
        70, gt=0, description="sweeps of the first of the chains that choose the form; the others need no start"
    )
    pilot_burn_in: int = pydantic.Field(30, ge=0, description="first sweeps of it that do not count")
    export_rank: int = pydantic.Field(64, gt=0, description="numbers in an exported embedding, beside the bias")
    membership_rank: int = pydantic.Field(
        256, gt=0, description="singular vectors of who rated what that describe a user (title)"
    )
    membership_exponent: float = pydantic.Field(
        0.4, ge=0, le=1, description="how far many ratings of a user and of a title make each of them count less there"
    )
    deviation_scale: float = pydantic.Field(
        1.0, gt=0, description="factor on standard deviations of predictions; chosen with the form"
    )

    def of_short_fit(self) -> BayesianConfig:
        """The same with a chain of the length of a pilot."""
        sweeps = {"iterations": self.pilot_iterations, "burn_in": self.pilot_burn_in, "tolerance": 0.0}
        return self.model_copy(update=sweeps)

    @pydantic.model_validator(mode="after")
    def _keeps_sweeps(self) -> BayesianConfig:
        if self.burn_in >= self.iterations:
            raise UserError(f"burn_in must be below iterations; got {self.burn_in} of {self.iterations}; lower burn_in")
        if self.pilot_iterations - self.pilot_burn_in < _PILOT_SWEEPS:
            raise UserError(
                f"pilot_iterations must be at least {_PILOT_SWEEPS} above pilot_burn_in, since fewer sweeps tell no "
                f"Monte Carlo error; got {self.pilot_iterations} and {self.pilot_burn_in}; raise pilot_iterations"
            )
        return self


class HistoryConfig(ModelConfig):
    """Sizes, regularisation and length of the training."""

    dimension: int = pydantic.Field(32, gt=0, description="numbers in the embedding of a user and a title")
    hidden_units: int = pydantic.Field(
        64, ge=0, description="width of the relu layer beside the product; 0 leaves the network out"
    )
    epochs: int = pydantic.Field(5, gt=0, description="passes over the ratings; early stopping lowers it")
    schedule_epochs: int | None = pydantic.Field(
        None,
        gt=0,
        description="passes in which the learning rate falls to zero along a cosine: epochs if not given, else at "
        "least epochs; early stopping keeps it, so that the passes it keeps go as they went",
    )
    steps: int = pydantic.Field(40, gt=0, description="steps an epoch, each over as large a part of the ratings")
    learning_rate: float = pydantic.Field(6e-3, gt=0, description="Adam's first learning rate")
    regularization: float = pydantic.Field(0.05, ge=0, description="weight of the squared vectors of each rating")
    initial_deviation: float = pydantic.Field(0.02, gt=0, description="standard deviation of the initial vectors")
    hidden_share: float = pydantic.Field(0.4, ge=0, lt=1, description="share of the history that a step hides")
    unknown_share: float = pydantic.Field(
        0.01, ge=0, lt=1, description="share of users and titles that a step treats as unknown"
    )
    model_weight: float = pydantic.Field(
        1.0, gt=0, le=1, description="weight of the model beside user and title biases; chosen with the epochs"
    )
    history_damping: float = pydantic.Field(
        3.0, gt=0, description="a pool over n ratings counts n / (n + this): a short history says little"
    )

    @pydantic.model_validator(mode="after")
    def _schedule_covers_epochs(self) -> HistoryConfig:
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise UserError(
                f"schedule_epochs must be at least epochs; got {self.schedule_epochs} for {self.epochs}; "
                "raise it or leave it out"
            )
        return self


# What titles of the catalogue are picked by; with `none`, none are.
Retrieval = Literal["als_ease", "none"]


class RetrievalConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The models of who rated what, and the order that weighs them."""

    dimension: int = pydantic.Field(48, gt=0, description="numbers in iALS's vector of a user and a title")
    rounds: int = pydantic.Field(
        5, gt=0, description="first passes of iALS over users and titles; two follow with each change"
    )
    unobserved_weight: float = pydantic.Field(
        0.3, gt=0, description="weight of every pair of user and title in iALS, beside up to 1 of a rating"
    )
    regularization: float = pydantic.Field(0.26, gt=0, description="of iALS; where the search starts")
    exponent: float = pydantic.Field(
        0.5, ge=0, le=1, description="how fast the regularization grows with the number of ratings"
    )
    ease_penalty: float = pydantic.Field(150.0, gt=0, description="of EASE; where the search starts")
    ease_rank: int = pydantic.Field(256, gt=0, description="rank of EASE for catalogues too large for the whole matrix")
    searches: int = pydantic.Field(
        3, ge=0, description="settings of each model tried beside the first on held-out lists; 0 keeps the first"
    )


class NotebookConfig(ModelConfig):
    """What the notebook wrote as constants."""

    embedding_dimension: int = pydantic.Field(32, gt=0, description="numbers in the embedding of a user and a title")
    hidden_units: tuple[pydantic.PositiveInt, ...] = pydantic.Field(
        (256, 64), description="widths of the relu layers between the embeddings and the rating"
    )
    learning_rate: float = pydantic.Field(0.1, gt=0, description="Adagrad's learning rate")
    batch_size: int = pydantic.Field(8192, gt=0, description="ratings in a step")
    epochs: int = pydantic.Field(3, gt=0, description="passes over the ratings")
