"""A diffusion model of images: noise is added step by step, and a network learns to take it off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from course_utils.images import checked
from course_utils.training import BuildsOnCompile

Array = np.ndarray[Any, Any]


def cosine_schedule(steps: int) -> Array:
    """Share of the signal's variance left after 0 to `steps` steps of noise, (steps + 1,).

    Its root is the cosine of an angle that grows evenly, until 1% of the signal's size is left.

    Source: Nichol & Dhariwal (2021), Improved denoising diffusion probabilistic models.
    """
    return np.cos(np.linspace(0, np.arccos(0.01), steps + 1)) ** 2


def _block(x: Any, told: Any, width: int) -> Any:
    """A residual block of two convolutions; what it is told scales and shifts it in between."""
    scale, shift = ops.split(layers.Reshape((1, 1, 2 * width))(layers.Dense(2 * width)(told)), 2, -1)
    h = layers.Conv2D(width, 3, padding="same")(layers.ReLU()(layers.LayerNormalization()(x)))
    h = layers.ReLU()(layers.LayerNormalization()(h) * (1 + scale) + shift)
    h = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(h)
    return h + (x if x.shape[-1] == width else layers.Conv2D(width, 1)(x))


def _u_net(size: int, widths: tuple[int, int], blocks: int, classes: int) -> keras.Model:
    """(images, features of time, one-hot classes) to v; at a half and a quarter of the size."""
    inputs = layers.Input((size, size)), layers.Input((64,)), layers.Input((classes,))
    wide, narrow = widths
    told = layers.Dense(128, "relu")(ops.concatenate([*inputs[1:]], -1))
    told = layers.Dense(128, "relu")(told)
    x = ops.reshape(inputs[0], (-1, size // 2, 2, size // 2, 2))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, size // 2, size // 2, 4))
    kept = [x := layers.Conv2D(wide, 3, padding="same")(x)]
    for _ in range(blocks):
        kept.append(x := _block(x, told, wide))
    x = layers.Conv2D(narrow, 2, strides=2)(x)
    for _ in range(blocks + 1):
        x = _block(x, told, narrow)
    x = layers.UpSampling2D()(layers.Conv2D(wide, 1)(x))
    for _ in range(blocks):
        x = _block(ops.concatenate([x, kept.pop()], -1), told, wide)
    x = layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros")(layers.ReLU()(x))
    x = ops.transpose(ops.reshape(x, (-1, size // 2, size // 2, 2, 2)), (0, 1, 3, 2, 4))
    return keras.Model(inputs, ops.reshape(x, (-1, size, size)))


@keras.saving.register_keras_serializable(package="course_utils")
class Diffusion(BuildsOnCompile, keras.Model):
    """A network that is shown a noisy image, the time and the class, and says what is noise.

    With x_0 in [-1, 1] and a = `alpha_bar[t]`, x_t = sqrt(a) x_0 + sqrt(1 - a) noise. The network
    gives v = sqrt(a) noise - sqrt(1 - a) x_0, from which both follow. `fit` takes batches of
    pairs, ((images, classes),), images (batch, size, size) in [0, 1]; one class in ten is hidden,
    so that the model can do without. The loss is the mean squared error of v.

    Source: Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models; Salimans & Ho
    (2022) for v; Ho & Salimans (2022), Classifier-free diffusion guidance.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 96),
        blocks: int = 2,
        classes: int = 10,
        times: int = 1000,
        size: int = 28,
        **kwargs: Any,
    ) -> None:
        """Make the network; `times` is the number of steps from an image to noise."""
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {"widths": list(widths), "blocks": blocks, "size": size}
        self.settings |= {"classes": classes, "times": times}
        self.classes, self.times, self.size = classes, times, size
        self.alpha_bar = cosine_schedule(times).astype(np.float32)
        self.network = _u_net(size, (widths[0], widths[1]), blocks, classes)
        self.seeds = keras.random.SeedGenerator()

    def build(self, input_shape: Any = None) -> None:
        """Nothing to create: the network has its weights."""
        self.built = True

    def velocity(self, x: Any, t: Any, told: Any) -> Any:
        """The network's v, as x: (batch, size, size), at times t, (batch,), given one-hot classes.

        A row of zeros in `told`, (batch, classes), says nothing of the class.
        """
        angles = ops.cast(t, "float32")[:, None] * ops.logspace(0, -3, 32)
        return self.network([x, ops.concatenate([ops.sin(angles), ops.cos(angles)], -1), told])

    _compiled = tf.function(velocity, reduce_retracing=True)

    def call(self, x: Any) -> tuple[Any, Any]:
        """The network's v and the right one, for images and classes and times drawn at random."""
        images, labels = x
        n = ops.shape(images)[0]
        each = ops.arange(n, dtype="float32") / ops.cast(n, "float32")  # evenly spread over time
        t = ops.cast(self.times * ((keras.random.uniform((), seed=self.seeds) + each) % 1.0), "int32")
        t = ops.minimum(t + 1, self.times)
        a = ops.take(ops.convert_to_tensor(self.alpha_bar), t)[:, None, None]
        noise = keras.random.normal(ops.shape(images), seed=self.seeds)
        kept = keras.random.uniform((n, 1), seed=self.seeds) > 0.1
        told = ops.one_hot(labels, self.classes) * ops.cast(kept, "float32")
        x_0 = 2 * images - 1
        x_t = ops.sqrt(a) * x_0 + ops.sqrt(1 - a) * noise
        return self.velocity(x_t, t, told), ops.sqrt(a) * noise - ops.sqrt(1 - a) * x_0

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any
    ) -> Any:
        """The mean squared error of v; `fit` calls it."""
        return ops.mean(ops.square(y_pred[0] - y_pred[1]))

    def denoise(self, x_t: Any, t: int, labels: Any = None, guidance: float = 0.0) -> Array:
        """The model's guess of x_0, (batch, size, size) in [-1, 1], from x_t.

        With guidance w it is the guess with the class, plus w times what the class has changed.
        Classes, (batch,), are left out with None.
        """
        told = np.zeros((len(x_t), self.classes), np.float32)
        if labels is not None:
            if not np.isin(labels, np.arange(self.classes)).all():
                top = self.classes - 1
                raise ValueError(f"labels must be classes from 0 to {top}, got {labels}")
            told[np.arange(len(x_t)), labels] = 1
        if not guidance >= 0:
            raise ValueError(f"guidance must not be negative, got {guidance}; 0 is no guidance")
        x_t, when = np.asarray(x_t, np.float32), np.full(len(x_t), t, np.int32)
        v = np.asarray(self._compiled(x_t, when, told))
        if guidance:
            v = (1 + guidance) * v - guidance * np.asarray(self._compiled(x_t, when, 0 * told))
        a = self.alpha_bar[t]
        return np.clip(np.sqrt(a) * x_t - np.sqrt(1 - a) * v, -1, 1)

    def path(
        self,
        n: int,
        seed: int = 0,
        labels: Any = None,
        steps: int | Sequence[int] = 25,
        guidance: float = 0.0,
        eta: float = 0.0,
        known: Any = None,
        observed: Any = None,
        rounds: int = 1,
    ) -> Iterator[tuple[int, Array, Array]]:
        """From noise to images: after each step the time, x_t and the guess of x_0 that led there.

        Args:
            n: number of images.
            seed: of all noise.
            labels: classes, (n,), or None.
            steps: how many, evenly spaced, or the times themselves: falling, without the 0.
            guidance: as of `denoise`.
            eta: share of fresh noise; 0 is DDIM, 1 with all steps the chain of Ho et al. (2020).
            known: images (n, size, size) in [0, 1] of which `observed`, boolean and of one image's
                shape, is to stay. The noisy known pixels are put in at each step.
            rounds: how often each step is gone, with noise added in between, so that the new
                pixels can follow the known ones.

        A ValueError for steps that the model does not have.

        Source: Song et al. (2021), Denoising diffusion implicit models; Lugmayr et al. (2022),
        RePaint.
        """
        if isinstance(steps, int):
            if not 1 <= steps <= self.times:
                raise ValueError(f"steps must be from 1 to {self.times}, got {steps}")
            chosen = np.linspace(self.times, 0, steps + 1).round().astype(int)
        else:
            chosen = np.array([*steps, 0])
            if len(chosen) < 2 or chosen[0] > self.times or (np.diff(chosen) >= 0).any():
                raise ValueError(f"times must fall, from {self.times} at most to 1, got {steps}")
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, self.size, self.size)).astype(np.float32)
        for t, s in zip(chosen, chosen[1:], strict=False):
            a, b = self.alpha_bar[t], self.alpha_bar[s]
            for left in reversed(range(rounds if s else 1)):
                x_0 = self.denoise(x, t, labels, guidance)
                fresh = eta * np.sqrt((1 - b) / (1 - a) * (1 - a / b))
                noise = (x - np.sqrt(a) * x_0) / np.sqrt(1 - a)
                x = np.sqrt(b) * x_0 + np.sqrt(1 - b - fresh**2) * noise
                x = x + fresh * rng.normal(size=x.shape).astype(np.float32)
                if known is not None:
                    seen = np.sqrt(b) * (2 * np.asarray(known, np.float32) - 1)
                    seen = seen + np.sqrt(1 - b) * rng.normal(size=x.shape).astype(np.float32)
                    x = np.where(observed, seen, x)
                yield int(s), x, x_0
                if left:
                    again = rng.normal(size=x.shape).astype(np.float32)
                    x = np.sqrt(a / b) * x + np.sqrt(1 - a / b) * again

    def sample(self, n: int, seed: int = 0, labels: Any = None, **options: Any) -> Array:
        """Draw n grey images, (n, size, size) in [0, 1]; the options are those of `path`."""
        *_, (_, x, _) = self.path(n, seed, labels, **options)
        return np.clip((x + 1) / 2, 0, 1).astype(np.float32)

    def fill(self, x: Any, observed: Any, labels: Any = None, **options: Any) -> Array:
        """Draw the pixels that are not observed, an approximation of p(hidden | observed).

        `x` is (batch, size, size) in [0, 1]; the options are those of `path`.
        """
        x = checked(x, self.size)
        options = {"eta": 1.0, "rounds": 3} | options
        return self.sample(len(x), labels=labels, known=x, observed=observed, **options)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), **self.settings}
