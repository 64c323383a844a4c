"""The adversarial network: it learns, its mean of weights, its penalty, and bad settings."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from gan import GAN, draw


def bars(n, seed=0):
    """Images of 8 × 8 pixels, the left or the right half black."""
    left = np.random.default_rng(seed).integers(0, 2, n)
    x = np.zeros((n, 8, 8), np.float32)
    x[left == 1, :, :4] = 1
    x[left == 0, :, 4:] = 1
    return x


def trained(steps=150, **options):
    keras.utils.set_random_seed(0)
    model = GAN(latent_dim=4, filters=8, size=8, memory=0.9, **options)
    model.compile(keras.optimizers.Adam(3e-3, beta_1=0.5))
    history = model.fit(bars(64 * steps), batch_size=64, shuffle=False, verbose=0).history
    return model, history


@pytest.fixture(scope="module")
def model():
    return trained()[0]


def test_it_draws_both_kinds_of_bars(model):
    drawn = draw(model.average, 200, seed=1)
    assert drawn.min() >= 0 and drawn.max() <= 1
    real = bars(2)
    apart = [np.abs(drawn - kind).mean(axis=(1, 2)) for kind in (real[0], 1 - real[0])]
    assert np.minimum(*apart).mean() < 0.15  # 0.5 before training
    share = np.mean(apart[0] < apart[1])
    assert 0.1 < share < 0.9


def test_samples_follow_the_mean_of_weights():
    model, _ = trained(steps=5)
    generator, mean = model.generator.get_weights(), model.average.get_weights()
    assert max(np.abs(a - b).max() for a, b in zip(generator, mean, strict=True)) > 1e-4
    before = draw(model.average, 3)
    model.generator.set_weights([0 * weight for weight in generator])
    np.testing.assert_array_equal(draw(model.average, 3), before)
    model.average.set_weights([0 * weight for weight in mean])
    np.testing.assert_allclose(draw(model.average, 3), 0.5)


def slope(model):
    """Mean length of the critic's gradient at real images."""
    import tensorflow as tf

    x = tf.constant(bars(64, seed=9))
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = model.critic(x)
    return float(np.sqrt(np.square(tape.gradient(logits, x).numpy()).sum(axis=(1, 2))).mean())


def test_the_penalty_flattens_the_critic():
    assert slope(trained(60, penalty=50.0)[0]) < 0.5 * slope(trained(60, penalty=0.0)[0])


def test_a_game_that_goes_wrong_stays_finite():
    """The critic wins at once and for good: a learning rate a hundred times too large."""
    keras.utils.set_random_seed(0)
    model = GAN(latent_dim=4, filters=8, size=8, penalty=0.0)
    model.compile(keras.optimizers.Adam(0.3))
    history = model.fit(bars(64 * 40), batch_size=64, shuffle=False, verbose=0).history
    assert np.isfinite([*history.values()]).all()
    assert np.isfinite(draw(model.average, 20)).all()


def test_a_negative_penalty():
    with pytest.raises(ValueError, match="penalty must not be negative, got -1"):
        GAN(penalty=-1)
