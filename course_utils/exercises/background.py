"""Questions of 01_background."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises import NumberToBeat, Question, result

# --- 1: purity -----------------------------------------------------------------------------------

_GROUPS = np.array([0, 0, 0, 0, 0, 1, 1, 2])
_CLASSES = np.array([0, 0, 0, 2, 2, 1, 1, 0])


def _purity(groups: np.ndarray, classes: np.ndarray) -> float:
    largest = [np.bincount(classes[groups == g]).max() for g in np.unique(groups)]
    return sum(largest) / len(classes)


def _purity_mistake(function: Callable[..., float]) -> str | None:
    given = float(result(function, _GROUPS.copy(), _CLASSES.copy()))
    if math.isclose(given, _purity(_GROUPS, _CLASSES)):
        return None
    parts = [_CLASSES[g == _GROUPS] for g in np.unique(_GROUPS)]
    shares = [np.bincount(part).max() / len(part) for part in parts]
    known = {
        float(np.mean(shares)): "that is the mean of the groups' purities; a large group must "
        "count more than a small one",
        _purity(_GROUPS, _CLASSES) * len(_CLASSES): "that is the number of items; divide by how "
        "many there are",
        _purity(_CLASSES, _GROUPS): "that is the most frequent group of each class; it is the "
        "other way round",
        float(np.mean(_GROUPS == _CLASSES)): "numbers of groups are no names: group 0 need not "
        "stand for class 0",
        float(np.bincount(_CLASSES).max() / 8): "that is the most frequent class of all items; "
        "look at each group by itself",
    }
    for value, hint in known.items():
        if math.isclose(given, value):
            return hint
    return f"{given:.4g} for groups {_GROUPS.tolist()} and classes {_CLASSES.tolist()}"


purity = Question(
    "Write purity(groups, classes): the share of items that belong to the most frequent class of "
    "their group.",
    _purity_mistake,
    "For one group g: which classes have its items, and how often does the most frequent come? "
    "np.bincount counts. Add these counts over the groups, then divide once.",
    _purity,
)

# --- 2: the loss of a masked-image model ---------------------------------------------------------

_GREY = np.array([[1.0, 0.0, 0.5, 1.0], [0.0, 0.25, 1.0, 0.0]])
_LOGITS = np.array([[2.0, -1.0, 0.5, 800.0], [-3.0, 0.0, 1.0, 1.5]])
_HIDDEN = np.array([[True, False, True, True], [False, True, False, True]])


def _masked_loss(grey: np.ndarray, logits: np.ndarray, hidden: np.ndarray) -> float:
    each = np.logaddexp(0, logits) - grey * logits
    return float(each[hidden].mean())


def _masked_mistake(function: Callable[..., float]) -> str | None:
    with np.errstate(all="ignore"):
        given = float(result(function, _GREY.copy(), _LOGITS.copy(), _HIDDEN.copy()))
    wanted = _masked_loss(_GREY, _LOGITS, _HIDDEN)
    if math.isclose(given, wanted, rel_tol=1e-6):
        return None
    if not math.isfinite(given):
        return (
            "the result is not finite: for a logit of 800 the exponential or 1 - s leaves the "
            "range of floating point; -ln s = ln(1 + exp(-a)), and np.logaddexp(0, a) is safe"
        )
    each = np.logaddexp(0, _LOGITS) - _GREY * _LOGITS
    known = {
        each.mean(): "that is the mean over all pixels; the seen ones must not count",
        each[~_HIDDEN].mean(): "that is the mean over the seen pixels: the mask is upside down",
        each[_HIDDEN].sum(): "that is the sum; divide by the number of hidden pixels",
        each[_HIDDEN].sum() / each.size: "hidden pixels only, but divided by the number of all",
        -wanted: "a cost is positive: mind the minus sign",
        wanted / math.log(2): "that is in bits; the loss is in nats, with the natural logarithm",
    }
    for value, hint in known.items():
        if math.isclose(given, float(value), rel_tol=1e-6):
            return hint
    return f"expected {wanted:.4f} nats per hidden pixel, got {given:.4f}"


masked_loss = Question(
    "Write masked_loss(grey, logits, hidden): the mean binary cross-entropy of hidden pixels.",
    _masked_mistake,
    "With s = 1 / (1 + exp(-a)), -x ln s - (1 - x) ln(1 - s) is ln(1 + exp(a)) - x a. "
    "Why is that form safer? `hidden` can index an array of the same shape.",
    _masked_loss,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Classify digits with a hundred labels and many unlabelled images."""

    def set_task(self, train: Any, held_out: Any, score: float) -> None:
        """Fix what is to be beaten: accuracy on held-out `Images`, labels drawn from `train`."""
        self.train, self.held_out, self.score = train, held_out, score


def _challenge_mistake(classify: Callable[..., Any]) -> str | None:
    task = beat_this
    part, held_out = task.train.balanced(100, seed=7), task.held_out

    def guessed(labels: np.ndarray) -> np.ndarray:
        given = (part.images, labels, task.train.images, held_out.images)
        return np.asarray(result(classify, *(array.copy() for array in given)))

    guesses = guessed(part.labels)
    if guesses.shape != held_out.labels.shape:
        return f"expected one class an image, {held_out.labels.shape}, got {guesses.shape}"
    reached = np.mean(guesses == held_out.labels)
    print(f"{reached:.1%} with a new draw of 100 labels; the number to beat is {task.score:.1%}.")
    # Who goes by the labels that are given names the classes anew when these are.
    renamed = guessed((part.labels + 3) % 10)
    if np.mean(renamed == (held_out.labels + 3) % 10) < reached - 0.1:
        return (
            "with the ten classes renamed the guesses did not follow: use the labels that are "
            "given, and no others"
        )
    return None if reached > task.score else "not better yet; see the hint"


_SOLUTION = """
def classify(images, labels, unlabelled, new_images):
    # Label spreading, as above, on the features of the pretrained encoder.
    few, many, new = map(shipped.encoder.features, (images, unlabelled, new_images))
    known = NearestNeighbors(n_neighbors=1).fit(many).kneighbors(few)[1].ravel()
    partly = np.full(len(many), -1)
    partly[known] = labels
    spread = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.5, max_iter=200)
    return spread.fit(many, partly).predict(new)
"""

beat_this = Challenge(
    "Write classify(images, labels, unlabelled, new_images): from 100 labelled and 4,000 "
    "unlabelled digits, the classes of new ones.",
    _challenge_mistake,
    "This lesson has three ways to use unlabelled images: groups, neighbours, features of the "
    "pretrained encoder. Which two work together?",
    _SOLUTION.strip(),
)
