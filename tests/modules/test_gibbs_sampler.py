"""The sampler: its conditionals against closed forms, and all of it by Geweke's joint distribution test."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from modules import gibbs_sampler, prior_blocks
from modules.gibbs_sampler import EXPONENTS, Draws, Form, GibbsSampler, Side
from modules.rating_sums import BucketedRatings

SCALES, NOISE_SHAPES = gibbs_sampler._SCALES, gibbs_sampler._NOISE_SHAPES
EXPRESSIVE = Form(learns_exponents=True)
FIXED_NOISE = Form(learns_noise=False)
BIASES = Form(has_factors=False)
FACTORS = 2
SIZE = 1 + FACTORS
NAMES = ("users", "titles")
# Five users and six titles; the last title has no rating.
USER = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4])
TITLE = np.array([0, 1, 2, 3, 0, 2, 4, 1, 2, 3, 4, 0, 3, 4, 1, 0])
TARGET = np.random.default_rng(3).normal(size=len(USER))


def make_side(row: np.ndarray, column: np.ndarray, rows: int, columns: int, *, names: tuple[str, ...]) -> Side:
    """A side with the named blocks; one row is not described."""
    features = np.random.default_rng(rows).normal(size=(rows, 2)).astype(np.float32)
    features[1] = 0
    ratings = BucketedRatings(row, column, rows=rows, columns=columns, size=SIZE)
    ratings.set_targets(TARGET)
    blocks = [
        prior_blocks.membership(row, column, shape=(rows, columns), exponent=0.5, rank=2, seed=0),
        prior_blocks.side_features(features, seed=0),
        prior_blocks.counts(ratings.count, seed=0),
    ]
    return Side(ratings, [block for block in blocks if block.name in names], size=SIZE)


def make_sampler(form: Form = EXPRESSIVE, names: tuple[str, ...] = prior_blocks.NAMES, seed: int = 0) -> GibbsSampler:
    users, titles = make_side(USER, TITLE, 5, 6, names=names), make_side(TITLE, USER, 6, 5, names=names)
    sampler = GibbsSampler(users, titles, ratings=len(USER), residual=0.7, seed=seed)
    sampler.start(form)
    return sampler


def compiled(sampler: GibbsSampler) -> Any:
    """A sweep, with all that it leaves behind."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.float32)])
    def sweep(iteration: tf.Tensor, prior_rate: tf.Tensor) -> tuple[Any, ...]:
        draw = sampler.sweep(iteration, prior_rate)
        return draw, [variable.read_value() for variable in variables(sampler)]

    return sweep


def variables(sampler: GibbsSampler) -> list[tf.Variable]:
    found = [sampler.alpha]
    for side in (sampler.users, sampler.titles):
        found += [side.vectors, side.noise_precision, side.prior_precision, side.intercept, side.noise_shape]
        for regression in side.regressions:
            found += [regression.effect, regression.square, regression.rank]
    return found


# --- Geweke 2004, "Getting it right: joint distribution tests of posterior simulators" ---------------------------------
#
# Parameters drawn from the prior have the same distribution as those of a chain in which a sweep given the ratings and
# ratings drawn given the parameters take turns. The priors of lambda and alpha are narrower than the sampler's own, and
# there is more noise, so that no moment is infinite and the chain forgets soon.

_SHAPE, _RATE = 4.0, 4.0  # of lambda
_ALPHA_SHAPE, _ALPHA_RATE = 6.0, 12.0
_BATCHES = 50


def draw_from_prior(sampler: GibbsSampler, form: Form, rng: np.random.Generator) -> list[np.ndarray]:
    """Values of `variables`, from the equations of the model."""
    drawn = [np.array(rng.gamma(_ALPHA_SHAPE) / _ALPHA_RATE)]
    for side in (sampler.users, sampler.titles):
        rows = len(side.ratings.count)
        precision = rng.gamma(_SHAPE, size=SIZE) / _RATE
        intercept = rng.normal(size=SIZE) / np.sqrt(precision)
        mean, of_blocks = np.tile(intercept, (rows, 1)), []
        for regression in side.regressions:
            block = regression.block
            exponent = rng.choice(EXPONENTS) if form.learns_exponents and block.is_shared else 1.0
            singular = block.singular**exponent
            singular *= np.linalg.norm(block.singular) / np.linalg.norm(singular)
            scale = np.full(SIZE, rng.choice(SCALES)) if block.is_shared else rng.choice(SCALES, SIZE)
            standard = rng.normal(size=(len(singular), SIZE)) / np.sqrt(precision)  # gamma / sqrt(v)
            effect = singular[:, np.newaxis] * scale * standard
            mean += block.left @ effect
            of_blocks += [effect, (scale > 0) * np.sum(standard**2, axis=0), (scale > 0) * float(len(singular))]
        vectors = mean + rng.normal(size=(rows, SIZE)) / np.sqrt(precision)
        shape = rng.choice(NOISE_SHAPES)
        noise = rng.gamma(shape, size=rows) / shape if form.learns_noise else np.ones(rows)
        drawn += [vectors, noise, precision, intercept, np.array(shape), *of_blocks]
    return drawn


