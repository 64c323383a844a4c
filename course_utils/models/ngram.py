"""The n-gram model: a generative model fitted by counting, and the baseline of the text lessons."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from course_utils.text import Ids

_BLOCK = 1_000_000


class NGram:
    """Interpolated Kneser–Ney n-gram model over token ids.

    Source: Kneser & Ney (1995); the interpolated form and the discount n1 / (n1 + 2 n2) follow
    Chen & Goodman (1999), "An empirical study of smoothing techniques for language modeling".
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        """Use n-grams of `order` tokens; ValueError if it is below 1, or they exceed 64 bits."""
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        if vocab_size**order >= 2**63:
            found = f"{vocab_size} tokens to the power {order}"
            raise ValueError(f"{found} exceed 64 bits; use a lower order")
        self.order, self.vocab_size = order, vocab_size
        self._levels: list[tuple[Any, ...]] = []

    def _codes(self, ids: Ids, n: int) -> NDArray[np.int64]:
        """The n-grams of a text as numbers in base vocab_size, shape (tokens - n + 1,)."""
        codes = np.zeros(len(ids) - n + 1, np.int64)
        for i in range(n):
            codes = codes * self.vocab_size + ids[i : len(ids) - n + 1 + i]
        return codes

    def _count(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The distinct n-grams of the highest order, sorted, and how often each occurs."""
        codes, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, len(ids) - self.order + 1, _BLOCK):  # in blocks, to save memory
            block = ids[start : start + _BLOCK + self.order - 1]
            more, times = np.unique(self._codes(block, self.order), return_counts=True)
            place = np.searchsorted(codes, more)
            known = np.append(codes, -1)[place] == more
            counts[place[known]] += times[known]
            codes = np.insert(codes, place[~known], more[~known])
            counts = np.insert(counts, place[~known], times[~known])
        return codes, counts

    def fit(self, ids: Ids) -> Self:
        """Count a training text, (tokens,); returns the model itself; ValueError if too short."""
        if len(ids) < self.order:
            found = f"the text has {len(ids)} tokens, less than one n-gram of order {self.order}"
            raise ValueError(f"{found}; give a longer text or use a lower order (FAQ 9)")
        codes, counts = self._count(ids)
        self._levels = []
        for n in range(self.order, 0, -1):
            first = np.flatnonzero(np.diff(codes // self.vocab_size, prepend=-1))  # codes: sorted
            contexts = codes[first] // self.vocab_size
            totals = np.add.reduceat(counts, first)
            kinds = np.diff(np.append(first, len(codes)))
            once, twice = np.sum(counts == 1), np.sum(counts == 2)
            discount = float(once / (once + 2 * twice)) if once and twice else 0.5
            small = (column.astype(np.int32) for column in (counts, totals, kinds))  # half as large
            self._levels.insert(0, (codes, contexts, *small, discount))
            if n > 1:  # a shorter n-gram counts once for each distinct token before it
                codes, counts = np.unique(codes % self.vocab_size ** (n - 1), return_counts=True)
        return self

    def log_prob(self, ids: Ids) -> NDArray[np.float64]:
        """Log-probability in nats of each token given up to `order - 1` before it, (tokens,)."""
        probability = np.full(len(ids), 1.0 / self.vocab_size)
        for n in range(1, min(self.order, len(ids)) + 1):
            codes, contexts, counts, totals, kinds, discount = self._levels[n - 1]
            seen = self._codes(ids, n)
            count = _look_up(codes, counts, seen)
            total = _look_up(contexts, totals, seen // self.vocab_size)
            kind = _look_up(contexts, kinds, seen // self.vocab_size)
            lower = probability[n - 1 :]
            mixed = np.maximum(count - discount, 0.0) + discount * kind * lower
            probability[n - 1 :] = np.where(total > 0, mixed / np.maximum(total, 1), lower)
        return np.log(probability)


def _look_up(keys: NDArray[Any], values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    """values[i] where keys[i] == wanted, else 0; `keys` sorted."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
