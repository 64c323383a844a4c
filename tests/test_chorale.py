"""The model of chorales: exact likelihood, order, sampling, a melody kept, what it has learned."""

from __future__ import annotations

import itertools
import re

import keras
import numpy as np
import pytest

from course_utils import chorales, datasets
from course_utils.models.chorale import ChoraleModel
from jsb_benchmark import windows
from lessons import function

roll_notes = function("04c_audio_generation", "roll_notes", np=np, LOWEST=chorales.LOWEST)

FRAMES = np.array([*itertools.product([0, 1], repeat=3)], np.uint8)  # all sets of 3 pitches
PIECES = np.stack([FRAMES[[a, b]] for a in range(8) for b in range(8)])  # (64, 2, 3)


def random_weights(model, scale=0.8):
    model.build()
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, scale, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def tiny():
    return random_weights(ChoraleModel(units=5, hidden=4, pitches=3))


@pytest.fixture(scope="module")
def random():
    return random_weights(ChoraleModel(units=5, hidden=4), scale=0.2)


def test_the_probabilities_of_all_pieces_sum_to_one(tiny):
    p = np.exp(np.array(tiny.log_prob(PIECES)))  # (64, 2)
    assert p[::8, 0].sum() == pytest.approx(1, abs=1e-5)
    assert p.prod(axis=1).sum() == pytest.approx(1, abs=1e-5)
    second = p[:, 1].reshape(8, 8)  # (frame before, frame)
    np.testing.assert_allclose(second.sum(axis=1), 1, atol=1e-5)
    assert second.std(axis=0).max() > 0.01, "the frame before has no say"
    assert second.std(axis=1).min() > 0.01, "all frames are equally likely"


def test_no_note_sees_a_later_one():
    model = random_weights(ChoraleModel(units=8, hidden=6, pitches=5))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (1, 6, 5)).astype(np.float32)
    plain = model(x).numpy()[0]
    for t in range(6):
        changed = x.copy()
        changed[0, t] = 1 - changed[0, t]
        apart = np.abs(model(changed).numpy()[0] - plain) > 1e-6
        assert not apart[:t].any() and apart[t : t + 3].all(), f"frame {t} changed"
    frames = np.array([[0, 0, 0, 1, 1], [1, 1, 0, 1, 1]], np.float32)[:, None, None, ::-1]
    context = rng.normal(size=(1, 1, 6)).astype(np.float32)
    recent = x[:, :1], x[:, 1:2]
    two, four = (model.notes(context, frame, *recent)[0].numpy()[0, 0] for frame in frames)
    np.testing.assert_allclose(two, four[:3], atol=1e-6)  # the same two notes on top
    assert (four > -1e8).sum(axis=1).tolist() == [6, 5, 4, 2, 1]  # fewer and fewer left


def test_samples_come_as_often_as_the_model_says(tiny):
    n = 20_000
    drawn = tiny.sample(n, 2, seed=0) @ [4, 2, 1] @ [8, 1]
    often = np.bincount(drawn, minlength=64) / n
    p = np.exp(np.array(tiny.log_prob(PIECES)).sum(axis=1))
    np.testing.assert_allclose(often, p, atol=5 * np.sqrt(p.max() / n))
    assert np.corrcoef(often, p)[0, 1] > 0.99


def test_the_log_probability_is_that_of_the_steps(random):
    piece = random.sample(1, 12, seed=3)[0].astype(np.float32)[:, ::-1]
    state, total = np.zeros((1, 5), np.float32), np.zeros(12)
    past = np.concatenate([np.zeros((2, 88), np.float32), piece])
    for t, frame in enumerate(piece):
        recent = past[None, t + 1], past[None, t]
        state, context = random._read(state, *recent, t)
        x = np.zeros((1, 88), np.float32)
        for note in [*np.flatnonzero(frame), 88]:
            total[t] += random._next(context, x, *recent).numpy()[0, note]
            x[0, note:][:1] = 1
    np.testing.assert_allclose(random.log_prob([piece[:, ::-1]])[0], total, atol=1e-4)


