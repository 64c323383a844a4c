"""Questions of 03c_attention."""

import math
from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result

_Q = np.array([[1.0, 2, 0, 1], [0, 1, 1, 0], [2, 0, 1, 1]])
_K = np.array([[1.0, 0, 1, 1], [2, 1, 0, 0], [0, 1, 2, 1]])
_S = np.array([[0.5, 2, -1], [1, 0, 3], [0, 1, -0.5]])


def _softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _weights(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    scores = q @ k.T / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


weights = Function(
    "Write weights(q, k): the attention weights (T, T) of queries (T, d) and keys (T, d).",
    _weights,
    (_Q, _K),
    lambda q, k: {
        "the scale is missing: divide the dot products": _softmax(q @ k.T),
        "divided by d; the standard deviation of a dot product is its root": _softmax(q @ k.T / 4),
        "the columns sum to one; each query spreads its own weight": _softmax(q @ k.T / 2, axis=0),
        "queries and keys are exchanged: row i belongs to query i": _weights(k, q),
        "those are the scores; the softmax is missing": q @ k.T / 2,
        "divide each row by its sum": np.exp(q @ k.T / 2),
        "the scale belongs inside the softmax": _softmax(q @ k.T) / 2,
    },
    "Dot products of all pairs are one matrix product. Scale them, then exponentials, then each "
    "row sums to one. The largest score of a row may be taken off it first: why?",
    shape="3 queries and 3 keys have 3 × 3 weights",
    otherwise="expected first row {wanted[0]}, got {given[0]}",
    further={
        "right for small scores; large ones overflow: subtract the largest": (60 * _Q, 60 * _K),
        "right for d = 4 alone": (_Q[:, :3], _K[:, :3]),
    },
)


def _lower(s: np.ndarray, k: int = 0, axis: int = -1) -> np.ndarray:
    return _softmax(np.where(np.tri(len(s), k=k), s, -np.inf), axis)


def _causal(scores: np.ndarray) -> np.ndarray:
    scores = np.where(np.tri(len(scores), dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


causal = Function(
    "Write masked_weights(scores): the softmax of each row over the tokens up to its own.",
    _causal,
    (_S,),
    lambda s: {
        "a token may look at itself: the first one has nobody else": _lower(s, k=-1),
        "nothing is masked": _softmax(s),
        "masked after the softmax, so the rows no longer sum to one": np.tril(_softmax(s)),
        "a score of 0 is not a weight of 0: what has the exponential 0?": _softmax(np.tril(s)),
        "the wrong triangle: it sees what comes later": _causal(s[::-1, ::-1])[::-1, ::-1],
        "row by row, not by column": _lower(s, axis=0),
    },
    "np.tri(T) is one on and below the diagonal. Which score has a weight of exactly zero after "
    "the softmax? np.where puts it in before the exponentials.",
    shape="the weights have the shape of the scores, (3, 3)",
    otherwise="expected second row {wanted[1]}, got {given[1]}",
    further={"use -inf: -1000 can be large": (-2000 * np.tri(3),)},
)


def _challenge_mistake(task: Any, predict: Any) -> str | None:
    nats = []
    for row, place in np.argwhere(task.targets >= 0):
        p = np.asarray(result(predict, task.letters[row, : place + 1].copy()), float)
        if p.shape != (16,):
            return f"expected 16 probabilities, got shape {p.shape}"
        if p.min() < 0 or not math.isclose(p.sum(), 1.0, abs_tol=1e-3):
            return f"probabilities are not negative and sum to 1; these sum to {p.sum():.3f}"
        with np.errstate(divide="ignore"):
            nats.append(-np.log(p[task.targets[row, place]]))
    return task.verdict(np.mean(nats) / np.log(2), "bits per letter", digits=4)


beat_this = NumberToBeat(
    "Write predict(prefix): probabilities of the next letter, (16,), from the letters so far.",
    "letters targets score",  # (n, T) each, a target of -1 where none counts; bits to beat
    _challenge_mistake,
    "What would an induction head that never errs look at? Put nearly all probability there, and "
    "keep a little for the rest. Or train the Transformer for longer.",
    """
def predict(prefix):
    # Where did the last letter stand first? What followed it there comes again; at a later
    # place the next piece may have begun.
    before = np.flatnonzero(prefix[:-1] == prefix[-1])
    p = np.full(16, 1e-6)
    p[prefix[before[0] + 1]] = 1 - 15e-6
    return p
""",
)
