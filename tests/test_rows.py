"""The autoregressive model of rows: probabilities of all images, order, sampling, training."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from course_utils.models.rows import RowModel

EVERY = np.array([*itertools.product([0, 1], repeat=4)], np.float32).reshape(16, 2, 2)


@pytest.fixture(scope="module")
def tiny():
    keras.utils.set_random_seed(1)
    model = RowModel(rnn_units=6, hidden=3, size=2)
    model.build()
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.8, w.shape) for w in model.get_weights()])
    return model


def test_the_probabilities_of_all_images_sum_to_one(tiny):
    p = np.exp(tiny.log_prob(EVERY))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert p.std() > 0.01, "all images are equally likely: the weights do nothing"


def test_no_pixel_sees_itself_or_a_later_one():
    keras.utils.set_random_seed(0)
    model = RowModel(rnn_units=8, hidden=4, size=4)
    model.build()
    x = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    changed = np.tile(x.ravel(), (16, 1)) + np.eye(16, dtype=np.float32)  # one pixel in each
    logits, plain = (np.reshape(model(part.reshape(-1, 4, 4)), (-1, 16)) for part in (changed, x))
    reads = (np.abs(logits - plain) > 1e-7).T  # (logit, pixel)
    np.testing.assert_array_equal(reads, np.tril(np.ones((16, 16), bool), -1))


def test_samples_come_as_often_as_the_model_says(tiny):
    drawn = tiny.sample(20_000, seed=0).reshape(-1, 4) @ [8, 4, 2, 1]
    often = np.bincount(drawn.astype(int), minlength=16) / 20_000
    p = np.exp(tiny.log_prob(EVERY))
    np.testing.assert_allclose(often, p, atol=5 * np.sqrt(p.max() / 20_000))


def test_the_lower_row_is_drawn_given_the_upper(tiny):
    x = np.repeat(EVERY[9:10], 20_000, axis=0)
    seen = np.array([[True, True], [False, False]])
    filled, chances = tiny.fill(x, seen, seed=1)
    np.testing.assert_array_equal(filled[:, 0], x[:, 0])
    joint = np.exp(tiny.log_prob(EVERY[8:12]))  # the upper row of 9 with each lower row
    often = np.bincount((filled[:, 1] @ [2, 1]).astype(int), minlength=4) / 20_000
    np.testing.assert_allclose(often, joint / joint.sum(), atol=0.02)
    log_p = np.log(np.where(filled == 1, chances, 1 - chances)).sum(axis=(1, 2))
    np.testing.assert_allclose(log_p[:50], tiny.log_prob(filled[:50]), atol=1e-4)


def test_the_seed_decides(tiny):
    a, b, c = (tiny.sample(50, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_it_learns_what_depends_on_what():
    """Rows that repeat the row above, and within a row a pixel that repeats its neighbour."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, (640, 1, 2)).repeat(2, axis=2)  # 2 bits: pairs of equal pixels
    x = np.repeat(first, 4, axis=1).astype(np.float32)  # (640, 4, 4)
    keras.utils.set_random_seed(0)
    model = RowModel(rnn_units=16, hidden=6, size=4)
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x, batch_size=64, epochs=25, verbose=0)
    assert -model.log_prob(x).mean() == pytest.approx(2 * np.log(2), abs=0.15)
    again = RowModel.from_config(model.get_config())
    again.build()
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.log_prob(x[:5]), model.log_prob(x[:5]), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 3, 3)), r"shape \(2, 3, 3\); expected \(N, 2, 2\)"),
        (np.full((1, 2, 2), 255.0), "grey values from 255 to 255; expected 0 to 1"),
    ],
)
def test_images_that_do_not_fit(tiny, images, said):
    with pytest.raises(ValueError, match=said):
        tiny.log_prob(images)
