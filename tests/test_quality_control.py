"""The functions of lesson 05c: watermark and detector, the attack's grade, pages, bad input."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from course_utils import widgets
from course_utils.text import CharacterTokenizer
from lessons import function

LESSON = "05c_quality_control"
SHORTEST, K, KEY = 120, 3, 2023
TOKENIZER = CharacterTokenizer([chr(c) for c in range(32, 127)])
RNG = np.random.default_rng(0)


def lesson(wanted: str, **names: Any) -> Callable[..., Any]:
    return function(LESSON, wanted, np=np, **names)


def with_settings(gamma: float = 0.5) -> SimpleNamespace:
    """The watermark's functions with another share of green tokens."""
    mixed = lesson("mixed")
    green = lesson("green", mixed=mixed, GAMMA=gamma)
    passages = lesson("passages", K=K)
    evidence = lesson("evidence", passages=passages, green=green, K=K)
    settings = {"encode": TOKENIZER.encode, "binom": binom, "GAMMA": gamma, "SHORTEST": SHORTEST}
    detect = lesson("detect", evidence=evidence, K=K, **settings)
    return SimpleNamespace(mixed=mixed, green=green, evidence=evidence, detect=detect)


MARK = with_settings()


def random_text(length: int) -> str:
    return TOKENIZER.decode(RNG.integers(1, TOKENIZER.vocab_size, length))


def test_the_mixing_function_is_splitmix64() -> None:
    """The first number that SplitMix64 gives for seed 0, and the first for seed 1234567."""
    given = MARK.mixed(np.array([0, 1234567], np.uint64))
    assert given.tolist() == [0xE220A8397B1DCDAF, 6457827717110365317]


@pytest.mark.parametrize("gamma", [0.25, 0.5, 0.9])
def test_a_share_of_tokens_is_green_and_each_key_has_its_own(gamma: float) -> None:
    green = with_settings(gamma).green
    contexts = RNG.integers(0, 97, (40_000, K))
    one, two = green(1, contexts, np.arange(2)), green(2, contexts, np.arange(2))
    assert one.shape == (40_000, 2)
    assert abs(one.mean() - gamma) < 4 * np.sqrt(gamma * (1 - gamma) / one.size)
    assert abs((one == two).mean() - gamma**2 - (1 - gamma) ** 2) < 0.01
    assert abs(one.all(axis=1).mean() - gamma**2) < 0.01
    np.testing.assert_array_equal(one, green(1, contexts, np.arange(2)))


def test_order_matters_in_a_context() -> None:
    contexts = RNG.integers(0, 97, (10_000, K))
    there, back = (MARK.green(KEY, c, np.arange(1)) for c in (contexts, contexts[:, ::-1]))
    assert 0.47 < (there == back).mean() < 0.53


def test_repeats_count_once() -> None:
    ids = np.tile([5, 6, 7, 8], 20)
    count, n = MARK.evidence(ids, KEY)
    assert n == 4 and 0 <= count <= 4
    assert MARK.evidence(np.tile(ids, 3), KEY) == (count, n)


def test_z_and_p_are_those_of_the_binomial(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"encode": TOKENIZER.encode, "binom": binom, "SHORTEST": 100, "K": K}
    fixed = lesson("detect", evidence=lambda ids, key: (70, 100), GAMMA=0.5, **names)
    z, p = fixed("x" * 103, KEY)
    assert z == pytest.approx(4) and p == pytest.approx(3.925070e-05, rel=1e-4)
    quarter = lesson("detect", evidence=lambda ids, key: (40, 100), GAMMA=0.25, **names)
    assert quarter("x" * 103, KEY)[0] == pytest.approx(15 / np.sqrt(100 * 0.25 * 0.75))


