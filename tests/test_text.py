"""The tokenizer, streams of windows, sampling filters."""

from __future__ import annotations

import numpy as np
import pytest

from course_utils import text
from course_utils.text import CharacterTokenizer

PAGE = (
    "Compute the mean, e.g. `np.mean(x)`.\n\n    axis : {0, 1}\r\n\tNaïve — or Gauß's ∑?  \n"
    "The mean of the mean is the mean.\n"
)


def test_decode_undoes_encode():
    tokenizer = CharacterTokenizer.fit(PAGE)
    ids = tokenizer.encode(PAGE)
    assert tokenizer.decode(ids) == PAGE
    assert ids.dtype == np.int32
    assert 0 < ids.min() <= ids.max() < tokenizer.vocab_size
    again = CharacterTokenizer(tokenizer.pieces[1:])
    assert again.encode(PAGE + " §").tolist() == [*ids, tokenizer.encode(" ")[0], 0]


def test_unknown_characters_are_listed_and_decode_to_the_replacement():
    tokenizer = CharacterTokenizer.fit("abc")
    assert tokenizer.unknown_pieces("axbyx") == ["x", "y", "x"]
    assert tokenizer.decode(tokenizer.encode("axb")) == f"a{text.UNKNOWN}b"
    assert tokenizer.encode("xyz").tolist() == [0, 0, 0]


def test_the_most_frequent_pieces_are_kept():
    assert CharacterTokenizer.fit("aaabbc", min_count=3).unknown_pieces("abc") == ["b", "c"]


def test_a_text_without_frequent_pieces():
    with pytest.raises(ValueError, match=r"no piece of the text of 3 characters occurs 5 times"):
        CharacterTokenizer.fit("abc", min_count=5)


# --- streams of windows --------------------------------------------------------------------------


def windows_of(ids, streams, length):
    batches = list(text.contiguous_streams(ids, streams, length).as_numpy_iterator())
    return np.array([b[0] for b in batches]), np.array([b[1] for b in batches])


def test_windows_by_hand():
    inputs, targets = windows_of(np.arange(13, dtype=np.int32), streams=2, length=3)
    assert inputs.tolist() == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]]
    assert targets.tolist() == [[[1, 2, 3], [7, 8, 9]], [[4, 5, 6], [10, 11, 12]]]


@pytest.mark.parametrize("tokens", [61, 75, 1000])
def test_each_row_continues_the_row_of_the_batch_before(tokens):
    streams, length = 4, 5
    ids = np.random.default_rng(0).permutation(tokens).astype(np.int32)  # no token twice
    inputs, targets = windows_of(ids, streams, length)
    position = np.argsort(ids)
    part = (tokens - 1) // streams
    for row in range(streams):
        places = position[inputs[:, row].ravel()]  # where in the text this row reads
        assert places.tolist() == list(range(row * part, row * part + len(places)))
        assert len(places) > part - length, "less than one window may be left over"
        assert targets[:, row].ravel().tolist() == ids[places + 1].tolist()


def test_text_shorter_than_a_window():
    with pytest.raises(ValueError, match="text has 12 tokens, but 2 streams .* of 6 need 13") as e:
        text.contiguous_streams(np.zeros(12, np.int32), streams=2, length=6)
    assert "a longer text, fewer streams or a shorter window" in str(e.value)
    assert len(text.contiguous_streams(np.zeros(13, np.int32), streams=2, length=6)) == 1


# --- sampling filters ----------------------------------------------------------------------------

P = np.array([0.15, 0.5, 0.05, 0.3])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, P),
        ({"temperature": 0.5}, P**2 / np.sum(P**2)),
        ({"temperature": 2.0}, P**0.5 / np.sum(P**0.5)),
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 5 / 8, 0, 3 / 8]),
        ({"top_k": 4}, P),
        ({"top_p": 0.4}, [0, 1, 0, 0]),
        ({"top_p": 0.6}, [0, 5 / 8, 0, 3 / 8]),
        ({"top_p": 0.9}, [3 / 19, 10 / 19, 0, 6 / 19]),
        ({"top_p": 1.0}, P),
        # Top-p counts the mass that top-k has left: 5/8 alone reaches 0.6.
        ({"top_k": 2, "top_p": 0.6}, [0, 1, 0, 0]),
        # Temperature comes first: 0.25 / 0.365 = 0.68 alone reaches 0.6.
        ({"temperature": 0.5, "top_p": 0.6}, [0, 1, 0, 0]),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 1000.0])  # a constant on all logits changes nothing
def test_filters_by_hand(settings, expected, shift):
    logits = np.log(P) + shift
    assert text.sampling_probabilities(logits, **settings) == pytest.approx(expected, abs=1e-9)


def test_the_smallest_set_that_reaches_top_p():
    logits = np.array([2.0, 1.0, 1.0, -40.0])
    p = text.sampling_probabilities(logits)
    reached = p[0] + p[1]
    assert np.count_nonzero(text.sampling_probabilities(logits, top_p=reached - 1e-6)) == 2
    assert np.count_nonzero(text.sampling_probabilities(logits, top_p=reached + 1e-6)) == 3


def test_a_low_temperature_is_argmax():
    logits = np.random.default_rng(0).normal(size=(5, 50))
    p = text.sampling_probabilities(logits, temperature=1e-4)
    assert p.argmax(axis=1).tolist() == logits.argmax(axis=1).tolist()
    assert p.max(axis=1) == pytest.approx(1.0)
    assert np.isfinite(text.sampling_probabilities(logits * 1e4, temperature=1e-6)).all()


def test_ties_go_to_the_lower_id():
    equal = np.zeros(4)
    assert text.sampling_probabilities(equal, top_k=2).tolist() == [0.5, 0.5, 0, 0]
    assert text.sampling_probabilities(equal, top_p=0.5).tolist() == [0.5, 0.5, 0, 0]
    # Three tokens share the second place, and top-k 2 keeps exactly two.
    assert np.count_nonzero(text.sampling_probabilities([0, 3.0, 0, 0], top_k=2)) == 2


@pytest.mark.parametrize("settings", [{"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.7}])
def test_rows_of_a_batch_do_not_touch_each_other(settings):
    logits = np.random.default_rng(1).normal(size=(2, 3, 20)) * [[[1], [3], [9]]]
    together = text.sampling_probabilities(logits, **settings)
    assert together.sum(axis=-1) == pytest.approx(1.0)
    for index in np.ndindex(2, 3):
        assert together[index] == pytest.approx(
            text.sampling_probabilities(logits[index], **settings)
        )


def test_logits_are_not_changed():
    logits = np.log(P)
    text.sampling_probabilities(logits, temperature=0.5, top_k=2, top_p=0.5)
    assert logits.tolist() == np.log(P).tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, "temperature must be positive, got 0; use a small value such as 0.1"),
        ({"temperature": -1.0}, "temperature must be positive, got -1.0"),
        ({"temperature": float("nan")}, "temperature must be positive, got nan"),
        ({"top_k": 0}, "top_k must be from 1 to the vocabulary's 4, got 0"),
        ({"top_k": 5}, "top_k must be from 1 to the vocabulary's 4, got 5"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, r"top_p must be in \(0, 1\], got 1.1; 1 keeps every token"),
        ({"top_p": float("nan")}, r"top_p must be in \(0, 1\], got nan"),
    ],
)
def test_arguments_outside_their_range(settings, message):
    with pytest.raises(ValueError, match=message):
        text.sampling_probabilities(np.log(P), **settings)
