"""The sampler: its conditionals against closed forms, and all of it by Geweke's joint distribution test."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from modules import gibbs_sampler, prior_blocks
from modules.gibbs_sampler import EXPONENTS, Draws, Form, GibbsSampler, Side
from modules.rating_sums import BucketedRatings
from tests.support import operations_of

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
        return [variable.read_value() for variable in sampler.variables()]

    return sweep


# --- Conditionals, one by one -----------------------------------------------------------------------------------------


class Recorder(Draws):
    """Keeps what is asked for, and gives normal numbers and categories that a test sets."""

    def __init__(self, seed: int = 0, iteration: Any = 0, *, normal: float | None = 0.0, point: Any = None) -> None:
        super().__init__(seed, tf.convert_to_tensor(iteration, tf.int32))
        self.gammas: list[tuple[np.ndarray, np.ndarray]] = []
        self.weights: list[np.ndarray] = []
        self._normal, self._point = normal, point

    def normal(self, shape: Any) -> tf.Tensor:
        return super().normal(shape) if self._normal is None else tf.fill(shape, self._normal)

    def gamma(self, shape: Any, rate: Any) -> tf.Tensor:
        self.gammas.append(tuple(np.array(each) for each in (shape, rate)))
        return super().gamma(shape, rate)

    def category(self, log_weights: tf.Tensor) -> tf.Tensor:
        self.weights.append(log_weights.numpy())
        return super().category(log_weights) if self._point is None else tf.constant(self._point, tf.int32)

    def probabilities(self) -> np.ndarray:
        """Of the last category, along the first axis."""
        return normalised(self.weights[-1])


def normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return weights / weights.sum(axis=0)


@pytest.fixture
def sampler() -> GibbsSampler:
    """A sampler in a state that has nothing equal or zero."""
    made, rng = make_sampler(), np.random.default_rng(11)
    for side in (made.users, made.titles):
        side.vectors.assign(rng.normal(size=side.vectors.shape))
        side.noise_precision.assign(rng.uniform(0.5, 2, side.noise_precision.shape))
        side.prior_precision.assign(rng.uniform(1, 3, SIZE))
        side.intercept.assign(rng.normal(size=SIZE))
        side.noise_shape.assign(4.0)
        for regression in side.regressions:
            regression.effect.assign(rng.normal(size=regression.effect.shape))
            regression.square.assign(rng.uniform(1, 3, SIZE))
            regression.rank.assign([2, 0, 2])
    made.alpha.assign(1.5)
    return made


def design(regression: Any, exponent: float = 1.0) -> np.ndarray:
    """X of a block, its singular values to a power and rescaled to the same sum of squares."""
    singular = regression.block.singular**exponent
    return regression.block.left * singular * np.linalg.norm(regression.block.singular) / np.linalg.norm(singular)


def grid(block: prior_blocks.Block) -> list[tuple[float, float]]:
    """Exponents and v."""
    return [(exponent, scale**2) for exponent in (EXPONENTS if block.is_shared else (1.0,)) for scale in SCALES]


def block_and_outside(side: Side, position: int) -> tuple[Any, list[Any], np.ndarray, np.ndarray, np.ndarray]:
    """A block, the others, w without these and beta0; shape and rate of lambda before w is seen, for a rate of 0.3."""
    regression = side.regressions[position]
    others = [each for each in side.regressions if each is not regression]
    residual = (
        side.vectors.numpy() - side.intercept.numpy() - sum(each.block.left @ each.effect.numpy() for each in others)
    )
    number = 1 + sum(each.rank.numpy() for each in others)
    squares = side.intercept.numpy() ** 2 + sum(each.square.numpy() for each in others)
    return regression, others, residual.astype(np.float64), 1 + number / 2, 0.3 + squares / 2


@pytest.mark.parametrize("position", [0, 1, 2], ids=prior_blocks.NAMES)
@pytest.mark.parametrize("form", [EXPRESSIVE, Form()], ids=["exponents", "no exponents"])
def test_the_scale_of_a_block_has_the_probabilities_of_a_student_distribution(
    sampler: GibbsSampler, position: int, form: Form
) -> None:
    """With gamma and lambda integrated out, w is Student: dense covariance matrices, nothing decomposed."""
    regression, others, residual, shape, rate = block_and_outside(sampler.titles, position)
    regression.take(form)
    draw = Recorder()
    sampler.titles._draw_block(regression, others, tf.constant(residual, tf.float32), tf.constant(0.3), draw)
    log_weights = np.full((len(grid(regression.block)), SIZE), -np.inf)
    for point, (exponent, variance) in enumerate(grid(regression.block)):
        if exponent != 1.0 and not form.learns_exponents:
            continue
        matrix = design(regression, exponent)
        covariance = np.eye(6) + variance * matrix @ matrix.T
        for k in range(SIZE):
            student = stats.multivariate_t(shape=rate[k] / shape[k] * covariance, df=2 * shape[k])
            log_weights[point, k] = student.logpdf(residual[:, k])
    expected = log_weights.sum(axis=1) if regression.block.is_shared else log_weights
    np.testing.assert_allclose(draw.probabilities(), normalised(expected), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("position", [0, 1, 2], ids=prior_blocks.NAMES)
@pytest.mark.parametrize("scale", [0, 5, 12])
def test_lambda_and_the_regression_have_their_posteriors(sampler: GibbsSampler, position: int, scale: int) -> None:
    regression, others, residual, shape, rate = block_and_outside(sampler.titles, position)
    point = scale + len(SCALES) * (2 if regression.block.is_shared else 0)
    exponent, variance = grid(regression.block)[point]
    matrix = design(regression, exponent)
    effects = []
    for normal in (0.0, 1.0):
        draw = Recorder(normal=normal, point=point if regression.block.is_shared else [point] * SIZE)
        sampler.titles._draw_block(regression, others, tf.constant(residual, tf.float32), tf.constant(0.3), draw)
        effects.append(regression.effect.numpy())
        quadratic = np.sum(residual * np.linalg.solve(np.eye(6) + variance * matrix @ matrix.T, residual), axis=0)
        np.testing.assert_allclose(draw.gammas[0][0], shape + 6 / 2, rtol=1e-6)
        np.testing.assert_allclose(draw.gammas[0][1], rate + quadratic / 2, rtol=1e-4)
    precision = sampler.titles.prior_precision.numpy()
    singular = np.linalg.norm(matrix, axis=0)
    if not variance:
        assert not np.any(effects)
        assert not np.any(regression.square)
        assert not np.any(regression.rank)
        return
    covariance = np.linalg.inv(matrix.T @ matrix + np.eye(len(singular)) / variance)
    gamma = covariance @ matrix.T @ residual
    np.testing.assert_allclose(effects[0], singular[:, np.newaxis] * gamma, rtol=1e-3, atol=1e-5)
    deviation = singular[:, np.newaxis] * np.sqrt(np.diag(covariance)[:, np.newaxis] / precision)
    np.testing.assert_allclose(effects[1] - effects[0], deviation, rtol=1e-3)
    square = np.sum((effects[1] / singular[:, np.newaxis]) ** 2, axis=0) / variance
    np.testing.assert_allclose(regression.square, square, rtol=1e-4)
    np.testing.assert_array_equal(regression.rank, [len(singular)] * SIZE)


def test_scales_of_counts_are_drawn_for_each_dimension(sampler: GibbsSampler) -> None:
    regression, others, residual, *_ = block_and_outside(sampler.titles, 2)
    draw = Recorder(point=[0, 5, 12])
    sampler.titles._draw_block(regression, others, tf.constant(residual, tf.float32), tf.constant(0.3), draw)
    np.testing.assert_array_equal(regression.rank, [0, 2, 2])
    np.testing.assert_array_equal(np.any(regression.effect, axis=0), [False, True, True])
    spread = 1 / (1 + 1 / (np.square(SCALES)[[0, 5, 12], np.newaxis] * regression.block.singular**2 + 1e-30))
    np.testing.assert_allclose(regression.effect, spread.T * (regression.block.left.T @ residual), rtol=1e-4, atol=1e-6)


def test_blocks_are_drawn_one_after_the_other_and_then_the_intercept(sampler: GibbsSampler) -> None:
    """Each of what the blocks before it, already drawn, leave."""
    side, twin = sampler.titles, make_sampler().titles
    for variable, other in zip(twin.variables(), side.variables(), strict=True):
        variable.assign(other)
    side.draw_prior(tf.constant([1.0, 0.3, 0.3]), Draws(0, tf.constant(7)))
    draw = Draws(0, tf.constant(7))
    for position in range(3):
        regression, others, residual, *_ = block_and_outside(twin, position)
        residual = tf.constant(residual, tf.float32)
        twin._draw_block(regression, others, residual, tf.constant([1.0, 0.3, 0.3]), draw)
    twin._draw_intercept(twin.vectors - sum(each.mean() for each in twin.regressions), draw)
    for variable, other in zip(side.variables(), twin.variables(), strict=True):
        np.testing.assert_allclose(variable, other, rtol=1e-3, atol=1e-4)


def test_lambda_without_blocks_and_the_intercept_have_their_conditionals() -> None:
    side = make_sampler(names=()).users
    vectors = np.random.default_rng(0).normal(size=(5, SIZE)).astype(np.float32)
    side.vectors.assign(vectors)
    side.intercept.assign([0.5, -1.0, 2.0])
    draws = Recorder(normal=0.0), Recorder(normal=1.0)
    side.draw_prior(tf.constant([1.0, 0.3, 0.3]), draws[0])
    ((shape, rate),) = draws[0].gammas
    assert shape == 1 + (5 + 1) / 2
    squares = np.sum((vectors - [0.5, -1.0, 2.0]) ** 2, axis=0) + np.square([0.5, -1.0, 2.0])
    np.testing.assert_allclose(rate, [1.0, 0.3, 0.3] + squares / 2, rtol=1e-5)
    np.testing.assert_allclose(side.intercept, vectors.sum(axis=0) / 6, rtol=1e-4, atol=1e-6)
    side.draw_prior(tf.constant([1.0, 0.3, 0.3]), draws[1])
    deviation = 1 / np.sqrt(6 * side.prior_precision.numpy())
    np.testing.assert_allclose(side.intercept - vectors.sum(axis=0) / 6, deviation, rtol=1e-4)
    np.testing.assert_allclose(side.prior_mean(), np.tile(side.intercept, (5, 1)))


def conditional(sampler: GibbsSampler) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of each user's w, rating by rating."""
    side, q, lambdas = sampler.users, sampler.titles.vectors.numpy(), sampler.users.prior_precision.numpy()
    prior = side.intercept.numpy() + sum(each.block.left @ each.effect.numpy() for each in side.regressions)
    means, covariances = [], []
    for user in range(5):
        precision, target = np.diag(lambdas).astype(np.float64), lambdas * prior[user]
        for u, i, y in zip(USER, TITLE, TARGET, strict=True):
            if u == user:
                known = np.array([1.0, *q[i, 1:]])
                scale = 1.5 * side.noise_precision.numpy()[u] * sampler.titles.noise_precision.numpy()[i]
                precision += scale * np.outer(known, known)
                target = target + scale * (y - q[i, 0]) * known
        covariances.append(np.linalg.inv(precision))
        means.append(covariances[-1] @ target)
    return np.array(means), np.array(covariances)


