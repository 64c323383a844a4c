"""The question of 00_start_here."""

from __future__ import annotations

import math

from course_utils.exercises import Question


def _bits_mistake(answer: float) -> str | None:
    known = {
        3: None,
        math.log(8): "that is in nats (natural logarithm); bits use the logarithm to base 2",
        -3: "a cost is positive: mind the minus sign",
        1 / 8: "that is the probability; the cost is minus its logarithm",
    }
    for value, said in known.items():
        if math.isclose(float(answer), value, rel_tol=1e-3):
            return said
    return f"{float(answer):g} is not −log₂(1/8)"


bits = Question(
    "A model gives the next character the probability 1/8. What does it cost, in bits?",
    _bits_mistake,
    "How many times must you halve 1 to get to 1/8?",
    "3",
)
