"""Fixtures that every test may use."""

from __future__ import annotations

import ctypes
import gc
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline import environment

environment.prepare()

from modules import features
from modules.ratings import Ratings

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that may take long come first, since workers take files in this order: the last ones are then short."""
    may_take: dict[pathlib.Path, tuple[float, bool]] = {}
    for item in items:
        limit, slow = item.get_closest_marker("timeout"), item.get_closest_marker("slow")
        seconds, is_slow = may_take.get(item.path, (0.0, False))
        may_take[item.path] = (max(seconds, limit.args[0] if limit else 0.0), is_slow or slow is not None)
    items.sort(key=lambda item: may_take[item.path], reverse=True)


@pytest.fixture(scope="module", autouse=True)
def memory_is_given_back() -> Iterator[None]:
    """After each module, since models of TensorFlow would fill the memory of a process of thousands of tests.

    What is freed goes back to the system where the C library is glibc.
    """
    yield
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def small_ratings() -> Ratings:
    """Three users, four titles, eight ratings, no side features."""
    return Ratings(
        user=np.array([0, 0, 0, 1, 1, 1, 2, 2], np.int32),
        title=np.array([0, 1, 2, 0, 1, 3, 0, 2], np.int32),
        rating=np.array([5, 3, 4, 4, 2, 5, 3, 1], np.float32),
        num_users=3,
        num_titles=4,
        low=1.0,
        high=5.0,
        user_features=np.zeros((3, features.USER_FEATURES_SIZE), np.float32),
        title_features=np.zeros((4, features.TITLE_FEATURES_SIZE), np.float32),
    )


@pytest.fixture(scope="session")
def movielens_100k() -> pathlib.Path:
    """The raw MovieLens 100K files, where they lie beside the project."""
    folder = ROOT.parent / "shared" / "data" / "ml-100k"
    if not folder.is_dir():
        pytest.skip("the raw MovieLens 100K files are not beside the project")
    return folder
