import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from modules import bayesian_model
from modules.model_configs import BayesianConfig, HistoryConfig
from modules.ratings import Ratings

SHORT = BayesianConfig(factors=3, iterations=30, burn_in=10, export_rank=8)
ALONE = SHORT.model_copy(update={"history_weight": 0.0})


def synthetic(seed=0, users=40, titles=50, share=0.5, noise=0.5, rank=2):
    """Ratings mean + biases + product + noise, and title features of which the first says who is liked."""
    rng = np.random.default_rng(seed)
    title_features = (rng.random((titles, 3)) < 0.5).astype(np.float32)
    title_features[:, 2] = 0  # Never used.
    title_bias = 1.2 * title_features[:, 0] - 0.6 + rng.normal(0, 0.1, titles)
    scores = 3.0 + rng.normal(0, 0.4, (users, 1)) + title_bias
    scores += rng.normal(0, 0.6, (users, rank)) @ rng.normal(0, 0.6, (rank, titles))
    user, title = np.nonzero(rng.random((users, titles)) < share)
    rating = scores[user, title] + rng.normal(0, noise, len(user))
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=rating.astype(np.float32),
        num_users=users,
        num_titles=titles,
        low=-5.0,
        high=11.0,
        user_features=np.zeros((users, 4), np.float32),
        title_features=title_features,
    )


def fit(ratings, config=SHORT, seed=0, log_dir=None, report=lambda text: None):
    return bayesian_model.fit(ratings, config, seed=seed, log_dir=log_dir, report=report)


def ask(model, user, title, **features):
    ids = {"user_id": tf.constant(user, tf.int64), "movie_title": tf.constant(title, tf.int64)}
    return model(ids | {name: tf.constant(value, tf.float32) for name, value in features.items()}).numpy()


def make_sampler(ratings, config=ALONE):
    deviation = ratings.rating - np.float32(ratings.rating.mean())
    return bayesian_model._FactorSampler(
        row=ratings.user,
        column=ratings.title,
        deviation=deviation,
        shape=(ratings.num_users, ratings.num_titles),
        features=ratings.user_features,
        membership_scale=1.0,
        noise_shape=4.0,
        config=config,
    )


@pytest.fixture(scope="module")
def ratings():
    return synthetic()


@pytest.fixture(scope="module")
def model(ratings):
    return fit(ratings)


@pytest.fixture
def state(small_ratings):
    """The users of three users' ratings beside titles of given vectors and noise precisions, and both as arrays."""
    rng = np.random.default_rng(1)
    sampler = make_sampler(small_ratings)
    other = make_sampler(dataclasses.replace(small_ratings, user=small_ratings.title, title=small_ratings.user,
                                          num_users=4, num_titles=3))  # fmt: skip
    arrays = {
        "q": rng.normal(size=(4, 4)).astype(np.float32),
        "a_title": rng.uniform(0.5, 2, 4).astype(np.float32),
        "a_user": rng.uniform(0.5, 2, 3).astype(np.float32),
        "beta": rng.normal(size=sampler._beta.shape).astype(np.float32),
        "lambda": rng.uniform(1, 3, 4).astype(np.float32),
    }
    other.vectors.assign(arrays["q"])
    other.noise_precision.assign(arrays["a_title"])
    sampler.noise_precision.assign(arrays["a_user"])
    sampler._beta.assign(arrays["beta"])
    sampler._prior_precision.assign(arrays["lambda"])
    return sampler, other, arrays


def conditional(ratings, sampler, arrays, alpha):
    """Mean and covariance of each user's [bias, embedding], rating by rating."""
    prior = tf.sparse.to_dense(sampler._design).numpy() @ arrays["beta"]
    value = ratings.rating - ratings.rating.mean()
    means, covariances = [], []
    for user in range(ratings.num_users):
        precision = np.diag(arrays["lambda"]).astype(np.float64)
        target = arrays["lambda"] * prior[user]
        for row in np.flatnonzero(ratings.user == user):
            bias, *embedding = arrays["q"][ratings.title[row]]
            known = np.array([1.0, *embedding])
            scale = alpha * arrays["a_user"][user] * arrays["a_title"][ratings.title[row]]
            precision += scale * np.outer(known, known)
            target = target + scale * (value[row] - bias) * known
        covariances.append(np.linalg.inv(precision))
        means.append(covariances[-1] @ target)
    return np.array(means), np.array(covariances)


