"""GRU and Transformer on Tiny Shakespeare, each trained for the same seconds.

`recipes.py` stores the whole comparison as `data/equal_seconds.json`, which lesson 04a shows;
`tests/benchmarks/run.py` measures a part of it on the machine at hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from course_utils import datasets, text
from course_utils.models.attention import Transformer
from course_utils.models.recurrent import TextGenerator
from course_utils.runtime import release_memory
from course_utils.text import Ids
from course_utils.training import adamw

BUDGETS = (15, 30, 60, 90)
"""Seconds of training. Each has runs of its own: the learning rate of a run ends at zero."""

SEEDS = (0, 1)

TRIAL_SECONDS = 45
"""Every setting is tried once for so long; the best on the validation part goes into the table."""

Settings = dict[str, Any]

TRIALS: dict[str, list[Settings]] = {
    "GRU": [
        {"units": 256, "batch": 64, "length": 48, "learning_rate": 8e-3},
        {"units": 256, "batch": 64, "length": 48, "learning_rate": 1.2e-2},
        {"units": 256, "batch": 64, "length": 48, "learning_rate": 1.6e-2},
        {"units": 256, "batch": 32, "length": 48, "learning_rate": 1.2e-2},
        {"units": 256, "batch": 32, "length": 64, "learning_rate": 8e-3},
        {"units": 256, "batch": 128, "length": 48, "learning_rate": 1.6e-2},
        {"units": 384, "batch": 64, "length": 48, "learning_rate": 6e-3},
    ],
    "Transformer": [
        {"width": 96, "depth": 2, "batch": 32, "length": 64, "learning_rate": 5e-3},
        {"width": 96, "depth": 2, "batch": 32, "length": 64, "learning_rate": 1e-2},
        {"width": 96, "depth": 2, "batch": 16, "length": 64, "learning_rate": 1e-2},
        {"width": 96, "depth": 2, "batch": 64, "length": 64, "learning_rate": 1e-2},
        {"width": 128, "depth": 2, "batch": 32, "length": 64, "learning_rate": 8e-3},
        {"width": 128, "depth": 4, "batch": 12, "length": 64, "learning_rate": 5e-3},
        {"width": 96, "depth": 3, "batch": 16, "length": 128, "learning_rate": 8e-3},
    ],
}
"""What is tried: sizes, rows of a batch, characters of a window, largest learning rate."""


class Clock(keras.callbacks.Callback):
    """Seconds of training: all steps but the first, which compiles, and its share of the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keras calls it after every step."""
        self.times.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Mean seconds of a step."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1)


def windows(kind: str, ids: Ids, settings: Settings, steps: int, seed: int) -> tf.data.Dataset:
    """As many batches as there are steps, in the form that each model is made for.

    The GRU reads streams, its state carried over; a seed turns the text round to another start.
    The Transformer reads windows from random places.
    """
    rows, length = settings["batch"], settings["length"]
    rng = np.random.default_rng(seed)
    if kind == "GRU":
        turned = np.roll(ids, -int(rng.integers(len(ids))))
        return text.contiguous_streams(turned, rows, length).repeat().take(steps)
    starts = rng.integers(len(ids) - length, size=(steps, rows))
    content = tf.constant(ids)

    def load(start: Any) -> Any:
        window = tf.gather(content, start[:, None] + np.arange(length + 1))
        return window[:, :-1], window[:, 1:]

    return tf.data.Dataset.from_tensor_slices(starts).map(load).prefetch(2)


def run(kind: str, settings: Settings, steps: int, seed: int = 0) -> tuple[Any, Clock]:
    """Train one model for so many steps, with a schedule that ends there."""
    keras.backend.clear_session()
    release_memory()
    keras.utils.set_random_seed(seed)
    data = datasets.text("tiny_shakespeare")
    tokenizer = text.CharacterTokenizer.fit(data.train)
    model: Any
    if kind == "GRU":
        model = TextGenerator(tokenizer.vocab_size, 64, settings["units"], tokenizer=tokenizer)
    else:
        model = Transformer(
            tokenizer.vocab_size,
            settings["length"],
            width=settings["width"],
            depth=settings["depth"],
            tokenizer=tokenizer,
        )
    model.compile(
        adamw(steps, learning_rate=settings["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    clock = Clock()
    batches = windows(kind, tokenizer.encode(data.train), settings, steps, seed)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[clock])
    return model, clock


def nats_per_character(model: Any) -> float:
    """Mean cost of every validation character but the first, which has nothing before it.

    The GRU carries its state through a 128th of the text at a time, after 256 characters to warm
    up. The Transformer reads overlapping windows: each character follows at least half a window.
    """
    ids = model.tokenizer.encode(datasets.text("tiny_shakespeare").validation)
    return float(-model.log_prob(ids).mean())


def step_seconds(kind: str, settings: Settings) -> float:
    """Mean seconds of a step over 60 steps, by which the steps of a budget are fixed beforehand."""
    return run(kind, settings, 60)[1].step


def measured(
    kind: str, settings: Settings, budget: float, step: float, seed: int = 0
) -> dict[str, Any]:
    """Train for as many steps as fill `budget` seconds if each takes `step` seconds.

    Returns:
        Steps, seconds that they took, evaluation and compilation not counted, and nats per
        character of the validation part.
    """
    steps = round(budget / step)
    model, clock = run(kind, settings, steps, seed)
    return {
        "steps": steps,
        "seconds": round(clock.step * steps, 1),
        "nats": round(nats_per_character(model), 4),
    }


def trial(kind: str, settings: Settings) -> dict[str, Any]:
    """The settings, with the steps and the nats per character of one run of `TRIAL_SECONDS`."""
    found = measured(kind, settings, TRIAL_SECONDS, step_seconds(kind, settings))
    print(kind, settings, found, flush=True)
    return {**settings, "steps": found["steps"], "nats": found["nats"]}


def rows(kind: str, settings: Settings, step: float) -> Iterator[dict[str, Any]]:
    """One row for each budget and seed: steps and nats. Work beside it changes neither."""
    for budget in BUDGETS:
        for seed in SEEDS:
            found = measured(kind, settings, budget, step, seed)
            print(kind, budget, seed, found, flush=True)
            yield {"budget": budget, "seed": seed, "steps": found["steps"], "nats": found["nats"]}


def equal_seconds() -> dict[str, Any]:
    """Try the settings of both models, then train the best of each for every budget and seed.

    Only the training and the validation part are read; there is no test part.

    Returns:
        The characters of the training part and the constants above; for each model its trials,
        the chosen settings, its number of weights, the seconds of a step, by which the steps of
        every budget are fixed, and its rows.
    """
    models: dict[str, Any] = {}
    for kind, tried in TRIALS.items():
        trials = [trial(kind, settings) for settings in tried]
        chosen = tried[int(np.argmin([trial["nats"] for trial in trials]))]
        step = round(step_seconds(kind, chosen), 4)
        models[kind] = {
            "trials": trials,
            "chosen": chosen,
            "weights": run(kind, chosen, 2)[0].count_params(),
            "step_seconds": step,
            "rows": list(rows(kind, chosen, step)),
        }
    return {
        "characters": len(datasets.text("tiny_shakespeare").train),
        "budgets": BUDGETS,
        "seeds": SEEDS,
        "trial_seconds": TRIAL_SECONDS,
        "models": models,
    }
