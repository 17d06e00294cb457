"""Fitting on data of every kind; what was held out, and what lists are made of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse, stats

from modules import ease, final_order, order_features, retrieval_fit, retrieval_input, retrieval_tuning
from modules.dataset import carve
from modules.model_configs import RetrievalConfig
from modules.ratings import Ratings
from tests.modules.test_retrieval_model import CONFIG, TITLES, clustered, fitted


def test_the_same_seed_gives_the_same_model(rng) -> None:
    ratings = clustered(rng)
    first, second = (fitted(ratings) for _ in range(2))
    np.testing.assert_array_equal(first.order.coefficients, second.order.coefficients)
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: clustered(rng, users=1),
        lambda rng: clustered(rng, titles=1),
        lambda rng: clustered(rng, unary=True),
        lambda rng: dataclasses.replace(clustered(rng), rating=np.full(len(clustered(rng)), 3, np.float32)),
    ],
    ids=["one user", "one title", "purchases", "all ratings equal"],
)
def test_hardly_any_data(make) -> None:
    ratings = make(np.random.default_rng(4))
    if len(ratings.rating) != len(ratings.user):
        ratings = dataclasses.replace(ratings, rating=np.full(len(ratings.user), 3, np.float32))
    model = fitted(ratings)
    titles, scores = model.recommend(
        *model.history(tf.constant(0, tf.int64)), tf.fill([ratings.num_titles], True), tf.constant(50)
    )
    own = set(ratings.title[ratings.user == 0])
    assert set(titles.numpy()) == set(range(ratings.num_titles)) - own
    assert np.isfinite(scores).all()


def test_purchases_are_weighed_one_and_modelled_once() -> None:
    model = fitted(clustered(np.random.default_rng(4), unary=True))
    assert order_features.EASE_RATED not in model.order.names
    np.testing.assert_array_equal(model.fold(tf.constant([1, 2], tf.int64), tf.constant([1.0, 1.0]))[1], [1, 1])


def test_nothing_held_out_leaves_the_order_to_popularity(rng) -> None:
    ratings = clustered(rng)
    none = ratings.select(np.zeros(len(ratings), bool))
    chosen = retrieval_fit.choose(ratings, none, CONFIG, seed=1, report=lambda _: None)
    assert chosen.config == CONFIG
    weights = dict(zip(chosen.order.names, chosen.order.weights[-1], strict=True))
    assert weights.pop(order_features.POPULARITY) == 1
    assert not any(weights.values())
    assert chosen.words() == (
        "iALS regularization 0.05, EASE penalty 3, order: iALS +0.00, EASE +0.00, EASE of what was rated +0.00, "
        "genres +0.00, popularity +1.00, mean rating +0.00"
    )
    model = retrieval_fit.fit(ratings, chosen, seed=1)
    free = np.setdiff1d(np.arange(TITLES), ratings.title[ratings.user == 3])
    titles, _ = model.recommend(*model.history(tf.constant(3, tf.int64)), tf.fill([TITLES], True), tf.constant(5))
    total = model._columns.popularity.numpy()[free]
    np.testing.assert_array_equal(titles, free[np.argsort(-total, kind="stable")[:5]])


def test_where_tastes_do_not_differ_popularity_is_what_counts(rng) -> None:
    """Titles are rated by chance, some more often than others."""
    chance = np.geomspace(0.6, 0.02, TITLES)
    user, title = np.nonzero(rng.random((400, TITLES)) < chance)
    ratings = dataclasses.replace(
        clustered(rng, users=400),
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=rng.integers(1, 6, len(user)).astype(np.float32),
        title_features=np.zeros((TITLES, 3), np.float32),
    )
    model = fitted(ratings)
    popularity = model._columns.popularity.numpy()
    agreement = []
    for user in range(40):
        history = model.history(tf.constant(user, tf.int64))
        free = np.setdiff1d(np.arange(TITLES), history[0])
        scores = model.scores(*history).numpy()[free]
        agreement.append(stats.spearmanr(scores, popularity[free])[0])
    assert np.mean(agreement) > 0.9


def test_no_rating_is_refused(rng) -> None:
    none = clustered(rng).select(np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="expected ratings to weigh"):
        retrieval_fit.choose(none, none, CONFIG, seed=1, report=lambda _: None)


def test_large_catalogues_get_ease_of_low_rank(rng, monkeypatch) -> None:
    """Of full rank it says the same; what is large without it is left out."""
    ratings = clustered(rng)
    whole = fitted(ratings)
    monkeypatch.setattr(ease, "FULL_SIZE", TITLES - 1)
    low = fitted(ratings)
    assert order_features.EASE_RATED not in low.order.names
    history = whole.history(tf.constant(8, tf.int64))
    free = np.setdiff1d(np.arange(TITLES), history[0])
    one, other = (model._scorers[order_features.EASE].scores(*history).numpy()[free] for model in (whole, low))
    np.testing.assert_allclose(one, other, atol=1e-4)
    shares, rest = low.explain(*history, tf.constant([3, 4]))
    total = tf.reduce_sum(shares, axis=1) + tf.add_n(list(rest.values()))
    np.testing.assert_allclose(total, tf.gather(low.scores(*history), [3, 4]), atol=1e-4)


@pytest.mark.parametrize(("full_size", "tries"), [(TITLES, 2), (TITLES - 1, 6)])
def test_ease_of_low_rank_is_searched_further(rng, monkeypatch, full_size: int, tries: int) -> None:
    """As long as larger penalties give better lists, which they do here."""
    monkeypatch.setattr(ease, "FULL_SIZE", full_size)
    monkeypatch.setattr(retrieval_tuning, "_is_better", lambda values, others: True)
    said: list[str] = []
    train, held_out = carve(clustered(rng))
    config = RetrievalConfig(dimension=4, searches=2)
    retrieval_fit.choose(train, held_out, config, seed=1, report=said.append)
    assert sum(line.startswith("EASE, strength") for line in said) == 1 + tries


def test_ease_of_what_was_rated_has_a_penalty_in_proportion(rng) -> None:
    """Ratings of low weight are regularised as strongly as those of weight one are."""
    ratings = clustered(rng)
    none = ratings.select(np.zeros(len(ratings), bool))
    chosen = retrieval_fit.choose(ratings, none, CONFIG, seed=1, report=lambda _: None)
    model = retrieval_fit.fit(ratings, chosen, seed=1)
    weights = retrieval_input.weighted(ratings, retrieval_input.RatingWeight.of(ratings.rating))
    penalty = CONFIG.ease_penalty / np.mean(weights.data.astype(np.float64) ** 2)
    is_rated = (weights.toarray() > 0).astype(np.float64)
    inverse = np.linalg.inv(is_rated.T @ is_rated + penalty * np.eye(TITLES))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = model._scorers[order_features.EASE_RATED].weights
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("room", "fewest", "asked"), [(20, 1, 4), (20, 7, 7), (10_000, 1, 9)])
def test_of_many_users_some_are_asked_for(small_ratings, monkeypatch, room: int, fewest: int, asked: int) -> None:
    """Pairs of user and title have to find room, but of very many titles there are some users nevertheless."""
    monkeypatch.setattr(retrieval_fit, "_MOST_PAIRS", room)
    monkeypatch.setattr(retrieval_fit, "_ENOUGH_USERS", fewest)
    train = dataclasses.replace(small_ratings, num_users=30, num_titles=5)
    user = np.repeat(np.arange(9, dtype=np.int32) + 3, 2)
    held_out = dataclasses.replace(train, user=user, title=np.zeros(18, np.int32), rating=np.full(18, 4, np.float32))
    users = retrieval_fit._asked(train, held_out, seed=1)
    assert len(users) == asked
    assert users.tolist() == sorted(set(users.tolist()) & set(range(3, 12)))


def test_histories_are_cut_to_a_random_part(rng) -> None:
    matrix = sparse.random(50, 30, 0.3, "csr", np.float32, random_state=2)
    for number in (0, 1, 4, 100):
        cut = retrieval_fit._cut_short(matrix, number, rng)
        np.testing.assert_array_equal(np.diff(cut.indptr), np.minimum(np.diff(matrix.indptr), number))
        kept = cut.toarray() > 0
        np.testing.assert_array_equal(cut.toarray()[kept], matrix.toarray()[kept])
    again = retrieval_fit._cut_short(matrix, 4, rng)
    assert (retrieval_fit._cut_short(matrix, 4, rng) != again).nnz


def test_no_list_holds_what_was_known_when_the_models_were_fitted(rng, monkeypatch) -> None:
    """Not even what a shortened history leaves out: the models have seen it."""
    ratings = clustered(rng)
    train, held_out = carve(ratings)
    seen = []
    learn = final_order.learn

    def keeping(names, lists):
        seen.append((names, lists))
        return learn(names, lists)

    monkeypatch.setattr(final_order, "learn", keeping)
    codes = np.arange(TITLES, dtype=np.float32)
    retrieval_fit.choose(
        train,
        held_out,
        CONFIG,
        seed=1,
        report=lambda _: None,
        # All users have the same scores here, so that the column that is not standardised tells titles apart.
        rating_scores=lambda users: np.tile(codes, (len(users), 1)),
    )
    ((names, lists),) = seen
    users = np.unique(held_out.user)
    high = retrieval_fit.positive_from(train)
    assert sorted(lists)[0] == 0
    place = names.index(order_features.MEAN_RATING)
    assert not len(lists.pop(0).features)
    assert len(lists) == 3
    for each in lists.values():
        assert each.features.shape[0] == len(users)
        assert np.isfinite(each.features).all()
        for row, user in enumerate(users):
            own = train.title[train.user == user]
            positives = held_out.title[(held_out.user == user) & (held_out.rating >= high)]
            found = each.features[row, :, place]
            free = TITLES - len(own)
            # Lists reach down to what is known only where they are longer than what is not.
            assert each.is_positive[row, :free].sum() == len(positives)
            assert len(found) == min(final_order.DEPTH, TITLES)


def test_the_ranking_model_counts_where_all_that_is_known_is_known(rng, monkeypatch) -> None:
    """It was fitted on whole histories, which shortened ones do not have; and theirs are the other lists."""
    train, held_out = carve(clustered(rng))
    learn, seen, shortened = final_order.learn, [], []
    monkeypatch.setattr(final_order, "learn", lambda names, lists: seen.append((names, lists)) or learn(names, lists))
    cut = retrieval_fit._cut_short
    monkeypatch.setattr(
        retrieval_fit, "_cut_short", lambda known, number, rng: shortened.append(number) or cut(known, number, rng)
    )
    scores = np.random.default_rng(0).normal(size=(train.num_users, TITLES)).astype(np.float32)
    quiet = {"seed": 1, "report": lambda _: None}
    retrieval_fit.choose(train, held_out, CONFIG, **quiet, rating_scores=lambda users: scores[users])
    ((names, lists),) = seen
    place = names.index(order_features.RATING)
    count = np.bincount(train.user)[np.unique(held_out.user)]
    assert max(lists) == np.quantile(count, 0.1, method="inverted_cdf")
    assert (
        shortened == sorted(set(lists) - {0, max(lists)}) == [each for each in final_order.SHORT if each < max(lists)]
    )
    for number, each in lists.items():
        assert np.any(each.features[..., place]) == (number == max(lists))


def test_a_high_rating_is_in_the_upper_quarter_of_the_scale_or_the_better_half(small_ratings) -> None:
    assert retrieval_fit.positive_from(small_ratings) == 4
    counts = np.append(np.arange(1, 100), 5000).astype(np.float32)
    played = Ratings(
        user=np.zeros(100, np.int32),
        title=np.arange(100, dtype=np.int32),
        rating=counts,
        num_users=1,
        num_titles=100,
        low=1.0,
        high=5000.0,
        user_features=small_ratings.user_features[:1],
        title_features=np.zeros((100, 3), np.float32),
    )
    assert retrieval_fit.positive_from(played) == 50.5


def test_without_searches_the_configuration_is_kept(rng) -> None:
    ratings = clustered(rng)
    config = RetrievalConfig(dimension=4, searches=0)
    assert retrieval_fit.choose(*carve(ratings), config, seed=1, report=lambda _: None).config == config
