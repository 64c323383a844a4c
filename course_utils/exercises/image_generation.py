"""Questions of 04b_image_generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from course_utils.exercises import NumberToBeat, Question, result

# --- 1: the best single answer -------------------------------------------------------------------

_IMAGES = np.array([[0, 0, 0.2], [1, 0, 0.4], [1, 0, 0.9], [1, 1, 0], [0, 0, 0.1]])[:, None]


def _best(images: Any) -> Any:
    return np.median(images, axis=0)


def _best_mistake(function: Callable[..., Any]) -> str | None:
    given = np.asarray(result(function, _IMAGES.copy()), float)
    known = [
        (_IMAGES.mean(axis=0), "that is the best answer under the squared error"),
        (np.median(_IMAGES), "one number for all pixels; every pixel has its own best answer"),
        (
            np.round(_IMAGES.mean(axis=0)),
            "only the same where all pixels are 0 or 1; some are grey",
        ),
    ]
    for wrong, hint in known:
        if given.shape == np.shape(wrong) and np.allclose(given, wrong):
            return hint
    if given.shape != (1, 3):
        return f"images of 1 by 3 pixels have one answer of shape (1, 3), got {given.shape}"
    return None if np.allclose(given, _best(_IMAGES)) else f"expected {_best(_IMAGES)}, got {given}"


best_answer = Question(
    "Write best_answer(images): the single image with the smallest mean absolute error.",
    _best_mistake,
    "Each pixel on its own. Move the answer up a little: the error grows by the number of images "
    "below it and shrinks by the number above. Where do the two balance?",
    _best,
)

# --- 2: the losses of a GAN ----------------------------------------------------------------------

_LOGITS = np.array([2.0, -0.5, 1.0]), np.array([-1.0, 0.3, -2.0])


def _losses(real: Any, made: Any) -> Any:
    critic = np.logaddexp(0, -real).mean() + np.logaddexp(0, made).mean()
    return critic, np.logaddexp(0, -made).mean()


def _losses_mistake(function: Callable[..., Any]) -> str | None:
    given = np.asarray(result(function, *(part.copy() for part in _LOGITS)), float)
    right = np.array(_losses(*_LOGITS))
    saturating = -np.logaddexp(0, _LOGITS[1]).mean()
    known: list[tuple[Any, str]] = [
        (right[::-1], "the critic's loss comes first"),
        ([right[0], saturating], "that generator has hardly a gradient while the critic is sure"),
        ([right[0] / 2, right[1]], "the critic's loss is a sum of two means, not their mean"),
        (3 * right, "means over the batch, not sums"),
        (np.array(_losses(*_LOGITS[::-1])), "real and made are exchanged"),
        (np.array(_losses(-_LOGITS[0], -_LOGITS[1])), "a high logit means real: check the signs"),
    ]
    if given.shape != (2,):
        return f"two numbers are wanted, got shape {given.shape}"
    for wrong, hint in known:
        if np.allclose(given, wrong):
            return hint
    if not np.allclose(given, right):
        return f"expected {right.round(3)}, got {given.round(3)}"
    far = np.asarray(result(function, np.array([-1000.0]), np.array([-1000.0])), float)
    return None if np.allclose(far, 1000) else "right near 0; e^1000 overflows, see np.logaddexp"


losses = Question(
    "Write losses(real, made): the losses of critic and generator from logits (B,).",
    _losses_mistake,
    "ln(1 + e^c) is np.logaddexp(0, c). Which sign does c have for real, which for made images?",
    _losses,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Draw codes for a decoder whose images come close to the training digits."""

    def set_task(self, model: Any, judge: Any, images: np.ndarray, score: float) -> None:
        """Fix the autoencoder, the classifier, the training images and the score to beat."""
        self.model, self.judge, self.score = model, judge, score
        parts = (images[i : i + 100] for i in range(0, len(images), 100))
        self.codes = np.concatenate([np.asarray(model.encode(part)[0]) for part in parts])
        self.real = judge.features(images)


def _challenge_mistake(draw: Callable[..., Any]) -> str | None:
    from course_utils.metrics import frechet_distance

    task = beat_this
    codes = np.asarray(result(draw, task.codes.copy(), 500), np.float32)
    if codes.shape != (500, task.codes.shape[1]):
        return f"500 codes have shape (500, {task.codes.shape[1]}), got {codes.shape}"
    if not np.isfinite(codes).all():
        return "some of the numbers are not finite"
    apart, own = (cdist(z, task.codes) for z in (codes, task.codes[:500]))
    if np.median(apart.min(axis=1)) < 0.2 * np.median(np.partition(own, 1, axis=1)[:, 1]):
        return "some of these are codes of training digits: that is copying, not drawing"
    score = frechet_distance(task.judge.features(task.model.decode(codes)), task.real)
    print(f"Fréchet score {score:.2f}; the number to beat is {task.score:.2f}.")
    return None if score < task.score else "not low enough yet; see the hint"


_SOLUTION = """
def draw_codes(codes, n):
    mixture = GaussianMixture(20, reg_covar=1e-3, random_state=0).fit(codes)
    return mixture.sample(n)[0]
"""

beat_this = Challenge(
    "Write draw_codes(codes, n): n new codes, (n, latent_dim), for the decoder.",
    _challenge_mistake,
    "The codes of ten classes do not fill one Gaussian. What did the lesson fit to each class, and "
    "what could stand in for classes here?",
    _SOLUTION.strip(),
)