def scores_and_precisions(state: list[np.ndarray], form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Of each rating, float [ratings]."""
    (users, of_user), (titles, of_title) = ((part[0], part[1]) for part in _by_side(state))
    scores = users[USER, 0] + titles[TITLE, 0]
    if form.has_factors:
        scores = scores + np.sum(users[USER, 1:] * titles[TITLE, 1:], axis=1)
    return scores, state[0] * of_user[USER] * of_title[TITLE]


def _by_side(state: list[np.ndarray]) -> list[list[np.ndarray]]:
    half = (len(state) - 1) // 2
    return [state[1 : 1 + half], state[1 + half :]]


def squash(value: np.ndarray) -> np.ndarray:
    return value / (1.0 + np.abs(value))


def features_of(state: list[np.ndarray], sampler: GibbsSampler, ratings: np.ndarray, form: Form) -> dict[str, float]:
    """Functions of parameters and ratings, whose means have to agree."""
    dims = slice(0, SIZE if form.has_factors else 1)
    scores, precisions = scores_and_precisions(state, form)
    found = {
        "alpha": np.log(state[0]),
        "error": np.mean(np.log(1e-3 + precisions * (ratings - scores) ** 2)),
        "score": np.mean(squash(scores**2)),
        "score x rating": np.mean(squash(scores * ratings)),
    }
    for name, side, part in zip(NAMES, (sampler.users, sampler.titles), _by_side(state), strict=True):
        vectors, noise, precision, intercept, shape, *of_blocks = part
        mean = intercept + sum(each.block.left @ of_blocks[3 * i] for i, each in enumerate(side.regressions))
        deviation = ((vectors - mean) * np.sqrt(precision))[:, dims]
        square = (intercept * np.sqrt(precision))[dims] ** 2
        found |= {
            f"{name} lambda of bias": np.log(precision[0]),
            f"{name} beta0": np.mean(squash(intercept[dims])),
            f"{name} beta0^2": np.mean(squash(square)),
            f"{name} w": np.mean(squash(vectors[:, dims])),
            f"{name} bias^2": np.mean(squash(vectors[:, 0] ** 2)),
            f"{name} (w - mean)^2": np.mean(deviation**2),
            f"{name} mean of (w - mean)": np.mean(deviation),
        }
        if form.has_factors:
            found[f"{name} lambda of factors"] = np.mean(np.log(precision[1:]))
            found[f"{name} w^2"] = np.mean(squash(vectors[:, 1:] ** 2))
            found[f"{name} product"] = np.mean(squash(vectors[:, 1] * vectors[:, 2]))
        found[f"{name} nu"] = np.log(shape)
        if form.learns_noise:
            found |= {f"{name} a": np.mean(noise), f"{name} log a": np.mean(np.log(1e-3 + noise))}
            found[f"{name} a^2"] = np.mean(squash(noise**2))
        for i, regression in enumerate(side.regressions):
            effect, total, rank = of_blocks[3 * i : 3 * i + 3]
            block = f"{name} {regression.block.name}"
            found |= {
                f"{block} effect": np.mean(squash(effect[:, dims])),
                f"{block} size": np.mean(np.log(1e-3 + np.sum(effect[:, dims] ** 2, axis=0) * precision[dims])),
                f"{block} spectrum": np.mean(np.log1p(effect[0, dims] ** 2) - np.log1p(effect[-1, dims] ** 2)),
                f"{block} gamma^2 / v": np.mean(np.log1p(precision[dims] * total[dims])),
                f"{block} v > 0": np.mean(rank[dims] > 0),
            }
    if not form.learns_noise:  # nu is drawn, and has no effect.
        found = {name: value for name, value in found.items() if not name.endswith(" nu")}
    return {name: float(value) for name, value in found.items()}


def geweke(form: Form, *, sweeps: int, draws: int, seed: int = 0) -> dict[str, float]:
    """How many standard errors the means of both simulators are apart, by name of the function."""
    rng = np.random.default_rng(seed)
    sampler = make_sampler(form, seed=seed)
    sampler.alpha_shape, sampler.alpha_rate = _ALPHA_SHAPE, _ALPHA_RATE

    def rate(state: list[np.ndarray]) -> np.ndarray:
        scores, precisions = scores_and_precisions(state, form)
        return scores + rng.normal(size=len(scores)) / np.sqrt(precisions)

    independent = []
    for _ in range(draws):
        state = draw_from_prior(sampler, form, rng)
        independent.append(features_of(state, sampler, rate(state), form))
    for variable, value in zip(variables(sampler), state, strict=True):
        variable.assign(value)
    sweep, chain = compiled(sampler), []
    for iteration in range(sweeps):
        ratings = rate(state)
        for side in (sampler.users, sampler.titles):
            side.ratings.set_targets(ratings)
        state = [each.numpy().astype(np.float64) for each in sweep(tf.constant(iteration), tf.constant(_RATE))[1]]
        chain.append(features_of(state, sampler, ratings, form))
    names = list(independent[0])
    one, other = (np.array([list(each.values()) for each in part]) for part in (independent, chain))
    batches = other.reshape(_BATCHES, -1, len(names)).mean(axis=1)
    error = np.sqrt(one.var(axis=0, ddof=1) / draws + batches.var(axis=0, ddof=1) / _BATCHES)
    geweke.last = (names, one, other)
    return dict(zip(names, (other.mean(axis=0) - one.mean(axis=0)) / error, strict=True))


@pytest.mark.parametrize("form", [EXPRESSIVE, FIXED_NOISE, BIASES], ids=["expressive", "fixed noise", "biases"])
def test_both_simulators_of_the_joint_distribution_agree(form: Form, monkeypatch) -> None:
    monkeypatch.setattr(gibbs_sampler, "_PRECISION_SHAPE", _SHAPE)
    monkeypatch.setattr(gibbs_sampler, "_PRECISION_RATE", _RATE)
    apart = geweke(form, sweeps=5000, draws=5000)
    assert {name: z for name, z in apart.items() if not abs(z) < 4} == {}
