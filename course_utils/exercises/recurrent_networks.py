"""Questions of 03b_recurrent_networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises import NumberToBeat, Question, result
from course_utils.metrics import bits_per_character

# --- 1: how far back a gradient reaches ----------------------------------------------------------

_FACTOR, _SHARE = 0.9, 0.01


def _reach(factor: float, share: float) -> int:
    return math.ceil(math.log(share) / math.log(factor))


def _reach_mistake(function: Callable[..., float]) -> str | None:
    given = float(result(function, _FACTOR, _SHARE))
    steps = math.log(_SHARE) / math.log(_FACTOR)
    known = {
        steps: "steps are whole: after how many is it below the share for the first time?",
        math.floor(steps): "one step too few: at that distance the share is not reached yet",
        -math.ceil(steps): "a distance is positive: both logarithms are negative",
        1 / steps: "the quotient is upside down",
        (1 - _SHARE) / (1 - _FACTOR): "each step multiplies, it does not subtract",
        math.log(_SHARE): "the factor is missing",
    }
    if given == _reach(_FACTOR, _SHARE):
        slow = result(function, 0.99, 0.5)
        return None if slow == _reach(0.99, 0.5) else "right for 0.9, wrong for 0.99 and one half"
    for value, hint in known.items():
        if math.isclose(given, value, rel_tol=1e-6):
            return hint
    return f"got {given:g} for a factor of {_FACTOR} a step and a share of {_SHARE}"


reach = Question(
    "Write reach(factor, share): the steps after which a gradient that shrinks by a factor each "
    "step is at most this share of what it was.",
    _reach_mistake,
    "After k steps the share is factor ** k. Take logarithms and solve for k; then round so that "
    "the share is really reached.",
    _reach,
)

# --- 2: clipping by the norm of the whole gradient -----------------------------------------------

_GRADIENTS = [np.array([3.0, 0.0]), np.array([[2.4], [-3.2]])]  # norm 5
_LARGEST = 2.0


def _clip(gradients: list[np.ndarray], largest: float) -> list[np.ndarray]:
    norm = math.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g * min(1.0, largest / norm) for g in gradients]


def _same(given: list[Any], wanted: list[Any]) -> bool:
    return all(np.allclose(a, b) for a, b in zip(given, wanted, strict=True))


def _clip_mistake(function: Callable[..., Any]) -> str | None:
    given = list(result(function, [g.copy() for g in _GRADIENTS], _LARGEST))
    if [np.shape(g) for g in given] != [g.shape for g in _GRADIENTS]:
        return "return one array for each gradient, of the same shapes"
    apart = [g * _LARGEST / np.linalg.norm(g) for g in _GRADIENTS]
    known = [
        (apart, "each array was cut by itself, which turns the direction; use one norm for all"),
        (
            [np.clip(g, -_LARGEST, _LARGEST) for g in _GRADIENTS],
            "each number was cut by itself, which turns the direction; scale them all alike",
        ),
        ([g / 5 for g in _GRADIENTS], "the norm is now 1; it should be `largest`"),
        ([g * _LARGEST / 25 for g in _GRADIENTS], "divided by the squared norm: take the root"),
        ([g * _LARGEST / 7 for g in _GRADIENTS], "norms of parts do not add up, their squares do"),
        (_GRADIENTS, "nothing was clipped, although the norm is 5 and `largest` is 2"),
    ]
    for wrong, hint in known:
        if _same(given, wrong):
            return hint
    if not _same(given, _clip(_GRADIENTS, _LARGEST)):
        return f"for gradients of norm 5 and largest = 2 each is to be times 0.4, got {given}"
    small = [g / 100 for g in _GRADIENTS]
    if not _same(list(result(function, small, _LARGEST)), small):
        return "a gradient that is small enough must stay as it is"
    return None


clip = Question(
    "Write clip(gradients, largest): scale a list of arrays together so that the norm of all "
    "their numbers is at most `largest`.",
    _clip_mistake,
    "The norm of the whole gradient is the root of the sum of all squares, over every array. "
    "One factor for all arrays keeps the direction. What must the factor be below `largest`?",
    _clip,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Beat a number with any recurrence; whoever carries a state from left to right cannot peek."""

    def set_task(self, held_out: np.ndarray, vocab_size: int, score: float) -> None:
        """Fix what is to be beaten: bits per token on a held-out text, (tokens,), but its first."""
        self.held_out, self.vocab_size, self.score = held_out, vocab_size, score


def _challenge_mistake(step: Callable[..., Any]) -> str | None:
    task = beat_this
    state, nats = None, 0.0
    for token, following in zip(task.held_out[:-1], task.held_out[1:], strict=True):
        answer = result(step, state, int(token))
        if not isinstance(answer, tuple) or len(answer) != 2:
            return "step must return two things, the new state and the log-probabilities"
        state, log_p = answer[0], np.asarray(answer[1], float)
        if log_p.shape != (task.vocab_size,):
            return f"expected {task.vocab_size} log-probabilities a step, got shape {log_p.shape}"
        total = float(np.exp(log_p).sum())
        if not math.isclose(total, 1.0, abs_tol=0.01):
            return f"the probabilities of the next token sum to {total:.3f}, not 1"
        nats += log_p[following]
    reached = bits_per_character(nats, len(task.held_out) - 1)
    print(f"{reached:.3f} bits per character; the number to beat is {task.score:.3f}.")
    if np.isinf(reached):
        return "a token that occurs was given probability 0, which costs infinitely many bits"
    return None if reached < task.score else "not better yet; see the hint"


_SOLUTION = """
def step(state, token):
    # A mixture: the GRU carries its state, the 5-gram carries the last four tokens.
    last, hidden = state or ((0,) * 4, np.zeros((1, model.rnn_units), np.float32))
    logits, hidden = model.step(np.array([token], np.int32), hidden)
    logits = np.asarray(logits, float)[0]
    gru = np.exp(logits - logits.max())
    last = (*last[1:], token)
    rows = np.array([(*last, following) for following in range(len(gru))], np.int32)
    counts = np.exp(five_gram.log_prob(rows.ravel())[4::5])
    return (last, hidden), np.log(0.5 * gru / gru.sum() + 0.5 * counts / counts.sum())
"""

beat_this = Challenge(
    "Write step(state, token): the new state, and the log-probabilities of the next token. "
    "The first state is None.",
    _challenge_mistake,
    "What is the state of an n-gram? The last n - 1 tokens. A GRU and an n-gram err in different "
    "places, so a mixture of the two, λ p₁ + (1 − λ) p₂, costs less than either; its state is both "
    "states. Or train a larger GRU for longer.",
    _SOLUTION.strip(),
)