def test_vectors_are_drawn_from_their_conditional(small_ratings, state):
    sampler, other, arrays = state
    alpha = tf.Variable(1.5)
    expected, covariances = conditional(small_ratings, sampler, arrays, 1.5)

    @tf.function(autograph=False)
    def draw(iteration):
        sampler.noise_precision.assign(arrays["a_user"])
        mean, _ = sampler.draw_vectors_and_noise(other, alpha, bayesian_model._Draws(0, iteration))
        return mean, sampler.vectors.read_value()

    draws = [draw(tf.constant(iteration)) for iteration in range(2000)]
    np.testing.assert_allclose(draws[0][0][:3], expected, rtol=1e-4, atol=1e-5)
    vectors = np.array([vector for _, vector in draws])
    for user in range(3):
        deviation = np.sqrt(np.diag(covariances[user]))
        # Standard errors over 2000 draws: 0.022 deviations of a mean, 0.022 of a correlation.
        np.testing.assert_allclose((vectors[:, user].mean(0) - expected[user]) / deviation, 0, atol=0.1)
        observed = np.cov(vectors[:, user].T) / np.outer(deviation, deviation)
        np.testing.assert_allclose(observed, covariances[user] / np.outer(deviation, deviation), atol=0.15)


def test_squared_errors_come_out_of_the_sums(small_ratings, state):
    sampler, other, arrays = state
    _, squares = sampler.draw_vectors_and_noise(other, tf.Variable(1.5), bayesian_model._Draws(0, tf.constant(1)))
    vector, noise_precision = sampler.vectors.numpy(), sampler.noise_precision.numpy()
    value = small_ratings.rating - small_ratings.rating.mean()
    expected = np.zeros(3)
    for user, title, rating in zip(small_ratings.user, small_ratings.title, value, strict=True):
        score = vector[user, 0] + arrays["q"][title, 0] + vector[user, 1:] @ arrays["q"][title, 1:]
        expected[user] += arrays["a_title"][title] * (rating - score) ** 2
    np.testing.assert_allclose(squares, noise_precision * expected, rtol=1e-4)


def test_regression_is_drawn_from_its_posterior(small_ratings):
    sampler = make_sampler(small_ratings)
    design = tf.sparse.to_dense(sampler._design).numpy().astype(np.float64)
    vector = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
    sampler.vectors.assign(vector)
    inverse = np.linalg.inv(design.T @ design + np.eye(design.shape[1]))
    mean = inverse @ design.T @ vector

    @tf.function(autograph=False)
    def draw(iteration):
        sampler.draw_prior(bayesian_model._Draws(0, iteration))
        return sampler._beta.read_value(), sampler._prior_precision.read_value()

    draws = [draw(tf.constant(iteration)) for iteration in range(2000)]
    betas, precisions = (np.array(part) for part in zip(*draws, strict=True))
    # lambda ~ Gamma(1 + n / 2, 1 + w^T (I + X X^T)^-1 w / 2).
    quadratic = np.sum(vector * (np.linalg.inv(np.eye(3) + design @ design.T) @ vector), axis=0)
    np.testing.assert_allclose(precisions.mean(0), 2.5 / (1 + quadratic / 2), rtol=0.08)
    standardized = (betas - mean) * np.sqrt(precisions)[:, np.newaxis]
    np.testing.assert_allclose(standardized.mean(0), 0, atol=0.1)
    covariance = np.einsum("sfk,sgk->fg", standardized, standardized) / (2000 * 4)
    np.testing.assert_allclose(covariance, inverse, atol=0.05)