def test_lengths_and_the_first_frame(random):
    rolls = [*random.sample(1, 9, seed=0), *random.sample(1, 4, seed=1)]
    together = random.log_prob(rolls)
    assert [len(row) for row in together] == [9, 4]
    for roll, row in zip(rolls, together, strict=True):
        np.testing.assert_allclose(random.log_prob([roll])[0], row, atol=1e-4)
    scored = np.concatenate([row[1:] for row in together])  # 8 and 3 frames, all of equal weight
    assert random.nats_per_frame(rolls) == pytest.approx(-scored.mean(), rel=1e-6)


def test_seed_temperature_and_start(random):
    start = random.sample(1, 3, seed=9)[0]
    a, b, c = (random.sample(2, 8, start=start, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any() and (a[0] != a[1]).any()
    assert (a[:, :3] == start).all()
    cold, hot = (random.sample(4, 20, temperature=t) for t in (1e-6, 1.0))
    assert (cold == cold[:1]).all() and not (hot == hot[:1]).all()


def test_the_given_notes_are_the_highest(random):
    rng = np.random.default_rng(0)
    for seed in range(10):
        numbers = rng.integers(60, 82, rng.integers(1, 12))
        names = [chorales.note_name(n) for n in numbers]
        roll = random.harmonise(names, seed=seed)
        np.testing.assert_array_equal(roll_notes(roll)[:, 0], numbers)
        assert (roll != random.harmonise(names, seed=seed + 100)).any()


def test_particles_draw_the_rest_given_the_melody(tiny, monkeypatch):
    """Against the exact distribution: weights that are left out would be seen."""
    monkeypatch.setattr("course_utils.models.chorale.LOWEST", 60)
    tops = PIECES[:, :, ::-1].argmax(axis=2) == [1, 0]  # D below, then the highest pitch
    possible = (tops & (PIECES.sum(axis=2) > 0)).all(axis=1)
    p = np.exp(np.array(tiny.log_prob(PIECES)).sum(axis=1)) * possible
    drawn = [tiny.harmonise(["C#4", "D4"], particles=100, seed=s) for s in range(600)]
    often = np.bincount(np.array(drawn) @ [4, 2, 1] @ [8, 1], minlength=64) / 600
    np.testing.assert_allclose(often, p / p.sum(), atol=0.08)
    unweighted = p.copy()
    for first in range(8):  # the first frame as it is drawn before the second note is known
        row = slice(8 * first, 8 * first + 8)
        if p[row].any():
            alone = np.exp(tiny.log_prob(PIECES[row])[0][0])
            unweighted[row] = alone * p[row] / p[row].sum()
    assert np.abs(unweighted / unweighted.sum() - p / p.sum()).max() > 0.1, "no test of weights"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: m.harmonise([]), "the melody is empty"),
        (lambda m: m.harmonise(["C4", "H4"]), "no note is called 'H4'; names are like 'C4'"),
        (lambda m: m.harmonise(["C4", "B3"]), "the note B3 is out of range.* from C4 to A5"),
        (lambda m: m.harmonise(["Bb5"]), "the note Bb5 is out of range.* from C4 to A5"),
        (lambda m: m.harmonise(["C4"], temperature=0), "temperature must be positive, got 0"),
        (lambda m: m.sample(1, 4, temperature=-1.0), "temperature must be positive, got -1.0"),
        (lambda m: m.sample(1, 0), "length must be at least 1 frame, got 0"),
        (lambda m: m.sample(1, 2, start=np.zeros((2, 4))), r"shape \(2, 4\).*\(frames, 88\)"),
        (
            lambda m: m.log_prob([np.full((2, 88), 60)]),
            r"with values \[60\]; expected .* of 0 and 1",
        ),
    ],
)
def test_errors(random, call, said):
    with pytest.raises(ValueError, match=said):
        call(random)


