"""The variational autoencoder, and lower bounds on log p(x)."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from course_utils.training import BuildsOnCompile

Array = np.ndarray[Any, Any]


def kl_divergence(mean: Any, log_var: Any) -> Any:
    """KL(q || p) in nats by dimension, q = N(mean, exp(log_var)) and p = N(0, 1).

    Args:
        mean: (..., latent_dim).
        log_var: the same shape, natural logarithm of the variance.

    Returns:
        (..., latent_dim), never negative; the sum over the last axis is that of the whole vector.

    Source: Kingma & Welling (2014), appendix B.
    """
    return 0.5 * (ops.exp(log_var) + mean**2 - 1.0 - log_var)


def bernoulli_log_prob(logits: Any, x: Any) -> Any:
    """The log of p(x) in nats for independent binary pixels: (...,) from (..., height, width).

    `logits` are the log-odds of a pixel being 1, `x` the pixels, 0 or 1; the shapes broadcast.
    """
    return -ops.sum(ops.softplus(logits) - x * logits, axis=(-2, -1))


@keras.saving.register_keras_serializable(package="course_utils")
class ResidualDense(keras.layers.Layer):
    """Two dense layers that read their input normalised and add to it (He et al. 2016)."""

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs (batch, width)."""
        width = input_shape[-1]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.hidden = keras.layers.Dense(width, activation="gelu")
        self.change = keras.layers.Dense(width)
        for layer in (self.norm, self.hidden, self.change):
            layer.build(input_shape)
        self.built = True

    def call(self, x: Any) -> Any:
        """(batch, width) to the same shape."""
        return x + self.change(self.hidden(self.norm(x)))


@keras.saving.register_keras_serializable(package="course_utils")
class VAE(BuildsOnCompile, keras.Model):
    """A Gaussian q(z | x), a standard normal prior, and independent binary pixels given z.

    `fit` takes batches of binary images, (batch, size, size). Its loss is distortion plus beta
    times rate in nats an image, which for beta 1 is an estimate of minus the ELBO. log p(x)
    itself is out of reach: `importance_weighted_bound` rises towards it.

    Source: Kingma & Welling (2014), Auto-encoding variational Bayes; Higgins et al. (2017) for
    beta, Alemi et al. (2018), Fixing a broken ELBO, for rate and distortion.
    """

    def __init__(
        self,
        latent_dim: int = 32,
        width: int = 384,
        blocks: int = 1,
        beta: float = 1.0,
        size: int = 28,
        **kwargs: Any,
    ) -> None:
        """Make the encoder and the decoder: a dense layer, the blocks, a dense layer each.

        Args:
            latent_dim: dimensions of z.
            width: units of every hidden layer.
            blocks: residual blocks in each network; without them each has one hidden layer.
            beta: price of the rate, the KL term; 0 leaves the reconstruction alone.
            size: height and width of an image.
            **kwargs: passed on to `keras.Model`.

        Raises:
            ValueError: if beta is negative.
        """
        if beta < 0:
            raise ValueError(
                f"beta must not be negative, got {beta}: the loss would pay for a posterior far "
                "from the prior; use 0 to leave the KL term out"
            )
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {"latent_dim": latent_dim, "width": width}
        self.settings |= {"blocks": blocks, "beta": beta, "size": size}
        self.latent_dim, self.beta = latent_dim, beta
        layers = keras.layers

        def network(shape: tuple[int, ...], outputs: int) -> list[Any]:
            residual = [ResidualDense() for _ in range(blocks)]
            ends = layers.Activation("gelu"), layers.Dense(outputs)
            return [layers.Input(shape), layers.Flatten(), layers.Dense(width), *residual, *ends]

        self.encoder = keras.Sequential(network((size, size), 2 * latent_dim))
        self.decoder = keras.Sequential(network((latent_dim,), size**2))
        self.decoder.add(layers.Reshape((size, size)))
        self.seeds = keras.random.SeedGenerator()
        self.rate, self.distortion = (keras.metrics.Mean(name) for name in ("rate", "distortion"))

    def build(self, input_shape: Any = None) -> None:
        """Nothing to create: encoder and decoder have their weights."""
        self.built = True

    def encode(self, x: Any) -> tuple[Any, Any]:
        """Mean and log-variance of q(z | x), each (batch, latent_dim); the latter in [-12, 6]."""
        mean, log_var = ops.split(self.encoder(x), 2, axis=-1)
        return mean, ops.clip(log_var, -12.0, 6.0)  # beyond that, exp(log_var) breaks training

    def call(self, x: Any, seed: int | None = None) -> tuple[Any, Any, Any]:
        """Logits (batch, size, size) for one z drawn from q(z | x); q's mean and log-variance."""
        mean, log_var = self.encode(x)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds if seed is None else seed)
        return self.decoder(mean + ops.exp(0.5 * log_var) * noise), mean, log_var

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Distortion plus beta times rate, a mean over the batch; `fit` calls it."""
        logits, mean, log_var = y_pred
        rate = ops.mean(ops.sum(kl_divergence(mean, log_var), axis=-1))
        distortion = -ops.mean(bernoulli_log_prob(logits, x))
        self.rate.update_state(rate)
        self.distortion.update_state(distortion)
        return distortion + self.beta * rate

    def elbo(self, x: Any, seed: int = 0) -> Array:
        """The ELBO in nats, (batch,), with one z an image and the KL term in closed form."""
        logits, mean, log_var = self(x, seed=seed)
        rate = ops.sum(kl_divergence(mean, log_var), axis=-1)
        return ops.convert_to_numpy(bernoulli_log_prob(logits, x) - rate)

    def importance_weighted_bound(self, x: Any, k: int = 500, seed: int = 0) -> Array:
        """A lower bound on log p(x) in nats, (batch,), which rises towards it with k.

        Args:
            x: (batch, size, size), binary.
            k: samples of q(z | x) an image; for 1 it is an estimate of the ELBO.
            seed: of the samples.

        Raises:
            ValueError: if k is below 1.

        Source: Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1 sample an image, got {k}")
        bounds, seeds, images = [], keras.random.SeedGenerator(seed), max(1, 5000 // k)
        for start in range(0, len(x), images):
            part = ops.convert_to_tensor(x[start : start + images], "float32")
            mean, log_var = self.encode(part)  # (n, D)
            noise = keras.random.normal((k, *mean.shape), seed=seeds)  # (k, n, D)
            z = mean + ops.exp(0.5 * log_var) * noise
            logits = self.decoder(ops.reshape(z, (-1, self.latent_dim)))
            log_likelihood = bernoulli_log_prob(ops.reshape(logits, (k, *part.shape)), part)
            # log p(z) - log q(z | x); the constants of the two normal densities cancel
            log_ratio = 0.5 * ops.sum(noise**2 + log_var - z**2, axis=-1)  # (k, n)
            bounds.append(ops.logsumexp(log_likelihood + log_ratio, axis=0) - math.log(k))
        return np.concatenate([ops.convert_to_numpy(bound) for bound in bounds])

    def decode(self, z: Any) -> Array:
        """Probability of each pixel being 1, (batch, size, size), for z (batch, latent_dim)."""
        return ops.convert_to_numpy(ops.sigmoid(self.decoder(z)))

    def sample(self, n: int, seed: int = 0) -> Array:
        """The pixel probabilities of n draws from the prior, (n, size, size)."""
        return self.decode(keras.random.normal((n, self.latent_dim), seed=seed))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), **self.settings}
