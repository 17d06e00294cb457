"""Lists are judged by what `recommend` answers, user by user, beside counts made by hand."""

from __future__ import annotations

import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from modules import list_judge, recommending, serving, sliced_metrics
from modules.list_judge import ListJudge
from tests.support import camps, export_recommending, serialize

TITLES = 24


def film(title: int) -> str:
    return f"Film {title:02} ({1980 + title})"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    loaded = tf.saved_model.load(export_recommending(tmp_path_factory.mktemp("judged"), titles=TITLES))
    loaded.kept = dict(loaded.signatures)
    return loaded


@pytest.fixture(scope="module")
def held_out() -> list[dict]:
    """What was not rated in training, liked where the camp is the same; a new user, and a title that nobody rated."""
    rng = np.random.default_rng(5)
    rated = {(row["user_id"], row["movie_title"]) for row in camps(titles=TITLES)[0]}
    rows = [
        {
            "user_id": f"u{user}",
            "movie_title": film(title),
            "user_rating": 5.0 if user % 2 == title % 2 else 1.0,
        }
        for user in range(30)
        for title in range(TITLES)
        if (f"u{user}", film(title)) not in rated and rng.random() < 0.5
    ]
    new = [{"user_id": "newcomer", "movie_title": name, "user_rating": 5.0} for name in (film(0), "Unheard of")]
    return [*rows, *new]


def examples(rows: list[dict]) -> tf.Tensor:
    return tf.constant([serialize(row) for row in rows])


def listed(model, user: str) -> list[str]:
    none = tf.constant([], tf.string)
    answer = model.signatures["recommend"](user_id=tf.constant([user]), k=tf.constant(10), exclude=none, only=none)
    return [title.decode() for title in answer["movie_title"].numpy()]


def ndcg(titles: list[str], liked: set[str]) -> float:
    gained = sum(1 / np.log2(rank + 1) for rank, title in enumerate(titles, 1) if title in liked)
    return gained / sum(1 / np.log2(rank + 1) for rank in range(1, min(len(liked), 10) + 1))


def test_users_who_liked_something_are_judged_by_their_lists(model, held_out: list[dict]) -> None:
    judge = ListJudge({"candidate": model})
    assert judge.models == ("candidate", "popularity")
    liked = judge.liked(examples(held_out))
    by_user = collections.defaultdict(set)
    for row in held_out:
        if row["user_rating"] >= 4:
            by_user[row["user_id"]].add(row["movie_title"])
    assert len(liked) == sum(map(len, by_user.values()))
    sums = judge.measure(liked).sums
    measured = sums[()].metrics(0)
    assert measured["list_users"] == len(by_user)
    assert measured["list_ndcg"] == pytest.approx(np.mean([ndcg(listed(model, u), t) for u, t in by_user.items()]))
    recalls = [len({*listed(model, user)} & titles) / len(titles) for user, titles in by_user.items()]
    assert measured["list_recall"] == pytest.approx(np.mean(recalls))
    assert {key for key in sums if key} <= {("user_activity", name) for name in serving.SLICE_NAMES}
    assert sum(each.users for key, each in sums.items() if key) == len(by_user)
    assert sums["user_activity", "new"].users == 1

    rows, _ = camps(titles=TITLES)
    count = collections.Counter(row["movie_title"] for row in rows)
    rated = collections.defaultdict(set)
    for row in rows:
        rated[row["user_id"]].add(row["movie_title"])
    vocabulary = model.signatures["catalogue"]()["movie_title"].numpy().astype(str).tolist()
    popular = sorted(vocabulary, key=lambda title: (-count[title], vocabulary.index(title)))
    lists = {user: [title for title in popular if title not in rated[user]][:10] for user in by_user}
    expected = np.mean([ndcg(lists[user], titles) for user, titles in by_user.items()])
    of_popularity = sums[()].metrics(1)
    assert of_popularity["list_ndcg"] == pytest.approx(expected)
    assert of_popularity["list_ndcg_lead"] == pytest.approx(measured["list_ndcg"] - expected)
    assert of_popularity["list_ndcg_lead_z"] > 2, "who belongs to a camp is recommended its films"


def test_the_typical_list_of_a_slice_is_somebodys_with_what_that_user_liked(model, held_out: list[dict]) -> None:
    judge = ListJudge({"candidate": model})
    measured = judge.measure(judge.liked(examples(held_out)))
    by_user = collections.defaultdict(set)
    for row in held_out:
        if row["user_rating"] >= 4:
            by_user[row["user_id"]].add(row["movie_title"])
    assert {name for _, name in filter(None, measured.sums)} == set(measured.typical)
    for name, typical in measured.typical.items():
        assert typical.users == measured.sums["user_activity", name].users
        owners = [user for user in by_user if tuple(listed(model, user)) == typical.titles]
        assert typical.liked in [by_user[user] & set(typical.titles) for user in owners]
    assert any(typical.liked for typical in measured.typical.values())


def test_parts_of_the_users_are_measured_alike(model, held_out: list[dict], monkeypatch) -> None:
    judge = ListJudge({"candidate": model})
    liked = judge.liked(examples(held_out))
    whole = judge.measure(liked).sums
    monkeypatch.setattr(list_judge.recommending, "MOST_PAIRS", 4 * TITLES)
    in_parts = ListJudge({"candidate": model}).measure(liked).sums
    halves = [judge.liked(examples(held_out[:100])), judge.liked(examples(held_out[100:]))]
    buckets = [part for _, part in list_judge.split_by_user(halves, 5)]
    assert len(buckets) == 5
    users = [{*part.user.tolist()} for part in buckets]
    assert sum(map(len, users)) == len(set().union(*users))
    merged = sliced_metrics.merge(judge.measure(bucket).sums for bucket in buckets)
    for other in (in_parts, merged):
        assert set(other) == set(whole)
        for key, sums in whole.items():
            for place in range(2):
                assert other[key].metrics(place) == pytest.approx(sums.metrics(place), nan_ok=True)


