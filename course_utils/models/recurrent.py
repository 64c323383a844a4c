"""Recurrent text model: embedding, GRU, dense layer."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from course_utils.models.generation import TextModel, parts_with_warm_up
from course_utils.text import CharacterTokenizer, Ids

_TOKENS = tf.TensorSpec((None, None), tf.int32)
_STATE = tf.TensorSpec((None, None), tf.float32)


@keras.saving.register_keras_serializable(package="course_utils")
class TextGenerator(TextModel):
    """Predicts the next token: embedding, GRU, dense layer to logits.

    `fit` and `evaluate` expect batches of `text.contiguous_streams`: the GRU's state is carried
    from one batch to the next, and starts from zeros in every epoch and every evaluation. The
    gradient is cut there: truncated back-propagation through time (Williams & Peng 1990).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        rnn_units: int,
        dropout: float = 0.0,
        tokenizer: CharacterTokenizer | None = None,
    ) -> None:
        """Give tokens vectors of length `embedding_dim`, and the GRU a state of `rnn_units`.

        A share `dropout` of the GRU's outputs is zero in training. `generate` needs a tokenizer.
        """
        settings: dict[str, Any] = {"vocab_size": vocab_size, "embedding_dim": embedding_dim}
        settings |= {"rnn_units": rnn_units, "dropout": dropout}
        super().__init__(tokenizer, settings)
        self.embedding_dim, self.rnn_units = embedding_dim, rnn_units
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.rnn = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dropout = keras.layers.Dropout(dropout)
        self.dense = keras.layers.Dense(vocab_size)
        # The carried state, one row a stream: no weight, so it is neither trained nor saved.
        self._carried = tf.Variable(
            tf.zeros((0, rnn_units)), shape=(None, rnn_units), trainable=False
        )

    def call(
        self,
        tokens: Any,
        initial_state: Any = None,
        return_state: bool = False,
        training: Any = None,
    ) -> Any:
        """Logits (batch, length, vocab_size) of what follows each of the tokens (batch, length).

        The state is (batch, rnn_units), None for zeros; `return_state` gives (logits, new state).
        """
        x = self.embedding(tokens)  # (batch, length, embedding_dim)
        x, state = self.rnn(x, initial_state=initial_state)  # (batch, length, rnn_units)
        logits = self.dense(self.dropout(x, training=training))  # (batch, length, vocab_size)
        return (logits, state) if return_state else logits

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update from a batch, starting from the state that the batch before ended in."""
        with tf.GradientTape() as tape:
            loss, logs = self._read_on(data, training=True)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return logs

    def test_step(self, data: Any) -> dict[str, Any]:
        """The loss on a batch, starting from the state that the batch before ended in."""
        return self._read_on(data, training=False)[1]

    def _read_on(self, data: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        tokens, targets = data
        zeros = tf.zeros((tf.shape(tokens)[0], self.rnn_units))
        same_batch = tf.shape(self._carried)[0] == tf.shape(tokens)[0]
        state = tf.cond(same_batch, self._carried.read_value, lambda: zeros)
        logits, state = self(tokens, initial_state=state, return_state=True, training=training)
        self._carried.assign(state)
        loss = self.compute_loss(y=targets, y_pred=logits)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(tokens)[0])
        return loss, dict(self.compute_metrics(tokens, targets, logits))

    def reset_metrics(self) -> None:
        """Forget metrics and carried state; Keras calls it as an epoch or an evaluation starts."""
        super().reset_metrics()
        self._carried.assign(tf.zeros((0, self.rnn_units)))

    def first_state(self, batch: int, tokens: int) -> Any:
        """Zeros, (batch, rnn_units)."""
        return tf.zeros((batch, self.rnn_units))

    @tf.function(reduce_retracing=True)
    def step(self, tokens: Any, state: Any) -> Any:
        """One token further, (batch,) int32 and (batch, rnn_units): logits and the new state."""
        output, (state,) = self.rnn.cell(self.embedding(tokens), [state])
        return self.dense(output), state

    @tf.function(input_signature=[_TOKENS, _TOKENS, _STATE])
    def _chunk_log_prob(self, tokens: Any, targets: Any, state: Any) -> Any:
        state = tf.ensure_shape(state, (None, self.rnn_units))
        logits, state = self(tokens, initial_state=state, return_state=True, training=False)
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits), state

    def log_prob(self, ids: Ids, streams: int = 128, warm_up: int = 256) -> NDArray[np.float64]:
        """Natural log-probability of every token but the first, given those before it, in nats.

        The text, (tokens,), is read as parallel streams; 1 reads it as one sequence, exactly but
        slowly. Each first reads the `warm_up` tokens before its part. A ValueError for one token.
        """
        place, own = parts_with_warm_up(ids, math.ceil((len(ids) - 1) / streams), warm_up)
        state, result = tf.zeros((len(place), self.rnn_units)), np.zeros(len(ids) - 1)
        widest = state.shape[0] * max(self.vocab_size, self.rnn_units)
        chunk = max(16, 2_000_000 // widest)  # tokens at a time, to save memory
        for start in range(0, place.shape[1], chunk):
            window, keep = place[:, start : start + chunk], own[:, start : start + chunk]
            value, state = self._chunk_log_prob(ids[window], ids[window + 1], state)
            result[window[keep]] = value.numpy()[keep]
        return result
