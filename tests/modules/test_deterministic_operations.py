"""What the presets' training runs has deterministic kernels on GPUs, on any machine; and, on a GPU, that it runs there.

Trainer turns on op determinism, under which an operation without such a kernel raises an error on a GPU. Sources: the
documentation of `tf.config.experimental.enable_op_determinism`, the release notes of TensorFlow 2.8 and the kernels,
which name each of them. Sums over segments, of which the gradients of look-ups are made, have had a deterministic
kernel since 2.8. Scatters run on the host instead.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modules import presets, rating_pools, trainer
from modules.metrics import rmse
from modules.ratings import Ratings
from tests.support import operations_run

# Parts of the names of operations that raise an error, or, as the products of matrices in compressed rows, do not
# promise to give the same result again.
REFUSED = (
    "SparseTensorDenseMatMul", "SparseTensorDenseAdd", "SparseMatrix", "SparseSegment", "Bincount", "Svd",
    "SoftmaxCrossEntropyWithLogits", "FusedBatchNorm", "CropAndResizeGrad", "ResizeNearestNeighborGrad",
    "MaxPoolGradWithArgmax", "DepthwiseConv2dNativeBackprop", "Dilation2DBackprop", "FakeQuant", "AdjustContrast",
    "PyFunc",
)  # fmt: skip
# Adagrad's step for looked-up rows is one, as the notebook has it.
SCATTERS = {"default": set(), "fast": set(), "notebook": {"ResourceScatterAdd"}}
# What the training is sure to hold, so that a search that finds nothing refused has searched.
FOUND = {
    "default": {"BatchMatMulV2", "Cholesky"},
    "fast": {"BatchMatMulV2", "GatherV2", "StatelessRandomUniformV2"},
    "notebook": {"ResourceGather", "MatMul"},
}
SHORT: dict[str, dict[str, Any]] = {
    "default": {"iterations": 24, "burn_in": 4, "pilot_iterations": 24, "pilot_burn_in": 4, "factors": 2},
    "fast": {"epochs": 1, "steps": 2},
    "notebook": {"epochs": 1},
}


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    rng = np.random.default_rng(3)
    user, title = np.nonzero(rng.random((40, 30)) < 0.6)
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=rng.integers(1, 6, len(user)).astype(np.float32),
        num_users=40,
        num_titles=30,
        low=1.0,
        high=5.0,
        user_features=np.zeros((40, 2), np.float32),
        title_features=(rng.random((30, 3)) < 0.5).astype(np.float32),
    )


def train(preset: str, ratings: Ratings) -> tf.Module:
    """Chooses, where the preset does, and fits."""
    return trainer.train(ratings, None, preset=preset, values=SHORT[preset], seed=0)[0]


def test_every_preset_is_looked_at() -> None:
    assert set(SCATTERS) == set(FOUND) == set(SHORT) == set(presets.PRESETS)


@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_training_for_gpus_runs_nothing_without_a_deterministic_kernel(
    preset: str, ratings: Ratings, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rating_pools, "has_gpu", lambda: True)
    operations = operations_run(lambda: train(preset, ratings), tmp_path)
    assert FOUND[preset] <= operations
    assert not [each for each in operations if any(name in each for name in REFUSED)]
    assert {each for each in operations if "Scatter" in each} == SCATTERS[preset]


def test_the_search_finds_what_only_cpus_have(ratings: Ratings, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(rating_pools, "has_gpu", lambda: False)
    assert "SparseTensorDenseMatMul" in operations_run(lambda: train("fast", ratings), tmp_path)


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="there is no GPU")
@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_a_gpu_gives_the_same_again_and_what_a_cpu_gives(preset: str, ratings: Ratings) -> None:
    def predictions() -> np.ndarray:
        model = train(preset, ratings)
        return model({"user_id": tf.constant(ratings.user), "movie_title": tf.constant(ratings.title)}).numpy()

    one, other = predictions(), predictions()
    np.testing.assert_array_equal(one, other)
    with tf.device("CPU"):
        on_cpu = predictions()
    assert rmse(ratings.rating, one[:, 0]) == pytest.approx(rmse(ratings.rating, on_cpu[:, 0]), abs=1e-3)
