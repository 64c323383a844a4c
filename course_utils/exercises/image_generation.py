"""Questions of 04b_image_generation."""

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from course_utils.exercises import Function, NumberToBeat, result
from course_utils.metrics import frechet_distance


def _best(images: Any) -> Any:
    return np.median(images, axis=0)


best_answer = Function(
    "Write best_answer(images): the single image with the smallest mean absolute error.",
    _best,
    (np.array([[0, 0, 0.2], [1, 0, 0.4], [1, 0, 0.9], [1, 1, 0], [0, 0, 0.1]])[:, None],),
    lambda images: {
        "that is the best answer under the squared error": images.mean(axis=0),
        "one number for all pixels; every pixel has its own best answer": np.median(images),
        "only the same where all pixels are 0 or 1; some are grey": images.mean(axis=0).round(),
    },
    "Each pixel on its own. Move the answer up a little: the error grows by the number of images "
    "below it and shrinks by the number above. Where do the two balance?",
    shape="images of 1 by 3 pixels have one answer of shape (1, 3)",
)


def _losses(real: Any, made: Any) -> Any:
    critic = np.logaddexp(0, -real).mean() + np.logaddexp(0, made).mean()
    return np.array([critic, np.logaddexp(0, -made).mean()])


def _saturating(real: Any, made: Any) -> Any:
    return _losses(real, made)[0], -np.logaddexp(0, made).mean()


losses = Function(
    "Write losses(real, made): the losses of critic and generator from logits (B,).",
    _losses,
    (np.array([2.0, -0.5, 1.0]), np.array([-1.0, 0.3, -2.0])),
    lambda real, made: {
        "the critic's loss comes first": _losses(real, made)[::-1],
        "that generator has hardly a gradient while the critic is sure": _saturating(real, made),
        "the critic's loss is a sum of two means, not their mean": _losses(real, made) * [0.5, 1],
        "means over the batch, not sums": 3 * _losses(real, made),
        "real and made are exchanged": _losses(made, real),
        "a high logit means real: check the signs": _losses(-real, -made),
    },
    "ln(1 + e^c) is np.logaddexp(0, c). Which sign does c have for real, which for made images?",
    shape="two numbers are wanted",
    further={"right near 0; e^1000 overflows: np.logaddexp": (np.full(1, -1e3), np.full(1, -1e3))},
)


class Challenge(NumberToBeat):
    """Draw codes for a decoder whose images come close to the training digits."""

    def set_task(self, model: Any, judge: Any, images: np.ndarray, score: float) -> None:
        """Fix the autoencoder, the classifier, the training images and the score to beat."""
        self.model, self.judge, self.score = model, judge, score
        parts = (images[i : i + 100] for i in range(0, len(images), 100))
        self.codes = np.concatenate([np.asarray(model.encode(part)[0]) for part in parts])
        self.real = judge.features(images)


def _challenge_mistake(task: Any, draw: Any) -> str | None:
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


beat_this = Challenge(
    "Write new_codes(codes, n): n new codes, (n, latent_dim), for the decoder.",
    "model judge images score",
    _challenge_mistake,
    "The codes of ten classes do not fill one Gaussian. What did the lesson fit to each class, and "
    "what could stand in for classes here?",
    """
def new_codes(codes, n):
    return GaussianMixture(20, reg_covar=1e-3, random_state=0).fit(codes).sample(n)[0]
""",
)
