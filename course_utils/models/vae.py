"""The variational autoencoder, and lower bounds on log p(x)."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from course_utils.datasets import Array, checked
from course_utils.training import BuildsOnCompile


def kl_divergence(mean: Any, log_var: Any) -> Any:
    """KL(q || p) in nats by dimension, (..., latent_dim), q = N(mean, exp(log_var)), p = N(0, 1).

    The sum over the last axis is that of the whole vector. Source: Kingma & Welling (2014).
    """
    return 0.5 * (ops.exp(log_var) + mean**2 - 1.0 - log_var)


def bernoulli_log_prob(logits: Any, x: Any) -> Any:
    """The log of p(x) in nats for independent binary pixels: (...,) from (..., height, width).

    `logits` are the log-odds of a pixel being 1, `x` the pixels, 0 or 1; the shapes broadcast.
    """
    return -ops.sum(ops.softplus(logits) - x * logits, axis=(-2, -1))


class ResidualDense(keras.layers.Layer):
    """Two dense layers that read their input normalised and add to it (He et al. 2016)."""

    def build(self, input_shape: Any) -> None:
        """Create the layers for inputs (batch, width)."""
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.hidden = keras.layers.Dense(input_shape[-1], activation="gelu")
        self.change = keras.layers.Dense(input_shape[-1])

    def call(self, x: Any) -> Any:
        """(batch, width) to the same shape."""
        return x + self.change(self.hidden(self.norm(x)))


@keras.saving.register_keras_serializable(package="course_utils")
class VAE(BuildsOnCompile, keras.Model):
    """A Gaussian q(z | x), a standard normal prior, and independent binary pixels given z.

    `fit` takes batches of binary images, (batch, size, size). Its loss is distortion plus beta
    times rate in nats an image, which for beta 1 is an estimate of minus the ELBO. With `classes`
    it models p(x | class), and every x is a pair, (images, labels).
    Source: Kingma & Welling (2014), Auto-encoding variational Bayes; Higgins et al. (2017) for
    beta; Alemi et al. (2018), Fixing a broken ELBO, for rate and distortion; Sohn et al. (2015),
    Learning structured output representation, for classes.
    """

    def __init__(
        self,
        latent_dim: int = 32,
        width: int = 384,
        blocks: int = 1,
        beta: float = 1.0,
        size: int = 28,
        decoder: str = "dense",
        classes: int = 0,
    ) -> None:
        """Make the encoder and the decoder: a dense layer, residual blocks, a dense layer each.

        Hidden layers have `width` units; `beta` is the price of the rate, the KL term; `size` is
        height and width of an image. The decoder is `"dense"`; `"rows"`, a GRU that reads the same
        vector once a row; or `"convolutional"`, with convolutions in the encoder too. It is told
        one of so many `classes`, the encoder is not. A ValueError if beta is negative, or the
        decoder is unknown.
        """
        if beta < 0:
            paid = "the loss would pay for codes far from the prior; use 0 for no KL term (FAQ 4)"
            raise ValueError(f"beta must not be negative, got {beta}: {paid}")
        if decoder not in ("dense", "rows", "convolutional"):
            raise ValueError(f'decoder must be "dense", "rows" or "convolutional", got {decoder!r}')
        super().__init__()
        self.settings = {"latent_dim": latent_dim, "width": width, "blocks": blocks, "beta": beta}
        self.settings |= {"size": size, "decoder": decoder, "classes": classes}
        self.latent_dim, self.beta, self.classes, self.size = latent_dim, beta, classes, size
        layers, code = keras.layers, latent_dim + classes

        def network(shape: tuple[int, ...], outputs: int) -> list[Any]:
            residual = [ResidualDense() for _ in range(blocks)]
            ends = layers.Activation("gelu"), layers.Dense(outputs)
            return [layers.Input(shape), layers.Flatten(), layers.Dense(width), *residual, *ends]

        seen, written = network((size, size), 2 * latent_dim), network((code,), size**2)
        if decoder == "rows":
            written = [
                layers.Input((code,)),
                layers.Dense(width, "relu"),
                layers.RepeatVector(size),
            ]
            written += [layers.GRU(width, return_sequences=True), layers.Dense(size)]
        if decoder == "convolutional":
            half: Any = {"kernel_size": 4, "strides": 2, "padding": "same"}
            down = [layers.Conv2D(n, activation="gelu", **half) for n in (32, 64)]
            seen[1:1] = [layers.Reshape((size, size, 1)), *down]
            written = [*network((code,), 4 * size**2), layers.Reshape((size // 4, size // 4, 64))]
            written += [layers.Activation("gelu")]
            written += [layers.Conv2DTranspose(32, activation="gelu", **half)]
            written += [layers.Conv2DTranspose(1, **half)]
        self.encoder = keras.Sequential(seen)
        self.decoder = keras.Sequential([*written, layers.Reshape((size, size))])
        self.seeds = keras.random.SeedGenerator()
        self.rate, self.distortion = (keras.metrics.Mean(name) for name in ("rate", "distortion"))

    def build(self, input_shape: Any = None) -> None:
        """Nothing to create: encoder and decoder have their weights."""
        self.built = True

    def encode(self, x: Any) -> tuple[Any, Any]:
        """Mean and log-variance of q(z | x), (batch, latent_dim), x the images without classes."""
        mean, log_var = ops.split(self.encoder(x), 2, axis=-1)
        return mean, ops.clip(log_var, -12.0, 6.0)  # beyond that, exp(log_var) breaks training

    def logits(self, z: Any, labels: Any = None) -> Any:
        """Log-odds of each pixel being 1, (batch, size, size), for z and, with classes, labels."""
        if self.classes:
            z = ops.concatenate([z, ops.one_hot(labels, self.classes)], axis=-1)
        return self.decoder(z)

    def call(self, x: Any, seed: int | None = None) -> tuple[Any, Any, Any]:
        """Logits (batch, size, size) for one z drawn from q(z | x); q's mean and log-variance."""
        images, labels = x if self.classes else (x, None)
        mean, log_var = self.encode(images)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds if seed is None else seed)
        return self.logits(mean + ops.exp(0.5 * log_var) * noise, labels), mean, log_var

    def compute_loss(self, x: Any, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        """Distortion plus beta times rate, a mean over the batch; `fit` calls it."""
        logits, mean, log_var = y_pred
        rate = ops.mean(ops.sum(kl_divergence(mean, log_var), axis=-1))
        distortion = -ops.mean(bernoulli_log_prob(logits, x[0] if self.classes else x))
        self.rate.update_state(rate)
        self.distortion.update_state(distortion)
        return distortion + self.beta * rate

    def elbo(self, x: Any, seed: int = 0) -> Array:
        """The ELBO in nats, (batch,), with one z an image and the KL term in closed form."""
        images = checked(x[0] if self.classes else x, self.size)
        logits, mean, log_var = self(x, seed=seed)
        rate = ops.sum(kl_divergence(mean, log_var), axis=-1)
        return ops.convert_to_numpy(bernoulli_log_prob(logits, images) - rate)

    def importance_weighted_bound(self, x: Any, k: int = 500, seed: int = 0) -> Array:
        """A lower bound on log p(x) in nats, (batch,), which rises towards it with k.

        It takes k samples of q(z | x) an image; for 1 it is an estimate of the ELBO. ValueError for
        k below 1. Source: Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1 sample an image, got {k} (FAQ 4)")
        images, labels = x if self.classes else (x, np.zeros(len(x), np.int64))
        images = checked(images, self.size)
        bounds, seeds, step = [], keras.random.SeedGenerator(seed), max(1, 2000 // k)
        for start in range(0, len(images), step):
            part = ops.convert_to_tensor(images[start : start + step], "float32")
            mean, log_var = self.encode(part)  # (n, D)
            noise = keras.random.normal((k, *mean.shape), seed=seeds)  # (k, n, D)
            z = mean + ops.exp(0.5 * log_var) * noise
            classes = np.tile(labels[start : start + step], k)  # (k * n,)
            logits = self.logits(ops.reshape(z, (-1, self.latent_dim)), classes)
            log_likelihood = bernoulli_log_prob(ops.reshape(logits, (k, *part.shape)), part)
            # log p(z) - log q(z | x); the constants of the two normal densities cancel
            log_ratio = 0.5 * ops.sum(noise**2 + log_var - z**2, axis=-1)  # (k, n)
            bounds.append(ops.logsumexp(log_likelihood + log_ratio, axis=0) - math.log(k))
        return np.concatenate([ops.convert_to_numpy(bound) for bound in bounds])

    def decode(self, z: Any, labels: Any = None) -> Array:
        """Probability of each pixel being 1, (batch, size, size), for z (batch, latent_dim).

        With classes it needs labels, (batch,); a ValueError for one that is no class.
        """
        if self.classes and not np.isin(labels, np.arange(self.classes)).all():
            raise ValueError(f"labels must be classes from 0 to {self.classes - 1}, got {labels}")
        return ops.convert_to_numpy(ops.sigmoid(self.logits(z, labels)))

    def fill(self, x: Any, observed: Any, labels: Any = None, rounds: int = 10) -> Array:
        """Replace hidden pixels by probabilities that fit the observed ones: an approximation.

        Each of the `rounds` encodes the images (batch, size, size) as filled so far and decodes the
        mean of q (Rezende et al. 2014 draw); `observed` is boolean, of one image's shape.
        """
        filled = np.where(observed, x, 0).astype(np.float32)
        for _ in range(rounds):
            filled = np.where(observed, x, self.decode(self.encode(filled)[0], labels))
        return filled

    def sample(self, n: int, seed: int = 0, labels: Any = None) -> Array:
        """The pixel probabilities of n draws from the prior, (n, size, size)."""
        return self.decode(keras.random.normal((n, self.latent_dim), seed=seed), labels)
