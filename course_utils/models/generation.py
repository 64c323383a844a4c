"""What the text models share: how one step at a time becomes a text."""

from collections.abc import Iterator
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from course_utils import text
from course_utils.text import CharacterTokenizer, Ids
from course_utils.training import BuildsOnCompile


def parts_with_warm_up(ids: Ids, part: int, warm_up: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Places of a text, (parts, warm_up + part), to read side by side; which are the part's own.

    Each part comes after the `warm_up` tokens before it. A ValueError for fewer than two tokens.
    """
    if len(ids) < 2:
        raise ValueError(f"log_prob needs at least two tokens, got {len(ids)}")
    scored = len(ids) - 1
    first = np.arange(0, scored, part)[:, None]  # (parts, 1), where each part begins
    place = np.maximum(first - warm_up, 0) + np.arange(warm_up + part)
    own = (place >= first) & (place < np.minimum(first + part, scored))
    return np.minimum(place, scored - 1), own


class TextModel(BuildsOnCompile, keras.Model):
    """A model of the next token that writes text.

    A subclass has `first_state(batch, tokens)`, the state before texts of at most so many tokens,
    and `step(tokens, state)`, which gives the logits after one more token and the new state.
    """

    def __init__(self, tokenizer: CharacterTokenizer | None, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings, self.vocab_size = settings, settings["vocab_size"]
        self.tokenizer: Any = tokenizer

    def build(self, input_shape: Any = None) -> None:
        """Create the weights; their shapes do not depend on the input's."""
        self.built = True
        self(np.zeros((1, 1), np.int32))

    def sample(self, prompts: list[str], length: int, **sampling: Any) -> list[str]:
        """Continue several prompts of equal token count at once; arguments as in `generate`."""
        steps = list(self._sampled_tokens(prompts, length, **sampling))
        return [self.tokenizer.decode(row) for row in np.transpose(steps)]

    def generate(self, prompt: str, length: int, **sampling: Any) -> str:
        """Continue a prompt by `length` tokens; returns the continuation, without the prompt.

        `sampling` is `seed`, 0 by default: the same seed gives the same text; and `temperature`,
        `top_k`, `top_p` as in `text.sampling_probabilities`. A ValueError if one is out of range,
        or if the prompt is empty or has what the vocabulary lacks.
        """
        return self.sample([prompt], length, **sampling)[0]

    def stream(self, prompt: str, length: int, **sampling: Any) -> Iterator[str]:
        """Like `generate`, but yields the text written so far after each token."""
        written: list[int] = []
        for ids in self._sampled_tokens([prompt], length, **sampling):
            written.append(int(ids[0]))
            yield self.tokenizer.decode(written)

    def next_token_probabilities(self, prompt: str, temperature: float = 1.0) -> NDArray[Any]:
        """Distribution over the token after a prompt, (vocab_size,)."""
        logits, _ = self._read([prompt])
        return text.sampling_probabilities(logits.numpy()[0], temperature)

    def _sampled_tokens(
        self, prompts: list[str], length: int, seed: int = 0, **filters: Any
    ) -> Iterator[NDArray[np.int32]]:
        """Yields the next token of every prompt, (prompts,), `length` times."""
        if length < 1:
            raise ValueError(f"length must be at least 1 token, got {length}")
        rng = np.random.default_rng(seed)
        logits, state = self._read(prompts, length)
        for written in range(length):
            p = text.sampling_probabilities(logits.numpy(), **filters)
            threshold = rng.random((len(prompts), 1))
            tokens = np.argmax(np.cumsum(p, axis=-1) > threshold, axis=-1).astype(np.int32)
            yield tokens
            if written + 1 < length:
                logits, state = self.step(tf.constant(tokens), state)

    def _read(self, prompts: list[str], length: int = 1) -> Any:
        """Logits after the last token of each prompt, and the state there, for `length` tokens."""
        if self.tokenizer is None:
            raise ValueError("this model has no tokenizer; pass tokenizer=... when you make it")
        for prompt in prompts:
            if not prompt:
                raise ValueError("the prompt is empty; give at least one character to continue")
            if missing := ", ".join(map(repr, sorted({*self.tokenizer.unknown_pieces(prompt)}))):
                mend = "leave them out, or train on a text that has them"
                raise ValueError(f"the prompt has {missing}, which the vocabulary lacks; {mend}")
        rows = [self.tokenizer.encode(prompt) for prompt in prompts]
        if len({len(row) for row in rows}) != 1:
            counts = [len(row) for row in rows]
            raise ValueError(f"prompts of one batch need equally many tokens, got {counts}")
        state = self.first_state(len(rows), len(rows[0]) + length - 1)
        for tokens in np.transpose(rows):
            logits, state = self.step(tf.constant(tokens), state)
        return logits, state

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        pieces = self.tokenizer and {"pieces": self.tokenizer.pieces[1:]}
        return super().get_config() | {"tokenizer": pieces}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model of a `get_config` dictionary, with random weights."""
        pieces = config.get("tokenizer")
        tokenizer = pieces and CharacterTokenizer(**pieces)
        return super().from_config(config | {"tokenizer": tokenizer})
