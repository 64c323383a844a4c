"""Attention: the block that Transformers are made of, and a Transformer that writes text."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from course_utils.models.generation import TextModel, parts_with_warm_up
from course_utils.text import CharacterTokenizer, Ids


class TransformerBlock(keras.layers.Layer):
    """Self-attention, then two dense layers on each token, each added to its input.

    Source: Vaswani et al. (2017); Xiong et al. (2020): both read their input normalised (pre-norm).
    """

    def __init__(self, width: int, heads: int) -> None:
        """Let `heads` share the width, the length of the vectors; a ValueError if they cannot."""
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width} equally")
        super().__init__()
        self.width, self.heads = width, heads
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads)
        self.hidden = keras.layers.Dense(4 * width, activation="gelu")
        self.output_layer = keras.layers.Dense(width)

    def call(self, x: Any, attention_mask: Any = None, return_weights: bool = False) -> Any:
        """(batch, tokens, width) to the same shape, and the weights where they are asked for.

        The weights are (batch, heads, tokens, tokens). The mask (tokens, tokens) is true where the
        row may look at the column; one of another shape raises ValueError.
        """
        if attention_mask is not None:
            found, wanted = tuple(attention_mask.shape), (x.shape[1], x.shape[1])
            if found != wanted:
                raise ValueError(f"mask of shape {found}: a row and a column a token, {wanted}")
            attention_mask = ops.convert_to_tensor(attention_mask)[None]
        normal = self.norms[0](x)
        options = {"attention_mask": attention_mask, "return_attention_scores": return_weights}
        mixed = self.attention(normal, normal, **options)
        mixed, weights = mixed if return_weights else (mixed, None)
        x = self._feed_forward(x + mixed)
        return (x, weights) if return_weights else x

    def _feed_forward(self, x: Any) -> Any:
        return x + self.output_layer(self.hidden(self.norms[1](x)))

    def step(self, x: Any, cache: Any, position: Any) -> Any:
        """One token, (batch, 1, width), that looks at a cache of keys and values before it.

        The cache, twice (batch, heads, positions, width / heads), comes back after the block's
        output, with this token's key and value.
        """
        layer, normal, place = self.attention, self.norms[0](x), ops.arange(cache[0].shape[2])
        projections = (layer.query_dense, layer.key_dense, layer.value_dense)
        query, *new = (ops.swapaxes(project(normal), 1, 2) for project in projections)
        here = (place == position)[:, None]
        keys, values = (ops.where(here, *pair) for pair in zip(new, cache, strict=True))
        scores = tf.matmul(query, keys, transpose_b=True) / (self.width / self.heads) ** 0.5
        weights = ops.softmax(ops.where(place <= position, scores, -np.inf))
        mixed = ops.swapaxes(weights @ values, 1, 2)  # (batch, 1, heads, width / heads)
        return self._feed_forward(x + layer.output_dense(mixed)), (keys, values)


@keras.saving.register_keras_serializable(package="course_utils")
class Transformer(TextModel):
    """Predicts the next token: embedding plus learned position, blocks, dense layer to logits.

    Source: Vaswani et al. (2017), the decoder alone, as in Radford et al. (2018).
    """

    def __init__(
        self,
        vocab_size: int,
        positions: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        causal: bool = True,
        tokenizer: CharacterTokenizer | None = None,
    ) -> None:
        """Make a model of `depth` blocks with random weights, for texts of up to `positions` ids.

        `heads` attention heads a block share the `width`, the length of a token's vector. Unless
        `causal`, tokens see what comes later. `generate` needs a tokenizer.
        """
        settings = {"vocab_size": vocab_size, "positions": positions, "width": width}
        settings |= {"depth": depth, "heads": heads, "causal": causal}
        super().__init__(tokenizer, settings)
        self.positions, self.width, self.causal = positions, width, causal
        normal = keras.initializers.RandomNormal(stddev=0.3)  # as large as what blocks add to it
        self.embedding = keras.layers.Embedding(vocab_size, width, normal)
        self.place = keras.layers.Embedding(positions, width, normal.clone())
        self.blocks = [TransformerBlock(width, heads) for _ in range(depth)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, tokens: Any) -> Any:
        """Logits of the next tokens (batch, length, vocab_size); ValueError for a text too long."""
        x, mask = self.embedded(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.dense(self.norm(x))

    def embedded(self, tokens: Any) -> Any:
        """What the first block reads, (batch, length, width), and the mask; as `call`."""
        length = self._fitting(tokens.shape[1])
        x = self.embedding(tokens) + self.place(np.arange(length))  # (batch, length, width)
        return x, np.tri(length, dtype=bool) if self.causal else None

    def _fitting(self, length: int) -> int:
        if length > self.positions:
            few = f"{length} tokens do not fit this model's {self.positions} positions"
            raise ValueError(f"{few}; shorten the text, or make a model with more positions")
        return length

    def first_state(self, batch: int, tokens: int) -> Any:
        """Empty caches of keys and values, and the position 0; raises as `call` does."""
        self._fitting(tokens)
        heads = self.blocks[0].heads
        empty = tf.zeros((batch, heads, self.positions, self.width // heads))
        return [(empty, empty) for _ in self.blocks], tf.constant(0)

    @tf.function(reduce_retracing=True)
    def step(self, tokens: Any, state: Any) -> Any:
        """One token further, (batch,) int32 and a state: logits and the new state."""
        caches, position = state
        x, kept = self.embedding(tokens[:, None]) + self.place(position), []  # (batch, 1, width)
        for block, cache in zip(self.blocks, caches, strict=True):
            x, new = block.step(x, cache, position)
            kept.append(new)
        return self.dense(self.norm(x))[:, 0], (kept, position + 1)

    def log_prob(self, ids: Ids, batch: int = 32) -> NDArray[np.float64]:
        """Natural log-probability of every token but the first, given those before it, in nats.

        A long text (tokens,) is read in windows that overlap by half, `batch` at once. Raises as
        `parts_with_warm_up` does.
        """
        part = min(-(-self.positions // 2), max(1, len(ids) - 1))
        place, own = parts_with_warm_up(ids, part, self.positions // 2)
        result = np.zeros(len(ids) - 1)
        for start in range(0, len(place), batch):
            window, keep = place[start : start + batch], own[start : start + batch]
            logits = self(ids[window])
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(ids[window + 1], logits)
            result[window[keep]] = -nats.numpy()[keep]
        return result
