"""The exported model that picks titles: who is recommended what, and what never is."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from modules import features, serving
from modules.ratings import Ratings
from modules.recommending import RecommendingModel
from modules.trainer import train, train_retrieval
from tests.support import analyze, load, side_features, write_examples

USERS, TITLES = 60, 45
# Of lists under random rules, each with a model that was exported and loaded.
CASES = 10_000
# Of the side table alone: two of each camp by genre, one of which nothing is known.
UNRATED = {"New even": ["Even"], "New odd": ["Odd"], "Newer even": ["Even"], "Newer odd": ["Odd"], "Untold": []}
SHORT = {"form": "plain", "factors": 4, "iterations": 30, "burn_in": 10, "pilot_iterations": 24, "pilot_burn_in": 4}


def name(title: int) -> str:
    return f"Title {title:02}"


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Ratings of two camps: one likes the even titles, the other the odd ones; low numbers are rated most."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for title in range(TITLES):
            alike = user % 2 == title % 2
            if rng.random() < (0.75 if alike else 0.15) * (1.0 - title / (1.5 * TITLES)):
                stars = float(rng.integers(4, 6) if alike else rng.integers(1, 4))
                rows.append({"user_id": f"u{user}", "movie_title": name(title), "user_rating": stars})
    return rows


@pytest.fixture(scope="module")
def fitted(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> tuple[RecommendingModel, Ratings, list[str]]:
    """The model, what it was fitted on, and the titles in the order of the vocabulary."""
    folder = tmp_path_factory.mktemp("recommending")
    described = [{"movie_title": name(title), "genres": ["Odd" if title % 2 else "Even"]} for title in range(TITLES)]
    unrated = [{"movie_title": title, "genres": genres} for title, genres in UNRATED.items()]
    output, side = analyze(rows), side_features(titles=[*described, *unrated])
    ratings = load(write_examples(folder / "rows.gz", rows), output, side)
    trained = train(ratings, None, preset="default", values=SHORT, seed=0)
    vocabulary = output.vocabulary_by_name("movie_title")
    retrieval, chosen = train_retrieval(
        ratings, None, trained, preset="default", seed=0, unrated=side.beside(features.TITLES, vocabulary)
    )
    assert chosen.startswith("iALS regularization")
    titles = [*(title.decode() for title in vocabulary), *UNRATED]
    return RecommendingModel(trained.model, output, trained.fitted_on, side, retrieval), trained.fitted_on, titles


@pytest.fixture(scope="module")
def signatures(fitted, tmp_path_factory: pytest.TempPathFactory):
    """The signatures of the model after it has been exported and loaded."""
    path = str(tmp_path_factory.mktemp("recommending") / "model")
    serving.export(fitted[0], path)
    assert (pathlib.Path(path) / "assets.extra" / "tf_serving_warmup_requests").stat().st_size
    loaded = tf.saved_model.load(path)
    signatures = dict(loaded.signatures)
    # They live as long as the object does.
    yield signatures
    del loaded


def ask(signatures, signature: str, k: int = 10, exclude=(), only=(), **inputs) -> dict[str, np.ndarray]:
    given = {
        key: tf.constant(value, tf.float32 if key == "user_rating" else tf.string) for key, value in inputs.items()
    }
    answer = signatures[signature](
        **given, k=tf.constant(k), exclude=tf.constant(exclude, tf.string), only=tf.constant(only, tf.string)
    )
    return {key: values.numpy() for key, values in answer.items()}


def explain(signatures, signature: str, asked: list[str], **inputs) -> dict[str, np.ndarray]:
    given = {
        key: tf.constant(value, tf.float32 if key == "user_rating" else tf.string) for key, value in inputs.items()
    }
    answer = signatures[signature](**given, asked_title=tf.constant(asked))
    return {key: values.numpy() for key, values in answer.items()}


def titles_of(answer: dict[str, np.ndarray]) -> list[str]:
    return [title.decode() for title in answer["movie_title"]]


def rated_by(rows: list[dict], user: str) -> dict[str, float]:
    return {row["movie_title"]: row["user_rating"] for row in rows if row["user_id"] == user}


def parity(titles: list[str]) -> float:
    """The share of odd titles."""
    return float(np.mean([is_odd(title) for title in titles]))


def is_odd(title: str) -> bool:
    return "odd" in title or (title[-2:].isdigit() and int(title[-2:]) % 2 == 1)


def test_a_user_is_recommended_what_people_alike_rate_highly(signatures, rows: list[dict]) -> None:
    shares = {0: [], 1: []}
    for user in range(USERS):
        answer = ask(signatures, "recommend", 5, user_id=[f"u{user}"])
        assert not set(titles_of(answer)) & set(rated_by(rows, f"u{user}"))
        assert len(answer["movie_title"]) == len(set(titles_of(answer))) == 5
        assert (np.diff(answer["score"]) <= 0).all()
        shares[user % 2].append(parity(titles_of(answer)))
    assert np.mean(shares[0]) < 0.25 < 0.75 < np.mean(shares[1])


def test_stars_beside_a_title_are_those_of_predict(signatures) -> None:
    answer = ask(signatures, "recommend", 7, user_id=["u3"])
    titles = tf.constant(titles_of(answer))
    predicted = signatures["predict"](user_id=tf.fill([7], "u3"), movie_title=titles)["predicted_rating"]
    np.testing.assert_allclose(answer["predicted_rating"], predicted[:, 0], rtol=1e-6)


def test_an_unknown_user_is_recommended_what_is_popular(signatures, fitted) -> None:
    _, ratings, names = fitted
    high = np.bincount(ratings.title, ratings.rating, minlength=len(names))
    popular = {names[title] for title in np.argsort(-high)[:15]}
    answer = titles_of(ask(signatures, "recommend", 10, user_id=["nobody"]))
    assert len(set(answer) & popular) >= 8
    # So is somebody new without a rating, or with ratings of what is in no list.
    assert titles_of(ask(signatures, "recommend_for", 10, movie_title=[], user_rating=[])) == answer
    assert titles_of(ask(signatures, "recommend_for", 10, movie_title=["?"], user_rating=[5.0])) == answer


def test_somebody_new_gets_what_a_user_with_the_same_ratings_gets(signatures, rows: list[dict]) -> None:
    ratings = rated_by(rows, "u8")
    new = ask(signatures, "recommend_for", 6, movie_title=list(ratings), user_rating=list(ratings.values()))
    known = ask(signatures, "recommend", 6, user_id=["u8"])
    # The ranking model's row of the new user is not the fitted one, but near it.
    stars = [dict(zip(titles_of(each), each["predicted_rating"].tolist(), strict=True)) for each in (new, known)]
    both = set(stars[0]) & set(stars[1])
    assert len(both) >= 4
    assert max(abs(stars[0][title] - stars[1][title]) for title in both) < 0.4


@pytest.mark.parametrize("liked", [0, 1])
def test_three_ratings_tell_the_camps_apart(signatures, liked: int) -> None:
    titles = [name(title) for title in range(6)]
    stars = [5.0 if is_odd(title) == liked else 1.0 for title in titles]
    answer = ask(signatures, "recommend_for", 6, movie_title=titles, user_rating=stars)
    assert not set(titles_of(answer)) & set(titles)
    assert (parity(titles_of(answer)) > 0.5) == bool(liked)
    rated = zip(titles_of(answer), answer["predicted_rating"], strict=True)
    assert min(stars for title, stars in rated if is_odd(title) == liked) > 3.0


def test_similar_titles_are_chosen_by_the_same_people(signatures) -> None:
    for title in (0, 1, 8, 9):
        answer = ask(signatures, "similar", 8, movie_title=[name(title)])
        assert name(title) not in titles_of(answer)
        assert abs(parity(titles_of(answer)) - title % 2) < 0.3
        assert (np.diff(answer["score"]) <= 0).all()
        assert (np.abs(answer["score"]) <= 1.0 + 1e-5).all()
    # Nothing is known of what people choose beside a title that nobody rated: popular ones.
    popular = titles_of(ask(signatures, "recommend", 8, user_id=["nobody"]))
    assert len({*titles_of(ask(signatures, "similar", 8, movie_title=["?"]))} & {*popular}) >= 7


def test_many_users_at_once_get_what_each_gets(signatures, rows: list[dict]) -> None:
    users = ["u8", "nobody", "u1", "u8"]
    rules = {"exclude": [name(2)], "only": [name(title) for title in range(30)]}
    answer = ask(signatures, "recommend_users", 20, user_id=users, **rules)
    assert answer["movie_title"].shape == answer["score"].shape == answer["predicted_rating"].shape == (4, 20)
    is_short = []
    for row, user in enumerate(users):
        alone = ask(signatures, "recommend", 20, user_id=[user], **rules)
        found = len(alone["movie_title"])
        is_short.append(found < 20)
        assert answer["movie_title"][row].tolist() == alone["movie_title"].tolist() + [b""] * (20 - found)
        for values in ("score", "predicted_rating"):
            np.testing.assert_allclose(answer[values][row, :found], alone[values], atol=3e-4)
            assert not answer[values][row, found:].any()
    assert is_short == [False, False, True, False], "a user with fewer titles left belongs to the test"


def test_shares_of_an_explanation_add_up_to_the_score(signatures, rows: list[dict]) -> None:
    for user in ("u8", "u9", "nobody"):
        listed = ask(signatures, "recommend", 12, user_id=[user])
        explained = explain(signatures, "explain", titles_of(listed), user_id=[user])
        ratings = rated_by(rows, user)
        assert sorted(title.decode() for title in explained["rated_title"]) == sorted(ratings)
        total = explained["shares"].sum(axis=1) + explained["feature_shares"].sum(axis=1)
        np.testing.assert_allclose(total, listed["score"], atol=3e-4)
        np.testing.assert_allclose(explained["score"], listed["score"], atol=3e-4)
        new = {"movie_title": list(ratings), "user_rating": list(ratings.values())}
        of_new = explain(signatures, "explain_for", titles_of(listed), **new)
        # The models of who rated what know both alike; the ranking model does not.
        order = [explained["rated_title"].tolist().index(title) for title in of_new["rated_title"]]
        np.testing.assert_allclose(of_new["shares"], explained["shares"][:, order], atol=3e-4)
    assert b"popularity" in explained["features"]


def test_ratings_of_the_same_camp_speak_for_a_title(signatures, rows: list[dict]) -> None:
    for_it = []
    for user in range(0, USERS, 2):
        explained = explain(signatures, "explain", [name(20)], user_id=[f"u{user}"])
        best = explained["rated_title"][np.argmax(explained["shares"][0])]
        for_it.append(not is_odd(best.decode()))
    assert np.mean(for_it) > 0.9


def test_of_a_title_that_nobody_rated_nothing_is_explained(signatures) -> None:
    explained = explain(signatures, "explain", ["?", name(3)], user_id=["u8"])
    assert not explained["shares"][0].any()
    assert not explained["feature_shares"][0].any()
    assert explained["score"].tolist()[0] == 0 != explained["score"].tolist()[1]


def test_what_nobody_rated_is_recommended_by_its_features(signatures) -> None:
    for user, camp in (("u8", "even"), ("u9", "odd")):
        answer = ask(signatures, "recommend", 9, user_id=[user], only=list(UNRATED))
        assert len(answer["movie_title"]) == len(UNRATED)
        assert {title.split()[1] for title in titles_of(answer)[:2]} == {camp}
        predicted = signatures["predict"](user_id=tf.fill([5], user), movie_title=tf.constant(titles_of(answer)))
        np.testing.assert_allclose(answer["predicted_rating"], predicted["predicted_rating"][:, 0], rtol=1e-5)
        explained = explain(signatures, "explain", titles_of(answer), user_id=[user])
        np.testing.assert_allclose(explained["score"], answer["score"], atol=3e-4)
        many = ask(signatures, "recommend_users", 9, user_id=[user], only=list(UNRATED))
        np.testing.assert_allclose(many["score"][0], answer["score"], atol=3e-4)
        alike = ask(signatures, "similar", 2, movie_title=[f"New {camp}"], only=list(UNRATED))
        assert titles_of(alike)[0] == f"Newer {camp}"
        # Rated by somebody new, it tells nothing, but it is not recommended.
        new = ask(signatures, "recommend_for", 9, movie_title=["New odd"], user_rating=[5.0], only=list(UNRATED))
        assert set(titles_of(new)) == set(UNRATED) - {"New odd"}


def test_rules_hold_on_every_path(signatures, fitted, rows: list[dict]) -> None:
    """Nothing rated, excluded or not among those allowed is in any answer, and every answer is as long as it can be."""
    _, _, names = fitted
    rng = np.random.default_rng(1)
    for case in range(CASES):
        exclude, only = (
            list(rng.choice([*names, "?"], rng.integers(0, 30))) if rng.random() < 0.6 else [] for _ in "12"
        )
        k = int(rng.integers(0, 60))
        rules = {"k": k, "exclude": exclude, "only": only}
        allowed = (set(only) if only else set(names)) & set(names) - set(exclude)
        if case % 3 == 0:
            user = f"u{rng.integers(0, USERS + 5)}"
            answer = ask(signatures, "recommend", user_id=[user], **rules)
            if case % 2:
                answer = {
                    key: values[0]
                    for key, values in ask(signatures, "recommend_users", user_id=[user], **rules).items()
                }
                answer = {key: values[answer["movie_title"] != b""] for key, values in answer.items()}
            allowed -= set(rated_by(rows, user))
        elif case % 3 == 1:
            rated = list(rng.choice([*names, "?"], rng.integers(0, 12)))
            answer = ask(
                signatures, "recommend_for", movie_title=rated, user_rating=rng.uniform(1, 5, len(rated)), **rules
            )
            allowed -= set(rated)
        else:
            title = str(rng.choice([*names, "?"]))
            answer = ask(signatures, "similar", movie_title=[title], **rules)
            allowed -= {title}
        found = titles_of(answer)
        assert set(found) <= allowed
        assert len(found) == len(set(found)) == min(k, len(allowed))
        assert all(np.isfinite(values).all() for key, values in answer.items() if key != "movie_title")