def test_design_of_all_and_of_the_most_rated(small_ratings):
    features = np.array([[0, 0.5], [0, 0], [0.5, 0]], np.float32)

    def dense(most):
        matrix = bayesian_model._design(small_ratings.user, small_ratings.title, (3, 4), features, 2.0, most)
        return tf.sparse.to_dense(matrix).numpy()

    # Titles by count: 0 (three ratings), 1 and 2 (two), 3 (one); users have 3, 3 and 2 ratings.
    three, two = 2 / np.sqrt(3), 2 / np.sqrt(2)
    expected = [[1, 0, 0.5, three, three, three, 0], [1, 0, 0, three, three, 0, three], [1, 0.5, 0, two, 0, two, 0]]
    np.testing.assert_allclose(dense(4096), expected, rtol=1e-6)
    np.testing.assert_allclose(dense(2), np.array(expected)[:, :5], rtol=1e-6)
    np.testing.assert_allclose(dense(0), np.array(expected)[:, :3], rtol=1e-6)


def test_regression_root_over_several_blocks(monkeypatch, ratings):
    sampler = make_sampler(ratings)
    monkeypatch.setattr(bayesian_model, "_ROWS_PER_BLOCK", 7)
    root = bayesian_model._regression_root(sampler._design).astype(np.float64)
    design = tf.sparse.to_dense(sampler._design).numpy()
    inverse = np.linalg.inv(design.T @ design + np.eye(design.shape[1]))
    np.testing.assert_allclose(root.T @ root, inverse, atol=1e-5)


def test_mean_product_against_the_dense_mean():
    rng = np.random.default_rng(0)
    samples = [(rng.normal(size=(30, 4)), rng.normal(size=(20, 4))) for _ in range(40)]
    dense = np.mean([u[:, :1] + t[:, :1].T + u[:, 1:] @ t[:, 1:].T for u, t in samples], axis=0)
    whole, truncated = bayesian_model._MeanProduct(20), bayesian_model._MeanProduct(6)
    for sample in samples:
        whole.add(*sample)
        truncated.add(*sample)
    user, title = whole.factors()
    np.testing.assert_allclose(user[:, :1] + title[:, :1].T + user[:, 1:] @ title[:, 1:].T, dense, atol=1e-9)

    products = np.mean([u[:, 1:] @ t[:, 1:].T for u, t in samples], axis=0)
    user, title = truncated.factors()
    assert user.shape == (30, 7)
    best = np.sqrt(np.sum(np.linalg.svd(products, compute_uv=False)[6:] ** 2))
    # Truncating on the way, to twice the rank, may cost a little over the best approximation.
    assert np.linalg.norm(products - user[:, 1:] @ title[:, 1:].T) <= 1.1 * best


def test_blend_is_the_weighted_mean_of_scores():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 6)))

    def scores(user, title):
        return user[:, :1] + title[:, :1].T + user[:, 1:] @ title[:, 1:].T

    blended = [bayesian_model._blend(a, b, 0.3) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(scores(*blended), 0.7 * scores(*first) + 0.3 * scores(*second))


def test_comes_within_three_percent_of_the_noise_floor():
    noise = 0.5
    ratings = synthetic(seed=3, users=300, titles=200, share=0.6, noise=noise)
    held_out = np.random.default_rng(0).random(len(ratings)) < 0.1
    config = BayesianConfig(iterations=120, burn_in=40)
    model = fit(ratings.select(~held_out), config)
    test = ratings.select(held_out)
    error = ask(model, test.user, test.title)[:, 0] - test.rating
    assert np.sqrt(np.mean(error**2)) < 1.03 * noise


def test_noisy_users_count_less():
    """Of two users who agree on nothing with the others, the one with careless ratings gets the lower weight."""
    ratings = synthetic(seed=5, users=30, titles=60, share=0.8, noise=0.2)
    rating = ratings.rating.copy()
    careless = ratings.user == 4
    rating[careless] += np.random.default_rng(0).normal(0, 2.0, careless.sum())
    sampler = make_sampler(dataclasses.replace(ratings, rating=rating))
    by_title = np.lexsort((ratings.user, ratings.title))
    other = make_sampler(
        Ratings(
            user=ratings.title[by_title],
            title=ratings.user[by_title],
            rating=rating[by_title],
            num_users=60,
            num_titles=30,
            low=0,
            high=6,
            user_features=np.zeros((60, 0), np.float32),
            title_features=np.zeros((30, 0), np.float32),
        )
    )
    for iteration in range(10):
        draw = bayesian_model._Draws(0, tf.constant(iteration))
        sampler.draw_vectors_and_noise(other, tf.Variable(10.0), draw)
        other.draw_vectors_and_noise(sampler, tf.Variable(10.0), draw)
    assert np.argmin(sampler.noise_precision.numpy()) == 4


def test_call_is_the_equation(model, ratings):
    user_table, title_table = (table.numpy() for table in model.tables[:2])
    mean = ratings.rating.mean(dtype=np.float64)
    user, title = np.array([3, 0, 39]), np.array([7, 49, 0])
    u, t = user_table[user], title_table[title]
    expected = mean + u[:, 0] + t[:, 0] + np.sum(u[:, 1:] * t[:, 1:], axis=1)
    predictions = ask(model, user, title)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions[:, 0], expected, rtol=1e-5)


