"""Texts as dense numbers, so that a rating costs no Python object."""

from __future__ import annotations

import numpy as np


class Vocabulary:
    """Distinct texts, numbered from 0 in the order in which they came.

    Attributes:
      values: the texts by number.
    """

    def __init__(self, values: list[str] | None = None) -> None:
        self.values: list[str] = []
        self._codes: dict[str, int] = {}
        for value in values or ():
            self.add(value)

    def __len__(self) -> int:
        return len(self.values)

    def add(self, text: str) -> int:
        """The number of a text, a new one where it was not seen before."""
        code = self._codes.setdefault(text, len(self.values))
        if code == len(self.values):
            self.values.append(text)
        return code

    def ranks(self) -> np.ndarray:
        """Position of each text among all of them sorted by code point: int64 [texts]."""
        order = sorted(range(len(self.values)), key=self.values.__getitem__)
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks
