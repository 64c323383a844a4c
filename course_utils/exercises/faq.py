"""Questions of 06_faq."""

from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result


def _bits(nats: float, pixels: int, largest: float) -> float:
    return float((nats / pixels + np.log(largest)) / np.log(2))


bits = Function(
    "Write bits(nats, pixels, largest): bits a pixel for grey values from 0 to `largest`.",
    _bits,
    (-1000.0, 400, 255.0),
    lambda nats, pixels, largest: {
        "wider values are less dense, so they cost more": _bits(nats, pixels, 1 / largest),
        "those are nats; a bit is ln 2 of them": nats / pixels + np.log(largest),
        "that is for a whole image": pixels * _bits(nats, pixels, largest),
        "the cost is still that of values from 0 to 1": _bits(nats, pixels, 1),
        "every pixel is stretched, not one of them": _bits(nats, pixels, largest ** (1 / pixels)),
        "the second part is in bits, the first in nats": nats / pixels + np.log2(largest),
    },
    "Stretched by s, a density falls by the factor s, for each pixel. So -ln p grows by ln s a "
    "pixel. Which s leads from [0, 1] to [0, largest]? Turn nats into bits last.",
    otherwise="{given:g} bits a pixel for -1,000 nats, 400 pixels and values up to 255",
    further={"right for 255, wrong for 15": (-500.0, 784, 15.0)},
)

_LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-1.0, 3.0, 1.0]])
_LABELS = np.array([0, 2, 2])


def _own(logits: Any) -> float:
    return float(logits[np.arange(3), _LABELS].mean())


def _cost(logits: Any, labels: Any) -> float:
    log_total = np.logaddexp.reduce(logits, axis=1)
    return float(np.mean(log_total - logits[np.arange(len(labels)), labels]))


cost = Function(
    "Write cost(logits, labels): the mean of -ln p(label), also where e^logit overflows.",
    _cost,
    (_LOGITS, _LABELS),
    lambda logits, labels: {
        "that is the mean of ln p; a cost has the other sign": -_cost(logits, labels),
        "that is the sum over the rows, not their mean": 3 * _cost(logits, labels),
        "those are bits": _cost(logits, labels) / np.log(2),
        "each row has a total of its own": np.log(np.exp(logits).sum()) - _own(logits),
        "the logits are not normalised yet": -_own(logits),
    },
    "ln p(k) = logit(k) - ln(sum of e^logit). Take the largest logit of a row off all of them "
    "first, or let np.logaddexp.reduce do it.",
    not_finite="a number is not finite, and these logits are small",
    further={
        "right for small logits; e^1000 overflows": (np.array([[1000.0, 0.0]]), np.array([0])),
        "a clipped probability hides the cost": (np.array([[1000.0, 0.0]]), np.array([1])),
    },
)


def _fill_mistake(task: Any, fill: Any) -> str | None:
    images, seen = np.asarray(task.images, float), np.asarray(task.seen)
    filled = np.asarray(result(fill, np.where(seen, images, 0.0), seen.copy()), float)
    if filled.shape != images.shape:
        return f"expected images of shape {images.shape}, got {filled.shape}"
    if not np.isfinite(filled).all():
        return "some pixels are not finite"
    if not np.allclose(filled[:, seen], images[:, seen], atol=1e-6):
        return "pixels that are seen must stay as they are"
    reached = float(np.mean((filled - images)[:, ~seen] ** 2))
    return task.verdict(reached, "squared error a hidden pixel", digits=4)


beat_this = NumberToBeat(
    "Write fill(images, seen): the images (N, 28, 28) with the pixels that are not seen filled in.",
    "images seen score",
    _fill_mistake,
    "One nearest digit is a draw: crisp, and often wrong. What has question 5 to say about a mean "
    "of many? Let nearer ones weigh more. Or ask one Gaussian a class for its conditional mean.",
    """
def fill(images, seen):
    # The mean of all training digits, weighted by how near they are in the pixels that are seen.
    known, new = x_train[:, seen], images[:, seen]
    squares = (known**2).sum(axis=1) - 2 * new @ known.T  # up to a constant for each image
    weights = np.exp((squares.min(axis=1, keepdims=True) - squares) / 4)
    mean = np.tensordot(weights / weights.sum(axis=1, keepdims=True), x_train, 1)
    return np.where(seen, images, mean)
""",
)
