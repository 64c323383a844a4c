"""Results of 05a: batch sizes, optimizers, a scaling law's points, distillation.

Every arm trains the course's text model on the same text. Learning rates are chosen on one half of
the validation part with seed 0, for each arm alone, then all seeds are run; the losses of the
tables are of the other half. Step counts are fixed beforehand, so that work beside it changes no
number.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from course_utils import checkpoints, datasets, text
from course_utils.models.recurrent import TextGenerator
from course_utils.runtime import release_memory
from course_utils.training import adamw

STREAMS, LENGTH, STRETCH, SEEDS = 32, 64, 15, (0, 1, 2)
RATES = (8e-3, 1.6e-2, 3.2e-2, 6.4e-2)

SECONDS, UNITS = 6, 128
OPTIMIZERS = ("Adam", "AdamW", "Muon")
SCHEDULES = ("constant", "cosine")
BATCHES = (8, 32, 128)

SIZES, SCALING_STEPS = (8, 12, 16, 24, 32, 48, 64, 96, 128), 600
STUDENT, DISTILLED_STEPS, SHARE = 64, 600, 0.5


@functools.cache
def content() -> tuple[Any, Any, tuple[Any, Any]]:
    """A tokenizer, the training part as ids, and two halves of the validation part.

    The halves take its blocks of 5,000 characters in turn: one for the learning rate, one for the
    table.
    """
    tokenizer, data = checkpoints.load("text_reference_english").tokenizer, datasets.text()
    blocks = [data.validation[i : i + 5000] for i in range(0, len(data.validation), 5000)]
    halves = (tokenizer.encode("".join(blocks[k::2])) for k in (0, 1))
    return tokenizer, tokenizer.encode(data.train), tuple(halves)


def batches(steps: int, seed: int, streams: int = STREAMS) -> tf.data.Dataset:
    """Parallel streams that go to another place of the training part every `STRETCH` windows."""
    ids, span = content()[1], STRETCH * LENGTH
    stretches = -(-steps // STRETCH)
    starts = np.random.default_rng(seed).integers(len(ids) - span, size=(streams, stretches, 1))
    rows = ids[starts + np.arange(span)].reshape(streams, -1)[:, : steps * LENGTH]
    return text.contiguous_streams(np.append(rows, rows[-1, -1]), streams, LENGTH)


def optimizer(name: str, schedule: str, rate: float, steps: int) -> Any:
    """One of `OPTIMIZERS` with one of `SCHEDULES`; gradients are clipped alike.

    Muon takes the matrices of the GRU; embedding, biases and the last layer are AdamW's.
    """
    if schedule == "cosine":
        made = adamw(steps, rate)
        if name == "AdamW":
            return made
        rate = made.schedule
    options: dict[str, Any] = {"AdamW": {"weight_decay": 0.004, "beta_2": 0.99}}
    options["Adam"], options["Muon"] = {"beta_2": 0.99}, {"exclude_layers": ["dense"]}
    options["Muon"]["adam_beta_2"] = 0.99
    return getattr(keras.optimizers, name)(rate, global_clipnorm=1.0, **options[name])


class Distilled(TextGenerator):
    """A text model whose loss is a mix of the text and of a teacher's probabilities.

    Source: Hinton, Vinyals & Dean (2015), at temperature 1.
    """

    teacher: Any = None
    share = SHARE

    def _read_on(self, data: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        tokens, targets = data
        soft = tf.nn.softmax(self.teacher(tokens))  # the teacher starts each window from zeros
        hard = tf.one_hot(targets, self.vocab_size)
        return super()._read_on((tokens, self.share * soft + (1 - self.share) * hard), training)


def trained(
    units: int, made: Any, steps: int, seed: int, teacher: Any = None, streams: int = STREAMS
) -> TextGenerator:
    """Train one model for so many steps with an optimizer."""
    keras.backend.clear_session()
    release_memory()
    keras.utils.set_random_seed(seed)
    tokenizer = content()[0]
    kind = Distilled if teacher else TextGenerator
    model = kind(tokenizer.vocab_size, 32, units, tokenizer=tokenizer)
    if teacher:
        model.teacher = teacher
    entropy = keras.losses.CategoricalCrossentropy if teacher else None
    loss = (entropy or keras.losses.SparseCategoricalCrossentropy)(from_logits=True)
    model.compile(made, loss)
    model.fit(batches(steps, seed, streams), shuffle=False, verbose=0)
    return model


def nats(model: TextGenerator, half: int) -> float:
    """Nats per character of a half of the validation part."""
    return round(float(-model.log_prob(content()[2][half]).mean()), 4)


def tuned(rates: tuple[float, ...], train: Callable[[float, int], Any]) -> dict[str, Any]:
    """Choose the rate with seed 0, then report all seeds; `train` takes the rate and a seed."""
    first = {rate: train(rate, 0) for rate in rates}
    chosen = {rate: nats(model, 0) for rate, model in first.items()}
    best = min(chosen, key=lambda rate: (not np.isfinite(chosen[rate]), chosen[rate]))
    models = [first[best], *(train(best, seed) for seed in SEEDS[1:])]
    row = {"tried": {str(rate): value for rate, value in chosen.items()}, "learning_rate": best}
    weights = sum(int(np.prod(v.shape)) for v in models[0].trainable_variables)
    row |= {"weights": weights, "nats": [nats(m, 1) for m in models]}
    print(row, flush=True)
    return row


def steps_that_fill(models: dict[str, Any], streams: dict[str, int]) -> dict[str, int]:
    """Steps of `SECONDS` for each model, by the least of eight rounds in which they take turns.

    Seconds of processor time, both cores added up: work beside it hardly changes those.
    """
    data = {name: batches(20, 0, streams[name]) for name in models}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(8):
        for name, model in models.items():
            start = time.process_time()
            model.fit(data[name], shuffle=False, verbose=0)
            times[name].append((time.process_time() - start) / 20)
    steps = {name: round(SECONDS / min(seconds)) for name, seconds in times.items()}
    print(steps, flush=True)
    return steps


def optimizers() -> dict[str, Any]:
    """Each optimizer with each schedule for the steps that fill `SECONDS`, rate by rate."""
    timed = {n: trained(UNITS, optimizer(n, "constant", 1e-3, 9), 2, 0) for n in OPTIMIZERS}
    steps_of = steps_that_fill(timed, dict.fromkeys(OPTIMIZERS, STREAMS))
    rows: dict[str, Any] = {}
    for name in OPTIMIZERS:
        for schedule in SCHEDULES:
            steps = steps_of[name]

            def train(rate: float, seed: int) -> Any:
                return trained(UNITS, optimizer(name, schedule, rate, steps), steps, seed)  # noqa: B023

            rows[f"{name}, {schedule}"] = {"steps": steps} | tuned(RATES, train)
    return {"seconds": SECONDS, "units": UNITS, "seeds": SEEDS, "rows": rows}


def batch_sizes() -> dict[str, Any]:
    """AdamW with a cosine for the steps that fill `SECONDS` at each number of streams."""
    timed = {str(n): trained(UNITS, adamw(9), 2, 0, streams=n) for n in BATCHES}
    rows: dict[str, Any] = {}
    for name, steps in steps_that_fill(timed, {str(n): n for n in BATCHES}).items():

        def train(rate: float, seed: int) -> Any:
            made = adamw(steps, rate)  # noqa: B023
            return trained(UNITS, made, steps, seed, streams=int(name))  # noqa: B023

        rows[name] = {"steps": steps} | tuned(RATES, train)
    return {"seconds": SECONDS, "units": UNITS, "seeds": SEEDS, "rows": rows}


def scaling_law() -> dict[str, Any]:
    """The loss of models of `SIZES` units after the same number of steps."""
    rows, steps = {}, SCALING_STEPS
    for units in SIZES:

        def train(rate: float, seed: int) -> Any:
            return trained(units, adamw(steps, rate), steps, seed)  # noqa: B023

        rows[str(units)] = tuned(RATES, train)
    return {"steps": steps, "seeds": SEEDS, "rows": rows}


def distillation() -> dict[str, Any]:
    """A student taught by the text, by the text for twice as long, and by a teacher too."""
    teacher = checkpoints.load("text_reference_english")
    teacher.trainable = False
    rows = {}
    for name, steps, helper in (
        ("text", DISTILLED_STEPS, None),
        ("text, twice the steps", 2 * DISTILLED_STEPS, None),
        ("text and teacher", DISTILLED_STEPS, teacher),
    ):

        def train(rate: float, seed: int) -> Any:
            return trained(STUDENT, adamw(steps, rate), steps, seed, helper)  # noqa: B023

        rows[name] = {"steps": steps} | tuned(RATES, train)
    return {"units": STUDENT, "share": SHARE, "seeds": SEEDS, "rows": rows}


def efficiency() -> dict[str, Any]:
    """All four."""
    parts = (batch_sizes, optimizers, distillation, scaling_law)
    return {part.__name__: part() for part in parts}
