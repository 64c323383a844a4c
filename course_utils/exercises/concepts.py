"""Questions of 02_concepts."""

import math
from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result


def _bits_per_pixel(log_density: float, pixels: int) -> float:
    return 8 - log_density / math.log(2) / pixels


density = Function(
    "Write bits_per_pixel(log_density, pixels) for images of 256 grey values on [0, 1].",
    _bits_per_pixel,
    (570.0, 784),
    lambda d, pixels: {
        "a density is not a probability: 1/256 of the axis costs 8 bits": -d / math.log(2) / pixels,
        "the 8 is in bits and the rest still in nats": 8 - d / pixels,
        "a higher density must cost less: mind the minus sign": _bits_per_pixel(-d, pixels),
        "that is the bill of the whole image; per pixel": _bits_per_pixel(d, pixels) * pixels,
        "the 8 is for one pixel and the rest for the whole image": _bits_per_pixel(d, 1),
        "256 grey values, 0 to 255, share the axis": math.log2(255) - d / math.log(2) / pixels,
    },
    "The probability of one grey value is about the density times the width of its bin, 1/256. "
    "For an image of P pixels that is a factor 256^-P. Take minus the logarithm to base 2.",
    otherwise="{given:.4g} bits for a log-density of 570 nats; expected {wanted:.4g}",
)


def _posterior(log_likelihood: np.ndarray, prior: np.ndarray) -> np.ndarray:
    log_joint = log_likelihood + np.log(prior)
    p = np.exp(log_joint - log_joint.max())
    return p / p.sum()


bayes = Function(
    "Write posterior(log_likelihood, prior): p(class | x) from log p(x | class) and p(class).",
    _posterior,
    (np.array([-1203.0, -1201.5, -1202.0]), np.array([0.7, 0.1, 0.2])),
    lambda log_p, prior: {
        "exp(-1200) is zero in floating point; subtract the largest value before exp": 0 * prior,
        "that is log p(x, y); the question asks for p(y | x)": log_p + np.log(prior),
        "multiply by the prior first, normalise afterwards": _posterior(log_p, np.ones(3)) * prior,
        "the prior is missing: a rare class needs more evidence": _posterior(log_p, np.ones(3)),
        "add log-likelihoods up with the logarithm of the prior": _posterior(log_p, np.exp(prior)),
    },
    "p(class | x) is p(x | class) p(class) over its sum. Add logarithms first; what may you "
    "subtract from all of them without a change, so that exp does not vanish?",
    shape="expected one probability a class, (3,)",
)


def _challenge_mistake(task: Any, predict: Any) -> str | None:
    images = np.asarray(task.images, bool)
    p = np.asarray(result(predict, images.copy()), float)
    if p.shape != images.shape:
        return f"expected a probability for each pixel, {images.shape}, got {p.shape}"
    if not np.all((p >= 0) & (p <= 1)):
        return "some values are not between 0 and 1; each is the probability of a dark pixel"
    # Whatever is changed from some pixel on must leave the predictions up to it as they were.
    rows, flat = len(images), images.reshape(len(images), -1)
    places = np.random.default_rng(0).permutation(flat.shape[1])[:12]
    for place in (*sorted(places), flat.shape[1] - 1):
        other = flat.copy()
        other[:, place:] = ~other[:, place:]
        again = np.asarray(predict(other.reshape(images.shape)), float).reshape(rows, -1)
        if not np.allclose(again[:, : place + 1], p.reshape(rows, -1)[:, : place + 1], atol=1e-9):
            said = "a predictor sees earlier pixels of the same image only"
            return f"prediction {place} changed when only that pixel and later ones did: {said}"
    alone = np.asarray(predict(images[-2:].copy()), float)
    if not np.allclose(alone, p[-2:], atol=1e-9):
        return "an image by itself is predicted otherwise than among others: each stands alone"
    with np.errstate(divide="ignore"):
        return task.verdict(-np.log2(np.where(images, p, 1 - p)).mean(), "bits per pixel")


beat_this = NumberToBeat(
    "Write predict(images): p of each binary pixel, given those before it in the same image.",
    "images score",  # held-out images (N, height, width), boolean; bits per pixel to beat
    _challenge_mistake,
    "Pixels above and to the left say a lot about a pixel. For each pattern of these, count in "
    "binary_train how often the pixel is dark, and smooth. How many neighbours pay?",
    """
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
""",
)
