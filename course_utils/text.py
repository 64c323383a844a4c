"""Text: tokenizers, training windows, sampling filters."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tensorflow as tf

Ids = NDArray[np.int32]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # what an unknown character or word decodes to


class _Lookup(ABC):
    """A vocabulary of pieces; id 0 stands for every piece outside it."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = [UNKNOWN, *pieces]
        self._id = {piece: i for i, piece in enumerate(self.pieces)}

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the one for unknown pieces included."""
        return len(self.pieces)

    @staticmethod
    @abstractmethod
    def split(text: str) -> Sequence[str]:
        """The pieces of a text, in order; joined they give the text back."""

    def encode(self, text: str) -> Ids:
        """Token ids of a text, (tokens,); pieces outside the vocabulary get id 0."""
        return np.array([self._id.get(piece, 0) for piece in self.split(text)], np.int32)

    def decode(self, ids: Any) -> str:
        """The text of token ids."""
        return "".join(self.pieces[i] for i in ids)

    def unknown_pieces(self, text: str) -> list[str]:
        """The pieces of the text that have no id of their own, in order, repeats included."""
        return [piece for piece in self.split(text) if piece not in self._id]

    def get_config(self) -> dict[str, Any]:
        """What `tokenizer_from_config` needs to build the same tokenizer."""
        return {"kind": type(self).__name__, "pieces": self.pieces[1:]}

    @classmethod
    def fit(cls, text: str, vocab_size: int | None = None, min_count: int = 1) -> Self:
        """Take the most frequent pieces of a training text; a ValueError if there are none.

        `vocab_size` counts the unknown id too, None takes all; pieces that occur less than
        `min_count` times are left out.
        """
        counts = Counter(cls.split(text)).most_common(vocab_size and vocab_size - 1)
        kept = sorted(piece for piece, count in counts if count >= min_count)
        if not kept:
            raise ValueError(
                f"no piece of the text occurs {min_count} times (text of {len(text)} characters); "
                "give a longer text or a smaller min_count"
            )
        return cls(kept)


class CharacterTokenizer(_Lookup):
    """One token a character."""

    @staticmethod
    def split(text: str) -> Sequence[str]:
        """The characters of a text."""
        return text

    def encode(self, text: str) -> Ids:
        """As above, in NumPy: texts of millions of characters take a moment."""
        table = np.zeros(0x110000, np.int32)  # one entry a Unicode code point
        table[[ord(piece) for piece in self.pieces[1:]]] = np.arange(1, self.vocab_size)
        return table[np.frombuffer(text.encode("utf-32-le"), np.uint32)]


class WordTokenizer(_Lookup):
    """One token a word, a run of white space or a punctuation mark; `decode` loses nothing else."""

    @staticmethod
    def split(text: str) -> Sequence[str]:
        """The words, runs of white space and single other characters of a text."""
        return re.findall(r"\w+|\s+|[^\w\s]", text)


class BytePairTokenizer:
    """Byte-pair encoding over bytes (Sennrich et al. 2016), by the `tokenizers` library.

    Every text can be encoded, so nothing is ever unknown.
    """

    def __init__(self, serialized: str) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_str(serialized)

    @classmethod
    def fit(cls, text: str, vocab_size: int) -> Self:
        """Learn merges from a training text until there are `vocab_size` tokens, 256 or more."""
        import tokenizers

        if vocab_size < 256:
            raise ValueError(f"vocab_size must be at least 256 (all bytes), got {vocab_size}")
        tokenizer, lines = tokenizers.ByteLevelBPETokenizer(), text.splitlines(keepends=True)
        tokenizer.train_from_iterator(lines, vocab_size, min_frequency=0, show_progress=False)
        return cls(tokenizer.to_str())

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> Ids:
        """Token ids of a text, shape (tokens,)."""
        return np.array(self._tokenizer.encode(text).ids, np.int32)

    def decode(self, ids: Any) -> str:
        """The text of token ids; bytes that form no character become the replacement character."""
        return str(self._tokenizer.decode([int(i) for i in ids]))

    def unknown_pieces(self, text: str) -> list[str]:
        """Always empty: every byte has a token."""
        return []

    def get_config(self) -> dict[str, Any]:
        """What `tokenizer_from_config` needs."""
        return {"kind": type(self).__name__, "serialized": self._tokenizer.to_str()}


Tokenizer = CharacterTokenizer | WordTokenizer | BytePairTokenizer


def tokenizer_from_config(config: dict[str, Any]) -> Tokenizer:
    """The tokenizer whose `get_config` gave this dictionary."""
    kinds = {k.__name__: k for k in (CharacterTokenizer, WordTokenizer, BytePairTokenizer)}
    arguments = dict(config)
    return kinds[arguments.pop("kind")](**arguments)


def require_known(tokenizer: Tokenizer, prompt: str) -> None:
    """Raise ValueError if a prompt is empty or has pieces that the vocabulary lacks."""
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character to continue from")
    if missing := sorted(set(tokenizer.unknown_pieces(prompt))):
        raise ValueError(
            f"the prompt has {', '.join(map(repr, missing))}, which the vocabulary lacks; "
            "leave them out, or train on a text that has them"
        )


def contiguous_streams(ids: Ids, streams: int = 64, length: int = 48) -> tf.data.Dataset:
    """Cut a text into parallel streams, read window after window, for a state that is carried over.

    Row b of every batch continues row b of the batch before: the text, (tokens,), is cut into
    `streams` equal parts, and batch i holds tokens i*length … (i+1)*length of each. A batch is
    (inputs, targets), both (streams, length) int32; targets are the next tokens. A ValueError if
    the text does not fill one window in every stream.
    """
    per_stream = (len(ids) - 1) // streams
    windows = per_stream // length
    if windows < 1:
        raise ValueError(
            f"the text has {len(ids)} tokens, but {streams} streams of one window of {length} "
            f"need {streams * length + 1}; give a longer text, fewer streams or a shorter window"
        )
    import tensorflow as tf

    def batches(first: int) -> Ids:
        rows = ids[first : first + streams * per_stream].reshape(streams, per_stream)
        windowed = rows[:, : windows * length].reshape(streams, windows, length)
        return np.ascontiguousarray(windowed.swapaxes(0, 1))  # (windows, streams, length)

    return tf.data.Dataset.from_tensor_slices((batches(0), batches(1)))


def sampling_probabilities(
    logits: Any, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> NDArray[np.float64]:
    """Probabilities to sample the next token from.

    Temperature divides the logits; then only the `top_k` most probable tokens stay; then only the
    smallest set whose probability reaches `top_p`; what is left is normalised.

    Args:
        logits: (..., vocab_size).
        temperature: above 0; 1 leaves the model's distribution as it is.
        top_k: number of tokens to keep, or None for all.
        top_p: probability mass to keep, in (0, 1], or None for all.

    Returns:
        (..., vocab_size) float64; each row sums to 1. A ValueError if an argument is out of range.

    Source: Fan et al. (2018) for top-k; Holtzman et al. (2020) for top-p.
    """
    logits = np.asarray(logits, np.float64)
    vocab_size = logits.shape[-1]
    if not temperature > 0:
        raise ValueError(
            f"temperature must be positive, got {temperature}; "
            "use a small value such as 0.1 for nearly greedy text"
        )
    if top_k is not None and not 1 <= top_k <= vocab_size:
        raise ValueError(f"top_k must be from 1 to the vocabulary's {vocab_size}, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}; 1 keeps every token")
    scaled = (logits - logits.max(axis=-1, keepdims=True)) / temperature
    p = np.exp(scaled)
    p /= p.sum(axis=-1, keepdims=True)
    order = np.argsort(-p, axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=-1)
    if top_k is not None:
        ranked[..., top_k:] = 0.0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    if top_p is not None:
        enough = np.cumsum(ranked, axis=-1)[..., :-1] >= top_p  # without this token's successor
        ranked[..., 1:][enough] = 0.0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    np.put_along_axis(p, order, ranked, axis=-1)
    return p
