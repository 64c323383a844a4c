"""Questions of 05a_efficient_training."""

from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result


def _operations(t: int, d: int) -> int:
    dense = 4 * d**2 + 2 * 4 * d**2  # multiplications a token
    return 2 * (t * dense + 2 * t**2 * d)


operations = Function(
    "Write operations(t, d): those of a Transformer block's forward pass.",
    _operations,
    (64, 48),
    lambda t, d: {
        "an operation is a multiplication or an addition: twice that": _operations(t, d) // 2,
        "attention is missing: each token's query with all keys, the weights with all values": 24
        * t
        * d**2,
        "the weights with the values are a product, too": 2 * (12 * t * d**2 + t**2 * d),
        "that is a training step; the forward pass is a third of it": 3 * _operations(t, d),
        "the two products of the feed-forward part have 4 d² weights each": 2
        * (t * 6 * d**2 + 2 * t**2 * d),
    },
    "A product of (m, k) and (k, n) takes 2 m k n. Six products have t rows; in attention "
    "(t, d) meets (d, t), and then (t, t) meets (t, d). Heads share d and change nothing.",
    further={"right for this size only": (10, 30)},
)


def _integers(w: Any) -> Any:
    largest = np.abs(w).max(axis=0)
    scale = np.where(largest > 0, largest, 127) / 127
    return np.round(w / scale), scale


def _with(w: Any, scale: Any) -> Any:
    return np.round(w / scale), np.broadcast_to(scale, w.shape[1:])


_W = np.array([[0.5, 3.0, -0.1], [-1.27, 1.0, 0.31], [0.004, -0.7, 0.2]])

integers = Function(
    "Write integers(w): integers of eight bits, and the scale of each column.",
    _integers,
    (_W,),
    lambda w: {
        "one scale for the whole matrix; each column has its own": _with(w, np.abs(w).max() / 127),
        "the largest absolute value counts; the sign must not": _with(w, w.max(axis=0) / 127),
        "eight bits with a sign reach 127, not 255": _with(w, np.abs(w).max(axis=0) / 255),
        "with 128 the largest weight does not fit": _with(w, np.abs(w).max(axis=0) / 128),
        "cut off instead of rounded": (np.trunc(w / _integers(w)[1]), _integers(w)[1]),
        "the integers come first, then the scales": _integers(w)[::-1],
        "a pair is wanted: the integers and the scales, not their product": np.round(
            w / _integers(w)[1]
        )
        * _integers(w)[1],
    },
    "np.abs(w).max(axis=0) is the largest of each column; np.where gives columns of zeros a "
    "scale of 1.",
    shape="a pair of arrays is wanted, of w's shape and one number a column",
    not_finite="some of the numbers are not finite: a column of zeros was divided by 0",
    further={"a column of zeros needs the scale 1": (_W * [1, 0, 1],)},
)


def _beat(task: Any, four_bits: Any) -> str | None:
    model, first = task.model, task.model.get_weights()
    rounded = []
    for w in first:
        large = w.ndim == 2 and len(w) > 2  # no bias
        new = np.asarray(result(four_bits, w.copy()), np.float32) if large else w
        if new.shape != w.shape:
            return f"a matrix of shape {w.shape} became one of {new.shape}"
        if not np.isfinite(new).all():
            return "some of the numbers are not finite"
        values = max(len(np.unique(column)) for column in new.T) if large else 0
        if values > 16:
            return f"a column has {values} different values; four bits tell 16 apart"
        rounded.append(new)
    model.set_weights(rounded)
    nats = float(-model.log_prob(task.ids).mean())
    model.set_weights(first)
    return task.verdict(nats, "nats per character")


beat_this = NumberToBeat(
    "Write four_bits(w): the matrix with at most 16 different values a column.",
    "model ids score",
    _beat,
    "Four bits have 16 values, and the lesson's scale uses 15. A smaller scale cuts off the few "
    "largest weights and rounds all others finer: for each column, which scale has the smallest "
    "squared error? Or let the values lie where the weights are.",
    """
def four_bits(w):
    best, least = w, np.full(w.shape[1], np.inf)
    for share in np.linspace(0.4, 1, 25):
        scale = share * np.abs(w).max(axis=0) / 7.5
        new = (np.clip(np.floor(w / scale), -8, 7) + 0.5) * scale
        error = ((new - w) ** 2).sum(axis=0)
        best = np.where(error < least, new, best)
        least = np.minimum(error, least)
    return best
""",
)
