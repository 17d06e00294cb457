"""The bounded search, on functions whose best is known."""

from __future__ import annotations

import numpy as np
import pytest

from modules.retrieval_tuning import held_out_ndcg, search


@pytest.mark.parametrize(
    ("best", "tries", "expected"), [(1, 4, 1), (4, 4, 4), (4, 1, 2), (100, 3, 8), (0.25, 4, 0.25), (0.01, 3, 0.25)]
)
def test_it_goes_in_the_better_direction_until_it_gets_worse(best, tries, expected) -> None:
    asked, told = [], []

    def make(strength: float) -> float:
        asked.append(strength)
        return -abs(np.log(strength / best))

    def tell(*what: float) -> None:
        told.append(what)

    strength, model = search(1.0, 2.0, tries, make, lambda model: np.full(3, model), tell)
    assert strength == expected
    assert model == pytest.approx(-abs(np.log(expected / best)))
    assert [each for each, _ in told] == asked
    assert len(asked) <= 1 + tries
    assert len(set(asked)) == len(asked)


def test_what_is_better_by_less_than_a_standard_error_is_left_aside(rng) -> None:
    noise = rng.standard_normal(400)
    for gain, expected in ((0.5, 0.0), (2.0, 1.0)):
        # In standard errors of the difference, which is 1 / sqrt(400) of the noise's deviation.
        values = {1.0: np.zeros(400), 2.0: noise - noise.mean() + gain * noise.std() / 20, 0.5: -np.ones(400)}
        strength, _ = search(1.0, 2.0, 2, lambda s: s, lambda s, v=values: v.get(s, -np.ones(400)), lambda *_: None)
        assert strength == (2.0 if expected else 1.0)


def test_without_tries_the_start_is_taken_unasked() -> None:
    assert search(3.0, 2.0, 0, str, lambda _: pytest.fail("asked"), print) == (3.0, "3.0")


def test_where_nothing_can_be_told_the_start_is_kept() -> None:
    assert search(3.0, 2.0, 4, str, lambda _: np.zeros(0), lambda *_: None) == (3.0, "3.0")


def test_known_titles_are_on_no_list() -> None:
    scores = np.array([[9.0, 5.0, 7.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    known = np.array([[True, False, False, False], [False] * 4])
    positive = np.array([[True, True, False, False], [False] * 4])
    np.testing.assert_allclose(held_out_ndcg(scores, known, positive), [1 / np.log2(3)])
    assert not len(held_out_ndcg(scores, known, known))
