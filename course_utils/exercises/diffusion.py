"""Questions of 05b_diffusion."""

from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result
from course_utils.metrics import frechet_distance


def _noise(x: Any, v: Any, a: Any) -> Any:
    return np.sqrt(1 - a) * x + np.sqrt(a) * v


noise = Function(
    "Write noise(x, v, a): the noise in x = x_t, (...), given the velocity v and a = alpha_bar.",
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


def _times_mistake(task: Any, choose: Any) -> str | None:
    times = np.asarray(result(choose, task.model.alpha_bar.copy()))
    if times.shape != (10,) or not np.array_equal(times, times.round()):
        return f"ten whole numbers are wanted, got shape {times.shape}: {times}"
    made = task.model.sample(200, 3, np.arange(200) % 10, steps=times.astype(int).tolist())
    return task.verdict(frechet_distance(task.features(made), task.real), "(Fréchet)")


beat_this = NumberToBeat(
    "Write choose_times(alpha_bar): the ten times, falling, at which to call the network.",
    "model features real score",
    _times_mistake,
    "Where does the guess still change? Print the path at even times: some of its steps do little. "
    "Spread the times evenly in another quantity than t, such as a power of it.",
    """
def choose_times(alpha_bar):
    return 1 + np.round(999 * np.linspace(1, 0, 11)[:-1] ** 1.5)
""",
)
