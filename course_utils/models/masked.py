"""Masked-image modelling: hide patches of an image and predict them from the others."""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from course_utils.models.attention import TransformerBlock
from course_utils.training import BuildsOnCompile


def to_patches(images: Any, size: int) -> Any:
    """Cut images, (batch, height, width), into squares of side `size`: (batch, patches, size²).

    Patches and pixels are in reading order. A ValueError unless `size` divides height and width.
    """
    height, width = images.shape[1:]
    if height % size or width % size:
        raise ValueError(f"patches of {size} pixels do not cover images of {height} by {width}")
    down, across = height // size, width // size
    x = ops.reshape(images, (-1, down, size, across, size))
    x = ops.transpose(x, (0, 1, 3, 2, 4))  # (batch, down, across, size, size)
    return ops.reshape(x, (-1, down * across, size * size))


@keras.saving.register_keras_serializable(package="course_utils")
class PatchEncoder(BuildsOnCompile, keras.Model):
    """A Transformer that reads an image patch by patch: one vector a patch comes out.

    Source: Dosovitskiy et al. (2021), An image is worth 16x16 words.
    """

    def __init__(
        self,
        patch_size: int = 7,
        width: int = 64,
        depth: int = 3,
        heads: int = 4,
        image_size: int = 28,
    ) -> None:
        """Make `depth` blocks for sides in pixels; ValueError if heads or patches do not fit."""
        super().__init__()
        to_patches(np.empty((0, image_size, image_size)), patch_size)  # raises where it must
        self.settings = {"patch_size": patch_size, "width": width, "depth": depth}
        self.settings |= {"heads": heads, "image_size": image_size}
        self.patch_size, self.width, self.image_size = patch_size, width, image_size
        self.patches = (image_size // patch_size) ** 2
        self.embedding = keras.layers.Dense(width)
        self.blocks = [TransformerBlock(width, heads) for _ in range(depth)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.positions = self.add_weight(shape=(self.patches, self.width), initializer=normal)
        self.built = True
        self(np.zeros((1, self.image_size, self.image_size)))

    def call(self, images: Any, keep: Any = None) -> Any:
        """A vector for each patch, (batch, patches, width), of images (batch, height, width).

        Where `keep` (batch, kept) lists patches, the others take no part: (batch, kept, width).
        """
        x = self.embedding(to_patches(images, self.patch_size)) + self.positions
        if keep is not None:
            x = tf.gather(x, keep, batch_dims=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def features(self, images: Any) -> np.ndarray[Any, Any]:
        """One vector an image, the mean over its patches: (N, width) float32."""
        parts = [self(images[i : i + 100]) for i in range(0, len(images), 100)]
        return np.concatenate([ops.convert_to_numpy(ops.mean(part, axis=1)) for part in parts])


class OnEncoder(BuildsOnCompile):
    """For models on top of a `PatchEncoder`, whose own settings are among theirs."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model of a `get_config` dictionary, with random weights."""
        encoder = PatchEncoder.from_config(config["encoder"])
        return super().from_config(config | {"encoder": encoder})


@keras.saving.register_keras_serializable(package="course_utils")
class MaskedImageModel(OnEncoder, keras.Model):
    """An encoder that sees some patches of an image, and a small decoder that predicts the rest.

    `fit` takes batches of `hide(images)`; the loss is on the hidden patches alone.
    Source: He et al. (2022), Masked autoencoders are scalable vision learners.
    """

    def __init__(self, encoder: PatchEncoder, visible: int, width: int = 48) -> None:
        """Put a decoder block behind an encoder that sees `visible` patches, not none or all."""
        if not 0 < visible < encoder.patches:
            known = f"from 1 to {encoder.patches - 1} of the {encoder.patches} patches"
            raise ValueError(f"visible must be {known}, got {visible}")
        super().__init__()
        self.encoder, self.visible, self.width = encoder, visible, width
        self.settings = {"encoder": encoder.get_config(), "visible": visible, "width": width}
        self.narrow = keras.layers.Dense(width)
        self.block = TransformerBlock(width, heads=4)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.pixels = keras.layers.Dense(encoder.patch_size**2)

    def build(self, input_shape: Any = None) -> None:
        """Create the weights; `placeholder` stands for the content of a hidden patch."""
        if not self.encoder.built:
            self.encoder.build()
        normal, n = keras.initializers.RandomNormal(stddev=0.02), self.encoder.patches
        self.positions = self.add_weight(shape=(n, self.width), initializer=normal)
        self.placeholder = self.add_weight(shape=(self.width,), initializer=normal)
        self.built = True
        self((np.zeros((1, *[self.encoder.image_size] * 2)), np.arange(n)[None]))

    def hide(self, images: Any) -> Any:
        """Choose at random what to hide: ((images, order), targets), as `fit` takes them.

        `order` (batch, patches) lists the patches that are seen, then those that are hidden;
        `targets` are the latter, (batch, hidden, pixels).
        """
        shape = (tf.shape(images)[0], self.encoder.patches)
        order = tf.argsort(tf.random.uniform(shape), axis=1)
        patches = to_patches(images, self.encoder.patch_size)
        return (images, order), tf.gather(patches, order[:, self.visible :], batch_dims=1)

    def call(self, inputs: Any) -> Any:
        """Logits of the hidden patches' pixels, (batch, hidden, pixels), from (images, order)."""
        images, order = inputs
        batch, hidden = tf.shape(order)[0], self.encoder.patches - self.visible
        seen = self.narrow(self.encoder(images, order[:, : self.visible]))
        blank = tf.broadcast_to(self.placeholder, (batch, hidden, self.width))
        x = ops.concatenate([seen, blank], axis=1)  # (batch, patches, width), in `order`
        x = x + tf.gather(self.positions, order)
        return self.pixels(self.norm(self.block(x))[:, self.visible :])


class DigitClassifier(OnEncoder, keras.Sequential):
    """An encoder, the mean over its patches, and one dense layer to ten logits."""

    def __init__(self, encoder: PatchEncoder) -> None:
        """Put a new dense layer on an encoder, whose `features` it reads and training changes."""
        images, layers = keras.Input((encoder.image_size, encoder.image_size)), keras.layers
        super().__init__([images, encoder, layers.GlobalAveragePooling1D(), layers.Dense(10)])
        self.settings, self.features = {"encoder": encoder.get_config()}, encoder.features

    def probabilities(self, images: Any) -> np.ndarray[Any, Any]:
        """Probability of each class, (N, 10), for images (N, height, width)."""
        return ops.convert_to_numpy(ops.softmax(self.layers[-1](self.features(images))))
