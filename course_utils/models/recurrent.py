"""Recurrent text model: embedding, GRU, dense layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from course_utils import text
from course_utils.text import Ids, Tokenizer
from course_utils.training import BuildsOnCompile

_TOKENS = tf.TensorSpec((None, None), tf.int32)
_STATE = tf.TensorSpec((None, None), tf.float32)


@keras.saving.register_keras_serializable(package="course_utils")
class TextGenerator(BuildsOnCompile, keras.Model):
    """Predicts the next token: embedding, GRU, dense layer to logits.

    `fit` and `evaluate` expect batches of `text.contiguous_streams`: the GRU's state is carried
    from one batch to the next, and starts from zeros in every epoch and every evaluation.
    Calling the model itself carries nothing.

    The GRU is that of Cho et al. (2014), in the form of `keras.layers.GRU`; carrying the state
    while cutting the gradient is truncated back-propagation through time (Williams & Peng 1990).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        rnn_units: int,
        dropout: float = 0.0,
        tokenizer: Tokenizer | None = None,
        **kwargs: Any,
    ) -> None:
        """Make a model with random weights.

        Args:
            vocab_size: number of token ids.
            embedding_dim: length of a token's vector.
            rnn_units: length of the GRU's state.
            dropout: share of the GRU's outputs set to zero in training, in [0, 1).
            tokenizer: turns prompts into ids and ids into text; `generate` needs it.
            **kwargs: passed on to `keras.Model`, such as `name`.
        """
        super().__init__(**kwargs)
        self.vocab_size, self.embedding_dim, self.rnn_units = vocab_size, embedding_dim, rnn_units
        self.tokenizer = tokenizer
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.rnn = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dropout = keras.layers.Dropout(dropout)
        self.dense = keras.layers.Dense(vocab_size)
        # The carried state, one row a stream: no weight, so it is neither trained nor saved.
        self._carried = tf.Variable(
            tf.zeros((0, rnn_units)), shape=(None, rnn_units), trainable=False
        )

    def build(self, input_shape: Any = None) -> None:
        """Create the weights; their shapes do not depend on the input's."""
        self.embedding.build()
        self.rnn.build((None, None, self.embedding_dim))
        self.dense.build((None, None, self.rnn_units))
        self.built = True

    def call(
        self,
        tokens: Any,
        initial_state: Any = None,
        return_state: bool = False,
        training: Any = None,
    ) -> Any:
        """Logits of the next token at every position.

        Args:
            tokens: (batch, length) int32.
            initial_state: (batch, rnn_units), or None for zeros.
            return_state: also return the state after the last token.
            training: whether dropout is on.

        Returns:
            Logits (batch, length, vocab_size), or the pair (logits, state (batch, rnn_units)).
        """
        x = self.embedding(tokens)  # (batch, length, embedding_dim)
        x, state = self.rnn(x, initial_state=initial_state)  # (batch, length, rnn_units)
        logits = self.dense(self.dropout(x, training=training))  # (batch, length, vocab_size)
        return (logits, state) if return_state else logits

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update from a batch, starting from the state that the batch before ended in."""
        tokens, targets = data
        with tf.GradientTape() as tape:
            logits = self._call_and_carry(tokens, training=True)
            loss = self.compute_loss(y=targets, y_pred=logits)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return self._logs(loss, tokens, targets, logits)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The loss on a batch, starting from the state that the batch before ended in."""
        tokens, targets = data
        logits = self._call_and_carry(tokens, training=False)
        loss = self.compute_loss(y=targets, y_pred=logits)
        return self._logs(loss, tokens, targets, logits)

    def _logs(self, loss: Any, tokens: Any, targets: Any, logits: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(tokens)[0])
        return dict(self.compute_metrics(tokens, targets, logits))

    def _call_and_carry(self, tokens: Any, training: bool) -> Any:
        zeros = tf.zeros((tf.shape(tokens)[0], self.rnn_units))
        same_batch = tf.shape(self._carried)[0] == tf.shape(tokens)[0]
        state = tf.cond(same_batch, self._carried.read_value, lambda: zeros)
        logits, state = self(tokens, initial_state=state, return_state=True, training=training)
        self._carried.assign(state)
        return logits

    def reset_metrics(self) -> None:
        """Forget metrics and carried state; Keras calls it as an epoch or an evaluation starts."""
        super().reset_metrics()
        self._carried.assign(tf.zeros((0, self.rnn_units)))

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
        """Natural log-probability of every token but the first, given those before it.

        The text is read as parallel streams. Each first reads the `warm_up` tokens before its own
        part, unscored, so that it starts with the state of a reader who comes from further back.

        Args:
            ids: (tokens,) int32.
            streams: rows read at once; 1 reads the text as one sequence, exactly but slowly.
            warm_up: tokens read before each part.

        Returns:
            (tokens - 1,) float64, nats.

        Raises:
            ValueError: if there are fewer than two tokens.
        """
        if len(ids) < 2:
            raise ValueError(f"log_prob needs at least two tokens, got {len(ids)}")
        scored = len(ids) - 1
        part = math.ceil(scored / streams)
        first = part * np.arange(streams)[:, None]  # (streams, 1), where each part begins
        place = np.maximum(first - warm_up, 0) + np.arange(warm_up + part)
        own = (place >= first) & (place < np.minimum(first + part, scored))
        place = np.minimum(place, scored - 1)  # (streams, warm_up + part)
        state = tf.zeros((streams, self.rnn_units))
        result = np.zeros(scored)
        widest = streams * max(self.vocab_size, self.rnn_units)
        chunk = max(16, 2_000_000 // widest)  # tokens at a time, to save memory
        for start in range(0, place.shape[1], chunk):
            window, keep = place[:, start : start + chunk], own[:, start : start + chunk]
            value, state = self._chunk_log_prob(ids[window], ids[window + 1], state)
            result[window[keep]] = value.numpy()[keep]
        return result

    def sample(self, prompts: list[str], length: int, **sampling: Any) -> list[str]:
        """Continue several prompts of equal token count at once; arguments as in `generate`."""
        steps = list(self._sampled_tokens(prompts, length, **sampling))
        return [self._require_tokenizer().decode(row) for row in np.transpose(steps)]

    def generate(
        self,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """Continue a prompt by `length` tokens.

        Args:
            prompt: text to continue; at least one character, all of them in the vocabulary.
            length: number of tokens to write.
            temperature: above 0; below 1 sharpens the distribution, above 1 flattens it.
            top_k: sample only from the k most probable tokens.
            top_p: sample only from the smallest set of tokens with this probability, in (0, 1].
            seed: the same seed gives the same text.

        Returns:
            The continuation, without the prompt.

        Raises:
            ValueError: if an argument is outside its range or the prompt cannot be encoded.
        """
        return self.sample(
            [prompt], length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )[0]

    def stream(self, prompt: str, length: int, **sampling: Any) -> Iterator[str]:
        """Like `generate`, but yields the text written so far after each token."""
        written: list[int] = []
        for ids in self._sampled_tokens([prompt], length, **sampling):
            written.append(int(ids[0]))
            yield self._require_tokenizer().decode(written)

    def next_token_probabilities(
        self, prompt: str, temperature: float = 1.0
    ) -> NDArray[np.float64]:
        """Distribution over the token after a prompt, (vocab_size,)."""
        logits, _ = self._read([prompt])
        return text.sampling_probabilities(logits.numpy()[0], temperature)

    def _sampled_tokens(
        self,
        prompts: list[str],
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[NDArray[np.int32]]:
        """Yields the next token of every prompt, (prompts,), `length` times."""
        if length < 1:
            raise ValueError(f"length must be at least 1 token, got {length}")
        rng = np.random.default_rng(seed)
        logits, state = self._read(prompts)
        for written in range(length):
            p = text.sampling_probabilities(logits.numpy(), temperature, top_k, top_p)
            threshold = rng.random((len(prompts), 1))
            tokens = np.argmax(np.cumsum(p, axis=-1) > threshold, axis=-1).astype(np.int32)
            yield tokens
            if written + 1 < length:
                logits, state = self.step(tf.constant(tokens), state)

    def _read(self, prompts: list[str]) -> Any:
        """Logits after the last token of each prompt, and the state there."""
        tokenizer = self._require_tokenizer()
        for prompt in prompts:
            text.require_known(tokenizer, prompt)
        rows = [tokenizer.encode(prompt) for prompt in prompts]
        if len({len(row) for row in rows}) != 1:
            counts = [len(row) for row in rows]
            raise ValueError(f"prompts of one batch need equally many tokens, got {counts}")
        state = tf.zeros((len(rows), self.rnn_units))
        for tokens in np.transpose(rows):
            logits, state = self.step(tf.constant(tokens), state)
        return logits, state

    def _require_tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise ValueError("this model has no tokenizer; pass tokenizer=... when you make it")
        return self.tokenizer

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; Keras stores it in `.keras` files."""
        return {
            **super().get_config(),
            "vocab_size": self.vocab_size,
            "embedding_dim": self.embedding_dim,
            "rnn_units": self.rnn_units,
            "dropout": self.dropout.rate,
            "tokenizer": self.tokenizer.get_config() if self.tokenizer else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TextGenerator:
        """The model of a `get_config` dictionary, with random weights."""
        config = dict(config)
        tokenizer = config.pop("tokenizer", None)
        return cls(tokenizer=text.tokenizer_from_config(tokenizer) if tokenizer else None, **config)
