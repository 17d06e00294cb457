"""A linear model of who rated what from what else they rated: EASE.

B minimises |X - X B|^2 + penalty |B|^2 with a zero diagonal. With P = (X'X + penalty I)^-1, B = I - P / diag P; the
same over users, A = (X X' + penalty I)^-1 and q_i = x_i' A x_i, is B = X'A X / (1 - q) off the diagonal. Whichever
Gram matrix is smaller is inverted. Where that would take too long, or B would be too large for a model, the leading
eigenvectors of X'X, V with eigenvalues s, stand for it, f = s / (s + penalty), q_i = sum f v_i^2:

  scores = x V f V' / (1 - q).

A title's own rating counts there, too; scores of rated titles are not asked for.

Sources: Steck 2019, "Embarrassingly shallow autoencoders for sparse data"; Halko, Martinsson and Tropp 2011, "Finding
structure with randomness" (the eigenvectors).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

# Titles up to which the matrix of their weights is kept: 400 MB.
FULL_SIZE = 10_000
# Users or titles, whichever are fewer, up to which it is made: some seconds for each penalty.
GRAM_SIZE = 5_000
# Columns beside those wanted, and passes over the ratings, of the search for eigenvectors.
_OVERSAMPLING = 32
_POWER_STEPS = 2
# Keeps 1 - q away from zero.
_SMALLEST = 1e-6
# Condition number, by an upper bound, up to which the inverse is taken in float32: half the time and the memory, and
# weights that differ by some millionths of the largest.
_WELL_CONDITIONED = 1e5
# Rows of a part of a symmetric matrix that is written at once.
_PART = 256


def is_full(ratings: sparse.csr_matrix) -> bool:
    """Whether the whole matrix is made for ratings, float32 [users, titles]."""
    return ratings.shape[1] <= FULL_SIZE and min(ratings.shape) <= GRAM_SIZE


class EaseGram:
    """The smaller Gram matrix of ratings, float64; gives the weights for any penalty.

    Memory: 8 bytes an entry of the matrix, and as many while weights are made.
    """

    def __init__(self, ratings: sparse.csr_matrix) -> None:
        """Multiplies out.

        Args:
          ratings: float32 [users, titles], X.
        """
        self._over_users = ratings.shape[0] < ratings.shape[1]
        by_user = ratings.astype(np.float64)
        # Rows of either kind lie side by side: the product with a dense matrix is several times as fast.
        self._by_title = by_user.T.tocsr()
        product = by_user @ self._by_title if self._over_users else self._by_title @ by_user
        self._gram = product.toarray()

    def weights(self, penalty: float) -> np.ndarray:
        """B, float32 [titles, titles], zero on the diagonal; the scores of what x rated are x B.

        Args:
          penalty: above 0.

        Raises:
          ValueError: the penalty is so small that the matrix has no inverse.
        """
        inverse = _inverse(self._gram, penalty)
        made: np.ndarray
        if self._over_users:
            made = self._by_title @ np.ascontiguousarray((self._by_title @ inverse).T)
            made /= np.maximum(1.0 - np.diagonal(made), _SMALLEST)
        else:
            made = inverse
            made /= -np.diagonal(made)
        np.fill_diagonal(made, 0.0)
        return made.astype(np.float32, copy=False)


class EaseSpectrum:
    """The leading eigenvectors of X'X, found without forming it; gives the low-rank weights for any penalty."""

    def __init__(self, ratings: sparse.csr_matrix, rank: int, *, seed: int) -> None:
        """Searches by subspace iteration.

        Args:
          ratings: float32 [users, titles], X.
          rank: eigenvectors wanted; fewer where X has fewer rows or columns.
          seed: of the first subspace.
        """
        columns = min(rank + _OVERSAMPLING, *ratings.shape)
        by_title = ratings.T.tocsr()
        basis = np.random.default_rng(seed).standard_normal((ratings.shape[1], columns)).astype(np.float32)
        for _ in range(_POWER_STEPS):
            basis = np.linalg.qr(by_title @ (ratings @ basis))[0]
        image = (ratings @ basis).astype(np.float64)
        values, rotation = np.linalg.eigh(image.T @ image)
        leading = np.argsort(-values)[:rank]
        self._values = np.maximum(values[leading], 0.0)
        self._vectors = basis.astype(np.float64) @ rotation[:, leading]

    def weights(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """V and f V / (1 - q), float32 [titles, rank] each; the scores of what x rated are their product, x V (...)'.

        Args:
          penalty: above 0.
        """
        shrunk = self._vectors * (self._values / (self._values + penalty))
        slack = np.maximum(1.0 - np.sum(self._vectors * shrunk, axis=1, keepdims=True), _SMALLEST)
        return self._vectors.astype(np.float32), (shrunk / slack).astype(np.float32)


def _inverse(gram: np.ndarray, penalty: float) -> np.ndarray:
    """(gram + penalty I)^-1, float32 where that is exact enough, else float64; ValueError where there is none."""
    # No eigenvalue of a matrix without negative entries is larger than its largest sum of a row.
    is_well = gram.sum(axis=1).max() < _WELL_CONDITIONED * penalty
    inverse: np.ndarray = gram.astype(np.float32 if is_well else np.float64)
    inverse[np.diag_indices_from(inverse)] += penalty
    factorize, invert = linalg.get_lapack_funcs(("potrf", "potri"), (inverse,))
    # LAPACK takes columns that lie side by side, as those of the transposed view do, and then works in place.
    factor, failed = factorize(inverse.T, clean=False, overwrite_a=True)
    if failed:
        raise ValueError(f"penalty must be large enough for an inverse; got {penalty}; raise it")
    inverse = invert(factor, overwrite_c=True)[0].T
    # What is below the diagonal is the inverse's; what is above is not.
    for begin in range(0, len(inverse), _PART):
        part = slice(begin, begin + _PART)
        inverse[:begin, part] = inverse[part, :begin].T
        inverse[part, part] = np.tril(inverse[part, part]) + np.tril(inverse[part, part], -1).T
    return inverse
