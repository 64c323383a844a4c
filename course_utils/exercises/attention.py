"""Questions of 03c_attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises import NumberToBeat, Question, result

# --- 1: the weights ------------------------------------------------------------------------------

_Q = np.array([[1.0, 2, 0, 1], [0, 1, 1, 0], [2, 0, 1, 1]])
_K = np.array([[1.0, 0, 1, 1], [2, 1, 0, 0], [0, 1, 2, 1]])


def _softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _weights(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    scores = q @ k.T / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _weights_mistake(function: Callable[..., Any]) -> str | None:
    given = np.asarray(result(function, _Q.copy(), _K.copy()), float)
    if given.shape != (3, 3):
        return f"3 queries and 3 keys have 3 × 3 weights, got shape {given.shape}"
    dots = _Q @ _K.T
    known = [
        (_softmax(dots), "the scale is missing: divide the dot products"),
        (_softmax(dots / 4), "divided by d; the standard deviation of a dot product is its root"),
        (_softmax(dots / 2, axis=0), "the columns sum to one; each query spreads its own weight"),
        (_softmax(dots.T / 2), "queries and keys are exchanged: row i belongs to query i"),
        (dots / 2, "those are the scores; the softmax is missing"),
        (np.exp(dots / 2), "divide each row by its sum"),
        (_softmax(dots) / 2, "the scale belongs inside the softmax"),
    ]
    for wrong, hint in known:
        if np.allclose(given, wrong):
            return hint
    if not np.allclose(given, _weights(_Q, _K)):
        return f"expected first row {_weights(_Q, _K)[0].round(3)}, got {given[0].round(3)}"
    large = np.asarray(result(function, 60 * _Q, 60 * _K), float)
    if not np.isfinite(large).all():
        return "right for small scores; large ones overflow: subtract each row's largest first"
    other = np.asarray(result(function, _Q[:, :3], _K[:, :3]), float)
    return None if np.allclose(other, _weights(_Q[:, :3], _K[:, :3])) else "right for d = 4 alone"


weights = Question(
    "Write weights(q, k): the attention weights (T, T) of queries (T, d) and keys (T, d).",
    _weights_mistake,
    "Dot products of all pairs are one matrix product. Scale them, then exponentials, then each "
    "row sums to one. The largest score of a row may be taken off it first: why?",
    _weights,
)

# --- 2: the causal mask --------------------------------------------------------------------------

_S = np.array([[0.5, 2, -1], [1, 0, 3], [0, 1, -0.5]])


def _causal(scores: np.ndarray) -> np.ndarray:
    scores = np.where(np.tri(len(scores), dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _causal_mistake(function: Callable[..., Any]) -> str | None:
    given = np.asarray(result(function, _S.copy()), float)
    if given.shape != _S.shape:
        return f"the weights have the shape of the scores, {_S.shape}, got {given.shape}"
    before = np.tri(3, k=-1, dtype=bool)
    with np.errstate(all="ignore"):
        strict = np.exp(np.where(before, _S, -np.inf))
        strict = strict / strict.sum(axis=1, keepdims=True)
    if np.isnan(given[0]).all() or np.allclose(np.nan_to_num(given), np.nan_to_num(strict)):
        return "a token may look at itself; the first one has nobody else"
    known = [
        (_softmax(_S), "nothing is masked"),
        (np.tril(_softmax(_S)), "masked after the softmax, so the rows no longer sum to one"),
        (_softmax(np.tril(_S)), "a score of 0 is not a weight of 0: what has the exponential 0?"),
        (_causal(_S[::-1, ::-1])[::-1, ::-1], "the wrong triangle: it sees what comes later"),
        (_softmax(np.where(np.tri(3, dtype=bool), _S, -np.inf).T).T, "row by row, not by column"),
    ]
    for wrong, hint in known:
        if np.allclose(given, wrong):
            return hint
    if not np.allclose(given, _causal(_S)):
        return f"expected second row {_causal(_S)[1].round(3)}, got {given[1].round(3)}"
    lost = np.asarray(result(function, -2000 * np.tri(3)), float)
    return None if np.allclose(lost, _causal(-2000 * np.tri(3))) else "use -inf: -1000 can be large"


causal = Question(
    "Write masked_weights(scores): the softmax of each row over the tokens up to its own.",
    _causal_mistake,
    "np.tri(T) is one on and below the diagonal. Which score has a weight of exactly zero after "
    "the softmax? np.where puts it in before the exponentials.",
    _causal,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Beat a number by predicting each letter from those before it, which is all that is given."""

    def set_task(self, letters: np.ndarray, targets: np.ndarray, score: float) -> None:
        """Fix the sequences (n, T), the targets (n, T), -1 where none counts, and bits to beat."""
        self.letters, self.targets, self.score = letters, targets, score


def _challenge_mistake(predict: Callable[..., Any]) -> str | None:
    task = beat_this
    nats = []
    for row, place in np.argwhere(task.targets >= 0):
        p = np.asarray(result(predict, task.letters[row, : place + 1].copy()), float)
        if p.shape != (16,):
            return f"expected 16 probabilities, got shape {p.shape}"
        if p.min() < 0 or not math.isclose(p.sum(), 1.0, abs_tol=1e-3):
            return f"probabilities are not negative and sum to 1; these sum to {p.sum():.3f}"
        with np.errstate(divide="ignore"):
            nats.append(-np.log(p[task.targets[row, place]]))
    reached = float(np.mean(nats) / np.log(2))
    print(f"{reached:.4f} bits per letter; the number to beat is {task.score:.4f}.")
    if np.isinf(reached):
        return "a letter that comes was given probability 0, which costs infinitely many bits"
    return None if reached < task.score else "not better yet; see the hint"


_SOLUTION = """
def predict(prefix):
    # Where did the last letter stand before? What followed it there comes again.
    before = np.flatnonzero(prefix[:-1] == prefix[-1])
    p = np.full(16, 1e-6)
    p[prefix[before[-1] + 1]] = 1 - 15e-6
    return p
"""

beat_this = Challenge(
    "Write predict(prefix): probabilities of the next letter, (16,), from the letters so far.",
    _challenge_mistake,
    "What would an induction head that never errs look at? Put nearly all probability there, and "
    "keep a little for the rest. Or train the Transformer for longer.",
    _SOLUTION.strip(),
)
