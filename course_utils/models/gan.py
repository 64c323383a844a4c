"""The generator of a generative adversarial network."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="course_utils")
class GANGenerator(keras.Sequential):
    """Turns noise into a grey image with two transposed convolutions.

    It has no likelihood. `data/checkpoints/gan.py` trains it against a critic.
    Source: Goodfellow et al. (2014), Generative adversarial nets; Radford et al. (2016),
    Unsupervised representation learning with deep convolutional GANs.
    """

    def __init__(self, latent_dim: int = 64, filters: int = 32, size: int = 28) -> None:
        """Make the layers; `filters` is the width at half the size, twice that at a quarter."""
        self.settings = {"latent_dim": latent_dim, "filters": filters, "size": size}
        layers, quarter = keras.layers, size // 4
        half: Any = {"kernel_size": 4, "strides": 2, "padding": "same"}
        super().__init__(
            [
                layers.Input((latent_dim,)),
                layers.Dense(2 * filters * quarter**2, activation="leaky_relu"),
                layers.Reshape((quarter, quarter, 2 * filters)),
                layers.Conv2DTranspose(filters, activation="leaky_relu", **half),
                layers.Conv2DTranspose(1, activation="sigmoid", **half),
                layers.Reshape((size, size)),
            ]
        )

    def sample(self, n: int, seed: int = 0) -> np.ndarray[Any, Any]:
        """Draw n grey images, (n, size, size) in [0, 1]."""
        z = keras.random.normal((n, self.settings["latent_dim"]), seed=seed)
        return ops.convert_to_numpy(self(z))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return dict(self.settings)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The generator of a `get_config` dictionary, with random weights."""
        return cls(**config)
