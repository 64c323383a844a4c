"""Exercises: right answers pass, every common mistake gets its own hint, cheats are caught."""

from __future__ import annotations

import importlib
import math
import pkgutil

import numpy as np
import pytest

import course_utils.exercises as exercises
from course_utils.exercises import Question, start_here
from course_utils.exercises import text_generation as lesson
from course_utils.metrics import bits_per_character
from course_utils.models.ngram import NGram

QUESTIONS = {
    "start_here.bits": start_here.bits,
    "text_generation.bits": lesson.bits,
    "text_generation.temperature": lesson.temperature,
    "text_generation.beat_this": lesson.beat_this,
}
LN2 = math.log(2)

# question, wrong answer, a part of the hint that this mistake gets and no other
MISTAKES = [
    (start_here.bits, math.log(8), "nats (natural logarithm)"),
    (start_here.bits, -3, "mind the minus sign"),
    (start_here.bits, 1 / 8, "that is the probability"),
    (start_here.bits, 4, "4 is not"),
    (start_here.bits, "three", "it raised ValueError"),
    (lesson.bits, lambda nats, t, c: nats * t / c, "still in nats"),
    (lesson.bits, lambda nats, t, c: nats * LN2 * t / c, "divide by ln 2, do not multiply"),
    (lesson.bits, lambda nats, t, c: nats / LN2, "that is bits per token"),
    (lesson.bits, lambda nats, t, c: nats / LN2 * c / t, "a character costs less than a token"),
    (lesson.bits, lambda nats, t, c: 7.0, "7 bits per character for 2.1 nats per token"),
    (lesson.bits, lambda nats, t, c: None, "returns nothing; end it with a return"),
    (lesson.bits, lambda nats, t, c: nats / 0, "it raised ZeroDivisionError"),
    (lesson.bits, 1.12, "a function is wanted, got float"),
    (lesson.temperature, lambda p, t: p ** (1 / t), "divide by the sum"),
    (lesson.temperature, lambda p, t: p**t / (p**t).sum(), "the exponent is 1/T, not T"),
    (lesson.temperature, lambda p, t: np.exp(p / t) / np.exp(p / t).sum(), "log p is a logit"),
    (lesson.temperature, lambda p, t: p / t / (p / t).sum(), "divide log p instead"),
    (lesson.temperature, lambda p, t: p**3 / (p**3).sum(), "for p = [0.5  0.3  0.15 0.05]"),
    (lesson.temperature, lambda p, t: p**2 / (p**2).sum(), "right at T = 0.5, wrong at T = 2"),
    (lesson.temperature, lambda p, t: 0.5, "the result has shape ()"),
]


