"""A generative adversarial network: a generator against a critic that tells real from made."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from course_utils.training import BuildsOnCompile

Array = np.ndarray[Any, Any]


@keras.saving.register_keras_serializable(package="course_utils")
class GAN(BuildsOnCompile, keras.Model):
    """A convolutional generator of grey images, and a convolutional critic.

    `fit` takes batches of grey images, (batch, size, size) in [0, 1]. The critic's logit c(x) is
    trained to be high on real images: softplus(-c(x)) + softplus(c(G(z))), in nats. The generator
    is trained on softplus(-c(G(z))), the form whose gradient does not vanish while the critic
    wins. `penalty` / 2 times the squared gradient of c at real images holds the critic back.
    Samples come from the mean of the generator's weights over its last steps.

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
        """Make both networks; `filters` is the width at half the size, doubled at a quarter.

        `memory` is the weight of the past in the mean of weights. A ValueError if `penalty` is
        negative.
        """
        if penalty < 0:
            raise ValueError(f"penalty must not be negative, got {penalty}; 0 leaves it out")
        super().__init__(**kwargs)
        self.settings = {"latent_dim": latent_dim, "filters": filters, "penalty": penalty}
        self.settings |= {"memory": memory, "size": size}
        self.latent_dim, self.penalty, self.memory = latent_dim, penalty, memory
        layers, quarter = keras.layers, size // 4
        half: Any = {"kernel_size": 4, "strides": 2, "padding": "same"}

        def generator() -> keras.Sequential:
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

        self.generator, self.average = generator(), generator()
        self.average.trainable = False
        self.critic = keras.Sequential(
            [
                layers.Input((size, size)),
                layers.Reshape((size, size, 1)),
                *(
                    layers.Conv2D(f, activation="leaky_relu", **half)
                    for f in (filters, 2 * filters)
                ),
                layers.Flatten(),
                layers.Dense(1),
            ]
        )
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
        """One update of the critic, then one of the generator."""
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

    def sample(self, n: int, seed: int = 0) -> Array:
        """Draw n grey images, (n, size, size) in [0, 1]."""
        return ops.convert_to_numpy(self(keras.random.normal((n, self.latent_dim), seed=seed)))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), **self.settings}
