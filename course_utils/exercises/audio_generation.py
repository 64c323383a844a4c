"""Questions of 04c_audio_generation."""

from typing import Any

import numpy as np

from course_utils import audio
from course_utils.exercises import Function, NumberToBeat, result


def _level(wave: Any) -> Any:
    return 20 * np.log10(np.sqrt(np.mean(wave**2)))


level = Function(
    "Write level(wave): 20 log10 of the root mean square of the samples, in decibels.",
    _level,
    (np.array([0.5, -0.3, 0.1, -0.2, 0.05]),),
    lambda wave: {
        "10 log10 belongs to a mean square; of its root it is 20 log10": _level(wave) / 2,
        "that is the level of the loudest sample, not of the root mean square": 20
        * np.log10(np.abs(wave).max()),
        "the mean of the absolute values is not the root of the mean square": 20
        * np.log10(np.abs(wave).mean()),
        "decibels have the logarithm to base 10": 20 * np.log(np.sqrt(np.mean(wave**2))),
        "a sum grows with the length of the sound; take the mean": 10 * np.log10(np.sum(wave**2)),
    },
    "Square, mean, root, logarithm. The root can go in front of the logarithm as a half.",
    shape="one number is wanted",
)


def _frame_nats(logits: Any, notes: Any) -> Any:
    total, allowed = 0.0, np.ones(logits.shape[1], bool)
    for row, note in zip(logits, [*notes, -1], strict=True):  # the last column is the end
        row = np.where(allowed, row, -np.inf)
        total += np.logaddexp.reduce(row) - row[note]
        allowed[note:-1] = False
    return total


def _bill(logits: Any, notes: Any, first: int = 0, end: bool = True, masked: bool = True) -> Any:
    """The same with one thing done otherwise; `first` is where the mask after a note begins."""
    total, allowed = 0.0, np.ones(logits.shape[1], bool)
    for row, note in zip(logits, [*notes, -1] if end else notes, strict=False):
        row = np.where(allowed, row, -np.inf) if masked else row
        total += np.logaddexp.reduce(row) - row[note]
        allowed[note + first : -1] = False
    return total


frame_nats = Function(
    "Write frame_nats(logits, notes): minus the log-probability of a frame, in nats.",
    _frame_nats,
    (np.sin(np.arange(24.0)).reshape(4, 6) * 2, np.array([4, 2, 1])),
    lambda logits, notes: {
        "that is the log-probability; the bill is minus it": -_frame_nats(logits, notes),
        "the end of the frame has a price too": _bill(logits, notes, end=False),
        "after a note only lower ones and the end are possible": _bill(logits, notes, masked=False),
        "a note cannot be written twice: it is not possible after itself": _bill(logits, notes, 1),
        "those are bits; nats have the natural logarithm": _frame_nats(logits, notes) / np.log(2),
    },
    "For each row: set the logits of what is impossible to minus infinity, subtract the logit of "
    "what was written from np.logaddexp.reduce(row), add up. When does the mask change?",
    shape="one number is wanted",
)


def _challenge_mistake(task: Any, move: Any) -> str | None:
    errors, bins = [], np.arange(audio.FRAME // 2 + 1) * audio.RATE / audio.FRAME
    for z, pitch, old, decay in zip(
        task.codes, *(task.labels[k] for k in ("pitch", "brightness", "decay")), strict=True
    ):
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        for new in (0.35, 0.55, 0.75):
            code = np.asarray(result(move, z.copy(), float(old), new), np.float32)
            if code.shape != z.shape or not np.isfinite(code).all():
                return f"a code is {z.shape} finite numbers, got {code.shape}: {code}"
            weights = audio.from_picture(np.maximum(task.decode(code[None])[0], 0)).sum(axis=1)
            wanted = audio.centroid(audio.tone(frequency, 0.512, new, decay))
            errors.append(abs((weights * bins).sum() / weights.sum() / wanted - 1))
    return task.verdict(float(np.median(errors)), "of the centroid wanted, median error")


beat_this = NumberToBeat(
    "Write move(z, old, new): the code z of a note of brightness old, given brightness new.",
    "decode codes labels score",
    _challenge_mistake,
    "One direction for all pitches is a compromise. Whose codes lie near z, and what pitch do they "
    "have? Fit the direction to the notes of that pitch alone.",
    """
def move(z, old, new):
    labels = sounds.train.labels
    same = pitches == pitches[((codes - z) ** 2).sum(axis=1).argmin()]
    design = [labels[name][same] for name in ("brightness", "level", "decay")]
    design = np.stack([*design, np.ones(same.sum())], axis=1)
    return z + (new - old) * np.linalg.lstsq(design, codes[same], rcond=None)[0][0]
""",
)
