"""Questions of 05c_quality_control."""

import math
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from course_utils.exercises import Function, NumberToBeat, result


def _z(count: int, n: int, gamma: float) -> float:
    return (count - gamma * n) / math.sqrt(n * gamma * (1 - gamma))


z_score = Function(
    "Write z_score(count, n, gamma): how many standard deviations a green count is off chance.",
    _z,
    (70, 120, 0.25),
    lambda count, n, gamma: {
        "that is divided by the variance; its root is the standard deviation": (
            (count - gamma * n) / (n * gamma * (1 - gamma))
        ),
        "right for a green share of one half alone; gamma is given": _z(count, n, 0.5),
        "the variance of one token is gamma times (1 - gamma), not gamma": (
            (count - gamma * n) / math.sqrt(n * gamma)
        ),
        "that is the z of a single token; how does it grow with n?": (
            (count / n - gamma) / math.sqrt(gamma * (1 - gamma))
        ),
        "more green than chance must give a positive z": -_z(count, n, gamma),
        "the expected count, gamma times n, must be taken off first": (
            count / math.sqrt(n * gamma * (1 - gamma))
        ),
    },
    "A count of n coins, green with probability gamma each: what is its mean, what its variance?",
    further={"right for 70 of 120 alone": (5, 40, 0.5)},
)


def _auroc(members: Any, others: Any) -> float:
    above = members[:, None] > others
    return float(above.mean() + 0.5 * (members[:, None] == others).mean())


auroc = Function(
    "Write auroc_by_hand(members, others): the chance that a member scores above another image.",
    _auroc,
    (np.array([3.0, 2.0, 2.0, 0.0]), np.array([2.0, 1.0, -1.0])),
    lambda members, others: {
        "a tie counts half; here it counts nothing": (members[:, None] > others).mean(),
        "a tie counts half; here it counts whole": (members[:, None] >= others).mean(),
        "that is the chance that the other score is higher": _auroc(others, members),
        "that is a number of pairs; divide by how many there are": 12 * _auroc(members, others),
        "only members at the same place were compared; every pair counts": (
            (members[:3] > others).mean() + 0.5 * (members[:3] == others).mean()
        ),
        "a difference of means has a unit; a chance has none": members.mean() - others.mean(),
    },
    "members[:, None] > others compares all pairs at once. What is the mean of such a table, and "
    "which pairs does it leave out?",
    further={"right unless all scores are equal": (np.ones(2), np.ones(3))},
)


class Attack(NumberToBeat):
    """Tell members from others by the scores of a model and of models without these members."""

    def set_task(self, own: Any, references: Any, member: Any, score: float) -> None:
        """Fix scores (N,), reference scores (N, models), who is a member (N,), and the score."""
        order = np.random.default_rng(0).permutation(len(own))
        self.own, self.references = np.asarray(own)[order], np.asarray(references)[order]
        self.member, self.score = np.asarray(member)[order], score


def _attack_mistake(task: Any, attack: Any) -> str | None:
    given = np.asarray(result(attack, task.own.copy(), task.references.copy()), float)
    if given.shape != task.own.shape:
        return f"one score an image is wanted, {task.own.shape}, got {given.shape}"
    if not np.isfinite(given).all():
        return "some of the scores are not finite"
    if (reached := 1 - roc_auc_score(task.member, given)) > 0.6:
        return "members score lower than others: check the sign"
    return task.verdict(reached, "of the pairs are in the wrong order")


beat_this = Attack(
    "Write attack(own, references): a score an image, higher for members, from log-likelihoods.",
    "own references member score",
    _attack_mistake,
    "Some images are cheap for every model, members or not, since they are plain. What do the "
    "other two models say of such an image, and how can that be taken out?",
    """
def attack(own, references):
    return own - references.mean(axis=1)
""",
)
