"""The model of chorales on the benchmark of piano rolls; `recipes.py` stores the result.

All choices (sizes, dropout, rate, steps) were made on the validation part. The test part is read
once, by the model that is stored. A frame costs the sum over its pitches; the first frame of a
sequence is not scored; the mean is over all scored frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from course_utils import datasets
from course_utils.models.chorale import PHASES, Array, ChoraleModel
from course_utils.training import adamw

DROPOUT, BATCH, STEPS = 0.4, 16, 1200

PUBLISHED = {
    "per-pitch marginals": 11.09,
    "per-pitch Markov": 10.49,
    "RNN (Bai et al. 2018)": 8.91,
    "LSTM (Bai et al. 2018)": 8.45,
    "GRU (Bai et al. 2018)": 8.43,
    "TCN (Bai et al. 2018)": 8.10,
    "RNN-RBM (Boulanger-Lewandowski et al. 2012)": 6.27,
    "RNN-NADE (Boulanger-Lewandowski et al. 2012)": 5.56,
}
"""Nats per frame of the test part."""


def compiled(steps: int = STEPS) -> ChoraleModel:
    """An untrained model with an optimizer for so many steps."""
    model = ChoraleModel(dropout=DROPOUT)
    model.compile(adamw(steps, 8e-3, weight_decay=0.05))
    return model


def baselines(train: Sequence[Array], held_out: Sequence[Array]) -> dict[str, float]:
    """Nats per frame of pitches that know nothing of one another, fitted on the training part.

    The marginals know how often each pitch sounds, the Markov chains how often it does after it
    sounded a frame before and after it did not. Half an observation is added to each count.
    """

    def pairs(rolls: Sequence[Array]) -> tuple[Array, Array]:
        return np.concatenate([r[:-1] for r in rolls]), np.concatenate([r[1:] for r in rolls])

    def share(sounds: Array, where: Any) -> Array:  # (pitches,)
        kept: Array = np.broadcast_to(where, sounds.shape)
        return ((sounds * kept).sum(axis=0) + 0.5) / (kept.sum(axis=0) + 1)

    def cost(p: Array) -> float:
        return float(-np.where(now, np.log(p), np.log1p(-p)).sum(axis=1).mean())

    every = np.concatenate(train)
    (past, present), (before, now) = pairs(train), pairs(held_out)
    after = [share(present, past == state) for state in (0, 1)]
    marginals, markov = share(every, True), np.where(before, after[1], after[0])
    return {"per-pitch marginals": cost(marginals), "per-pitch Markov": cost(markov)}


def windows(
    rolls: Sequence[Array], batch: int, steps: int, length: int = 64, shift: int = 6, seed: int = 0
) -> tf.data.Dataset:
    """Batches for `fit`: parts of pieces, transposed by 1 - `shift` to `shift` semitones; 0: not.

    Args:
        rolls: pieces (frames, pitches) of 0 and 1.
        batch: parts a batch.
        steps: number of batches; every piece comes once before one comes again.
        length: frames of a part; it begins after a multiple of `PHASES` frames.
        shift: the largest transposition, at least 0.
        seed: of order, places and transpositions.

    Returns:
        Pairs of parts, (batch, length, pitches), and of what is scored, (batch, length): 1, but 0
        after the end of a piece and for the first frame of a part that begins inside one.
    """
    rng, sizes = np.random.default_rng(seed), np.array([len(roll) for roll in rolls])
    order = [rng.permutation(len(rolls)) for _ in range(-(-batch * steps // len(rolls)))]
    piece = np.concatenate(order)[: batch * steps].reshape(steps, batch)
    start = PHASES * rng.integers(0, -(-np.maximum(sizes - length, 0) // PHASES)[piece] + 1)
    up = rng.integers(min(0, 1 - shift), shift + 1, piece.shape)
    first = (np.cumsum(sizes) - sizes)[piece] + start  # the place among all frames
    content = tf.constant(np.pad(np.concatenate(rolls), ((0, length), (shift, shift))))

    def load(first: Any, start: Any, left: Any, up: Any) -> Any:
        frame, pitch = np.arange(length), shift - up[:, None] + np.arange(rolls[0].shape[1])
        inside = frame < left[:, None]
        x = tf.gather(content, first[:, None] + frame)  # (batch, length, pitches + 2 shift)
        x = tf.cast(tf.gather(x, pitch, axis=2, batch_dims=1), tf.float32)
        scored = inside & ((frame > 0) | (start[:, None] == 0))
        return x * tf.cast(inside, tf.float32)[..., None], tf.cast(scored, tf.float32)

    parts = first, start, sizes[piece] - start, up
    return tf.data.Dataset.from_tensor_slices(parts).map(load).prefetch(2)


def jsb_benchmark() -> dict[str, Any]:
    """Train once; nats per frame of the validation and the test part, and of the baselines."""
    data: Any = datasets.chorales("jsb")
    start = time.perf_counter()
    model = compiled()
    model.fit(windows(data.train, BATCH, STEPS), shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    parts: dict[str, Any] = {"validation": data.validation, "test": data.test}
    return {
        "steps": STEPS,
        "seconds": round(seconds),
        "weights": model.count_params(),
        "nats": {part: round(model.nats_per_frame(rolls), 4) for part, rolls in parts.items()},
        "baselines": {
            part: {name: round(nats, 4) for name, nats in baselines(data.train, rolls).items()}
            for part, rolls in parts.items()
        },
        "published": PUBLISHED,
    }