def test_false_alarms_of_unmarked_texts_are_as_promised() -> None:
    trials = 4_000
    p = np.array(
        [MARK.detect(random_text(200), int(RNG.integers(2**63)))[1] for _ in range(trials)]
    )
    for level in (0.01, 0.1):
        error = np.sqrt(level / trials)
        assert level - 0.3 * level - 3 * error < np.mean(p <= level) < level + 3 * error


def test_a_text_of_green_passages_is_found_with_its_key_alone() -> None:
    ids = list(RNG.integers(1, 96, K))
    while len(ids) < 300:
        tokens = RNG.integers(1, 96, 8)
        colour = MARK.green(KEY, np.array([ids[-K:]]), tokens)[0]
        ids.append(int(tokens[colour.argmax()]))
    text = TOKENIZER.decode(ids)
    z, p = MARK.detect(text, KEY)
    assert z > 15 and p < 1e-50
    assert abs(MARK.detect(text, KEY + 1)[0]) < 4


@pytest.mark.parametrize("key", ["secret", 1.0, True, None, -1, 2**64, [1]])
def test_a_key_that_is_no_whole_number_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match=r"the key must be a whole number from 0 to 2\*\*64 - 1"):
        MARK.detect(random_text(200), key)


@pytest.mark.parametrize("key", [0, 2**64 - 1, np.int64(7), np.uint64(7)])
def test_every_whole_number_will_do(key: Any) -> None:
    z, p = MARK.detect(random_text(200), key)
    assert np.isfinite(z) and 0 <= p <= 1


@pytest.mark.parametrize("text", ["", "ab", "Too short.", "-" * 500, random_text(SHORTEST)])
def test_a_text_too_short_to_judge_is_told_how_long_it_must_be(text: str) -> None:
    with pytest.raises(ValueError, match=f"too few to judge; give at least {SHORTEST + K}"):
        MARK.detect(text, KEY)


@pytest.mark.parametrize("text", [np.arange(200), b"bytes" * 50, None])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="a text is wanted, got"):
        MARK.detect(text, KEY)


class Coins:
    """A model that gives every token the same probability, or always the token 3."""

    vocab_size, sure = 96, False

    def first_state(self, batch: int, tokens: int) -> Any:
        return np.zeros(batch)

    def step(self, tokens: Any, state: Any) -> Any:
        logits = np.zeros((len(state), self.vocab_size), np.float32)
        if self.sure:
            logits[:, 3] = 50
        return logits, state


@pytest.fixture
def tools() -> dict[str, Any]:
    import tensorflow as tf

    drawn_from = lesson("drawn_from")
    return {"tf": tf, "drawn_from": drawn_from, "K": K, "green": MARK.green, "DELTA": 2.0}


def test_the_writer_leans_to_green_as_the_formula_says(tools: dict[str, Any]) -> None:
    write = lesson("write", writer=Coins(), **tools)
    prompts = RNG.integers(1, 96, (20, 4)).astype(np.int32)
    ids, divergence, bill = write(prompts, 300, KEY)
    whole = np.concatenate([prompts, ids], axis=1)
    count, n = np.sum([MARK.evidence(row[1:], KEY) for row in whole], axis=0)
    wanted = np.exp(2) / (np.exp(2) + 1)  # of 96 equal tokens about one half is green
    assert abs(count / n - wanted) < 0.02
    assert bill == pytest.approx(np.log(96), rel=1e-5)  # every token costs the same unmarked
    binary = wanted * np.log(2 * wanted) + (1 - wanted) * np.log(2 * (1 - wanted))
    assert abs(divergence - binary) < 0.02
    plain, nothing, _ = write(prompts, 300)
    assert nothing == pytest.approx(0, abs=1e-6)
    assert not np.array_equal(plain, ids)


def test_a_sure_model_carries_no_mark(tools: dict[str, Any]) -> None:
    model = Coins()
    model.sure = True
    ids, divergence, _ = lesson("write", writer=model, **tools)(np.ones((2, 4), np.int32), 20, KEY)
    assert (ids == 3).all() and divergence < 1e-6


