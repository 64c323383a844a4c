"""The Kneser–Ney n-gram model, by hand on a tiny text and on real text."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest

from course_utils import datasets
from course_utils.models import ngram
from course_utils.models.ngram import NGram
from course_utils.text import CharacterTokenizer


@pytest.fixture(scope="module")
def random_ids():
    """Two thousand tokens of a vocabulary of seven, the last of which never occurs."""
    return np.random.default_rng(0).choice(6, 2000, p=[0.4, 0.3, 0.1, 0.1, 0.06, 0.04])


def next_probabilities(model, context):
    """The model's probability of every token after a context."""
    rows = [np.array([*context, token]) for token in range(model.vocab_size)]
    return np.exp([model.log_prob(row)[-1] for row in rows])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("context", [[], [0], [0, 1, 0, 0], [5, 5, 5, 5], [6, 6, 6, 6], [0, 6]])
def test_probabilities_sum_to_one(random_ids, order, context):
    model = NGram(order, 7).fit(random_ids)
    p = next_probabilities(model, context)
    assert p.sum() == pytest.approx(1.0)
    assert p.min() > 0, "a token that was never seen must stay possible"


def test_bigrams_by_hand():
    # a a b a c a b b, with V = 4 (the fourth token, d, never occurs).
    # Bigrams: aa 1, ab 2, ba 1, ac 1, ca 1, bb 1; n1 = 5, n2 = 1: D2 = 5/7.
    # Different tokens before a: 3 (a, b, c); b: 2 (a, b); c: 1 (a); total 6.
    # n1 = 1 (c), n2 = 1 (b): D1 = 1/3, spread over three kinds: 3 D1 / 6 = 1/6 of the uniform 1/4.
    model = NGram(2, 4).fit(np.array([0, 0, 1, 0, 2, 0, 1, 1]))
    d1, d2 = F(1, 3), F(5, 7)
    rest = d1 * 3 / 6 * F(1, 4)
    lower = [(3 - d1) / 6 + rest, (2 - d1) / 6 + rest, (1 - d1) / 6 + rest, rest]
    assert sum(lower) == 1
    after_a = [(1 - d2) / 4, (2 - d2) / 4, (1 - d2) / 4, F(0)]  # a is followed four times,
    after_a = [p + d2 * 3 / 4 * q for p, q in zip(after_a, lower, strict=True)]  # by three kinds
    assert sum(after_a) == 1
    assert next_probabilities(model, []) == pytest.approx([float(p) for p in lower])
    assert next_probabilities(model, [0]) == pytest.approx([float(p) for p in after_a])
    assert next_probabilities(model, [3]) == pytest.approx([float(p) for p in lower])


def test_a_token_counts_by_its_contexts_not_by_its_frequency():
    # "Francisco" (2) is frequent, and only after "San" (1); "glasses" (3) is rare, after three.
    ids = np.array([1, 2, 0] * 20 + [4, 3, 0, 5, 3, 0, 6, 3, 0])
    after_unseen = next_probabilities(NGram(2, 8).fit(ids), [7])
    assert after_unseen[3] > after_unseen[2]
    unigram = next_probabilities(NGram(1, 8).fit(ids), [])
    assert unigram[2] > unigram[3]


def test_unigram_is_the_frequencies_less_a_discount():
    ids = np.repeat(np.arange(4), [50, 30, 2, 1])  # n1 = 1, n2 = 1: D = 1/3
    p = np.exp(NGram(1, 5).fit(ids).log_prob(np.arange(5)))
    spread = (4 / 3) / 83 / 5  # the discounts of four kinds, over the whole vocabulary
    expected = [(count - 1 / 3) / 83 + spread for count in (50, 30, 2, 1)]
    assert p == pytest.approx([*expected, spread])


def test_a_value_depends_on_nothing_later(random_ids):
    model = NGram(4, 7).fit(random_ids)
    ids, other = random_ids[:300].copy(), random_ids[:300].copy()
    other[200:] = random_ids[900:1000]
    assert (ids[200] != other[200]) and (ids[201] != other[201])
    assert np.array_equal(model.log_prob(ids)[:200], model.log_prob(other)[:200])
    assert not np.allclose(model.log_prob(ids)[200:], model.log_prob(other)[200:])
    assert np.array_equal(model.log_prob(ids[:150]), model.log_prob(ids)[:150])


def test_a_value_depends_on_the_last_tokens_only(random_ids):
    model = NGram(3, 7).fit(random_ids)
    ids, other = random_ids[:100].copy(), random_ids[:100].copy()
    other[:50] = random_ids[500:550]
    assert np.array_equal(model.log_prob(ids)[52:], model.log_prob(other)[52:])


def test_texts_shorter_than_the_order(random_ids):
    model = NGram(5, 7).fit(random_ids)
    assert model.log_prob(random_ids[:2]) == pytest.approx(model.log_prob(random_ids[:50])[:2])
    assert model.log_prob(random_ids[:0]).shape == (0,)


def test_fitting_again_forgets_the_first_text(random_ids):
    model = NGram(3, 7).fit(random_ids)
    model.fit(random_ids[:50])
    fresh = NGram(3, 7).fit(random_ids[:50])
    assert np.array_equal(model.log_prob(random_ids), fresh.log_prob(random_ids))


def test_counting_in_blocks_changes_nothing(random_ids, monkeypatch):
    whole = NGram(3, 7).fit(random_ids).log_prob(random_ids)
    monkeypatch.setattr(ngram, "_BLOCK", 17)
    assert np.array_equal(NGram(3, 7).fit(random_ids).log_prob(random_ids), whole)


def test_each_order_beats_the_one_below_on_real_text():
    data = datasets.text("reference_english")
    characters = CharacterTokenizer.fit(data.train, min_count=50)
    train, held_out = (
        characters.encode(part[:size])
        for part, size in ((data.train, 300_000), (data.validation, 20_000))
    )
    nats = [
        -NGram(order, characters.vocab_size).fit(train).log_prob(held_out).mean()
        for order in range(1, 6)
    ]
    assert np.all(np.diff(nats) < -0.05), f"nats per character of orders 1 to 5: {nats}"
    counts = np.bincount(train, minlength=characters.vocab_size) / len(train)
    seen = counts[held_out] > 0
    assert nats[0] == pytest.approx(-np.log(counts[held_out[seen]]).mean(), abs=0.01)


@pytest.mark.parametrize("order", [0, -1])
def test_order_below_one(order):
    with pytest.raises(ValueError, match=f"order must be at least 1, got {order}"):
        NGram(order, 10)


def test_order_too_high_for_64_bits():
    NGram(9, 100)
    with pytest.raises(ValueError, match="100 tokens to the power 10 exceed 64 bits"):
        NGram(10, 100)


def test_training_text_shorter_than_the_order():
    with pytest.raises(ValueError, match="the text has 2 tokens, .* order 3"):
        NGram(3, 10).fit(np.array([1, 2]))