def test_vectors_are_drawn_from_their_conditional(sampler: GibbsSampler) -> None:
    expected, covariances = conditional(sampler)
    own = sampler.users.noise_precision.numpy()

    @tf.function(autograph=False)
    def draw(iteration: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        sampler.users.noise_precision.assign(own)
        mean, _ = sampler.users.draw_vectors_and_noise(sampler.titles, sampler.alpha, Draws(0, iteration))
        return mean, sampler.users.vectors.read_value()

    draws = [draw(tf.constant(iteration)) for iteration in range(2000)]
    np.testing.assert_allclose(draws[0][0], expected, rtol=1e-4, atol=1e-5)
    vectors = np.array([vector for _, vector in draws])
    for user in range(5):
        deviation = np.sqrt(np.diag(covariances[user]))
        # Standard errors over 2000 draws: 0.022 deviations of a mean, 0.022 of a correlation.
        np.testing.assert_allclose((vectors[:, user].mean(0) - expected[user]) / deviation, 0, atol=0.1)
        observed = np.cov(vectors[:, user].T) / np.outer(deviation, deviation)
        np.testing.assert_allclose(observed, covariances[user] / np.outer(deviation, deviation), atol=0.15)


def squared_errors(sampler: GibbsSampler) -> np.ndarray:
    """Float [users]: the sum of a_i x squared error, rating by rating."""
    users, titles, expected = sampler.users.vectors.numpy(), sampler.titles.vectors.numpy(), np.zeros(5)
    for u, i, y in zip(USER, TITLE, TARGET, strict=True):
        score = users[u, 0] + titles[i, 0] + users[u, 1:] @ titles[i, 1:]
        expected[u] += sampler.titles.noise_precision.numpy()[i] * (y - score) ** 2
    return expected


def test_noise_of_rows_is_drawn_from_the_squared_errors_of_the_new_vectors(sampler: GibbsSampler) -> None:
    draw = Recorder(normal=None, point=3)
    _, errors = sampler.users.draw_vectors_and_noise(sampler.titles, sampler.alpha, draw)
    expected = squared_errors(sampler)
    np.testing.assert_allclose(errors, sampler.users.noise_precision * expected, rtol=1e-4)
    # log p(nu): Gamma(a; nu, nu) x a^(n / 2) exp(-alpha E a / 2), integrated over a by quadrature.
    count = np.bincount(USER)
    log_weights = [
        sum(
            np.log(
                integrate.quad(
                    lambda a, nu=nu, n=n, e=e: (
                        stats.gamma.pdf(a, nu, scale=1 / nu) * a ** (n / 2) * np.exp(-0.75 * e * a)
                    ),
                    0,
                    20,
                    points=[0.25, 0.5, 1, 2],
                )[0]
            )
            for n, e in zip(count, expected, strict=True)
        )
        for nu in NOISE_SHAPES
    ]
    np.testing.assert_allclose(draw.probabilities(), normalised(np.array(log_weights)), rtol=1e-3)
    ((shape, rate),) = draw.gammas
    assert sampler.users.noise_shape.numpy() == NOISE_SHAPES[3]
    np.testing.assert_allclose(shape, NOISE_SHAPES[3] + count / 2)
    np.testing.assert_allclose(rate, NOISE_SHAPES[3] + 0.75 * expected, rtol=1e-4)


def test_a_perfect_fit_has_no_negative_error() -> None:
    sampler = make_sampler()
    for side in (sampler.users, sampler.titles):
        side.ratings.set_targets(np.zeros(len(USER)))
        side.vectors.assign(tf.zeros_like(side.vectors) + 1e-4)
    for seed in range(20):
        _, errors = sampler.users.draw_vectors_and_noise(sampler.titles, tf.constant(1e8), Recorder(seed))
        assert np.min(errors) >= 0


def test_alpha_has_its_conditional(sampler: GibbsSampler) -> None:
    # As much as one rating a user and a title: (5 + 6) / 2 of shape, around the error that biases leave.
    assert (sampler.alpha_shape, sampler.alpha_rate) == (1 + 5.5, pytest.approx(1 + 5.5 * 0.7))
    draw = Recorder()
    sampler._draw_alpha(tf.constant(7.0), draw)
    ((shape, rate),) = draw.gammas
    assert shape == 6.5 + len(USER) / 2
    assert rate == pytest.approx(1 + 5.5 * 0.7 + 3.5)


def test_fixed_noise_stays_one() -> None:
    sampler = make_sampler(FIXED_NOISE)
    for iteration in range(3):
        sampler.sweep(tf.constant(iteration), tf.constant(1.0))
    for side in (sampler.users, sampler.titles):
        np.testing.assert_array_equal(side.noise_precision, 1.0)


# --- Draws ------------------------------------------------------------------------------------------------------------


def test_draws_have_their_distributions() -> None:
    draw = Draws(5, tf.constant(2))
    assert stats.kstest(draw.normal([20_000]).numpy(), "norm").pvalue > 1e-3
    gammas = draw.gamma(2.5, tf.fill([20_000], 4.0)).numpy()
    assert stats.kstest(gammas, stats.gamma(2.5, scale=0.25).cdf).pvalue > 1e-3
    shapes = draw.gamma(tf.constant([0.5, 8.0]), tf.constant([2.0, 1.0])).numpy()
    assert shapes.shape == (2,)
    weights = np.array([0.1, 0.2, 0.0, 0.7])
    with np.errstate(divide="ignore"):
        points = draw.category(tf.constant(np.tile(np.log(weights)[:, np.newaxis] + 50, (1, 20_000)))).numpy()
    np.testing.assert_allclose(np.bincount(points, minlength=4) / 20_000, weights, atol=0.015)
    assert draw.category(tf.constant([0.0, 1.0])).dtype == tf.int32


def test_draws_differ_by_seed_sweep_and_call() -> None:
    def draws(seed: int, iteration: int) -> list[bytes]:
        draw = Draws(seed, tf.constant(iteration))
        return [draw.normal([4]).numpy().tobytes() for _ in range(3)]

    every = [draws(seed, iteration) for seed in (0, 1, 2) for iteration in (0, 1, 2)]
    assert len({each for some in every for each in some}) == 27
    assert draws(1, 2) == draws(1, 2)


# --- Chains and forms -------------------------------------------------------------------------------------------------


def run(sampler: GibbsSampler, form: Form, sweeps: int = 3) -> list[bytes]:
    sampler.start(form)
    for iteration in range(sweeps):
        draw = sampler.sweep(tf.constant(iteration), tf.constant(form.prior_rate))
    return [np.array(each).tobytes() for each in (*draw, *sampler.variables())]


@pytest.mark.parametrize(
    "between", [EXPRESSIVE, FIXED_NOISE, BIASES, Form(prior_rate=1e-3)], ids=["expressive", "fixed", "biases", "weak"]
)
def test_a_chain_depends_on_nothing_before_it(between: Form) -> None:
    sampler = make_sampler()
    for form in (Form(), EXPRESSIVE, BIASES):
        first = run(sampler, form)
        run(sampler, between)
        assert run(sampler, form) == first
        assert run(make_sampler(), form) == first


def test_chains_of_other_seeds_differ() -> None:
    assert run(make_sampler(seed=0), Form())[0] != run(make_sampler(seed=1), Form())[0]


def test_a_chain_starts_from_small_vectors_and_neutral_parameters(sampler: GibbsSampler) -> None:
    for form in (Form(), BIASES, FIXED_NOISE):
        sampler.start(form)
        for side in (sampler.users, sampler.titles):
            assert 0.05 < np.std(side.vectors) < 0.15
            np.testing.assert_array_equal(side.noise_precision, 1.0)
            np.testing.assert_array_equal(side.prior_precision, 1.0)
            np.testing.assert_array_equal(side.intercept, 0.0)
            assert side.noise_shape.numpy() == NOISE_SHAPES[-1]
            np.testing.assert_array_equal(side.counted, [1.0, *[float(form.has_factors)] * FACTORS])
            for each in (part for r in side.regressions for part in (r.effect, r.square, r.rank)):
                assert not np.any(each)
        assert sampler.alpha.numpy() == 1.0
        assert not np.array_equal(sampler.users.vectors[:2], sampler.titles.vectors[:2])


def test_factors_are_kept_out_where_there_are_none(sampler: GibbsSampler) -> None:
    """Scores are of biases alone, in what is drawn and in what it is drawn from."""

    def biases(scale: float) -> tuple[np.ndarray, Any]:
        sampler.start(BIASES)
        for side in (sampler.users, sampler.titles):
            side.vectors.assign(side.vectors * [1.0, scale, scale])
        draw = sampler.sweep(tf.constant(1), tf.constant(1.0))
        return np.concatenate([draw.users[:, 0], sampler.titles.vectors[:, 0]]), draw

    (one, draw), (other, _) = biases(1.0), biases(30.0)
    np.testing.assert_allclose(one, other, rtol=1e-5)
    for vectors in (draw.user_means, draw.users, draw.titles):
        assert not np.any(vectors[:, 1:])
        assert np.all(vectors[:, 0])
    sampler.start(Form())
    assert np.all(sampler.sweep(tf.constant(1), tf.constant(1.0)).users)


def test_the_prior_rate_is_that_of_the_factors_and_not_of_the_bias(monkeypatch) -> None:
    made: list[Recorder] = []

    def record(seed: int, iteration: tf.Tensor) -> Recorder:
        made.append(Recorder(seed, iteration))
        return made[-1]

    monkeypatch.setattr(gibbs_sampler, "Draws", record)
    sampler = make_sampler(names=())
    for rate in (1.0, 5.0):
        sampler.start(Form())
        sampler.sweep(tf.constant(0), tf.constant(rate))
    for side in (0, 1):
        (_, low), (_, high) = (draw.gammas[side] for draw in made)
        np.testing.assert_allclose(high - low, [0.0, 4.0, 4.0], atol=1e-5)
    # Prior of either side, noise of either side, alpha.
    assert len(made[0].gammas) == 5


def test_a_draw_is_of_one_state_of_the_chain(sampler: GibbsSampler) -> None:
    """Users and their noise as drawn; titles, their noise and alpha as users were drawn beside them."""
    titles, of_title, alpha = (
        np.array(each) for each in (sampler.titles.vectors, sampler.titles.noise_precision, sampler.alpha)
    )
    draw = sampler.sweep(tf.constant(3), tf.constant(1.0))
    np.testing.assert_array_equal(draw.titles, titles)
    np.testing.assert_array_equal(draw.title_precision, of_title)
    assert draw.alpha.numpy() == alpha
    np.testing.assert_array_equal(draw.users, sampler.users.vectors)
    np.testing.assert_array_equal(draw.user_precision, sampler.users.noise_precision)
    assert np.abs(draw.user_means - draw.users).min() > 0
    for variable, before in ((sampler.titles.vectors, titles), (sampler.titles.noise_precision, of_title)):
        assert np.all(variable.numpy()[:5] != before[:5])


def test_a_form_is_fixed() -> None:
    assert Form() == Form(has_factors=True, learns_noise=True, learns_exponents=False, prior_rate=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Form().prior_rate = 2.0  # type: ignore[misc]


def test_no_operation_of_a_sweep_is_sparse_or_without_a_deterministic_kernel_on_gpus() -> None:
    operations = operations_of(compiled(make_sampler()))
    refused = ("Sparse", "Segment", "Scatter", "Bincount", "BiasAdd", "CumSum", "Unique", "PyFunc")
    assert not [each for each in operations if any(name.lower() in each.lower() for name in refused)]
    # The search has found what a sweep is made of.
    assert {"BatchMatMulV2", "Cholesky", "MatrixTriangularSolve", "StatelessRandomGammaV3"} <= operations


# --- Geweke 2004, "Getting it right: joint distribution tests of posterior simulators" --------------------------------
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


def geweke(form: Form, *, sweeps: int, draws: int, seed: int) -> dict[str, float]:
    """How many standard errors the means of both simulators are apart, by name of the function."""
    rng = np.random.default_rng(seed)
    sampler = make_sampler(form, seed=seed)
    sampler.alpha_shape, sampler.alpha_rate = _ALPHA_SHAPE, _ALPHA_RATE

    def rate(state: list[np.ndarray]) -> np.ndarray:
        scores, precisions = scores_and_precisions(state, form)
        return scores + rng.normal(size=scores.shape) / np.sqrt(precisions)

    independent = [draw_from_prior(sampler, form, rng) for _ in range(draws)]
    state = independent[-1]
    for variable, value in zip(sampler.variables(), state, strict=True):
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
    apart = geweke(form, sweeps=5000, draws=5000, seed=1)
    assert {name: z for name, z in apart.items() if not abs(z) < 4} == {}


def test_alpha_is_drawn_anew_in_every_sweep() -> None:
    sampler = make_sampler()
    sweep = compiled(sampler)
    drawn = [float(sweep(tf.constant(iteration), tf.constant(1.0))[0]) for iteration in range(5)]
    assert len(set(drawn)) == 5
