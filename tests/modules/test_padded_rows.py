"""Rows in padded buckets: all entries, each once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from modules import padded_rows as module
from modules.padded_rows import padded_rows


def skewed(rng: np.random.Generator) -> sparse.csr_matrix:
    """Rows of 0 to 29 entries; row 0 and others have none."""
    count = np.array([0, 29, 3, 3, 2, 1, 0, 13, 14, 1, 5, 0, 1, 8, 2, 1])
    dense = np.zeros((16, 30), np.float32)
    for row, size in enumerate(count):
        dense[row, rng.choice(30, size, replace=False)] = rng.uniform(0.1, 1, size)
    return sparse.csr_matrix(dense)


@pytest.mark.parametrize(
    "limits", [{}, {"_SMALL": 8, "_PADDING": 1.01}, {"_BUCKET_NUMBERS": 40}, {"_BUCKET_NUMBERS": 1}]
)
def test_the_buckets_hold_every_entry_once(limits, rng, monkeypatch) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)
    matrix = skewed(rng)
    found = np.zeros(matrix.shape, np.float32)
    rows = []
    for bucket in padded_rows(matrix, 2):
        rows.extend(bucket.rows)
        assert bucket.columns.shape == bucket.values.shape == (len(bucket.rows), bucket.columns.shape[1])
        for row, columns, values in zip(*bucket, strict=True):
            np.add.at(found[row], columns, values)
    np.testing.assert_array_equal(found, matrix.toarray())
    assert sorted(rows) == list(range(16))


def test_numbers_gathered_at_once_are_bounded(rng, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BUCKET_NUMBERS", 80)
    for bucket in padded_rows(skewed(rng), 2):
        assert len(bucket.rows) == 1 or bucket.columns.size * 2 <= 80


@pytest.mark.parametrize("small", [0, 30])
def test_rows_of_a_bucket_are_padded_by_little_unless_it_is_small(small: int, rng, monkeypatch) -> None:
    monkeypatch.setattr(module, "_SMALL", small)
    for bucket in padded_rows(skewed(rng), 2):
        counts = np.maximum((bucket.values > 0).sum(axis=1), 1)
        assert (counts * module._PADDING >= bucket.columns.shape[1]).all() or bucket.columns.size <= small


def test_rows_that_are_alike_or_few_share_a_bucket(rng, monkeypatch) -> None:
    assert len(padded_rows(skewed(rng), 2)) == 1
    monkeypatch.setattr(module, "_SMALL", 0)
    equal = sparse.csr_matrix(np.ones((50, 4), np.float32))
    assert [len(bucket.rows) for bucket in padded_rows(equal, 2)] == [50]
    # Up to 1.3 times as long: 12 and 10, but not 9.
    lengths = np.tril(np.ones((12, 12), np.float32))[[11, 9, 9, 8]]
    assert [len(bucket.rows) for bucket in padded_rows(sparse.csr_matrix(lengths), 2)] == [3, 1]
