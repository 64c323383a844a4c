"""The optimizer's schedule, random changes of images, and batches of images."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from course_utils import training
from course_utils.training import adamw, augment, image_batches

SIDE = 21
CENTRE = SIDE // 2
STILL = {"degrees": 0.0, "zoom": 0.0, "shift": 0.0}


def blobs(n=200, y=CENTRE, x=CENTRE, width=1.2):
    """The same image n times: a round blob whose place can be measured well."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))
    return np.repeat(image[None], n, axis=0).astype(np.float32)


def places(images):
    """Centre of mass of each image as (down, across) from the middle, (N, 2)."""
    images, axis = np.asarray(images, np.float64), np.arange(SIDE) - CENTRE
    mass = images.sum(axis=(1, 2))
    return np.stack([images.sum(axis=2) @ axis / mass, images.sum(axis=1) @ axis / mass], axis=1)


# --- the optimizer -------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "warm_up"), [(1000, 100), (300, 30), (20, 2)])
def test_learning_rate_rises_then_falls_to_zero(steps, warm_up):
    optimizer = adamw(steps, learning_rate=0.01)
    rates = [float(optimizer._learning_rate(step)) for step in range(steps + 1)]
    assert rates[0] == 0
    assert np.argmax(rates) == warm_up
    assert rates[warm_up] == pytest.approx(0.01, rel=1e-4)
    assert rates[warm_up // 2] == pytest.approx(0.005, rel=1e-4)  # a straight line
    assert rates[(steps + warm_up) // 2] == pytest.approx(0.005, rel=1e-2)  # half a cosine
    assert np.all(np.diff(rates[warm_up:]) <= 1e-9)
    assert rates[-1] == pytest.approx(0, abs=1e-8)


def test_the_schedule_has_the_values_of_keras():
    schedule = training.WarmUpCosine(0.01, warm_up=30, steps=300)
    same = keras.optimizers.schedules.CosineDecay(0.0, 270, warmup_target=0.01, warmup_steps=30)
    again = training.WarmUpCosine.from_config(schedule.get_config())
    for step in range(310):  # beyond the end too
        assert float(schedule(step)) == pytest.approx(float(same(step)), abs=1e-7)
        assert float(again(step)) == float(schedule(step))


def test_a_huge_gradient_is_clipped():
    weight = keras.Variable(np.zeros(4))
    optimizer = adamw(100)
    optimizer.build([weight])
    clipped = optimizer._clip_gradients([tf.constant([3000.0, 4000.0, 0, 0])])[0]
    assert clipped.numpy() == pytest.approx([0.6, 0.8, 0, 0])


def test_a_weight_without_a_gradient_decays():
    weights = [keras.Variable(np.ones(1)) for _ in range(2)]
    for weight, decay in zip(weights, (0.0, 0.05), strict=True):
        optimizer = adamw(2, learning_rate=0.1, weight_decay=decay)
        for _ in range(2):  # at rates 0 and 0.1
            optimizer.apply([tf.zeros(1)], [weight])
    assert [float(weight[0]) for weight in weights] == pytest.approx([1.0, 1 - 0.1 * 0.05])


# --- random changes ------------------------------------------------------------------------------


# --- the state of training -----------------------------------------------------------------------


class Counting(keras.Sequential):
    """Counts how often TensorFlow traces the training step."""

    traced = 0

    def train_step(self, data):
        self.traced += 1
        return super().train_step(data)


class Ready(training.BuildsOnCompile, Counting):
    pass


def fitted(kind, steps=3):
    keras.utils.set_random_seed(0)
    model = kind([keras.Input((5,)), keras.layers.Dense(3)])
    start = model.get_weights()
    model.compile(adamw(20, learning_rate=0.1), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    model.fit(x, y, epochs=steps, batch_size=4, shuffle=False, verbose=0)
    return model, start, (x, y)


def test_the_training_step_is_traced_once():
    (plain, _, _), (ready, _, _) = fitted(Counting), fitted(Ready)
    assert (plain.traced, ready.traced) == (2, 1), "Keras may have mended it: drop the class"
    for ours, theirs in zip(ready.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_restart_changes_the_learning_rate():
    model, start, data = fitted(Ready)
    training.restart(model, start, 0.0)
    model.fit(*data, batch_size=4, shuffle=False, verbose=0)
    for ours, before in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(ours, before)
    assert model.traced == 1


def test_restart_forgets_weights_and_moments():
    model, start, data = fitted(Ready)
    first = model.get_weights()
    training.restart(model, start)
    assert int(model.optimizer.iterations) == 0
    model.fit(*data, epochs=3, batch_size=4, shuffle=False, verbose=0)
    for again, before in zip(model.get_weights(), first, strict=True):
        np.testing.assert_allclose(again, before, atol=1e-6)
    assert model.traced == 1
    model.set_weights(start)  # without the optimizer's part it is another run
    model.fit(*data, epochs=3, batch_size=4, shuffle=False, verbose=0)
    assert np.abs(model.get_weights()[0] - first[0]).max() > 1e-3


def test_restart_keeps_a_rate_without_a_schedule():
    model, start, data = fitted(Ready)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    runs = []
    for _ in range(2):
        training.restart(model, start)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.02)
        model.fit(*data, epochs=3, batch_size=4, shuffle=False, verbose=0)
        runs.append(model.get_weights()[0])
    np.testing.assert_allclose(*runs, atol=1e-6)
    assert np.abs(runs[0] - start[0]).max() > 1e-3


def test_nothing_asked_nothing_changed():
    images = np.random.default_rng(0).random((5, 12, 15)).astype(np.float32)
    assert augment(images, [1, 2], **STILL).numpy() == pytest.approx(images, abs=1e-5)


def test_a_shift_moves_a_dot_so_far_at_most():
    moved = places(augment(blobs(), [1, 2], **STILL | {"shift": 3.0}))
    assert np.abs(moved).max() < 3.01
    for direction in (moved.min(axis=0), -moved.max(axis=0)):  # both ways, down and across
        assert np.all(direction < -2.5)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.3, "down and across are drawn apart"


def test_a_turn_keeps_the_centre_and_turns_a_dot_so_far_at_most():
    still = augment(blobs(), [1, 2], **STILL | {"degrees": 30.0})
    assert np.abs(places(still)).max() < 0.05
    assert still.numpy()[:, CENTRE, CENTRE] == pytest.approx(1, abs=1e-5)
    turned = places(augment(blobs(x=CENTRE + 6), [1, 2], **STILL | {"degrees": 30.0}))
    assert np.hypot(*turned.T) == pytest.approx(6, abs=0.1)
    angles = np.degrees(np.arctan2(turned[:, 0], turned[:, 1]))
    assert np.abs(angles).max() < 30.5 and angles.min() < -27 and angles.max() > 27


def test_a_zoom_stretches_height_and_width_apart():
    above = places(augment(blobs(y=CENTRE + 6), [1, 2], **STILL | {"zoom": 0.2}))
    beside = places(augment(blobs(x=CENTRE + 6), [1, 2], **STILL | {"zoom": 0.2}))
    assert above[:, 1] == pytest.approx(0, abs=0.05) and beside[:, 0] == pytest.approx(0, abs=0.05)
    for factor in (above[:, 0] / 6, beside[:, 1] / 6):
        assert 0.79 < factor.min() < 0.83 and 1.17 < factor.max() < 1.21
    # The same key gave both the same amounts, and height and width different ones.
    assert abs(np.corrcoef(above[:, 0], beside[:, 1])[0, 1]) < 0.3


def test_the_key_decides():
    images = blobs(6, x=CENTRE + 4)
    first = augment(images, [1, 2]).numpy()
    assert np.array_equal(augment(images, [1, 2]), first)
    assert not np.allclose(augment(images, [1, 3]), first, atol=0.01)
    assert not np.allclose(augment(images, [2, 2]), first, atol=0.01)
    assert not np.allclose(first[0], first[1], atol=0.01), "each image gets its own amounts"


def test_an_augmented_image_is_still_one():
    images = blobs(x=CENTRE + 4, width=2)
    changed = augment(images, [1, 2]).numpy()
    assert changed.shape == images.shape and changed.dtype == np.float32
    assert changed.min() >= 0 and changed.max() <= 1
    share = changed.sum(axis=(1, 2)) / images[0].sum()
    assert share.mean() == pytest.approx(1, abs=0.05)
    assert np.all((share > 0.88**2 - 0.02) & (share < 1.12**2 + 0.02))


# --- batches -------------------------------------------------------------------------------------


def numbered(n):
    """Images of 4 × 5 pixels, each of one grey value of its own, and numbers to match."""
    return np.repeat(np.arange(n) / n, 20).reshape(n, 4, 5).astype(np.float32), np.arange(n)


@pytest.fixture
def as_they_are(monkeypatch):
    monkeypatch.setattr(training, "augment", lambda images, key: images)


def test_number_and_shape_of_batches():
    images, labels = numbered(10)
    batches = image_batches(images, labels, batch_size=4, steps=7)
    assert int(batches.cardinality()) == 7
    assert [x.shape for x in batches.element_spec] == [(4, 4, 5), (4,)]
    found = [(x.shape, y.shape) for x, y in batches]
    assert found == [((4, 4, 5), (4,))] * 7


def test_every_image_comes_before_one_comes_again(as_they_are):
    images, _ = numbered(10)
    batches = image_batches(images, batch_size=4, steps=7)
    seen = np.concatenate([np.rint(x.numpy()[:, 0, 0] * 10) for x in batches])
    assert len(seen) == 28
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))
    assert len(set(seen[20:])) == 8
    assert list(seen[:10]) != list(seen[10:20]) and list(seen[:10]) != list(range(10))


def test_labels_stay_with_their_images(as_they_are):
    for x, y in image_batches(*numbered(10), batch_size=3, steps=8):
        assert np.array_equal(np.rint(x.numpy()[:, 2, 3] * 10), y)


def test_an_image_is_changed_anew_each_time():
    image = blobs(1, x=CENTRE + 4)
    first, second = image_batches(image, batch_size=1, steps=2)
    assert not np.allclose(first, image, atol=0.01)
    assert not np.allclose(first, second, atol=0.01)


def test_seeds():
    images, labels = numbered(12)

    def drawn(seed):
        batches = image_batches(images, labels, batch_size=5, steps=3, seed=seed)
        x, y = zip(*batches, strict=True)
        return np.array(x), np.array(y)

    (x, y), (same_x, same_y), (_, other_y) = map(drawn, (1, 1, 2))
    assert np.array_equal(x, same_x) and np.array_equal(y, same_y)
    assert not np.array_equal(y, other_y)


def test_the_seed_changes_the_augmentation_too():
    image = blobs(1, x=CENTRE + 4)
    first, second = [
        next(iter(image_batches(image, batch_size=1, steps=1, seed=s))) for s in (1, 2)
    ]
    assert not np.allclose(first, second, atol=0.01)


def test_fewer_images_than_a_batch(as_they_are):
    batches = list(image_batches(*numbered(3), batch_size=100, steps=4))
    assert [sorted(y.numpy()) for _, y in batches] == [[0, 1, 2]] * 4
    assert all(x.shape == (3, 4, 5) for x, _ in batches)


def test_without_labels_there_are_images_alone():
    batches = image_batches(numbered(6)[0], batch_size=2, steps=3)
    assert isinstance(batches.element_spec, tf.TensorSpec)
    assert all(x.shape == (2, 4, 5) for x in batches)


# --- binary images -------------------------------------------------------------------------------


def test_a_grey_value_is_the_probability_of_one():
    grey = np.tile(np.array([0.0, 0.2, 0.7, 1.0], np.float32), (50_000, 1))
    drawn = training.binarise(grey, (1, 2)).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 0.2, 0.7, 1], atol=0.01)
    np.testing.assert_array_equal(drawn, training.binarise(grey, (1, 2)).numpy())
    assert np.mean(drawn != training.binarise(grey, (1, 3)).numpy()) > 0.1


def test_contrast_moves_away_from_one_half():
    grey = np.array([0.0, 0.1, 0.4, 0.5, 0.6, 1.0], np.float32)
    images = np.tile(grey[:, None, None], (1, 6, 6))
    changed = augment(images, (0, 0), **STILL, contrast=1.5).numpy()[:, 3, 3]
    np.testing.assert_allclose(changed, [0, 0, 0.35, 0.5, 0.65, 1], atol=1e-6)


def test_binary_batches_are_drawn_after_the_augmentation():
    images = np.full((20, 8, 8), 0.3, np.float32)
    batches = image_batches(images, batch_size=20, steps=30, binary=True, degrees=0.0, shift=0.0)
    drawn = np.array([batch.numpy() for batch in batches])
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn[:, :, 2:6, 2:6].mean() == pytest.approx(0.3, abs=0.02)
    assert np.abs(np.diff(drawn, axis=0)).mean() > 0.3  # anew in each batch


def test_amounts_reach_the_augmentation():
    images = blobs(20)
    (batch,) = image_batches(images, batch_size=20, steps=1, **STILL)
    np.testing.assert_allclose(np.sort(batch.numpy().ravel()), np.sort(images.ravel()), atol=1e-5)
