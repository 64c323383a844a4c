"""The question of 00_start_here."""

from __future__ import annotations

import math

from course_utils.exercises import Question

_P = 1 / 8


def _bits_mistake(answer: float) -> str | None:
    given = float(answer)
    if math.isclose(given, -math.log2(_P), rel_tol=1e-3):
        return None
    if math.isclose(given, -math.log(_P), rel_tol=1e-3):
        return "that is in nats (natural logarithm); bits use the logarithm to base 2"
    if math.isclose(given, math.log2(_P), rel_tol=1e-3):
        return "a cost is positive: mind the minus sign"
    if math.isclose(given, _P, rel_tol=1e-3):
        return "that is the probability; the cost is minus its logarithm"
    return f"{given:g} is not −log₂(1/8)"


bits = Question(
    "A model gives the character that really comes next the probability 1/8. "
    "What does this character cost, in bits?",
    _bits_mistake,
    "How many times must you halve 1 to get to 1/8?",
    "3",
)