def test_of_many_users_a_part_is_judged_whole(model, held_out: list[dict]) -> None:
    all_users = {row["user_id"] for row in held_out}
    liked = ListJudge({"candidate": model}, most_users=10).liked(examples(held_out))
    chosen = {user.decode() for user in liked.user}
    assert 3 < len(chosen) < 0.7 * len(all_users)
    high = {(row["user_id"], row["movie_title"]) for row in held_out if row["user_rating"] >= 4}
    kept = {(user.decode(), title.decode()) for user, title in zip(liked.user, liked.title, strict=True)}
    assert kept == {(user, title) for user, title in high if user in chosen}


def test_another_model_is_judged_on_the_same_users(model, held_out, tmp_path: pathlib.Path) -> None:
    worse = tf.saved_model.load(export_recommending(tmp_path, titles=TITLES, upside_down=True))
    silent = tf.saved_model.load(_without_lists(tmp_path / "silent"))
    judge = ListJudge({"candidate": worse, "silent": silent, "blessed": model})
    assert judge.models == ("candidate", "blessed", "popularity")
    sums = judge.measure(judge.liked(examples(held_out))).sums[()]
    assert sums.metrics(1)["list_ndcg_lead_z"] < -2
    assert sums.metrics(2)["list_ndcg_lead_z"] < -2
    assert sums.metrics(0)["list_ndcg"] < sums.metrics(1)["list_ndcg"]
    with pytest.raises(ValueError, match="expected a candidate that recommends"):
        ListJudge({"candidate": silent, "blessed": model})


def test_nobody_to_judge_has_no_buckets(model) -> None:
    judge = ListJudge({"candidate": model})
    none = judge.liked(examples([{"user_id": "u1", "movie_title": film(1), "user_rating": 1.0}]))
    assert not len(none)
    assert not list(list_judge.split_by_user([none], 4))
    assert not list(list_judge.split_by_user([], 4))


class FewTitles:
    """A loaded model of three titles, in Python: lists of two for everybody, and what it was asked."""

    names = (b"A", b"B", b"C")

    def __init__(self, users: int = 2) -> None:
        self.user_vectors = np.zeros((users + 1, 4), np.float32)
        self.asked: list[list[bytes]] = []
        self.signatures = {
            recommending.RECOMMEND_USERS: self.recommend_users,
            recommending.EVALUATION_LISTS: self.evaluation_lists,
            recommending.CATALOGUE: self.catalogue,
        }

    def catalogue(self) -> dict[str, tf.Tensor]:
        return {
            "movie_title": tf.constant(self.names),
            recommending.COUNT: tf.constant([3, 2, 1]),
            recommending.GENRES: tf.ones([3, 1]),
            recommending.HIGH_RATING: tf.constant(4.0),
        }

    def recommend_users(self, user_id: tf.Tensor, **others: tf.Tensor) -> dict[str, tf.Tensor]:
        self.asked.append(user_id.numpy().tolist())
        return {"movie_title": tf.tile([[b"C", b"A"]], [len(user_id), 1])}

    def evaluation_lists(self, user_id: tf.Tensor, **others: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "movie_title": tf.tile([[b"B", b""]], [len(user_id), 1]),
            serving.USER_ACTIVITY: tf.where(user_id == b"new", b"new", b"1-2"),
        }


def rows_of(*pairs: tuple[str, str]) -> list_judge.Liked:
    user, title = zip(*pairs, strict=True)
    return list_judge.Liked(user=np.array(user, "S").astype(object), title=np.array(title, "S").astype(object))


def test_lists_of_few_titles_are_judged_as_they_are() -> None:
    """The one liked title stands second, first or nowhere; a title of no catalogue counts as missed."""
    liked = rows_of(("new", "A"), ("u1", "C"), ("u2", "B"), ("u3", "Unheard of"))
    measured = ListJudge({"candidate": FewTitles()}).measure(liked)
    of_all = measured.sums[()]
    assert of_all.metrics(0)["list_ndcg"] == pytest.approx((1 / np.log2(3) + 1 + 0 + 0) / 4)
    assert of_all.metrics(1)["list_ndcg"] == pytest.approx(1 / 4)
    assert of_all.exposure.tolist() == [[4, 0, 4], [0, 4, 0]]
    assert measured.typical["new"].liked == {"A"}
    assert measured.typical["new"].titles == ("C", "A")


@pytest.mark.parametrize(("room", "sizes"), [(6, [2, 2, 1]), (2, [1] * 5), (100, [5])])
def test_no_more_users_are_asked_for_at_once_than_there_is_room_for(monkeypatch, room: int, sizes: list[int]) -> None:
    monkeypatch.setattr(recommending, "MOST_PAIRS", room)
    model = FewTitles()
    ListJudge({"candidate": model}).measure(rows_of(*((f"u{each}", "A") for each in range(5))))
    assert [len(asked) for asked in model.asked] == sizes
    assert [user for asked in model.asked for user in asked] == [f"u{each}".encode() for each in range(5)]


def test_the_share_of_users_that_are_judged_is_of_those_in_training() -> None:
    """One of two: about half of any."""
    rows = [{"user_id": f"someone {each}", "movie_title": "A", "user_rating": 5.0} for each in range(1000)]
    assert len(ListJudge({"candidate": FewTitles(users=2)}, most_users=1).liked(examples(rows))) == pytest.approx(
        500, abs=60
    )


def _without_lists(folder: pathlib.Path) -> str:
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})
    return str(folder)
