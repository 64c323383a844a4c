"""Questions of 04a_text_generation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises import NumberToBeat, Question, result
from course_utils.metrics import bits_per_character

# --- 1: a loss per token as bits per character ---------------------------------------------------

_NATS, _TOKENS, _CHARACTERS = 2.1, 1_000, 2_700


def _per_character(nats_per_token: float, tokens: int, characters: int) -> float:
    return nats_per_token / math.log(2) * tokens / characters


def _unit_mistake(function: Callable[..., float]) -> str | None:
    given = float(result(function, _NATS, _TOKENS, _CHARACTERS))
    wanted = _per_character(_NATS, _TOKENS, _CHARACTERS)
    if math.isclose(given, wanted, rel_tol=1e-6):
        return None
    known = {
        wanted * math.log(2): "that is still in nats; one bit is ln 2 nats",
        wanted * math.log(2) ** 2: "a nat is more than a bit: divide by ln 2, do not multiply",
        wanted * _CHARACTERS / _TOKENS: "that is bits per token; spread them over the characters",
        wanted * (_CHARACTERS / _TOKENS) ** 2: (
            "a token stands for several characters, so a character costs less than a token"
        ),
    }
    for value, hint in known.items():
        if math.isclose(given, value, rel_tol=1e-6):
            return hint
    return f"{given:.4g} bits per character for {_NATS} nats per token; expected {wanted:.4g}"


bits = Question(
    "Write per_character(nats_per_token, tokens, characters), in bits per character.",
    _unit_mistake,
    "Total nats = nats per token × tokens. Turn nats into bits, then divide by the characters.",
    _per_character,
)

# --- 2: temperature on probabilities -------------------------------------------------------------

_P = np.array([0.5, 0.3, 0.15, 0.05])


def _sharpen(p: np.ndarray, temperature: float) -> np.ndarray:
    powered = p ** (1 / temperature)
    return powered / powered.sum()


def _temperature_mistake(function: Callable[..., Any]) -> str | None:
    t = 0.5
    given = np.asarray(result(function, _P, t), float)
    if given.shape != _P.shape:
        return f"the result has shape {given.shape}, the probabilities {_P.shape}"
    if np.allclose(given, _P ** (1 / t)):
        return f"the result sums to {given.sum():.3f}; divide by the sum"
    if np.allclose(given, _sharpen(_P, 1 / t)):
        return "temperature 0.5 flattened the distribution: the exponent is 1/T, not T"
    if np.allclose(given, np.exp(_P / t) / np.exp(_P / t).sum()):
        return "the softmax wants logits; log p is a logit, p is not"
    if np.allclose(given, _P / t / (_P / t).sum()):
        return "dividing p by T cancels when you normalise; divide log p instead"
    if not np.allclose(given, _sharpen(_P, t)):
        return f"for p = {_P} and T = {t} expected {_sharpen(_P, t).round(4)}, got {given.round(4)}"
    if not np.allclose(result(function, _P, 2.0), _sharpen(_P, 2.0)):
        return "right at T = 0.5, wrong at T = 2"
    return None


temperature = Question(
    "Write sharpen(p, temperature) for probabilities p; you are not given the logits.",
    _temperature_mistake,
    "log p is as good as the logits: they differ by a constant. What is exp(log(p) / T)?",
    _sharpen,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Beat a number on held-out text with any predictor that is a probability distribution."""

    def set_task(
        self, held_out: np.ndarray, characters: int, vocab_size: int, score: float
    ) -> None:
        """Fix what is to be beaten.

        Args:
            held_out: (tokens,) the encoded validation text.
            characters: how many characters it has.
            vocab_size: number of token ids.
            score: bits per character to beat.
        """
        self.held_out, self.characters = held_out, characters
        self.vocab_size, self.score = vocab_size, score


def _challenge_mistake(log_prob: Callable[[np.ndarray], np.ndarray]) -> str | None:
    task = beat_this
    ids = task.held_out
    # Is it a distribution? Over all choices of the last token its probabilities must sum to 1.
    for end in (60, 300):
        rows = [np.append(ids[:end], token).astype(np.int32) for token in range(task.vocab_size)]
        total = sum(math.exp(float(np.asarray(result(log_prob, row))[-1])) for row in rows)
        if not math.isclose(total, 1.0, abs_tol=0.01):
            return (
                f"the probabilities of {task.vocab_size} next tokens sum to {total:.3f}, not 1; "
                "a predictor must not look at the token it predicts, and must be normalised"
            )
    # A look at what comes later would change an early value when only the end of the text changes.
    other = ids[:400].copy()
    other[300:] = ids[1000:1100]
    if not np.allclose(log_prob(ids[:400])[:299], log_prob(other)[:299], atol=1e-3):
        return "a value changed when only later text changed: the predictor looks ahead"
    values = np.asarray(log_prob(ids))
    if values.shape != (len(ids) - 1,):
        return f"expected one value for each of the {len(ids) - 1} tokens after the first"
    # A token must cost the same at the end of a text as inside it (batching changes it a little).
    for end in (60, 300):
        last = float(np.asarray(log_prob(ids[: end + 1]))[-1])
        if not math.isclose(last, values[end - 1], abs_tol=0.1):
            return (
                f"token {end} costs {-last:.3f} nats where the text ends with it, and "
                f"{-values[end - 1]:.3f} inside the whole text: what follows must not matter"
            )
    reached = bits_per_character(values, task.characters)
    print(f"{reached:.3f} bits per character; the number to beat is {task.score:.3f}.")
    return None if reached < task.score else "not better yet; see the hint for three directions"


beat_this = Challenge(
    "Write log_prob(ids): natural log-probabilities of ids[1:], each given all before it.",
    _challenge_mistake,
    "Three directions: train longer or on more text; a larger model; or mix two predictors, "
    "log(λ p₁ + (1 − λ) p₂), since the GRU and the n-gram err in different places.",
    "log_prob = lambda ids: np.logaddexp(\n"
    "    np.log(0.7) + model.log_prob(ids), np.log(0.3) + five_gram.log_prob(ids)[1:]\n"
    ")",
)
