"""Rows of a sparse matrix, padded into dense buckets of about equally long ones.

What a row needs of its columns is then one gather and one batched product: all cores work, and every operation has a
deterministic kernel on GPUs, which a product with a sparse matrix has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

# A row is padded to at most this multiple of its entries, but in buckets that are small; the larger, the fewer buckets.
_PADDING = 1.3
_SMALL = 4096  # padded entries
# Numbers gathered at once: bounds the memory of a step.
_BUCKET_NUMBERS = 1 << 23


class PaddedRows(NamedTuple):
    """Rows of about equally many entries.

    Attributes:
      rows: int32 [rows].
      columns: int32 [rows, width]; zero behind a row's last entry.
      values: float32 [rows, width]; zero behind a row's last entry.
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def padded_rows(matrix: sparse.csr_matrix, size: int) -> list[PaddedRows]:
    """The rows by falling number of entries; each is in one bucket.

    Args:
      matrix: float32 [rows, columns].
      size: numbers gathered for an entry; bounds how many rows a bucket has, unless it has one.
    """
    count = np.diff(matrix.indptr)
    order = np.argsort(-count, kind="stable")
    return [_padded(matrix, count, order[first:last]) for first, last in _cuts(count[order], _BUCKET_NUMBERS // size)]


def _cuts(falling: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Where the buckets of rows of these lengths begin and end."""
    first = 0
    while first < len(falling):
        width = max(int(falling[first]), 1)
        alike = int(np.searchsorted(-falling, -width / _PADDING, side="right"))
        last = min(max(alike, first + _SMALL // width), first + max(1, most // width), len(falling))
        last = max(last, first + 1)
        yield first, last
        first = last


def _padded(matrix: sparse.csr_matrix, count: np.ndarray, rows: np.ndarray) -> PaddedRows:
    place = np.arange(max(int(count[rows[0]]), 1))
    has_entry = place < count[rows][:, np.newaxis]
    entries = (matrix.indptr[rows][:, np.newaxis] + place)[has_entry]
    columns, values = np.zeros(has_entry.shape, np.int32), np.zeros(has_entry.shape, np.float32)
    columns[has_entry], values[has_entry] = matrix.indices[entries], matrix.data[entries]
    return PaddedRows(rows.astype(np.int32), columns, values)
