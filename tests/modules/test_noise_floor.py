"""The default preset comes near the best that any predictor can do, on ratings whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from data import synthetic
from modules import features, presets, trainer
from modules.baselines import UserTitleBias
from modules.metrics import rmse
from modules.ratings import Ratings

# Enough ratings a user and a title to tell their factors: with fewer, nobody comes this near.
ROWS, USERS, TITLES, RANK = 36_000, 200, 220, 2
CLOSE = 1.03


@pytest.mark.slow
def test_the_default_preset_is_within_three_percent_of_the_noise_floor() -> None:
    made = synthetic.generate(ROWS, seed=11, users=USERS, titles=TITLES, rank=RANK)
    held_out = np.random.default_rng(0).random(ROWS) < 0.1
    everything = Ratings(
        user=made.user,
        title=made.title,
        rating=made.rating,
        num_users=USERS,
        num_titles=TITLES,
        low=1.0,
        high=5.0,
        user_features=np.zeros((USERS, features.USER_FEATURES_SIZE), np.float32),
        title_features=np.zeros((TITLES, features.TITLE_FEATURES_SIZE), np.float32),
    )
    train, test = everything.select(~held_out), everything.select(held_out)
    floor = rmse(test.rating, made.expected[held_out])

    model, *_ = trainer.train(train, None, preset=presets.DEFAULT_PRESET, values={}, seed=0)
    predictions = model({"user_id": test.user, "movie_title": test.title}).numpy()[:, 0]
    error = rmse(test.rating, np.clip(predictions, 1.0, 5.0))
    # Chance alone goes below the floor, and not far.
    assert 0.99 * floor < error < CLOSE * floor
    # It takes more than biases to come there.
    bias = UserTitleBias.fit(train).predict(test.user, test.title)
    assert rmse(test.rating, bias) > 1.15 * floor