def test_names_and_numbers_of_notes():
    known = {"C4": 60, "F#4": 66, "Bb3": 58, "Cb4": 59, "B#3": 60, "A5": 81, "C-1": 0}
    assert {name: chorales.note_number(name) for name in known} == known
    assert all(chorales.note_number(chorales.note_name(n)) == n for n in range(128))
    for wrong in ("", "c4", "C", "4C", "C##4", "C44"):
        with pytest.raises(ValueError, match=re.escape(f"no note is called {wrong!r}")):
            chorales.note_number(wrong)


def test_rolls_of_notes():
    notes = np.array([[64, 60, 0, 48], [67, 67, 60, 43], [0, 0, 0, 0]])
    roll = chorales.piano_roll(notes)
    assert roll.shape == (3, 88) and roll.sum() == 6 and roll[1, 67 - 21] == 1
    wanted = [[64, 60, 48], [67, 60, 43], [0, 0, 0]]
    np.testing.assert_array_equal(roll_notes(roll), wanted)
    pieces = datasets.chorales().train
    soprano = np.concatenate([piece.notes[:, 0] for piece in pieces])
    assert (soprano[soprano > 0].min(), soprano.max()) == chorales.SOPRANO


def test_windows():
    """Pieces whose frames can be told apart: frame t has pitch 20 + t alone, or 20 + t and 70."""
    rolls = []
    for size, more in ((40, []), (20, [70])):
        rolls.append(np.zeros((size, 88), np.uint8))
        rolls[-1][np.arange(size), 20 + np.arange(size)] = 1
        rolls[-1][:, more] = 1
    seen = set()
    for x, scored in windows(rolls, batch=2, steps=60, length=24, seed=1):
        for roll, kept in zip(x.numpy(), scored.numpy(), strict=True):
            second = int(roll.sum(axis=1).max()) - 1  # which of the pieces
            size, inside = len(rolls[second]), int(roll.any(axis=1).sum())
            first = int(roll[0].argmax()) - 20  # start + up
            start = 0 if second else round(first / 16) * 16
            up = first - start
            seen.add((second, start, up))
            assert -5 <= up <= 6 and inside == min(24, size - start)
            np.testing.assert_array_equal(
                roll[:inside], np.roll(rolls[second], up, axis=1)[start : start + inside]
            )
            assert kept.sum() == inside - (start > 0) and kept[inside:].sum() == 0
            assert kept[0] == (start == 0)
    assert {start for second, start, _ in seen if not second} == {0, 16}
    assert {up for _, _, up in seen} == set(range(-5, 7))
    (x, _), *_ = windows(rolls, batch=2, steps=1, length=40, shift=0)
    assert sorted(x.numpy().sum(axis=(1, 2))) == [40, 40]


def test_it_learns_what_depends_on_what():
    """Two notes a frame: the lower repeats, the upper is a third or a fifth above it."""
    rng = np.random.default_rng(0)
    x = np.zeros((192, 12, 24), np.float32)
    low, third = rng.integers(2, 12, 192), rng.integers(0, 2, (192, 12))
    for frames, note, upper in zip(x, low, third, strict=True):
        frames[:, note] = 1
        frames[np.arange(12), note + np.where(upper, 4, 7)] = 1
    keras.utils.set_random_seed(0)
    model = ChoraleModel(units=24, hidden=24, dropout=0.0, pitches=24)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, np.ones((192, 12), np.float32), batch_size=16, epochs=12, verbose=0)
    assert model.nats_per_frame([*x]) == pytest.approx(np.log(2), abs=0.12)
    again = ChoraleModel.from_config(model.get_config())
    again.build()
    again.set_weights(model.get_weights())
    assert again.nats_per_frame([*x[:4]]) == pytest.approx(model.nats_per_frame([*x[:4]]), rel=1e-5)