def test_rewriting_changes_the_share_that_was_asked_for(tools: dict[str, Any]) -> None:
    rewrite = lesson("rewrite", writer=Coins(), **tools)
    ids = RNG.integers(1, 96, (50, 200)).astype(np.int32)
    np.testing.assert_array_equal(rewrite(ids, 0.0), ids)
    for piece in (1, 40):
        new = rewrite(ids, 0.3, piece=piece)
        assert new.shape == ids.shape and (new[:, 0] == ids[:, 0]).all()
        assert abs(np.mean(new != ids) - 0.3) < 0.05
    edges = [np.sum(np.diff(rewrite(ids, 0.3, piece=p) != ids)) for p in (1, 40)]
    assert edges[1] < edges[0] / 5


def test_auroc_of_the_lesson_counts_pairs() -> None:
    auroc = lesson("auroc", roc_auc_score=roc_auc_score)
    assert auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == pytest.approx(0.875)
    assert auroc(np.ones(3), np.ones(4)) == 0.5


def test_near_copies_are_near_and_different_images_far() -> None:
    apart = lesson("apart")
    x = np.zeros((3, 28, 28), np.float32)
    x[0, 5:20, 5:8] = x[1, 14:17, 4:24] = x[2, 5:20, 18:21] = 1
    moved = np.roll(x, (1, -1), axis=(1, 2))
    distances = apart(moved, x)
    assert distances.shape == (3, 3)
    assert np.diag(distances).max() < 0.01
    assert distances[~np.eye(3, dtype=bool)].min() > 2


def test_nearer_to_members_is_a_share() -> None:
    from scipy.spatial.distance import cdist

    inside, others = (RNG.random((40, 4, 4)) + shift for shift in (0, 5))
    nearer = lesson("nearer_to_members", cdist=cdist, others=others)
    assert nearer(inside + 0.01, inside) == 1 and nearer(others + 0.01, inside) == 0


# --- the interactive parts ------------------------------------------------------------------------


def filter_page() -> Callable[..., Any]:
    pool = RNG.random((3_000, 28, 28))
    columns = ("Fréchet", "precision", "recall", "rarest class", "commonest class")
    report = dict.fromkeys(columns, 0.25)
    names = {"sure": RNG.random(3_000), "read": np.arange(3_000) % 10, "pool": pool}
    return lesson("filter_page", report=lambda chosen: report, widgets=widgets, **names)


@pytest.mark.parametrize("balance", ["none", "by class"])
def test_every_threshold_has_a_page(balance: str) -> None:
    page = filter_page()
    for sureness in (0, 500, 800):
        shown = page(sureness, balance)
        assert f"pass {sureness / 10:.1f}%" in shown and "precision 0.25" in shown
        assert re.search(r"<img [^>]*alt='[^']+'", shown)
    assert page(998, balance).startswith("<p>Only ")


def test_every_text_and_key_has_a_page_with_a_verdict() -> None:
    written = {"plain": TOKENIZER.encode(random_text(200)), "dull": TOKENIZER.encode("<&>" * 60)}
    look = {"green": "color:green", "red": "color:black", "again": "color:grey"}
    names = {"K": K, "green": MARK.green, "html": html, "decode": TOKENIZER.decode}
    coloured = lesson("coloured", LOOK=look, **names)
    page = lesson(
        "detector_page",
        written=written,
        coloured=coloured,
        evidence=MARK.evidence,
        detect=MARK.detect,
        decode=TOKENIZER.decode,
        rewrite=lambda ids, share: ids,
    )
    for key in (KEY, KEY + 1):
        for redrawn in (0, 30):
            assert "called marked" in page("plain", key, redrawn)
    dull = page("dull", KEY, 0)
    assert "3 distinct passages are green" in dull and "too few to judge" in dull
    assert "[&lt;]" in dull and "<&" not in dull
