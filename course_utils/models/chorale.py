"""An autoregressive model of music in frames: note after note, likelihood exact."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from course_utils.chorales import LOWEST, SOPRANO, note_number
from course_utils.text import sampling_probabilities
from course_utils.training import BuildsOnCompile

Array = np.ndarray[Any, Any]

PHASES = 16  # a frame is told its number modulo this: four bars of quarter notes
NEAR = 24  # semitones above and below a note in which the two frames before are looked at


@keras.saving.register_keras_serializable(package="course_utils")
class ChoraleModel(BuildsOnCompile, keras.Model):
    """p(piece) as a product over its frames, and in a frame over its notes from the highest down.

    A frame is a set of pitches, written as its notes in falling order and then an end. A GRU reads
    the frames before; two dense layers see its state, the notes above in this frame, and the two
    frames before around the last of these. The logit of a pitch is a sum of three: for the pitch,
    for its interval to the note above, and for that to the note of the same rank a frame before. A
    mask leaves lower pitches and the end, so that all sets together have probability 1.

    `fit` takes windows (batch, frames, pitches) and what is scored, (batch, frames) of 0 and 1.
    Source: Boulanger-Lewandowski et al. (2012), Modeling temporal dependencies in high-dimensional
    sequences; Johnson (2017), Generating polyphonic music using tied parallel networks.
    """

    def __init__(
        self, units: int = 256, hidden: int = 256, dropout: float = 0.3, pitches: int = 88
    ) -> None:
        """Make a model with `units` numbers in the GRU's state and `hidden` in the dense layers.

        A share `dropout` of all that they read is set to zero in training. Frames have `pitches`
        columns, the lowest pitch first.
        """
        super().__init__()
        self.settings = {"units": units, "hidden": hidden, "dropout": dropout, "pitches": pitches}
        self.pitches, self.hidden = pitches, hidden
        self.rnn = keras.layers.GRU(units, return_sequences=True)
        self.context, self.mixing = keras.layers.Dense(hidden), keras.layers.Dense(hidden)
        self.within = keras.layers.Dense(hidden, use_bias=False)
        self.by_pitch = keras.layers.Dense(pitches + 1)
        self.by_interval, self.by_step = (keras.layers.Dense(2 * pitches - 1) for _ in range(2))
        self.drop = keras.layers.Dropout(dropout)
        any_rolls = tf.TensorSpec((None, None, pitches))
        self._score = tf.function(self.call, input_signature=[any_rolls])  # traced once

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.rnn.build((None, None, 2 * self.pitches + PHASES))
        self.context.build((None, self.rnn.units))
        self.within.build((None, 2 * self.pitches + 2 * (2 * NEAR + 1)))
        for layer in (self.mixing, self.by_pitch, self.by_interval, self.by_step):
            layer.build((None, self.hidden))

    def features(self, before: Any, earlier: Any, time: Any) -> Any:
        """What the GRU reads at a frame: the frame before, the one before that, and the phase."""
        phase = tf.one_hot(time % PHASES, PHASES) * tf.ones_like(before[..., :1])
        return ops.concatenate([before, earlier, phase], axis=-1)

    def notes(self, context: Any, x: Any, before: Any, earlier: Any, training: bool = False) -> Any:
        """Log-probabilities of every next note, and which of them x has.

        `x`, (batch, frames, pitches), has the highest pitch first, as have the frame `before` each
        of x and the one `earlier`; `context` is (batch, frames, hidden). At rank s the model sees
        the s highest notes of x. Returns two of (batch, frames, ranks, pitches + 1), the last
        column for the end: logs of probabilities, and 1 for what follows in x, 0 for all else.
        """
        count = ops.cast(ops.sum(x, axis=-1), "int32")
        rank = ops.arange(ops.max(count) + 1)

        def note(frames: Any, shift: int) -> Any:  # of every rank: (batch, frames, ranks, pitches)
            order = ops.cast(ops.cumsum(frames, axis=-1), "int32")[:, :, None]
            return frames[:, :, None] * ops.cast(order == rank[:, None] + shift, "float32")

        def place(notes: Any) -> Any:
            return ops.argmax(notes, axis=-1)  # 0 where there is none

        last, chosen, same = note(x, 0), note(x, 1), note(before, 1)
        above = ops.where(rank > 0, place(last), place(before)[..., None])
        held = ops.where(ops.max(same, axis=-1) > 0, place(same), above)
        near = above[..., None] + ops.arange(2 * NEAR + 1)
        wide = [ops.pad(frames, [[0, 0], [0, 0], [NEAR, NEAR]]) for frames in (before, earlier)]
        seen = [ops.cumsum(last, axis=2), last, *(tf.gather(w, near, batch_dims=2) for w in wide)]
        z = context[:, :, None] + self.within(ops.concatenate(seen, axis=-1))
        z = self.drop(ops.gelu(z), training=training)
        z += self.drop(ops.gelu(self.mixing(z)), training=training)
        logits, distance = self.by_pitch(z), ops.arange(self.pitches) + self.pitches - 1
        for layer, at in ((self.by_interval, above), (self.by_step, held)):
            relative = tf.gather(layer(z), distance - at[..., None], batch_dims=3)
            logits += ops.pad(relative, [[0, 0]] * 3 + [[0, 1]])
        allowed = ops.cumsum(last, axis=-1) - last + ops.cast(rank == 0, "float32")[:, None]
        allowed = ops.pad(allowed, [[0, 0]] * 3 + [[0, 1]], constant_values=1.0)
        end = ops.cast(count[..., None] == rank, "float32")[..., None]
        log_p = ops.log_softmax(ops.where(allowed > 0, logits, -1e9))
        return log_p, ops.concatenate([chosen, end], axis=-1)

    def call(self, x: Any, training: bool = False) -> Any:
        """The log-probability of every frame given those before, (batch, frames), in nats."""
        x = ops.cast(x, "float32")[..., ::-1]
        padded = ops.pad(x, [[0, 0], [2, 0], [0, 0]])
        before, earlier = padded[:, 1:-1], padded[:, :-2]
        features = self.features(before, earlier, ops.arange(ops.shape(x)[1]))
        state = self.rnn(self.drop(features, training=training))
        context = self.context(self.drop(state, training=training))
        log_p, chosen = self.notes(context, x, before, earlier, training)
        return ops.sum(chosen * log_p, axis=(2, 3))

    def compute_loss(self, x: Any, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        """Minus the mean log-probability of the frames that y marks with 1; `fit` calls it."""
        return -ops.sum(y * y_pred) / ops.sum(y)

    def log_prob(self, rolls: Sequence[Array]) -> list[Array]:
        """The exact log p in nats of every frame given those before: (frames,) for each piece."""
        order = np.argsort([len(checked(roll, self.pitches)) for roll in rolls])
        result = [np.empty(0)] * len(rolls)
        for part in (order[i : i + 16] for i in range(0, len(order), 16)):
            x = np.zeros((len(part), len(rolls[part[-1]]), self.pitches), np.float32)
            for padded, i in zip(x, part, strict=True):
                padded[: len(rolls[i])] = rolls[i]
            for row, i in zip(self._score(x).numpy(), part, strict=True):
                result[i] = row[: len(rolls[i])]
        return result

    def nats_per_frame(self, rolls: Sequence[Array]) -> float:
        """The total cost of all frames over their number; the first of a piece is not scored."""
        return float(-np.concatenate([row[1:] for row in self.log_prob(rolls)]).mean())

    @tf.function(reduce_retracing=True)
    def _read(self, state: Any, before: Any, earlier: Any, time: Any) -> Any:
        _, (state,) = self.rnn.cell(self.features(before, earlier, time), [state])
        return state, self.context(state)

    @tf.function(reduce_retracing=True)
    def _next(self, context: Any, x: Any, before: Any, earlier: Any) -> Any:
        log_p, _ = self.notes(context[:, None], x[:, None], before[:, None], earlier[:, None])
        return tf.gather(log_p[:, 0], tf.cast(tf.reduce_sum(x, -1), tf.int32), batch_dims=1)

    def _write(
        self, n: int, length: int, temperature: float, seed: int, start: Array, tops: Array
    ) -> Array:
        """Draw n pieces after the frames of `start`, or below the notes of `tops`, one a frame.

        With `tops` the pieces are particles. A particle's weight is the probability that it gave
        the notes of `tops`; where few weigh much, all are drawn anew from them by their weights.
        """
        if length < 1:
            raise ValueError(f"length must be at least 1 frame, got {length}")
        rng, state = np.random.default_rng(seed), tf.zeros((n, self.rnn.units))
        weights, pieces = np.zeros(n), np.zeros((n, length + 2, self.pitches), np.float32)
        for t in range(length):
            recent, x = (pieces[:, t + 1], pieces[:, t]), pieces[:, t + 2]  # x is written to
            state, context = self._read(state, *recent, tf.constant(t))
            if t < len(start):
                x[:] = start[t, ::-1]
                continue
            if t < len(tops):
                weights += self._next(context, x, *recent).numpy()[:, tops[t, ::-1].argmax()]
                x[:] = tops[t, ::-1]
            writing = np.ones(n, bool)
            while writing.any():
                log_p = self._next(context, x, *recent).numpy()  # (n, pitches + 1)
                p = sampling_probabilities(log_p, temperature)
                chosen = np.argmax(np.cumsum(p, axis=1) > rng.random((n, 1)), axis=1)
                writing &= chosen < self.pitches
                x[writing, chosen[writing]] = 1
            p = np.exp(weights - np.logaddexp.reduce(weights))
            if 1 / (p**2).sum() < n / 2 or t + 1 == len(tops):
                kept, weights = rng.choice(n, n, p=p), np.zeros(n)
                pieces, state = pieces[kept], tf.gather(state, kept)
        return pieces[:, 2:, ::-1].astype(np.uint8)

    def sample(
        self, n: int, length: int, temperature: float = 1.0, start: Any = None, seed: int = 0
    ) -> Array:
        """Draw n pieces, (n, length, pitches), beginning with `start`; errors as of `harmonise`."""
        none = np.zeros((0, self.pitches))
        start = none if start is None else checked(start, self.pitches)
        return self._write(n, length, temperature, seed, start, none)

    def harmonise(
        self, melody: Sequence[str], temperature: float = 1.0, particles: int = 32, seed: int = 0
    ) -> Array:
        """Voices below a melody, one note name such as "F#4" a frame: (frames, pitches) uint8.

        The melody is the highest note of every frame; the rest is drawn from p(rest | melody), in
        the limit of many particles (Gordon et al. 1993). A ValueError for an empty melody, a name
        that is none, a note that is not in `SOPRANO`, a temperature that is not positive.
        """
        if not len(melody):
            raise ValueError("the melody is empty; it needs at least one note, such as 'G4'")
        tops = np.eye(self.pitches)[[note_number(name, SOPRANO) - LOWEST for name in melody]]
        return self._write(particles, len(tops), temperature, seed, tops[:0], tops)[0]


def checked(roll: Any, pitches: int) -> Array:
    """A piece as an array (frames, pitches) of 0 and 1; a ValueError if it is none."""
    roll = np.asarray(roll)
    if roll.ndim != 2 or roll.shape[1] != pitches or not np.isin(roll, (0, 1)).all():
        found = f"got a roll of shape {roll.shape} with values {np.unique(roll)[:5]}"
        raise ValueError(f"{found}; expected (frames, {pitches}) of 0 and 1")
    return roll
