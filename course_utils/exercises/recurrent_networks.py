"""Questions of 03b_recurrent_networks."""

import math
from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result
from course_utils.metrics import bits_per_character


def _reach(factor: float, share: float) -> int:
    return math.ceil(math.log(share) / math.log(factor))


reach = Function(
    "Write reach(factor, share): the steps until a shrinking gradient is at most this share.",
    _reach,
    (0.9, 0.01),
    lambda factor, share: {
        "steps are whole: after how many is it below at first?": math.log(share) / math.log(factor),
        "one step too few: there the share is not reached yet": _reach(factor, share) - 1,
        "a distance is positive: both logarithms are negative": -_reach(factor, share),
        "the quotient is upside down": math.log(factor) / math.log(share),
        "each step multiplies, it does not subtract": (1 - share) / (1 - factor),
        "the factor is missing": math.log(share),
    },
    "After k steps the share is factor ** k. Solve for k, and round so that it is really reached.",
    otherwise="got {given:g} for a factor of 0.9 a step and a share of 0.01",
    further={"right for 0.9, wrong for 0.99 and one half": (0.99, 0.5)},
)

_GRADIENTS = [np.array([3.0, 0.0]), np.array([[2.4], [-3.2]])]  # norm 5


def _clip(gradients: list[np.ndarray], largest: float) -> list[np.ndarray]:
    norm = math.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g * min(1.0, largest / norm) for g in gradients]


clip = Function(
    "Write clip(gradients, largest): scale arrays together to a norm of at most `largest`.",
    _clip,
    (_GRADIENTS, 2.0),
    lambda gs, largest: {
        "each array was cut by itself: use one norm for all": [_clip([g], largest)[0] for g in gs],
        "each number was cut by itself; scale all alike": [g.clip(-largest, largest) for g in gs],
        "the norm is now 1; it should be `largest`": _clip(gs, 1.0),
        "divided by the squared norm: take the root": _clip(gs, largest / 5),
        "norms of parts do not add up, their squares do": _clip(gs, largest * 5 / 7),
        "nothing was clipped, although the norm is 5 and `largest` is 2": gs,
    },
    "The norm of the whole gradient is the root of the sum of all squares, over every array. "
    "One factor for all arrays keeps the direction. What must the factor be below `largest`?",
    shape="return one array for each gradient, of the same shapes",
    otherwise="for gradients of norm 5 and largest = 2 each is to be times 0.4, got {given}",
    further={"a gradient that is small enough must stay as it is": (_GRADIENTS, 10.0)},
)


def _challenge_mistake(task: Any, step: Any) -> str | None:
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
    return task.verdict(bits_per_character(nats, len(task.held_out) - 1), "bits per character")


beat_this = NumberToBeat(
    "Write step(state, token), state None at first: the new state, and log p of the next token.",
    "held_out vocab_size score",  # a text (tokens,), bits per token but its first to beat
    _challenge_mistake,
    "An n-gram has its last n - 1 tokens as a state. It errs in other places than a GRU; a mix, "
    "λ p₁ + (1 − λ) p₂, costs less than either and has both states. Or train a larger GRU longer.",
    """
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
""",
)
