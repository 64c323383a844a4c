"""Questions of 01_background."""

import math
from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result

_GROUPS, _CLASSES = np.array([[0, 0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 2, 2, 1, 1, 0]])


def _purity(groups: np.ndarray, classes: np.ndarray) -> float:
    largest = [np.bincount(classes[groups == g]).max() for g in np.unique(groups)]
    return sum(largest) / len(classes)


purity = Function(
    "Write purity(groups, classes): the share of items in the most frequent class of their group.",
    _purity,
    (_GROUPS, _CLASSES),
    lambda g, c: {
        "a mean over groups: a large group must count more than a small one": np.mean([0.6, 1, 1]),
        "that is the number of items; divide by how many there are": _purity(g, c) * len(g),
        "that is the most frequent group of each class; it is the other way round": _purity(c, g),
        "numbers of groups are no names: group 0 need not stand for class 0": np.mean(g == c),
        "the most frequent class of all items; look at each group by itself": _purity(0 * g, c),
    },
    "For one group g: which classes have its items, and how often does the most frequent come? "
    "np.bincount counts. Add these counts over the groups, then divide once.",
    otherwise=f"{{given:.4g}} for groups {_GROUPS.tolist()} and classes {_CLASSES.tolist()}",
)

_GREY = np.array([[1.0, 0.0, 0.5, 1.0], [0.0, 0.25, 1.0, 0.0]])
_LOGITS = np.array([[2.0, -1.0, 0.5, 800.0], [-3.0, 0.0, 1.0, 1.5]])
_HIDDEN = np.array([[True, False, True, True], [False, True, False, True]])


def _masked_loss(grey: np.ndarray, logits: np.ndarray, hidden: np.ndarray) -> float:
    each = np.logaddexp(0, logits) - grey * logits
    return float(each[hidden].mean())


masked_loss = Function(
    "Write masked_loss(grey, logits, hidden): the mean binary cross-entropy of hidden pixels.",
    _masked_loss,
    (_GREY, _LOGITS, _HIDDEN),
    lambda x, a, hidden: {
        "a mean over all pixels; the seen ones must not count": _masked_loss(x, a, hidden | True),
        "a mean over the seen pixels: the mask is upside down": _masked_loss(x, a, ~hidden),
        "that is the sum; divide by the number of hidden pixels": 5 * _masked_loss(x, a, hidden),
        "hidden pixels only, but divided by the number of all": 5 / 8 * _masked_loss(x, a, hidden),
        "a cost is positive: mind the minus sign": -_masked_loss(x, a, hidden),
        "that is in bits, and the loss is in nats": _masked_loss(x, a, hidden) / math.log(2),
    },
    "With s = 1 / (1 + exp(-a)), -x ln s - (1 - x) ln(1 - s) is ln(1 + exp(a)) - x a. "
    "Why is that form safer? `hidden` can index an array of the same shape.",
    not_finite="the result is not finite: exp(800) or ln(1 - s) overflows, np.logaddexp does not",
    otherwise="expected {wanted:.4f} nats per hidden pixel, got {given:.4f}",
)


def _challenge_mistake(task: Any, classify: Any) -> str | None:
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
        return "with classes renamed guesses stayed: use the labels that are given, and no others"
    return None if reached > task.score else "not better yet; see the hint"


beat_this = NumberToBeat(
    "Write classify(images, labels, unlabelled, new_images): the classes of new digits.",
    "train held_out score",  # `Images` to draw labels from, and to be classified; accuracy
    _challenge_mistake,
    "This lesson has three ways to use unlabelled images: groups, neighbours, features of the "
    "pretrained encoder. Which two work together?",
    """
def classify(images, labels, unlabelled, new_images):
    # Label spreading, as above, on the features of the pretrained encoder.
    few, many, new = map(shipped.encoder.features, (images, unlabelled, new_images))
    known = NearestNeighbors(n_neighbors=1).fit(many).kneighbors(few)[1].ravel()
    partly = np.full(len(many), -1)
    partly[known] = labels
    spread = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.5, max_iter=200)
    return spread.fit(many, partly).predict(new)
""",
)