def test_every_question_is_tested_here():
    found = set()
    for module in pkgutil.iter_modules(exercises.__path__):
        members = vars(importlib.import_module(f"course_utils.exercises.{module.name}"))
        found |= {f"{module.name}.{k}" for k, v in members.items() if isinstance(v, Question)}
    assert found == set(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_stub_is_not_attempted(name, capsys):
    stubs = [...] if name == "start_here.bits" else [..., lambda *arguments: ...]
    if name.endswith("beat_this"):
        set_task()
    for stub in stubs:
        assert QUESTIONS[name].check(stub) is False
        assert capsys.readouterr().out.startswith("Not attempted yet: ")


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_printed_solution_is_right(name, capsys):
    QUESTIONS[name].solution()
    source = capsys.readouterr().out
    unigram, bigram = set_task()

    class Model:  # the mixture in the lesson's solution is of a GRU and a 5-gram
        @staticmethod
        def log_prob(ids):
            return bigram.log_prob(ids)[1:]

    namespace = {"np": np, "math": math, "model": Model, "five_gram": unigram}
    before = set(namespace)
    if "=" in source or "def " in source:
        exec(source, namespace)
        (answer,) = (v for k, v in namespace.items() if k not in before | {"__builtins__"})
    else:
        answer = eval(source)
    assert QUESTIONS[name].check(answer) is True
    assert capsys.readouterr().out.endswith("Right.\n")


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_hint_helps_and_does_not_tell(name, capsys):
    QUESTIONS[name].hint()
    hint = capsys.readouterr().out.strip()
    QUESTIONS[name].solution()
    assert len(hint) > 30
    assert capsys.readouterr().out.strip().splitlines()[-1].strip() not in hint.split()


@pytest.mark.parametrize(("question", "answer", "fragment"), MISTAKES)
def test_each_mistake_has_its_own_hint(question, answer, fragment, capsys):
    assert question.check(answer) is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and fragment in said
    others = {other for q, _, other in MISTAKES if q is question} - {fragment}
    assert not [other for other in others if other in said]


# --- beat this number ----------------------------------------------------------------------------

VOCABULARY = 6
CHAIN = np.random.default_rng(0).dirichlet(np.full(VOCABULARY, 0.3), size=VOCABULARY)


def chain_text(tokens, seed):
    """Tokens of which each depends on the one before, by `CHAIN`."""
    rng, ids = np.random.default_rng(seed), [0]
    while len(ids) < tokens:
        ids.append(rng.choice(VOCABULARY, p=CHAIN[ids[-1]]))
    return np.array(ids, np.int32)


HELD_OUT = chain_text(1500, seed=2)


def set_task():
    """Ask to beat the token frequencies; a unigram and a bigram fitted on a training text."""
    train = chain_text(3000, seed=1)
    unigram, bigram = (NGram(order, VOCABULARY).fit(train) for order in (1, 2))
    score = bits_per_character(unigram.log_prob(HELD_OUT)[1:], len(HELD_OUT))
    lesson.beat_this.set_task(HELD_OUT, len(HELD_OUT), VOCABULARY, score)
    return unigram, bigram


@pytest.fixture
def models():
    return set_task()


@pytest.fixture(autouse=True)
def no_task_left():
    yield
    vars(lesson.beat_this).pop("score", None)


def from_both_sides(ids):
    """A distribution of each token given the one before *and the one after*: it looks ahead."""
    p = CHAIN[ids[:-1]]  # (tokens - 1, VOCABULARY)
    p[:-1] *= CHAIN[:, ids[2:]].T
    p /= p.sum(axis=1, keepdims=True)
    return np.log(p[np.arange(len(p)), ids[1:]])


def test_a_mixture_beats_the_number(models, capsys):
    unigram, bigram = models

    def mixture(ids):
        parts = np.log(0.7) + bigram.log_prob(ids), np.log(0.3) + unigram.log_prob(ids)
        return np.logaddexp(*parts)[1:]

    assert lesson.beat_this.check(mixture) is True
    reached = bits_per_character(mixture(HELD_OUT), len(HELD_OUT))
    said = capsys.readouterr().out
    assert said.startswith(f"{reached:.3f} bits per character; the number to beat is")


CHEATS = {
    "constant zero": (lambda ids: np.zeros(len(ids) - 1), "sum to 6.000, not 1"),
    "looks at the token itself": (
        lambda ids: np.where(ids[1:] == ids[1:], -0.1, -5.0),
        "must not look at the token it predicts",
    ),
    "not normalised": (lambda ids: np.log(0.9 * CHAIN[ids[:-1], ids[1:]]), "sum to 0.900, not 1"),
    "looks one ahead": (from_both_sides, "the predictor looks ahead"),
    "honest at the end of a text only": (
        lambda ids: np.append(np.zeros(len(ids) - 2), -math.log(VOCABULARY)),
        "inside",
    ),
    "not better": (lambda ids: np.full(len(ids) - 1, -math.log(VOCABULARY)), "not better yet"),
    "one value too many": (
        lambda ids: np.append(0, np.log(CHAIN[ids[:-1], ids[1:]])),
        "one value for each of the 1499 tokens after the first",
    ),
    "raises": (lambda ids: ids[5000], "it raised IndexError"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_and_mistakes_are_caught(models, cheat, capsys):
    log_prob, fragment = CHEATS[cheat]
    assert lesson.beat_this.check(log_prob) is False
    assert fragment in capsys.readouterr().out.splitlines()[-1]


def test_looking_ahead_would_pay(models):
    honest = np.log(CHAIN[HELD_OUT[:-1], HELD_OUT[1:]])
    assert from_both_sides(HELD_OUT).mean() > honest.mean() + 0.1


def test_the_task_must_be_set_first(capsys):
    assert lesson.beat_this.check(lambda ids: np.zeros(len(ids) - 1)) is False
    assert "run the cell with beat_this.set_task(...) first" in capsys.readouterr().out
