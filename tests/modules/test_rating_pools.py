"""Sums over ratings and their gradients against a loop over the ratings, in both ways of adding up."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules import rating_pools
from modules.rating_pools import PaddedPools, SparsePools

USERS, TITLES, SIZE = 9, 7, 3
WAYS = [SparsePools, PaddedPools]


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    user, title = np.nonzero(rng.random((USERS, TITLES)) < np.linspace(0.1, 1, USERS)[:, np.newaxis])
    kept = (user != 4) & (title != TITLES - 1)  # A user, and the last title, have no rating.
    order = rng.permutation(np.flatnonzero(kept))
    return {
        "user": user[order].astype(np.int32),
        "title": title[order].astype(np.int32),
        "deviations": rng.normal(size=(2, len(order))),
        "visible": (rng.random(len(order)) < 0.6).astype(np.float32),
        "rated": [rng.normal(size=(rows, SIZE)).astype(np.float32) for rows in (TITLES, USERS)],
        "members": [rng.normal(size=(rows, SIZE)).astype(np.float32) for rows in (TITLES, USERS)],
        "upstream": [rng.normal(size=(rows, SIZE)).astype(np.float32) for rows in (USERS, TITLES)],
    }


def run(way: type, data: dict[str, np.ndarray]) -> tuple[list, list]:
    """The sums of both sides, and the gradients of y and z."""
    pools = way(data["user"], data["title"], data["deviations"], users=USERS, titles=TITLES, size=SIZE)
    rated, members = ([tf.Variable(each) for each in data[name]] for name in ("rated", "members"))
    with tf.GradientTape() as tape:
        sums = pools(tf.constant(data["visible"]), rated, members)
        loss = tf.add_n([tf.reduce_sum(pool.total * up) for pool, up in zip(sums, data["upstream"], strict=True)])
    return sums, tape.gradient(loss, [*rated, *members])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("numbers", [1 << 22, 1], ids=["whole buckets", "one row at once"])
def test_sums_and_gradients_are_those_of_a_loop(way: type, numbers: int, data, monkeypatch) -> None:
    monkeypatch.setattr(rating_pools, "_BUCKET_NUMBERS", numbers)
    sums, gradients = run(way, data)
    sides = ((data["user"], data["title"], USERS, TITLES), (data["title"], data["user"], TITLES, USERS))
    for side, (own, other, rows, others) in enumerate(sides):
        total, count = np.zeros((rows, SIZE)), np.zeros((rows, 1))
        of_rated, of_members = np.zeros((others, SIZE)), np.zeros((others, SIZE))
        for j in np.flatnonzero(data["visible"]):
            deviation, upstream = data["deviations"][side][j], data["upstream"][side][own[j]]
            total[own[j]] += deviation * data["rated"][side][other[j]] + data["members"][side][other[j]]
            count[own[j]] += 1
            of_rated[other[j]] += deviation * upstream
            of_members[other[j]] += upstream
        np.testing.assert_allclose(sums[side].total, total, atol=1e-5)
        np.testing.assert_array_equal(sums[side].count, count)
        np.testing.assert_allclose(tf.convert_to_tensor(gradients[side]), of_rated, atol=1e-5)
        np.testing.assert_allclose(tf.convert_to_tensor(gradients[2 + side]), of_members, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_replicas_add_up_to_one_device(way: type, data) -> None:
    """As many replicas as there are devices; `tests.modules.test_distribution` has two."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    pools = way(data["user"], data["title"], data["deviations"], users=USERS, titles=TITLES, size=SIZE)
    rated, members = ([tf.Variable(each) for each in data[name]] for name in ("rated", "members"))

    @tf.function(autograph=False)
    def of_replica() -> list[tf.Tensor]:
        replica = tf.distribute.get_replica_context()
        return [pool.total for pool in pools(tf.constant(data["visible"]), rated, members, replica)]

    alone, _ = run(way, data)
    for found, expected in zip(strategy.run(of_replica), alone, strict=True):
        np.testing.assert_allclose(found, expected.total, atol=1e-5)


@pytest.mark.parametrize(("gpu", "way"), [(False, SparsePools), (True, PaddedPools)])
def test_the_way_suits_the_devices(gpu: bool, way: type, data, monkeypatch) -> None:
    monkeypatch.setattr(rating_pools, "has_gpu", lambda: gpu)
    made = rating_pools.create(data["user"], data["title"], data["deviations"], users=USERS, titles=TITLES, size=SIZE)
    assert isinstance(made, way)
