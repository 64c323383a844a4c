"""Questions of 04a_text_generation."""

import math
from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result
from course_utils.metrics import bits_per_character


def _per_character(nats_per_token: float, tokens: int, characters: int) -> float:
    return nats_per_token / math.log(2) * tokens / characters


bits = Function(
    "Write per_character(nats_per_token, tokens, characters), in bits per character.",
    _per_character,
    (2.1, 1_000, 2_700),
    lambda nats, t, c: {
        "that is still in nats; one bit is ln 2 nats": nats * t / c,
        "a nat is more than a bit: divide by ln 2, do not multiply": nats * math.log(2) * t / c,
        "that is bits per token; spread them over the characters": nats / math.log(2),
        "a character costs less than a token, which is several": nats / math.log(2) * c / t,
    },
    "Total nats = nats per token × tokens. Turn nats into bits, then divide by the characters.",
    otherwise="{given:.4g} bits per character for 2.1 nats per token; expected {wanted:.4g}",
)

_P = np.array([0.5, 0.3, 0.15, 0.05])


def _sharpen(p: np.ndarray, temperature: float) -> np.ndarray:
    powered = p ** (1 / temperature)
    return powered / powered.sum()


temperature = Function(
    "Write sharpen(p, temperature) for probabilities p; you are not given the logits.",
    _sharpen,
    (_P, 0.5),
    lambda p, t: {
        "that flattens the distribution: the exponent is 1/T, not T": _sharpen(p, 1 / t),
        "the softmax wants logits; log p is a logit, p is not": np.exp(p / t) / np.exp(p / t).sum(),
        "dividing p by T cancels when you normalise; divide log p instead": p,
    },
    "log p is as good as the logits: they differ by a constant. What is exp(log(p) / T)?",
    otherwise=f"for p = {_P} and T = 0.5 expected {{wanted}}, got {{given}}",
    further={"right at T = 0.5, wrong at T = 2": (_P, 2.0)},
)


def _challenge_mistake(task: Any, log_prob: Any) -> str | None:
    ids = task.held_out
    # Is it a distribution? Over all choices of the last token its probabilities must sum to 1.
    for end in (60, 300):
        rows = [np.append(ids[:end], token).astype(np.int32) for token in range(task.vocab_size)]
        total = sum(math.exp(float(np.asarray(result(log_prob, row))[-1])) for row in rows)
        if not math.isclose(total, 1.0, abs_tol=0.01):
            said = "a predictor must not look at the token it predicts; normalise"
            return f"probabilities of the next token sum to {total:.3f}, not 1; {said}"
    # A look at what comes later would change an early value when only the end of the text changes.
    other = np.append(ids[:300], ids[1000:1100])
    if not np.allclose(log_prob(ids[:400])[:299], log_prob(other)[:299], atol=1e-3):
        return "a value changed when only later text changed: the predictor looks ahead"
    values = np.asarray(log_prob(ids))
    if values.shape != (len(ids) - 1,):
        return f"expected one value for each of the {len(ids) - 1} tokens after the first"
    # A token must cost the same at the end of a text as inside it (batching changes it a little).
    for end in (60, 300):
        last = float(np.asarray(log_prob(ids[: end + 1]))[-1])
        if not math.isclose(last, values[end - 1], abs_tol=0.1):
            said = "inside the whole text: what follows must not matter"
            return f"token {end} costs {-last:.3f} nats at the end, {-values[end - 1]:.3f} {said}"
    return task.verdict(bits_per_character(values, task.characters), "bits per character")


beat_this = NumberToBeat(
    "Write log_prob(ids): natural log-probabilities of ids[1:], each given all before it.",
    "held_out characters vocab_size score",  # ids, how many characters they are; bits to beat
    _challenge_mistake,
    "Three directions: train longer or on more text; a larger model; or mix two predictors, "
    "log(λ p₁ + (1 − λ) p₂), since the GRU and the n-gram err in different places.",
    "log_prob = lambda ids: np.logaddexp(np.log(0.5) + model.log_prob(ids),\n"
    "                                    np.log(0.5) + nine_gram.log_prob(ids)[1:])",
)
