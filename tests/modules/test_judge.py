"""Models that are judged: which are refused, and what is said of whom, with models of a line each."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from modules import judge
from modules.judge import Scorer
from tests.support import serialize

OF_PREDICT = {"predicted_rating": 3.0, "rating_stddev": 0.5}
OF_EVALUATION = {
    "user_activity": "3-9", "title_popularity": "new", "user_title_bias": 3.5, "title_mean": 3.25, "global_mean": 4.0
}  # fmt: skip


def constant(values: dict[str, float | str], per_example: int = 1) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def answer(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.fill([tf.size(examples) * per_example], value) for name, value in values.items()}

    return answer


def export(folder: pathlib.Path, **signatures: Callable) -> str:
    module = tf.Module()
    module.signatures_kept = list(signatures.values())
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Models by name."""
    folder = tmp_path_factory.mktemp("judge")
    evaluation = constant(OF_EVALUATION)
    export(folder / "good[1]", serving_default=constant(OF_PREDICT), evaluation=evaluation)
    export(folder / "silent", serving_default=constant({"predicted_rating": 2.0}))
    export(folder / "mute", serving_default=constant({"something": 2.0}), evaluation=evaluation)
    export(folder / "twice", serving_default=constant(OF_PREDICT, 2), evaluation=evaluation)
    return folder


def rows(count: int) -> tf.Tensor:
    return tf.constant([serialize({"user_id": f"user {each}", "user_rating": float(each)}) for each in range(count)])


def test_what_all_models_say_stands_beside_the_rating(folder: pathlib.Path) -> None:
    scorer = Scorer(str(folder / "good[1]"), str(folder / "silent"))
    assert scorer.models == ("candidate", "blessed", "user_title_bias", "title_mean", "global_mean")
    assert scorer.lists is None
    scored = scorer.score(rows(2))
    np.testing.assert_array_equal(scored.label, [0, 1])
    np.testing.assert_array_equal(scored.prediction[:, 0], [3.0, 2.0, 3.5, 3.25, 4.0])
    # Of the candidate, though the other says nothing of it.
    np.testing.assert_array_equal(scored.deviation, [[0.5, 0.5]])
    assert scored.slice_keys == (((),), (("user_activity", "3-9"),), (("title_popularity", "new"),))


def test_users_are_told_apart(folder: pathlib.Path) -> None:
    scored = Scorer(str(folder / "good[1]")).score(rows(5000))
    assert len(set(scored.user.tolist())) == 5000


@pytest.mark.parametrize(
    ("block_rows", "sizes"), [(3, [4, 4, 2]), (5, [6, 4]), (4, [4, 4, 2]), (99, [10]), (1, [2] * 5)]
)
def test_a_block_is_full_with_the_batch_that_reaches_its_size(folder: pathlib.Path, block_rows, sizes) -> None:
    batches = tf.split(rows(10), 5)
    blocks = list(judge.score_blocks(Scorer(str(folder / "good[1]")), batches, block_rows=block_rows))
    assert [len(block) for block in blocks] == sizes
    assert np.concatenate([block.label for block in blocks]).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gone", r"expected a SavedModel in .*gone; got none"),
        ("silent", r"expected a signature 'evaluation' in .*silent; got \['serving_default'\]"),
        ("mute", r"expected \['predicted_rating'\] among the outputs of 'serving_default' of .*; got \['something'\]"),
    ],
)
def test_what_cannot_be_judged_is_refused(folder: pathlib.Path, name: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Scorer(str(folder / name))
    if name != "silent":
        with pytest.raises(ValueError, match=fault):
            Scorer(str(folder / "good[1]"), str(folder / name))


def test_an_answer_that_is_not_one_an_example_is_refused(folder: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"expected one value of .* for each of 3 examples; got the shape \(6,\)"):
        Scorer(str(folder / "twice")).score(rows(3))
