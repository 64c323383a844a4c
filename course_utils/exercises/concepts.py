"""Questions of 02_concepts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises import NumberToBeat, Question, result

# --- 1: a density as a code length ---------------------------------------------------------------

_DENSITY, _PIXELS = 570.0, 784


def _bits_per_pixel(log_density: float, pixels: int) -> float:
    return 8 - log_density / math.log(2) / pixels


def _density_mistake(function: Callable[..., float]) -> str | None:
    given = float(result(function, _DENSITY, _PIXELS))
    wanted = _bits_per_pixel(_DENSITY, _PIXELS)
    if math.isclose(given, wanted, rel_tol=1e-6):
        return None
    share = _DENSITY / _PIXELS  # nats a pixel
    known = {
        -share / math.log(2): "less than nothing: a density is not a probability; each of the "
        "256 grey values has 1/256 of the axis, which costs 8 bits",
        8 - share: "the 8 is in bits and the rest still in nats",
        8 + share / math.log(2): "a higher density must cost less: mind the minus sign",
        8 * _PIXELS - _DENSITY / math.log(2): "that is the bill of the whole image; per pixel",
        8 - _DENSITY / math.log(2): "the 8 is for one pixel and the rest for the whole image",
        math.log2(255) - share / math.log(2): "256 grey values, 0 to 255, share the axis",
    }
    for value, hint in known.items():
        if math.isclose(given, value, rel_tol=1e-6):
            return hint
    return f"{given:.4g} bits for a log-density of {_DENSITY:g} nats; expected {wanted:.4g}"


density = Question(
    "Write bits_per_pixel(log_density, pixels) for images of 256 grey values on [0, 1].",
    _density_mistake,
    "The probability of one grey value is about the density times the width of its bin, 1/256. "
    "For an image of P pixels that is a factor 256^-P. Take minus the logarithm to base 2.",
    _bits_per_pixel,
)

# --- 2: Bayes' rule from log-likelihoods ---------------------------------------------------------

_LOG_LIKELIHOOD = np.array([-1203.0, -1201.5, -1202.0])
_PRIOR = np.array([0.7, 0.1, 0.2])


def _posterior(log_likelihood: np.ndarray, prior: np.ndarray) -> np.ndarray:
    log_joint = log_likelihood + np.log(prior)
    p = np.exp(log_joint - log_joint.max())
    return p / p.sum()


def _bayes_mistake(function: Callable[..., Any]) -> str | None:
    with np.errstate(all="ignore"):
        given = np.asarray(result(function, _LOG_LIKELIHOOD, _PRIOR), float)
    wanted = _posterior(_LOG_LIKELIHOOD, _PRIOR)
    if given.shape != wanted.shape:
        return f"the result has shape {given.shape}; expected one probability a class, (3,)"
    if np.allclose(given, wanted):
        return None
    flat, joint = _posterior(_LOG_LIKELIHOOD, np.ones(3)), _LOG_LIKELIHOOD + np.log(_PRIOR)
    if not np.isfinite(given).all() or not given.any():
        return "exp(-1200) is zero in floating point; subtract the largest value before exp"
    if np.allclose(given, joint):
        return "that is log p(x, y); the question asks for p(y | x)"
    if np.allclose(given, flat * _PRIOR):
        return "right up to a factor: multiply by the prior first, normalise afterwards"
    if np.allclose(given / given.sum(), wanted):
        return f"the result sums to {given.sum():.3f}; divide by the sum"
    if np.allclose(given, flat):
        return "the prior is missing: a rare class needs more evidence"
    if np.allclose(given, _posterior(_LOG_LIKELIHOOD + _PRIOR, np.ones(3))):
        return "log-likelihoods add up with the logarithm of the prior"
    return f"expected {wanted.round(4)}, got {given.round(4)}"


bayes = Question(
    "Write posterior(log_likelihood, prior): p(class | x) from log p(x | class) and p(class).",
    _bayes_mistake,
    "p(class | x) is p(x | class) p(class) over its sum. Add logarithms first; what may you "
    "subtract from all of them without a change, so that exp does not vanish?",
    _posterior,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Beat a number with any model that predicts binary pixels one by one."""

    def set_task(self, images: np.ndarray, score: float) -> None:
        """Fix what is to be beaten: bits per pixel on held-out images (N, height, width)."""
        self.images, self.score = np.asarray(images, bool), score


def _challenge_mistake(predict: Callable[[np.ndarray], np.ndarray]) -> str | None:
    task = beat_this
    p = np.asarray(result(predict, task.images.copy()), float)
    if p.shape != task.images.shape:
        return f"expected a probability for each pixel, {task.images.shape}, got {p.shape}"
    if not np.all((p >= 0) & (p <= 1)):
        return "some values are not between 0 and 1; each is the probability of a dark pixel"
    # Whatever is changed from some pixel on must leave the predictions up to it as they were.
    rows, flat = len(task.images), task.images.reshape(len(task.images), -1)
    places = np.random.default_rng(0).permutation(flat.shape[1])[:12]
    for place in (*sorted(places), flat.shape[1] - 1):
        other = flat.copy()
        other[:, place:] = ~other[:, place:]
        again = np.asarray(predict(other.reshape(task.images.shape)), float).reshape(rows, -1)
        if not np.allclose(again[:, : place + 1], p.reshape(rows, -1)[:, : place + 1], atol=1e-9):
            return (
                f"the prediction of a pixel changed when only it and later ones changed (pixel "
                f"{place}): a predictor sees earlier pixels of the same image only"
            )
    alone = np.asarray(predict(task.images[-2:].copy()), float)
    if not np.allclose(alone, p[-2:], atol=1e-9):
        return "an image by itself is predicted otherwise than among others: each stands alone"
    with np.errstate(divide="ignore"):
        reached = -np.log2(np.where(task.images, p, 1 - p)).mean()
    print(f"{reached:.3f} bits per pixel; the number to beat is {task.score:.3f}.")
    if np.isinf(reached):
        return "a pixel that occurs was given probability 0, which costs infinitely many bits"
    return None if reached < task.score else "not better yet; see the hint"


_SOLUTION = """
def predict(images):
    # How often is a pixel dark after each pattern of ten neighbours above it and to its left?
    places = [(0, 1), (0, 2), (0, 3), (1, -2), (1, -1), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]

    def pattern(x):  # (N, height, width) numbers from 0 to 1023
        height, width = x.shape[1:]
        x = np.pad(x.astype(int), ((0, 0), (2, 0), (3, 2)))
        bits = [x[:, 2 - up : 2 - up + height, 3 - left : 3 - left + width] for up, left in places]
        return sum(bit << i for i, bit in enumerate(bits))

    seen = pattern(binary_train)
    dark = np.bincount(seen[binary_train], minlength=1024)
    return ((dark + 0.5) / (np.bincount(seen.ravel(), minlength=1024) + 1))[pattern(images)]
"""

beat_this = Challenge(
    "Write predict(images): for each pixel of binary images (N, 28, 28) the probability that it "
    "is dark, given the pixels of the same image that come before it in reading order.",
    _challenge_mistake,
    "Two pixels above and to the left of a pixel say a lot about it. For each pattern of such "
    "neighbours, count in binary_train how often the pixel after it is dark, and smooth. "
    "How many neighbours pay?",
    _SOLUTION.strip(),
)
