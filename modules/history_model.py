"""Preset `fast`: a gradient-trained model whose embeddings pool what a user, or a title, was rated.

The model. With row u of the users (titles alike, with the roles exchanged):
  p_u = e_u + W x_u + (sum over its ratings j of (r_uj - m_j) y_j + z_j) / sqrt(their number),
  r_ui = mean + b_u + b_i + p_u . q_i + MLP([p_u, q_i]),
where b is one of the numbers of p, x are side features and m_j is title j's damped mean. Every step hides the ratings
it is trained on, and a random part of the others, from the pooled sums: a sum that held the rating to predict would
give it away. The sums are centred by the other side's mean for the same reason: the user's own mean holds it too.

Source: Koren 2008, "Factorization meets the neighborhood: a multifaceted collaborative filtering model" (the pooled
sums, for users), here on both sides, hidden at random as in denoising autoencoders (Vincent et al. 2008).

After training the sums over all ratings are added up once, so that the exported model holds plain embeddings.

Cost: an epoch takes `steps` steps, whatever the size of the data, each a few sparse products over all ratings: it is
linear in ratings (steps x ratings x dimension). Memory: about 40 bytes a rating, and 16 (4 dimension + 2) bytes a user
and a title; no users x titles array is ever held.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import pydantic
import tensorflow as tf
import tensorflow_recommenders as tfrs

from modules.baselines import TitleMean
from modules.features import MOVIE_TITLE, TITLE_FEATURES, USER_FEATURES, USER_ID, USER_RATING
from modules.ratings import Ratings


class HistoryConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Sizes, regularisation and length of the training."""

    dimension: int = pydantic.Field(32, gt=0, description="numbers in the embedding of a user and a title")
    hidden_units: int = pydantic.Field(64, gt=0, description="width of the relu layer beside the product")
    epochs: int = pydantic.Field(5, gt=0, description="passes over the ratings; early stopping lowers it")
    schedule_epochs: int = pydantic.Field(
        5, gt=0, description="passes in which the learning rate falls to zero along a cosine, at least epochs"
    )
    steps: int = pydantic.Field(40, gt=0, description="steps an epoch, each over as large a part of the ratings")
    learning_rate: float = pydantic.Field(2e-3, gt=0, description="Adam's first learning rate")
    regularization: float = pydantic.Field(0.05, ge=0, description="weight of the squared embeddings of each rating")
    hidden_share: float = pydantic.Field(0.4, ge=0, lt=1, description="share of the history that a step hides")
