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
    """A sweep that returns the state it leaves behind."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.float32)])
    def sweep(iteration: tf.Tensor, prior_rate: tf.Tensor) -> list[tf.Tensor]:
        sampler.sweep(iteration, prior_rate)
        return [variable.read_value() for variable in variables(sampler)]

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
_ALPHA_SHAPE, _ALPHA_RATE = 6.0, 36.0
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


def by_side(state: list[np.ndarray]) -> list[list[np.ndarray]]:
    half = (len(state) - 1) // 2
    return [state[1 : 1 + half], state[1 + half :]]


def scores_and_precisions(state: list[np.ndarray], form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Of each rating, float [..., ratings]."""
    (users, of_user), (titles, of_title) = (part[:2] for part in by_side(state))
    products = users[..., USER, :] * titles[..., TITLE, :]
    scores = users[..., USER, 0] + titles[..., TITLE, 0] + form.has_factors * products[..., 1:].sum(axis=-1)
    return scores, state[0][..., np.newaxis] * of_user[..., USER] * of_title[..., TITLE]


def squash(value: np.ndarray) -> np.ndarray:
    return value / (1.0 + np.abs(value))


def functions_of(
    states: list[np.ndarray], ratings: np.ndarray, sampler: GibbsSampler, form: Form
) -> dict[str, np.ndarray]:
    """Functions of parameters and ratings, float [draws], whose means have to agree."""
    size = SIZE if form.has_factors else 1  # Numbers of a vector that count.
    scores, precisions = scores_and_precisions(states, form)
    found = {
        "alpha": np.log(states[0]),
        "error": np.log(1e-3 + precisions * (ratings - scores) ** 2),
        "score": squash(scores**2),
        "score x rating": squash(scores * ratings),
    }
    for name, side, part in zip(NAMES, (sampler.users, sampler.titles), by_side(states), strict=True):
        vectors, noise, precision, intercept, shape, *of_blocks = part
        blocks = [(each.block, of_blocks[3 * i : 3 * i + 3]) for i, each in enumerate(side.regressions)]
        mean = intercept[:, np.newaxis] + sum(block.left @ effect for block, (effect, *_) in blocks)
        deviation = ((vectors - mean) * np.sqrt(precision[:, np.newaxis]))[..., :size]
        found |= {
            f"{name} lambda of bias": np.log(precision[:, 0]),
            f"{name} beta0": squash(intercept[:, :size]),
            f"{name} beta0^2": squash((intercept**2 * precision)[:, :size]),
            f"{name} w": squash(vectors[..., :size]),
            f"{name} bias^2": squash(vectors[..., 0] ** 2),
            f"{name} (w - mean)^2": deviation**2,
            f"{name} w - mean": deviation,
        }
        if form.has_factors:
            found[f"{name} lambda of factors"] = np.log(precision[:, 1:])
            found[f"{name} factor^2"] = squash(vectors[..., 1:] ** 2)
            found[f"{name} product"] = squash(vectors[..., 1] * vectors[..., 2])
        if form.learns_noise:  # Else nu is drawn, and has no effect.
            found |= {f"{name} nu": np.log(shape), f"{name} a": noise, f"{name} log a": np.log(1e-3 + noise)}
            found[f"{name} a^2"] = squash(noise**2)
        for block, (effect, total, rank) in blocks:
            squares = effect[..., :size] ** 2
            found |= {
                f"{name} {block.name} effect": squash(effect[..., :size]),
                f"{name} {block.name} size": np.log(1e-3 + squares.sum(axis=1) * precision[:, :size]),
                f"{name} {block.name} spectrum": np.log1p(squares[:, 0]) - np.log1p(squares[:, -1]),
                f"{name} {block.name} gamma^2 / v": np.log1p(precision * total)[:, :size],
                f"{name} {block.name} v > 0": rank[:, :size] > 0,
            }
    return {name: each.reshape(len(each), -1).mean(axis=1) for name, each in found.items()}


def geweke(form: Form, *, sweeps: int, draws: int, seed: int = 0) -> dict[str, float]:
    """How many standard errors the means of both simulators are apart, by name of the function."""
    rng = np.random.default_rng(seed)
    sampler = make_sampler(form, seed=seed)
    sampler.alpha_shape, sampler.alpha_rate = _ALPHA_SHAPE, _ALPHA_RATE

    def rate(state: list[np.ndarray]) -> np.ndarray:
        scores, precisions = scores_and_precisions(state, form)
        return scores + rng.normal(size=scores.shape) / np.sqrt(precisions)

    independent = [draw_from_prior(sampler, form, rng) for _ in range(draws)]
    state = independent[-1]
    for variable, value in zip(variables(sampler), state, strict=True):
        variable.assign(value)
    sweep, chain, rated = compiled(sampler), [], []
    for iteration in range(sweeps):
        rated.append(rate(state))
        for side in (sampler.users, sampler.titles):
            side.ratings.set_targets(rated[-1])
        state = [each.numpy() for each in sweep(tf.constant(iteration), tf.constant(_RATE))]
        chain.append(state)

    def stacked(states: list[list[np.ndarray]]) -> list[np.ndarray]:
        return [np.stack(each).astype(np.float64) for each in zip(*states, strict=True)]

    prior, after = stacked(independent), stacked(chain)
    one = functions_of(prior, rate(prior), sampler, form)
    other = functions_of(after, np.stack(rated), sampler, form)
    apart = {}
    for name in one:
        # Draws of a chain depend on each other, means of long batches hardly.
        batches = other[name].reshape(_BATCHES, -1).mean(axis=1)
        error = np.sqrt(one[name].var(ddof=1) / draws + batches.var(ddof=1) / _BATCHES)
        apart[name] = float((batches.mean() - one[name].mean()) / error)
    return apart


@pytest.mark.parametrize("form", [EXPRESSIVE, FIXED_NOISE, BIASES], ids=["expressive", "fixed noise", "biases"])
def test_both_simulators_of_the_joint_distribution_agree(form: Form, monkeypatch) -> None:
    monkeypatch.setattr(gibbs_sampler, "_PRECISION_SHAPE", _SHAPE)
    monkeypatch.setattr(gibbs_sampler, "_PRECISION_RATE", _RATE)
    apart = geweke(form, sweeps=5000, draws=5000)
    assert {name: z for name, z in apart.items() if not abs(z) < 4} == {}