def test_history_weight_blends(ratings):
    alone, blended = fit(ratings, ALONE), fit(ratings, ALONE.model_copy(update={"history_weight": 0.25}))
    history = bayesian_model.history_model.fit(
        ratings,
        HistoryConfig(hidden_units=0),
        seed=0,
        log_dir=None,
        report=lambda text: None,
    )
    user, title = np.array([1, 5, 40, 40]), np.array([2, 50, 9, 50])
    features = {"title_features": np.tile([[1, 0, 0]], (4, 1))}
    expected = 0.75 * ask(alone, user, title, **features) + 0.25 * ask(history, user, title, **features)
    np.testing.assert_allclose(ask(blended, user, title, **features), expected, atol=1e-5)


def test_unknown_title_is_made_of_its_features(model, ratings):
    plain, zeros, liked, disliked = (
        ask(model, [2], [50], **features).item()
        for features in (
            {},
            {"title_features": [[0, 0, 0]]},
            {"title_features": [[1, 0, 0]]},
            {"title_features": [[0, 1, 0]]},
        )
    )
    assert plain == zeros
    assert liked > disliked + 0.5
    assert ratings.rating.min() < disliked < liked < ratings.rating.max()


def test_one_rating_moves_a_user_part_of_the_way(ratings):
    """A single high rating raises the user's scores, but far less than it deviates."""
    rows = np.flatnonzero((ratings.user != 0) | (np.arange(len(ratings)) == 0))
    one = ratings.select(rows)
    base, raised = (
        dataclasses.replace(one, rating=np.concatenate([[value], one.rating[1:]]).astype(np.float32))
        for value in (3.0, 5.0)
    )
    config = ALONE.model_copy(update={"iterations": 200, "burn_in": 50})
    low, high = (ask(fit(each, config), np.zeros(50), np.arange(50)).mean() for each in (base, raised))
    assert 0.02 < high - low < 1.5


def test_features_that_nobody_has_make_no_difference(ratings):
    zeros = dataclasses.replace(ratings, title_features=np.zeros((50, 3), np.float32))
    bare = dataclasses.replace(zeros, title_features=np.zeros((50, 0), np.float32))
    one, other = (fit(each, ALONE) for each in (zeros, bare))
    np.testing.assert_array_equal(ask(one, [1], [2]), ask(other, [1], [2]))


def test_the_history_model_has_a_log_of_its_own(ratings, tmp_path):
    lines = []
    fit(ratings, log_dir=str(tmp_path), report=lines.append)
    assert [line.split(",")[0] for line in lines] == ["sweep 20/30", "sweep 30/30"] + ["history model"] * 5
    assert len(list((tmp_path / "history").iterdir())) == 1
