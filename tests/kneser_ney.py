"""Interpolated Kneser-Ney models of words (Chen and Goodman 1999, section 2.7), to compare the language model with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Words = tuple[int, ...]


class KneserNey:
    """A model of order 1 and above of lines of the words 0 to `words` - 1, each with `end` as its last.

    The highest order counts sequences of words, each lower one in how many ways a sequence is continued to the left.
    Each order takes a discount n1 / (n1 + 2 n2) off its counts, n1 and n2 being how many are 1 and 2, and gives that to
    the next lower one; the lowest gives it to all words alike. Before a line stand `order` - 1 times `end`.
    """

    def __init__(self, lines: Iterable[Sequence[Any]], order: int, words: int, end: int) -> None:
        self.order, self.words, self.end = order, words, end
        counts = Counter(sequence for line in lines for sequence in self._sequences(line))
        self._levels: list[tuple[Counter[Words], Counter[Words], Counter[Words], float]] = []
        for _ in range(order):
            often = Counter(counts.values())
            discount = often[1] / (often[1] + 2 * often[2]) if often[1] else 0.0
            total: Counter[Words] = Counter()
            for sequence, count in counts.items():
                total[sequence[:-1]] += count
            self._levels.insert(0, (counts, total, Counter(sequence[:-1] for sequence in counts), discount))
            counts = Counter(sequence[1:] for sequence in counts)

    def _sequences(self, line: Sequence[Any]) -> list[Words]:
        padded = [self.end] * (self.order - 1) + [int(word) for word in line]
        return [tuple(padded[i : i + self.order]) for i in range(len(line))]

    def probability(self, sequence: Words) -> float:
        """That of the last of `order` words after the others."""
        found = 1 / self.words
        for length, (counts, total, kinds, discount) in enumerate(self._levels, 1):
            part = sequence[len(sequence) - length :]
            before = part[:-1]
            if before in total:
                found = (max(counts[part] - discount, 0) + discount * kinds[before] * found) / total[before]
        return found

    def perplexity(self, lines: Iterable[Sequence[Any]]) -> float:
        """exp of the mean of -log(probability) of a word, the ends of lines included."""
        losses = [-np.log(self.probability(sequence)) for line in lines for sequence in self._sequences(line)]
        return float(np.exp(np.mean(losses)))
