"""The mean over draws of b_u + b_i + p_u . q_i, kept as two embeddings and biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import linalg

# What is added to the diagonal of a Gram matrix, as a share of its trace, so that it has a Cholesky factor.
_JITTER = 1e-13


class MeanScores:
    """A mean of products is a product of vectors set side by side, truncated by singular value decompositions.

    Memory: 2 rank doubles and the factors of a block of draws, float32, a row of either side.
    """

    def __init__(self, rank: int, *, draws_per_block: int = 8) -> None:
        """Starts without draws.

        Args:
          rank: length of an embedding.
          draws_per_block: how many are gathered before they are compressed together; as many as there will be where
            it is not sure that the mean will be asked for, since gathering alone costs next to nothing.
        """
        self._rank, self._draws_per_block = rank, draws_per_block
        self._draws = 0
        self._bias: list[np.ndarray] = []
        self._blocks: list[list[np.ndarray]] = [[], []]

    def add(self, *vectors: np.ndarray) -> None:
        """Takes one draw: [bias, embedding] of the users and of the titles, float32 [rows, 1 + factors]."""
        if not self._draws:
            self._bias = [np.zeros(len(rows)) for rows in vectors]
        self._draws += 1
        for bias, block, rows in zip(self._bias, self._blocks, vectors, strict=True):
            bias += rows[:, 0]
            block.append(rows[:, 1:])
        if len(self._blocks[0]) > self._draws_per_block:
            # Twice the rank in between, so that truncating again and again costs nothing that shows.
            self._compress(2 * self._rank)

    def state(self) -> dict[str, np.ndarray]:
        """All that it has gathered."""
        found = {"draws": np.array(self._draws)} | {f"{side} bias": bias for side, bias in enumerate(self._bias)}
        for side, block in enumerate(self._blocks):
            found |= {f"{side} block {place}": rows for place, rows in enumerate(block)}
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes a state back."""
        self._draws = int(state["draws"])
        self._bias = [state[f"{side} bias"] for side in (0, 1) if self._draws]
        blocks = [sum(name.startswith(f"{side} block") for name in state) for side in (0, 1)]
        self._blocks = [[state[f"{side} block {place}"] for place in range(blocks[side])] for side in (0, 1)]

    def _compress(self, rank: int) -> None:
        """Truncates A B^T, of the users' and the titles' vectors side by side.

        With A^T A = R^T R, and S likewise of B, the singular values of A B^T are those of R S^T, which is small: A R^-1
        has orthonormal columns. Only products go over all rows.
        """
        users, titles = (np.concatenate(block, axis=1, dtype=np.float64) for block in self._blocks)
        of_users, of_titles = _triangle(users), _triangle(titles)
        left, singular, right = np.linalg.svd(of_users @ of_titles.T, full_matrices=False)
        root = np.sqrt(singular[:rank])
        self._blocks = [
            [rows @ linalg.solve_triangular(triangle, part * root)]
            for rows, triangle, part in ((users, of_users, left[:, :rank]), (titles, of_titles, right[:rank].T))
        ]

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Float [rows, 1 + rank] of the users and of the titles: [mean bias, embedding]."""
        self._compress(self._rank)
        users, titles = (
            np.concatenate([bias[:, np.newaxis] / self._draws, block[0] / np.sqrt(self._draws)], axis=1)
            for bias, block in zip(self._bias, self._blocks, strict=True)
        )
        return users, titles


def _triangle(rows: np.ndarray) -> np.ndarray:
    """Upper triangular R, float64 [columns, columns], with R^T R = rows^T rows but for rounding."""
    gram = rows.T @ rows
    gram[np.diag_indices(len(gram))] += _JITTER * (np.trace(gram) or 1.0)
    return linalg.cholesky(gram)
