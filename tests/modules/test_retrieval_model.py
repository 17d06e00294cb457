"""What recommends: the same one by one and in bulk, sums of explanations, rules that hold whatever is asked."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules import features, order_features, retrieval_fit, retrieval_input
from modules.dataset import carve
from modules.model_configs import RetrievalConfig
from modules.ratings import Ratings
from modules.retrieval_input import RatingWeight
from modules.retrieval_model import RetrievalModel

CONFIG = RetrievalConfig(dimension=4, rounds=3, regularization=0.05, ease_penalty=3.0, searches=1)
USERS, TITLES = 60, 40


def clustered(rng: np.random.Generator, users: int = USERS, titles: int = TITLES, unary: bool = False) -> Ratings:
    """Users of two tastes, who rate titles of theirs three times as often, and higher."""
    likes = np.arange(users)[:, np.newaxis] % 2 == np.arange(titles) % 2
    user, title = np.nonzero(rng.random((users, titles)) < np.where(likes, 0.45, 0.15))
    rating = np.clip(np.where(likes[user, title], 4, 2) + rng.integers(-1, 2, len(user)), 1, 5)
    side = np.zeros((titles, features.TITLE_FEATURES_SIZE), np.float32)
    side[np.arange(titles), len(features.YEAR_BOUNDARIES) + 1 + np.arange(titles) % 2] = 1
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=np.ones(len(user), np.float32) if unary else rating.astype(np.float32),
        num_users=users,
        num_titles=titles,
        low=1.0,
        high=1.0 if unary else 5.0,
        user_features=np.zeros((users, features.USER_FEATURES_SIZE), np.float32),
        title_features=side,
    )


def fitted(ratings: Ratings, **rating_scores) -> RetrievalModel:
    train, held_out = carve(ratings)
    chosen = retrieval_fit.choose(train, held_out, CONFIG, seed=3, report=lambda _: None, **rating_scores)
    return retrieval_fit.fit(ratings, chosen, seed=3)


def stars_of(users: np.ndarray) -> np.ndarray:
    """A ranking model: any numbers that differ by user and title."""
    return np.sin(users[:, np.newaxis] + 2.5 * np.arange(TITLES)).astype(np.float32)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return clustered(np.random.default_rng(11))


@pytest.fixture(scope="module")
def model(ratings) -> RetrievalModel:
    return fitted(ratings)


@pytest.fixture(scope="module")
def with_stars(ratings) -> RetrievalModel:
    return fitted(ratings, rating_scores=stars_of)


def test_scores_of_many_users_are_those_of_each(ratings, model, with_stars) -> None:
    users = np.array([0, 5, 17, USERS - 1, USERS, USERS + 9, 5])
    for each, stars in ((model, None), (with_stars, stars_of(users))):
        scores, is_free = each.scores_of(tf.constant(users), None if stars is None else tf.constant(stars))
        assert scores.shape == is_free.shape == (len(users), TITLES)
        for row, user in enumerate(users):
            titles, weights = each.history(tf.constant(user))
            alone = each.scores(titles, weights, None if stars is None else tf.constant(stars[[row]]))
            np.testing.assert_allclose(scores[row], alone, atol=2e-4)
            np.testing.assert_array_equal(np.flatnonzero(~is_free[row]), titles)


def test_scores_of_many_users_are_those_of_each_where_titles_are_unrated(ratings) -> None:
    """Those of the models are standardised over titles that others have rated."""
    train, held_out = carve(ratings)
    chosen = retrieval_fit.choose(train, held_out, CONFIG, seed=3, report=lambda _: None)
    unrated = np.zeros((2, features.TITLE_FEATURES_SIZE), np.float32)
    unrated[:, len(features.YEAR_BOUNDARIES) + 1 :][[0, 1], [0, 1]] = 1
    model = retrieval_fit.fit(ratings, chosen, seed=3, unrated=unrated)
    users = np.array([0, 5, USERS])
    scores, is_free = model.scores_of(tf.constant(users))
    assert scores.shape == is_free.shape == (3, TITLES + 2)
    assert np.all(is_free[:, TITLES:])
    for row, user in enumerate(users):
        np.testing.assert_allclose(scores[row], model.scores(*model.history(tf.constant(user))), atol=2e-4)


def test_the_history_of_every_user_is_what_they_rated(ratings, model) -> None:
    weight = RatingWeight.of(ratings.rating)
    for user in range(USERS):
        own = ratings.select(ratings.user == user)
        titles, weights = model.history(tf.constant(user, tf.int64))
        np.testing.assert_array_equal(titles, own.title)
        np.testing.assert_allclose(weights, weight(own.rating), atol=1e-6)
    for user in (USERS, USERS + 1, 10**6):
        assert not len(model.history(tf.constant(user, tf.int64))[0])


def test_weights_between_numbers_of_known_ratings_are_linear_in_their_logarithm(model) -> None:
    nodes, coefficients = model.order.known, model.order.coefficients
    counts = np.array([0, 1, 2, 5, 400])
    expected = [np.interp(np.log1p(counts), np.log1p(nodes), column) for column in coefficients.T]
    np.testing.assert_allclose(model._at(tf.constant(counts, tf.int32)), np.transpose(expected), atol=1e-5)


def test_scores_of_the_models_are_the_same_one_by_one_and_in_bulk(ratings, model) -> None:
    weights = retrieval_input.weighted(ratings, RatingWeight.of(ratings.rating))
    titles, own = model.history(tf.constant(7, tf.int64))
    np.testing.assert_array_equal(titles, ratings.title[ratings.user == 7])
    for scorer in model._scorers.values():
        np.testing.assert_allclose(scorer.scores(titles, own), scorer.in_bulk(weights[[7]])[0], atol=1e-5)
        np.testing.assert_allclose(scorer.scores(titles, own), tf.reduce_sum(scorer.parts(titles, own), 0), atol=1e-5)
        none = tf.zeros([0], tf.int32), tf.zeros([0])
        np.testing.assert_array_equal(scorer.scores(*none), np.zeros(TITLES))


def test_training_ratings_that_come_with_a_request_give_what_the_known_user_gets(ratings, model) -> None:
    own = ratings.select(ratings.user == 12)
    order = np.random.default_rng(0).permutation(len(own))
    folded = model.fold(tf.constant(own.title[order], tf.int64), tf.constant(own.rating[order]))
    expected = model.scores(*model.history(tf.constant(12, tf.int64)))
    np.testing.assert_allclose(model.scores(*folded), expected, atol=1e-4)


def test_unknown_titles_are_left_out_and_the_last_of_several_ratings_counts(model) -> None:
    titles, weights = model.fold(tf.constant([3, TITLES, 8, 3, -1], tf.int64), tf.constant([1.0, 5.0, 2.0, 5.0, 5.0]))
    np.testing.assert_array_equal(titles, [8, 3])
    assert weights.numpy()[1] == 1.0


def test_weights_in_the_graph_are_those_of_the_map(ratings, model, rng) -> None:
    asked = rng.uniform(-1, 7, TITLES).astype(np.float32)
    _, weights = model.fold(tf.range(TITLES, dtype=tf.int64), tf.constant(asked))
    np.testing.assert_allclose(weights, RatingWeight.of(ratings.rating)(asked), atol=1e-6)


def test_unknown_users_get_the_popular_titles(model, with_stars) -> None:
    popular = np.argsort(-model._columns.popularity.numpy(), kind="stable")
    for user in (USERS, USERS + 1, 10**6):
        history = model.history(tf.constant(user, tf.int64))
        titles, _ = model.recommend(*history, tf.fill([TITLES], True), tf.constant(TITLES))
        np.testing.assert_array_equal(titles, popular)
        stars = tf.constant(stars_of(np.array([user])))
        titles, _ = with_stars.recommend(*history, tf.fill([TITLES], True), tf.constant(TITLES), stars)
        np.testing.assert_array_equal(titles, popular)


def test_users_get_titles_of_their_taste(ratings, model) -> None:
    hits = []
    for user in range(USERS):
        titles, _ = model.recommend(
            *model.history(tf.constant(user, tf.int64)), tf.fill([TITLES], True), tf.constant(5)
        )
        hits.extend(titles.numpy() % 2 == user % 2)
    assert np.mean(hits) > 0.9


def test_the_parts_of_an_explanation_add_up_to_the_score(model, with_stars, rng) -> None:
    for each, stars in ((model, None), (with_stars, tf.constant(stars_of(np.array([4]))))):
        for size in (0, 1, 2, 9, TITLES - 1):
            known = tf.constant(rng.choice(TITLES, size, replace=False), tf.int32)
            weights = tf.constant(rng.uniform(0.1, 1, size), tf.float32)
            asked = tf.constant(rng.choice(TITLES, 6, replace=False), tf.int32)
            shares, rest = each.explain(known, weights, asked, stars)
            assert shares.shape == (6, size)
            total = tf.reduce_sum(shares, axis=1) + tf.add_n(list(rest.values()))
            np.testing.assert_allclose(total, tf.gather(each.scores(known, weights, stars), asked), atol=1e-4)
            assert set(rest) == set(each.order.names) - set(each._scorers)


def test_nothing_that_is_denied_or_known_is_recommended_and_every_list_has_its_length(model, rng) -> None:
    recommend, similar = tf.function(model.recommend), tf.function(model.similar)
    allowed_spec, k_spec = tf.TensorSpec([TITLES], tf.bool), tf.TensorSpec([], tf.int32)
    recommend = recommend.get_concrete_function(
        tf.TensorSpec([None], tf.int32), tf.TensorSpec([None]), allowed_spec, k_spec
    )
    similar = similar.get_concrete_function(tf.TensorSpec([], tf.int32), allowed_spec, k_spec)
    for case in range(2000):
        size = rng.integers(0, TITLES + 1)
        known = rng.choice(TITLES, size, replace=False).astype(np.int32)
        is_allowed = rng.random(TITLES) < rng.choice([0.0, 0.05, 0.5, 1.0])
        k = int(rng.integers(-1, TITLES + 5))
        if case % 2:
            known = known[:1] if size else np.array([3], np.int32)
            titles, scores = similar(tf.constant(known[0]), tf.constant(is_allowed), tf.constant(k))
        else:
            weights = rng.uniform(0.05, 1, size).astype(np.float32)
            titles, scores = recommend(
                tf.constant(known), tf.constant(weights), tf.constant(is_allowed), tf.constant(k)
            )
        allowed = set(np.nonzero(is_allowed)[0]) - set(known)
        assert set(titles.numpy()) <= allowed
        assert len(set(titles.numpy())) == len(titles) == len(scores) == min(max(k, 0), len(allowed))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) <= 0).all()


def test_a_shorter_list_is_the_beginning_of_a_longer_one(model) -> None:
    history, is_allowed = model.history(tf.constant(9, tf.int64)), tf.fill([TITLES], True)
    longest, _ = model.recommend(*history, is_allowed, tf.constant(TITLES))
    for k in (1, 3, 10):
        np.testing.assert_array_equal(model.recommend(*history, is_allowed, tf.constant(k))[0], longest[:k])


def test_similar_titles_are_of_the_same_taste(model) -> None:
    shares = [
        np.mean(model.similar(tf.constant(title), tf.fill([TITLES], True), tf.constant(5))[0].numpy() % 2 == title % 2)
        for title in range(TITLES)
    ]
    assert np.mean(shares) > 0.9


def test_what_is_similar_to_an_unknown_title_is_popular(model) -> None:
    titles, scores = model.similar(tf.constant(TITLES), tf.fill([TITLES], True), tf.constant(TITLES))
    np.testing.assert_array_equal(scores, np.sort(model._columns.popularity.numpy())[::-1])
    assert len(set(titles.numpy())) == TITLES


def test_ratings_that_are_no_numbers_are_left_out(model) -> None:
    titles, _ = model.fold(tf.constant([1, 2, 3, 4], tf.int64), tf.constant([np.nan, 4.0, np.inf, 1.0]))
    np.testing.assert_array_equal(titles, [2, 4])


def test_an_order_that_weighs_the_ranking_model_needs_it(with_stars) -> None:
    history = with_stars.history(tf.constant(1, tf.int64))
    with pytest.raises(ValueError, match="the order weighs what the ranking model says"):
        with_stars.scores(*history)


def test_a_loaded_model_recommends_the_same(model, tmp_path) -> None:
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int32)], autograph=False)
    def recommend(user: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return model.recommend(*model.history(user), tf.fill([TITLES], True), k)

    module.recommend = recommend
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    for user in (0, 33, USERS):
        titles, scores = loaded.recommend(tf.constant(user, tf.int64), tf.constant(7))
        expected = model.recommend(*model.history(tf.constant(user, tf.int64)), tf.fill([TITLES], True), tf.constant(7))
        np.testing.assert_array_equal(titles, expected[0])
        np.testing.assert_allclose(scores, expected[1], rtol=1e-5)


def test_the_ranking_model_is_weighed_by_name(with_stars, model) -> None:
    assert order_features.RATING in with_stars.order.names
    assert order_features.RATING not in model.order.names
    place = with_stars.order.names.index(order_features.RATING)
    # It cannot be asked what it would say of a shortened history.
    assert not with_stars.order.weights[:-1, place].any()
    assert with_stars.order.weights[-1, place]
