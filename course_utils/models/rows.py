"""An autoregressive model of binary images: row after row, pixel after pixel, likelihood exact."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from course_utils.datasets import Array, checked
from course_utils.models.vae import bernoulli_log_prob
from course_utils.training import BuildsOnCompile


@keras.saving.register_keras_serializable(package="course_utils")
class RowModel(BuildsOnCompile, keras.Model):
    """p(image) as a product over its pixels in reading order, each given all before it.

    A GRU reads the rows above and gives each row a state. Within the row every pixel has `hidden`
    units that see this state and the pixels to its left; a masked matrix hides the others. `fit`
    takes batches of binary images; its loss is minus `log_prob`, in nats an image.
    Source: Larochelle & Murray (2011), The neural autoregressive distribution estimator; Germain
    et al. (2015), MADE; van den Oord et al. (2016), Pixel recurrent neural networks, for the rows.
    """

    def __init__(self, rnn_units: int = 384, hidden: int = 24, size: int = 28) -> None:
        """Make a model of images of `size` by `size` pixels, `hidden` units for each pixel."""
        super().__init__()
        self.settings = {"rnn_units": rnn_units, "hidden": hidden, "size": size}
        self.size, self.hidden = size, hidden
        self.rnn = keras.layers.GRU(rnn_units, return_sequences=True)
        self.context = keras.layers.Dense(size * hidden)
        order = np.arange(size)
        mask = np.repeat(order[:, None] < order, hidden, axis=1)  # (pixels, pixels * hidden)
        self.mask = ops.convert_to_tensor(mask.astype(np.float32))

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.across = self.add_weight(shape=(self.size, self.size * self.hidden), name="across")
        self.readout = self.add_weight(shape=(self.size, self.hidden), name="readout")
        self.bias = self.add_weight(shape=(self.size,), initializer="zeros", name="bias")
        self.built = True
        self(np.zeros((1, self.size, self.size)))

    def row_logits(self, context: Any, row: Any) -> Any:
        """Logits of a row's pixels, (..., size), given its context and the pixels to the left."""
        x = ops.gelu(context + row @ (self.across * self.mask))
        x = ops.reshape(x, (*ops.shape(x)[:-1], self.size, self.hidden))
        return ops.sum(x * self.readout, axis=-1) + self.bias

    def call(self, x: Any) -> Any:
        """Logits (batch, size, size) of every pixel given all before it, for binary images."""
        above = ops.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]])
        return self.row_logits(self.context(self.rnn(above)), x)

    def compute_loss(self, x: Any, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        """Minus the mean log-probability of the batch; `fit` calls it."""
        return -ops.mean(bernoulli_log_prob(y_pred, x))

    def log_prob(self, x: Any) -> Array:
        """The log of p(x) in nats, exact, (batch,), for binary images (batch, size, size)."""
        x = checked(x, self.size)
        parts = [x[i : i + 100] for i in range(0, len(x), 100)]
        values = [bernoulli_log_prob(self(part), part) for part in parts]
        return np.concatenate([ops.convert_to_numpy(value) for value in values])

    @tf.function(reduce_retracing=True)
    def _write_row(self, state: Any, above: Any, known: Any, seen: Any, uniform: Any) -> Any:
        """One row further: the GRU's state, the row's pixels and their probabilities."""
        _, (state,) = self.rnn.cell(above, [state])
        context, row, p = self.context(state), tf.zeros_like(known), tf.zeros_like(known)
        for pixel in range(self.size):
            here = tf.one_hot(pixel, self.size)
            p = tf.where(here > 0, tf.sigmoid(self.row_logits(context, row)), p)
            drawn = tf.where(seen, known, tf.cast(uniform < p, tf.float32))
            row = tf.where(here > 0, drawn, row)
        return state, row, p

    def fill(self, x: Any, observed: Any, seed: int = 0) -> tuple[Array, Array]:
        """Draw the pixels that are not observed, in reading order, given those before them.

        A draw from p(hidden | observed) if all hidden pixels come last. `x` is (batch, size,
        size), `observed` boolean of one image's shape. Returns the images, and each pixel's p(1).
        """
        x = np.asarray(x, np.float32)
        uniform = np.random.default_rng(seed).random(x.shape, np.float32)
        state, row = tf.zeros((len(x), self.rnn.units)), tf.zeros((len(x), self.size))
        rows, chances = [], []
        for i in range(self.size):
            state, row, p = self._write_row(state, row, x[:, i], observed[i], uniform[:, i])
            rows.append(row)
            chances.append(p)
        return tf.stack(rows, axis=1).numpy(), tf.stack(chances, axis=1).numpy()

    def sample(self, n: int, seed: int = 0) -> Array:
        """Draw n binary images, (n, size, size) float32."""
        blank = np.zeros((n, self.size, self.size))
        return self.fill(blank, np.zeros((self.size, self.size), bool), seed)[0]
