"""Questions of 05b_diffusion."""

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from course_utils.datasets import checked
from course_utils.exercises import Function, NumberToBeat, result
from course_utils.metrics import frechet_distance


def _noise(x: Any, v: Any, a: Any) -> Any:
    return np.sqrt(1 - a) * x + np.sqrt(a) * v


noise = Function(
    "Write noise_from(x, v, a): the noise in x = x_t, (...), from the velocity v, a = alpha_bar.",
    _noise,
    (np.array([0.5, -1.0, 0.2]), np.array([1.0, 0.3, -0.8]), 0.3),
    lambda x, v, a: {
        "that is the image, x_0; the noise was asked for": np.sqrt(a) * x - np.sqrt(1 - a) * v,
        "a is a share of the variance; an amount is the root of it": (1 - a) * x + a * v,
        "the two factors are exchanged": _noise(x, v, 1 - a),
        "check the sign of v": _noise(x, -v, a),
        "only at t = 0, where a = 1, the velocity is the noise": v,
    },
    "Put x_t = sqrt(a) x_0 + sqrt(1 - a) noise and v = sqrt(a) noise - sqrt(1 - a) x_0 side by "
    "side, times one factor each, so that x_0 drops out of their sum.",
    shape="as many as x has are wanted",
)


def _guided(told: Any, untold: Any, w: Any) -> Any:
    return told + w * (told - untold)


guided = Function(
    "Write guided(told, untold, w): the guess with guidance w from those with and without class.",
    _guided,
    (np.array([0.5, -0.2]), np.array([0.1, 0.4]), 3.0),
    lambda told, untold, w: {
        "w = 0 must give the guess with the class": _guided(told, untold, w - 1),
        "that goes away from the class": _guided(told, untold, -w),
        "the two guesses are exchanged": _guided(untold, told, w),
        "the guess without the class must be taken off, not added": told + w * untold,
        "a mean lies between the two; guidance goes beyond": (told + w * untold) / (1 + w),
    },
    "What has the class changed? Add it to the guess with the class, w times more.",
    further={"right for w = 3 alone": (np.ones(2), np.zeros(2), 0.5)},
)


def _draw_mistake(task: Any, draw: Any) -> str | None:
    model, own, calls = task.model, task.model.denoise, []

    def counted(x: Any, t: int, labels: Any = None, guidance: float = 0.0) -> Any:
        calls.append(len(x) * (2 if guidance else 1))
        return own(x, t, labels, guidance)

    model.denoise = counted
    try:
        labels = np.arange(200) % 10
        drawn = [checked(result(draw, model, labels, seed), model.size) for seed in range(3)]
    finally:
        model.denoise = own
    if any(len(images) != 200 for images in drawn):
        return f"one image for each of the 200 labels is wanted, got {[*map(len, drawn)]}"
    if not 0 < sum(calls) <= 15000:
        return f"{sum(calls) / 3:.0f} guesses a draw; 1 to 5000, and a guided one counts twice"
    flat = np.reshape(drawn, (600, -1))
    apart = cdist(flat, task.images.reshape(len(task.images), -1)).min(axis=1)
    if np.median(apart) < 1e-3:
        return "some of these are the real images: that is copying, not drawing"
    real = task.features(task.images)
    scores = [frechet_distance(task.features(images), real) for images in drawn]
    return task.verdict(float(np.mean(scores)), "Fréchet distance, the mean of three draws")


beat_this = NumberToBeat(
    "Write draw(model, labels, seed): 200 images in [0, 1] out of 25 guesses each.",
    "model features images score",
    _draw_mistake,
    "Guidance makes two guesses a step, so it leaves half of the steps. How much is lost with half "
    "of the steps, and how much is gained with a little guidance? Is it needed at every time?",
    """
def draw(model, labels, seed):
    return model.sample(len(labels), seed, labels, steps=12, guidance=0.25)
""",
)
