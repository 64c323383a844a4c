"""A diffusion model of images: noise is added step by step, and a network learns to take it off."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from course_utils.training import BuildsOnCompile

Array = np.ndarray[Any, Any]
TIMES, CLASSES = 1000, 10


def _block(x: Any, told: Any, width: int) -> Any:
    """A residual block of two convolutions; what it is told scales and shifts it in between."""
    scale, shift = ops.split(layers.Dense(2 * width)(told)[:, None, None], 2, -1)
    h = layers.Conv2D(width, 3, padding="same")(layers.ReLU()(layers.LayerNormalization()(x)))
    h = layers.ReLU()(layers.LayerNormalization()(h) * (1 + scale) + shift)
    h = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(h)
    return h + (x if x.shape[-1] == width else layers.Conv2D(width, 1)(x))


@keras.saving.register_keras_serializable(package="course_utils")
class Diffusion(BuildsOnCompile, keras.Model):
    """A network that is shown a noisy image, the time and the class, and says what is noise.

    With x_0 in [-1, 1] and a = `alpha_bar[t]`, x_t = sqrt(a) x_0 + sqrt(1 - a) noise. The network
    gives v = sqrt(a) noise - sqrt(1 - a) x_0, from which both follow. `fit` takes batches of
    ((images, classes),), images (batch, size, size) in [0, 1]; one class in ten is hidden.
    Source: Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models; Nichol & Dhariwal
    (2021) for the cosine, Salimans & Ho (2022) for v, Ho & Salimans (2022) for guidance.
    """

    # The share of the signal's variance that is left: 1 at time 0, and 1% of its size at the end.
    alpha_bar = (np.cos(np.linspace(0, np.arccos(0.01), TIMES + 1)) ** 2).astype(np.float32)

    def __init__(self, widths: Sequence[int] = (32, 96), size: int = 28) -> None:
        """Set the image's size and the number of channels at a half and at a quarter of it."""
        super().__init__()
        self.settings = {"widths": [*widths], "size": size}
        self.size, self.widths = size, widths

    def build(self, input_shape: Any = None) -> None:
        """Make the network, from images, features of time and one-hot classes to v."""
        (wide, narrow), size, half = self.widths, self.size, self.size // 2
        inputs = [layers.Input(shape) for shape in ((size, size), (64,), (CLASSES,))]
        told = layers.Dense(128, "relu")(ops.concatenate(inputs[1:], -1))
        told = layers.Dense(128, "relu")(told)
        x = ops.transpose(ops.reshape(inputs[0], (-1, half, 2, half, 2)), (0, 1, 3, 2, 4))
        kept = [x := layers.Conv2D(wide, 3, padding="same")(ops.reshape(x, (-1, half, half, 4)))]
        for _ in range(2):
            kept.append(x := _block(x, told, wide))
        x = layers.Conv2D(narrow, 2, strides=2)(x)
        for _ in range(3):
            x = _block(x, told, narrow)
        x = layers.UpSampling2D()(layers.Conv2D(wide, 1)(x))
        for _ in range(2):
            x = _block(ops.concatenate([x, kept.pop()], -1), told, wide)
        x = layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros")(layers.ReLU()(x))
        x = ops.transpose(ops.reshape(x, (-1, half, half, 2, 2)), (0, 1, 3, 2, 4))
        self.network = keras.Model(inputs, ops.reshape(x, (-1, size, size)))
        self.seeds = keras.random.SeedGenerator()

    @tf.function(reduce_retracing=True)
    def velocity(self, x: Any, t: Any, told: Any) -> Any:
        """The network's v, as x, at times t, (batch,), given one-hot classes, or zeros for none."""
        angles = ops.cast(t, "float32")[:, None] * ops.logspace(0, -3, 32)
        return self.network([x, ops.concatenate([ops.sin(angles), ops.cos(angles)], -1), told])

    def call(self, x: Any) -> Any:
        """The squared error of v, for images and classes and times drawn at random."""
        x_0, n = 2 * x[0] - 1, ops.shape(x[0])[0]
        spread = ops.arange(n, dtype="float32") / ops.cast(n, "float32")  # evenly over time
        t = ops.floor(TIMES * ((keras.random.uniform((), seed=self.seeds) + spread) % 1.0))
        t = ops.minimum(1 + ops.cast(t, "int32"), TIMES)
        a = ops.take(ops.convert_to_tensor(self.alpha_bar), t)[:, None, None]
        noise = keras.random.normal(ops.shape(x_0), seed=self.seeds)
        kept = ops.cast(keras.random.uniform((n, 1), seed=self.seeds) > 0.1, "float32")
        x_t, told = ops.sqrt(a) * x_0 + ops.sqrt(1 - a) * noise, kept * ops.one_hot(x[1], CLASSES)
        right = ops.sqrt(a) * noise - ops.sqrt(1 - a) * x_0
        return ops.square(self.velocity(x_t, t, told) - right)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any) -> Any:
        """The mean squared error of v; `fit` calls it."""
        return ops.mean(y_pred)

    def denoise(self, x_t: Any, t: int, labels: Any = None, guidance: float = 0.0) -> Array:
        """The model's guess of x_0, (batch, size, size) in [-1, 1], from x_t.

        With guidance w it is the guess with the class, (batch,), plus w times what the class has
        changed; None leaves the class out. A ValueError for a class or w that cannot be.
        """
        if not (labels is None or np.isin(labels, range(CLASSES)).all()):
            raise ValueError(f"labels must be classes from 0 to {CLASSES - 1}, got {labels}")
        if not guidance >= 0:
            raise ValueError(f"guidance must not be negative, got {guidance}; 0 is no guidance")
        told = np.zeros((len(x_t), CLASSES), np.float32)
        if labels is not None:
            told[np.arange(len(x_t)), labels] = 1
        x_t, when, a = np.asarray(x_t, np.float32), np.full(len(x_t), t), self.alpha_bar[t]

        def velocity(told: Array) -> Array:  # 50 at a time are faster than all, and smaller
            parts = (slice(i, i + 50) for i in range(0, len(x_t), 50))
            return np.concatenate([self.velocity(x_t[p], when[p], told[p]) for p in parts])

        v = (1 + guidance) * velocity(told)
        if guidance:
            v -= guidance * velocity(np.zeros_like(told))
        return np.clip(np.sqrt(a) * x_t - np.sqrt(1 - a) * v, -1, 1)

    def path(
        self,
        n: int,
        seed: int = 0,
        labels: Any = None,
        steps: int | Sequence[int] = 25,
        guidance: float = 0.0,
        eta: float = 0.0,
        known: tuple[Array, Array] | None = None,
        rounds: int = 1,
    ) -> Iterator[tuple[int, Array, Array]]:
        """From noise to n images: after each step the time, x_t and the guess that led there.

        `steps` is how many, evenly spaced, or the times themselves; a ValueError for others than
        the model has. `labels` and `guidance` are as of `denoise`; `eta` is the share of fresh
        noise: 0 is DDIM, 1 with all steps the chain of Ho et al. (2020). `known`, images in [0, 1]
        and a boolean of one image's shape, fixes pixels; each step is gone `rounds` times.
        Source: Song et al. (2021), Denoising diffusion implicit models; Lugmayr et al. (2022).
        """
        even = np.linspace(TIMES, 0, max(steps, 0) + 1) if isinstance(steps, int) else [*steps, 0]
        times = np.round(even).astype(int)
        if len(times) < 2 or times[0] > TIMES or (np.diff(times) >= 0).any():
            raise ValueError(f"steps must be 1 to {TIMES}, or times that fall in it; got {steps}")
        shape, rng = (n, self.size, self.size), np.random.default_rng(seed)
        normal = partial(rng.standard_normal, shape, np.float32)
        x = normal()
        for t, s in zip(times, times[1:], strict=False):
            a, b = self.alpha_bar[t], self.alpha_bar[s]
            for left in reversed(range(rounds if s else 1)):
                x_0 = self.denoise(x, t, labels, guidance)
                fresh = eta * np.sqrt((1 - b) / (1 - a) * (1 - a / b))
                noise = (x - np.sqrt(a) * x_0) / np.sqrt(1 - a)
                x = np.sqrt(b) * x_0 + np.sqrt(1 - b - fresh**2) * noise + fresh * normal()
                if known is not None:
                    seen = np.sqrt(b) * (2 * known[0] - 1) + np.sqrt(1 - b) * normal()
                    x = np.where(known[1], seen, x)
                yield int(s), x, x_0
                if left:
                    x = np.sqrt(a / b) * x + np.sqrt(1 - a / b) * normal()

    def sample(self, n: int, seed: int = 0, labels: Any = None, **options: Any) -> Array:
        """Draw n grey images, (n, size, size) in [0, 1]; the options are those of `path`."""
        for _, x, _ in self.path(n, seed, labels, **options):  # noqa: B007
            pass
        return np.clip((x + 1) / 2, 0, 1).astype(np.float32)
