"""The mean over draws of b_u + b_i + p_u . q_i, kept as two embeddings and biases."""

from __future__ import annotations

import numpy as np

# Draws whose factors are gathered before they are compressed together.
_DRAWS_PER_BLOCK = 16


class MeanScores:
    """A mean of products is a product of vectors set side by side, truncated by singular value decompositions.

    Memory: (2 rank + 16 factors) floats a row of either side.
    """

    def __init__(self, rank: int) -> None:
        """Starts without draws; `rank` is the length of an embedding."""
        self._rank = rank
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
        if len(self._blocks[0]) > _DRAWS_PER_BLOCK:
            # Twice the rank in between, so that truncating again and again costs nothing that shows.
            self._compress(2 * self._rank)

    def _compress(self, rank: int) -> None:
        (user_basis, user_part), (title_basis, title_part) = (
            np.linalg.qr(np.concatenate(block, axis=1)) for block in self._blocks
        )
        left, singular, right = np.linalg.svd(user_part @ title_part.T, full_matrices=False)
        root = np.sqrt(singular[:rank])
        self._blocks = [[user_basis @ (left[:, :rank] * root)], [title_basis @ (right[:rank].T * root)]]

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Float [rows, 1 + rank] of the users and of the titles: [mean bias, embedding]."""
        self._compress(self._rank)
        users, titles = (
            np.concatenate([bias[:, np.newaxis] / self._draws, block[0] / np.sqrt(self._draws)], axis=1)
            for bias, block in zip(self._bias, self._blocks, strict=True)
        )
        return users, titles
