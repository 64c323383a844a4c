"""Attention: the block that Transformers are made of."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="course_utils")
class TransformerBlock(keras.layers.Layer):
    """Self-attention, then two dense layers on each token, each added to its input.

    Both read their input normalised (pre-norm).

    Source: Vaswani et al. (2017); Xiong et al. (2020) for the place of the normalisation.
    """

    def __init__(self, width: int, heads: int, **kwargs: Any) -> None:
        """Make a block.

        Args:
            width: length of a token's vector.
            heads: attention heads; they share the width between them.
            **kwargs: passed on to `keras.layers.Layer`.

        Raises:
            ValueError: if the heads do not divide the width.
        """
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width} equally")
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads)
        self.hidden = keras.layers.Dense(4 * width, activation="gelu")
        self.output_layer = keras.layers.Dense(width)

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs (batch, tokens, width)."""
        for norm in self.norms:
            norm.build(input_shape)
        self.attention.build(input_shape, input_shape)
        self.hidden.build(input_shape)
        self.output_layer.build((*input_shape[:-1], 4 * self.width))
        self.built = True

    def call(self, x: Any) -> Any:
        """(batch, tokens, width) to the same shape."""
        normal = self.norms[0](x)
        x = x + self.attention(normal, normal)
        return x + self.output_layer(self.hidden(self.norms[1](x)))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "width": self.width, "heads": self.heads}
