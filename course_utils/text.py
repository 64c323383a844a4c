"""Text: a tokenizer, training windows, sampling filters."""

from collections import Counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # what an unknown character decodes to


class CharacterTokenizer:
    """One token a character; id 0 stands for every character outside the vocabulary."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = [UNKNOWN, *pieces]
        self.vocab_size = len(self.pieces)

    @classmethod
    def fit(cls, text: str, min_count: int = 1) -> Self:
        """Take the characters that a training text has `min_count` times; ValueError for none."""
        kept = sorted(piece for piece, count in Counter(text).items() if count >= min_count)
        if not kept:
            found = f"no piece of the text of {len(text)} characters occurs {min_count} times"
            raise ValueError(f"{found}; give a longer text or a smaller min_count (FAQ 9)")
        return cls(kept)

    def encode(self, text: str) -> Ids:
        """Token ids of a text, (tokens,); characters outside the vocabulary get id 0."""
        table = np.zeros(0x110000, np.int32)  # one entry a Unicode code point
        table[[ord(piece) for piece in self.pieces[1:]]] = np.arange(1, self.vocab_size)
        return table[np.frombuffer(text.encode("utf-32-le"), np.uint32)]

    def decode(self, ids: Any) -> str:
        """The text of token ids."""
        return "".join(self.pieces[i] for i in ids)

    def unknown_pieces(self, text: str) -> list[str]:
        """The characters of the text that have no id of their own, in order, with repeats."""
        known = set(self.pieces)
        return [piece for piece in text if piece not in known]


def contiguous_streams(ids: Ids, streams: int = 64, length: int = 48) -> Any:
    """A `tf.data.Dataset` of parallel streams of a text, for a state that is carried over.

    The text, (tokens,), is cut into `streams` equal parts; batch i holds tokens i*length …
    (i+1)*length of each. A batch is (inputs, targets), both (streams, length) int32; targets are
    the next tokens. A ValueError if the text does not fill one window in every stream.
    """
    per_stream = (len(ids) - 1) // streams
    if (windows := per_stream // length) < 1:
        needed = f"{streams} streams of one window of {length} need {streams * length + 1}"
        mend = "give a longer text, fewer streams or a shorter window (FAQ 9)"
        raise ValueError(f"the text has {len(ids)} tokens, but {needed}; {mend}")
    import tensorflow as tf

    def batches(first: int) -> Ids:
        rows = ids[first : first + streams * per_stream].reshape(streams, per_stream)
        windowed = rows[:, : windows * length].reshape(streams, windows, length)
        return np.ascontiguousarray(windowed.swapaxes(0, 1))  # (windows, streams, length)

    return tf.data.Dataset.from_tensor_slices((batches(0), batches(1)))


def sampling_probabilities(
    logits: Any, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> NDArray[np.float64]:
    """Probabilities to sample the next token from, (..., vocab_size), each row of which sums to 1.

    The temperature, above 0, divides the logits (..., vocab_size); then only the `top_k` most
    probable tokens stay; then only the smallest set whose probability reaches `top_p`, in (0, 1];
    what is left is normalised. A ValueError if an argument is out of range.
    Source: Fan et al. (2018) for top-k; Holtzman et al. (2020) for top-p.
    """
    logits = np.asarray(logits, np.float64)
    vocab_size = logits.shape[-1]
    if not temperature > 0:
        mend = "use a small value such as 0.1 for nearly greedy text (FAQ 6)"
        raise ValueError(f"temperature must be positive, got {temperature}; {mend}")
    if top_k is not None and not 1 <= top_k <= vocab_size:
        raise ValueError(f"top_k must be from 1 to the vocabulary's {vocab_size}, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}; 1 keeps every token")
    p = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
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
