"""What the prior of a user (or title) is regressed on: whom it was rated with, its side features, its count.

A block X of features is kept as its singular value decomposition U S V^T, so that every step of the regression on it is
diagonal: no matrix of features x features is ever built or inverted.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import linalg, sparse, special

MEMBERSHIP, SIDE_FEATURES, COUNTS = NAMES = ("membership", "side features", "counts")

_OVERSAMPLING = 16
_POWER_ITERATIONS = 4
# Singular values below this share of the largest are rounding.
_RELATIVE_RANK = 1e-4
# A Cholesky factor whose diagonal spans more is too inexact in float32 to make columns orthonormal.
_MOST_SPAN = 300.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """X = U S V^T, columns centred over the rows.

    Attributes:
      name: of what it is made, one of NAMES.
      left: float32 [rows, rank], U.
      singular: float64 [rank], S, falling, scaled so that the rows of X have a mean square of one.
      is_shared: the block has one variance for all dimensions of a vector, rather than one for each.
    """

    name: str
    left: np.ndarray
    singular: np.ndarray
    is_shared: bool


def membership(
    row: np.ndarray, column: np.ndarray, *, shape: tuple[int, int], exponent: float, rank: int, seed: int
) -> Block | None:
    """Which columns each row has ratings with: 1 / (n_row^exponent n_column^exponent) where there is one.

    Args:
      row: int [ratings].
      column: int [ratings].
      shape: rows and columns.
      exponent: how far long rows and columns count less.
      rank: singular vectors that are kept.
      seed: of the randomised decomposition.
    """
    rows, columns = (np.bincount(each, minlength=size) for each, size in zip((row, column), shape, strict=True))
    value = (rows[row] * columns[column].astype(np.float64)) ** -exponent
    matrix = sparse.csr_matrix((value.astype(np.float32), (row, column)), shape=shape)
    return _decompose(MEMBERSHIP, matrix, rank, seed, is_shared=True)


def side_features(features: np.ndarray, *, seed: int) -> Block | None:
    """Side features, float32 [rows, features]; zeros where nothing is known of a row, which is not centred then."""
    described = np.any(features != 0, axis=1)
    if not described.any():
        return None
    centred = np.where(described[:, np.newaxis], features - features[described].mean(axis=0), 0.0)
    return _decompose(SIDE_FEATURES, centred.astype(np.float32), features.shape[1], seed, is_shared=True)


def counts(count: np.ndarray, *, seed: int) -> Block | None:
    """How many ratings each row has: l and l^2 - 1, where l is the normal score of the rank of its number.

    Ranks, since a row whose number stands alone would otherwise have a coefficient for itself.
    """
    _, place, ties = np.unique(count, return_inverse=True, return_counts=True)
    if len(ties) == 1:
        return None
    rank = (np.cumsum(ties) - 0.5 * (ties - 1))[place]
    level = special.ndtri((rank - 0.5) / len(rank))
    powers = np.stack([level, level**2 - 1], axis=1)
    return _decompose(COUNTS, powers.astype(np.float32), 2, seed, is_shared=False)


def _decompose(
    name: str, matrix: sparse.csr_matrix | np.ndarray, rank: int, seed: int, *, is_shared: bool
) -> Block | None:
    """The first singular vectors of a matrix with centred columns; None where nothing is left of it.

    Source: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithms 4.4 and 5.1.
    """
    rows, features = matrix.shape
    mean = np.asarray(matrix.mean(axis=0), np.float32).reshape(1, -1)

    def times(right: np.ndarray) -> np.ndarray:
        return matrix @ right - mean @ right

    def transposed_times(left: np.ndarray) -> np.ndarray:
        return matrix.T @ left - mean.T @ left.sum(axis=0, keepdims=True)

    size = min(rank + _OVERSAMPLING, rows, features)
    start = np.random.default_rng(seed).standard_normal((features, size)).astype(np.float32)
    basis = _orthonormal(times(start))
    for _ in range(_POWER_ITERATIONS if size < min(rows, features) else 0):
        basis = _orthonormal(times(_orthonormal(transposed_times(basis))))
    _, singular, small = np.linalg.svd(transposed_times(basis), full_matrices=False)
    kept = min(rank, np.count_nonzero(singular > _RELATIVE_RANK * max(singular[0], 1e-12)))
    if not kept:
        return None
    scale = np.sqrt(np.square(singular[:kept], dtype=np.float64).sum() / rows)
    return Block(
        name=name,
        left=(basis @ small[:kept].T).astype(np.float32),
        singular=singular[:kept].astype(np.float64) / scale,
        is_shared=is_shared,
    )


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Float32 of the same shape: an orthonormal basis of what the columns of a tall matrix span.

    By two passes of A L^-T with L L^T = A^T A, which is several times faster than Householder's reflections; these are
    taken where columns are too nearly dependent for that.

    Source: Yamamoto, Nakatsukasa, Yanagisawa and Fukaya 2015, "Roundoff error analysis of the CholeskyQR2 algorithm".
    """
    basis = matrix
    for _ in range(2):
        try:
            lower = np.linalg.cholesky((basis.T @ basis).astype(np.float64))
        except np.linalg.LinAlgError:
            return np.linalg.qr(matrix)[0]
        span = np.diag(lower)
        if span.max() > _MOST_SPAN * span.min():
            return np.linalg.qr(matrix)[0]
        inverse = linalg.solve_triangular(lower, np.eye(len(lower)), lower=True)
        basis = basis @ inverse.T.astype(np.float32)
    return basis
