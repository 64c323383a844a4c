"""The adversarial game that trains the shipped generator of digits, `digits_gan`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from course_utils.training import BuildsOnCompile


def generator(latent_dim: int, filters: int, size: int) -> keras.Sequential:
    """Two transposed convolutions, from codes (batch, latent_dim) to grey images in [0, 1].

    `filters` is the width at half the size, twice that at a quarter.

    Source: Radford et al. (2016), Unsupervised representation learning with deep convolutional
    generative adversarial networks.
    """
    layers, quarter = keras.layers, size // 4
    half: Any = {"kernel_size": 4, "strides": 2, "padding": "same"}
    return keras.Sequential(
        [
            layers.Input((latent_dim,)),
            layers.Dense(2 * filters * quarter**2, activation="leaky_relu"),
            layers.Reshape((quarter, quarter, 2 * filters)),
            layers.Conv2DTranspose(filters, activation="leaky_relu", **half),
            layers.Conv2DTranspose(1, activation="sigmoid", **half),
            layers.Reshape((size, size)),
        ]
    )


def draw(network: keras.Sequential, n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Images (n, size, size) that a generator makes of n standard normal codes."""
    return network(keras.random.normal((n, network.input_shape[-1]), seed=seed)).numpy()


class GAN(BuildsOnCompile, keras.Model):
    """A generator of grey images against a convolutional critic.

    `fit` takes batches of grey images, (batch, size, size) in [0, 1]. The critic's logit c(x) is
    trained to be high on real images: softplus(-c(x)) + softplus(c(G(z))), in nats. The generator
    is trained on softplus(-c(G(z))), the form whose gradient does not vanish while the critic
    wins. `penalty` / 2 times the squared gradient of c at real images is added to the critic's
    loss. What is kept is `average`, the mean of the generator's weights over its last steps.

    Source: Goodfellow et al. (2014), Generative adversarial nets; Mescheder et al. (2018), Which
    training methods for GANs do actually converge?, for the penalty; Yazici et al. (2019), The
    unusual effectiveness of averaging in GAN training.
    """

    def __init__(
        self,
        latent_dim: int = 64,
        filters: int = 32,
        penalty: float = 0.2,
        memory: float = 0.998,
        size: int = 28,
        **kwargs: Any,
    ) -> None:
        """Make both networks; `memory` is the weight of the past in the mean of weights.

        A ValueError if `penalty` is negative.
        """
        if penalty < 0:
            raise ValueError(f"penalty must not be negative, got {penalty}; 0 leaves it out")
        super().__init__(**kwargs)
        self.latent_dim, self.penalty, self.memory = latent_dim, penalty, memory
        self.generator, self.average = (generator(latent_dim, filters, size) for _ in range(2))
        self.average.trainable = False
        layers, half = keras.layers, {"strides": 2, "padding": "same", "activation": "leaky_relu"}
        down = [layers.Conv2D(n, 4, **half) for n in (filters, 2 * filters)]
        ends = layers.Flatten(), layers.Dense(1)
        images = layers.Input((size, size)), layers.Reshape((size, size, 1))
        self.critic = keras.Sequential([*images, *down, *ends])
        self.seeds = keras.random.SeedGenerator()
        names = "critic_loss", "loss"  # the second is the generator's
        self.losses_seen = [keras.metrics.Mean(name) for name in names]

    def build(self, input_shape: Any = None) -> None:
        """Nothing to create; the mean begins where the generator is."""
        self.average.set_weights(self.generator.get_weights())
        self.built = True

    def call(self, z: Any) -> Any:
        """Grey images (batch, size, size) for codes (batch, latent_dim)."""
        return self.average(z)

    def train_step(self, images: Any) -> dict[str, Any]:
        """One update of the critic and of the generator, both against the other as it was."""
        made = self.generator(self._codes(tf.shape(images)[0]))
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(images)
                real = self.critic(images)
            slope = inner.gradient(real, images)
            critic_loss = ops.mean(ops.softplus(-real) + ops.softplus(self.critic(made)))
            steep = ops.mean(ops.sum(slope**2, axis=(1, 2)))
            loss = critic_loss + 0.5 * self.penalty * steep
        critic = self.critic.trainable_variables
        critic_gradients = tape.gradient(loss, critic)
        with tf.GradientTape() as tape:
            made = self.generator(self._codes(tf.shape(images)[0]))
            generator_loss = ops.mean(ops.softplus(-self.critic(made)))
        generator = self.generator.trainable_variables
        gradients = tape.gradient(generator_loss, generator) + critic_gradients
        self.optimizer.apply(gradients, generator + critic)
        for mean, weight in zip(self.average.variables, self.generator.variables, strict=True):
            mean.assign(self.memory * mean + (1 - self.memory) * weight)
        for metric, value in zip(self.losses_seen, (critic_loss, generator_loss), strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self.losses_seen}

    def _codes(self, n: Any) -> Any:
        return keras.random.normal((n, self.latent_dim), seed=self.seeds)
