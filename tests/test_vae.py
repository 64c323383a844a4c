"""The variational autoencoder: its terms, its bounds where log p(x) is known, and its training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal, norm

from course_utils import training
from course_utils.models.vae import VAE, bernoulli_log_prob, kl_divergence

GRID = np.linspace(-8, 8, 4001).astype(np.float32)
ALL_IMAGES = np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T.reshape(-1, 2, 2)


def small(log_var=-1.5, **options):
    """A VAE of 2 × 2 pixels with one latent dimension and weights that matter.

    The log-variance of q is about the one given; a wide q keeps the weights of draws in bounds.
    """
    keras.utils.set_random_seed(0)
    model = VAE(latent_dim=1, width=6, blocks=1, size=2, **options)
    rng = np.random.default_rng(0)
    for part, size in ((model.encoder, 0.3), (model.decoder, 0.7)):
        part.set_weights([rng.normal(0, size, w.shape) for w in part.get_weights()])
    model.encoder.layers[-1].bias.assign([0.2, log_var])
    return model


@pytest.fixture(scope="module")
def model():
    return small()


def exact_log_prob(model, x):
    """log p(x) by a sum over a fine grid of z."""
    log_likelihood = np.array(
        [bernoulli_log_prob(model.decoder(GRID[:, None]), image) for image in x]
    )
    joint = log_likelihood + norm.logpdf(GRID)  # (images, grid)
    return np.logaddexp.reduce(joint, axis=1) + np.log(GRID[1] - GRID[0])


# --- the two terms -------------------------------------------------------------------------------


def test_kl_by_hand():
    mean, log_var = np.array([[0.0, 2.0, 0.0]]), np.array([[0.0, 0.0, np.log(4)]])
    by_hand = [[0.0, 2.0, 0.5 * (4 - 1 - np.log(4))]]
    np.testing.assert_allclose(kl_divergence(mean, log_var), by_hand, rtol=1e-6)


def test_kl_is_the_mean_of_the_log_ratio():
    rng = np.random.default_rng(0)
    mean, log_var = np.array([0.7, -1.5]), np.array([-0.8, 0.9])
    z = rng.normal(mean, np.exp(log_var / 2), (200_000, 2))
    ratio = norm.logpdf(z, mean, np.exp(log_var / 2)) - norm.logpdf(z)  # (draws, dimensions)
    error = ratio.std(axis=0) / np.sqrt(len(z))
    assert np.all(np.abs(ratio.mean(axis=0) - kl_divergence(mean, log_var)) < 3 * error)


def test_probabilities_of_all_images_sum_to_one():
    logits = np.random.default_rng(0).normal(size=(2, 2))
    log_prob = np.array(bernoulli_log_prob(logits, ALL_IMAGES))
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-6)
    p = 1 / (1 + np.exp(-logits))
    assert log_prob[0] == pytest.approx(np.log(1 - p).sum(), abs=1e-6)  # all pixels 0


def test_huge_logits_stay_finite():
    assert float(bernoulli_log_prob(np.full((1, 1), 1000.0), np.zeros((1, 1)))) == -1000


# --- the bounds ----------------------------------------------------------------------------------


def test_the_model_is_a_distribution(model):
    assert np.exp(exact_log_prob(model, ALL_IMAGES)).sum() == pytest.approx(1, abs=1e-4)


def test_the_elbo_is_below_by_the_divergence_from_the_posterior(model):
    exact = exact_log_prob(model, ALL_IMAGES)
    draws = model.elbo(np.tile(ALL_IMAGES, (2000, 1, 1))).reshape(2000, -1)  # (draws, images)
    gap, error = exact - draws.mean(axis=0), draws.std(axis=0) / np.sqrt(len(draws))
    mean, log_var = (np.array(part) for part in model.encode(ALL_IMAGES))
    log_q = norm.logpdf(GRID, mean, np.exp(log_var / 2))  # (images, grid)
    logits = model.decoder(GRID[:, None])
    log_likelihood = np.array([bernoulli_log_prob(logits, image) for image in ALL_IMAGES])
    log_posterior = log_likelihood + norm.logpdf(GRID) - exact[:, None]
    divergence = (np.exp(log_q) * (log_q - log_posterior)).sum(axis=1) * (GRID[1] - GRID[0])
    assert gap.min() > 0.01  # the encoder is random, so there is something to see
    assert np.all(np.abs(gap - divergence) < 4 * error + 1e-3)


def test_the_linear_model_where_everything_is_known():
    """x = W z + b + noise with orthogonal columns in W, so that the posterior is diagonal."""
    rng = np.random.default_rng(0)
    W, b, s = np.linalg.qr(rng.normal(size=(5, 3)))[0] * [2.0, 1.0, 0.3], rng.normal(size=5), 0.7
    x = rng.normal(size=5)
    log_p = multivariate_normal.logpdf(x, b, W @ W.T + s**2 * np.eye(5))
    variance = 1 / (1 + np.diag(W.T @ W) / s**2)  # of the posterior
    mean = variance * (W.T @ (x - b)) / s**2

    def elbo(m, log_var):
        misfit = np.sum((x - b - W @ m) ** 2) + np.sum(W**2 @ np.exp(log_var))
        distortion = 2.5 * np.log(2 * np.pi * s**2) + misfit / (2 * s**2)
        return -distortion - np.sum(kl_divergence(m, log_var))

    assert elbo(mean, np.log(variance)) == pytest.approx(log_p, abs=1e-5)
    for _ in range(100):
        m, log_var = rng.normal(size=3), rng.normal(size=3)
        # The divergence from the posterior, in its own units: shifted and scaled to N(0, 1).
        m_own, log_var_own = (m - mean) / np.sqrt(variance), log_var - np.log(variance)
        gap = log_p - elbo(m, log_var)
        assert gap > 0
        assert gap == pytest.approx(np.sum(kl_divergence(m_own, log_var_own)), rel=1e-5, abs=1e-5)


def test_more_draws_come_closer_to_the_exact_value():
    model = small(log_var=0.5)
    x = np.repeat(ALL_IMAGES, 20, axis=0)
    exact = exact_log_prob(model, ALL_IMAGES).mean()
    bounds = [model.importance_weighted_bound(x, k).mean() for k in (1, 5, 50)]
    assert np.all(np.diff(bounds) > 0) and bounds[-1] < exact + 0.01
    last = model.importance_weighted_bound(x, 5000)  # in parts of one image
    error = last.reshape(16, 20).std(axis=1) / np.sqrt(20)
    missing = exact_log_prob(model, ALL_IMAGES) - last.reshape(16, 20).mean(axis=1)
    assert np.all(np.abs(missing) < 4 * error + 0.01) and error.max() < 0.03


def test_one_draw_is_the_elbo_on_average(model):
    x = np.repeat(ALL_IMAGES, 300, axis=0)
    weighted, closed = model.importance_weighted_bound(x, 1), model.elbo(x)
    error = np.hypot(weighted.std(), closed.std()) / np.sqrt(len(x))
    assert abs(weighted.mean() - closed.mean()) < 4 * error


@pytest.mark.parametrize("k", [0, -3])
def test_at_least_one_draw(model, k):
    with pytest.raises(ValueError, match=f"k must be at least 1 sample an image, got {k}"):
        model.importance_weighted_bound(ALL_IMAGES, k)


# --- the loss ------------------------------------------------------------------------------------


def test_the_loss_is_minus_the_elbo(model):
    outputs = model(ALL_IMAGES, seed=3)
    loss = float(model.compute_loss(ALL_IMAGES, y_pred=outputs))
    assert loss == pytest.approx(-model.elbo(ALL_IMAGES, seed=3).mean(), abs=1e-5)


def test_beta_is_the_price_of_the_rate(model):
    outputs = model(ALL_IMAGES, seed=3)
    rate = float(np.sum(kl_divergence(*outputs[1:]), axis=-1).mean())
    losses = [
        float(small(beta=beta).compute_loss(ALL_IMAGES, y_pred=outputs)) for beta in (0, 1, 3)
    ]
    assert rate > 0.05
    assert np.diff(losses) == pytest.approx([rate, 2 * rate], abs=1e-5)


def test_a_negative_beta_is_refused():
    with pytest.raises(ValueError, match="beta must not be negative, got -0.5"):
        VAE(beta=-0.5)


def patterns(n, seed):
    """Images of 6 × 6 pixels with one dark row each, one pixel in ten wrong."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(6, size=n)
    x = np.zeros((n, 6, 6), np.float32)
    x[np.arange(n), rows] = 1
    return np.abs(x - (rng.random(x.shape) < 0.1)).astype(np.float32)


def trained(x, beta=1.0):
    keras.utils.set_random_seed(0)
    model = VAE(latent_dim=2, width=32, blocks=1, beta=beta, size=6)
    model.compile(training.adamw(40 * len(x) // 100, 5e-3))
    history = model.fit(x, epochs=40, batch_size=100, verbose=0).history
    return model, history


def test_it_learns_which_row_is_dark():
    train, new = patterns(1000, 0), patterns(500, 1)
    model, history = trained(train)
    noise = -36 * (0.1 * np.log(0.1) + 0.9 * np.log(0.9))  # nats of the wrong pixels
    least = noise + np.log(6)  # … and of the row
    p = np.clip(train.mean(axis=0), 1e-3, 1 - 1e-3)
    apart = -(new * np.log(p) + (1 - new) * np.log(1 - p)).sum(axis=(1, 2)).mean()
    cost = -model.importance_weighted_bound(new, 500).mean()
    assert least - 0.5 < cost < least + 0.3 * (apart - least)
    ends = history["loss"][-1], history["rate"][-1] + history["distortion"][-1]
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    assert history["rate"][-1] > 0.8 * np.log(6)
    samples = model.sample(200)
    assert np.mean(np.sort(samples.mean(axis=2), axis=1)[:, -1] > 0.6) > 0.6  # one dark row


def test_the_path_through_the_draw_has_the_smaller_variance():
    """Two estimators of the gradient of E_q[log p(x | z)] with respect to q's mean."""
    model, _ = trained(patterns(1000, 0))
    x = patterns(1, 3)
    mean, log_var = model.encode(x)
    noise = tf.constant(np.random.default_rng(0).normal(size=(20_000, 2)), tf.float32)
    z = mean + tf.exp(log_var / 2) * noise
    with tf.GradientTape() as tape:
        tape.watch(z)
        f = bernoulli_log_prob(model.decoder(z), x)
    path = tape.gradient(f, z).numpy()
    score = f.numpy()[:, None] * (noise / tf.exp(log_var / 2)).numpy()
    error = np.sqrt((path.var(axis=0) + score.var(axis=0)) / len(z))
    assert np.all(np.abs(path.mean(axis=0) - score.mean(axis=0)) < 4 * error)
    assert score.var(axis=0).sum() > 10 * path.var(axis=0).sum()


def test_a_high_price_leaves_no_code():
    _, history = trained(patterns(1000, 0), beta=30.0)
    assert history["rate"][-1] < 0.1


# --- samples, configuration ----------------------------------------------------------------------


def test_the_seed_decides_the_samples(model):
    a, b, c = (model.sample(5, seed) for seed in (1, 1, 2))
    assert a.shape == (5, 2, 2) and a.min() > 0 and a.max() < 1
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01


def test_the_same_model_from_its_config(model, tmp_path):
    again = VAE.from_config(small(beta=2.5).get_config())
    again.build()
    assert (again.latent_dim, again.beta, again.get_config()["size"]) == (1, 2.5, 2)
    model.save_weights(tmp_path / "vae.weights.h5")
    again.load_weights(tmp_path / "vae.weights.h5")
    np.testing.assert_allclose(again.elbo(ALL_IMAGES), model.elbo(ALL_IMAGES), atol=1e-6)


def test_saved_and_loaded_in_one_file(tmp_path):
    model, _ = trained(patterns(200, 0))
    model.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    x = patterns(50, 2)
    np.testing.assert_allclose(again.elbo(x), model.elbo(x), atol=1e-5)


# --- other decoders, classes, missing pixels -----------------------------------------------------


def digits_like(n):
    """Binary images of 8 × 8 pixels: one of four quarters is black, which is the class."""
    labels = np.random.default_rng(0).integers(0, 4, n)
    x = np.zeros((n, 8, 8), np.float32)
    for i, label in enumerate(labels):
        x[i, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] = 1
    return x, labels


@pytest.mark.parametrize("decoder", ["rows", "convolutional"])
def test_each_decoder_learns(decoder):
    keras.utils.set_random_seed(0)
    x, _ = digits_like(512)
    model = VAE(latent_dim=3, width=24, size=8, decoder=decoder)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, batch_size=32, epochs=14, verbose=0)
    # Four images: ln 4 = 1.4 nats at best; independent pixels pay 36.
    assert -model.elbo(x).mean() < 8
    again = VAE.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.sample(2), model.sample(2), atol=1e-6)


@pytest.fixture(scope="module")
def by_class():
    keras.utils.set_random_seed(0)
    x, labels = digits_like(512)
    model = VAE(latent_dim=2, width=24, size=8, classes=4)
    model.compile(keras.optimizers.Adam(0.01))
    pairs = tf.data.Dataset.from_tensor_slices(((x, labels),)).batch(32).repeat(8)
    model.fit(pairs, shuffle=False, verbose=0)
    return model


def test_a_class_is_drawn_when_asked_for(by_class):
    x, labels = digits_like(64)
    one_each = np.array([x[labels == c][0] for c in range(4)])
    drawn = by_class.sample(40, labels=np.arange(40) % 4)
    apart = np.abs(drawn[:, None] - one_each).mean(axis=(2, 3))  # (40, 4)
    np.testing.assert_array_equal(apart.argmin(axis=1), np.arange(40) % 4)


def test_the_class_says_all_there_is_to_say(by_class):
    x, labels = digits_like(64)
    assert -by_class.elbo((x, labels)).mean() < 2
    right = by_class.importance_weighted_bound((x, labels), k=50).mean()
    assert right > by_class.importance_weighted_bound((x, (labels + 1) % 4), k=50).mean() + 20
    assert right >= by_class.elbo((x, labels)).mean() - 0.5


@pytest.mark.parametrize("labels", [[4], [-1], None])
def test_a_class_that_is_none(by_class, labels):
    with pytest.raises(ValueError, match="labels must be classes from 0 to 3"):
        by_class.sample(1, labels=labels)


def test_missing_pixels_are_filled_and_the_others_kept(by_class):
    x, labels = digits_like(64)
    seen = np.zeros((8, 8), bool)
    seen[:4] = True
    filled = by_class.fill(x, seen, labels)
    np.testing.assert_array_equal(filled[:, :4], x[:, :4])
    assert np.abs(filled - x)[:, 4:].mean() < 0.1
    other = by_class.fill(np.where(seen, x, 0.7), seen, labels)  # what is hidden has no say
    np.testing.assert_allclose(filled, other)


def test_images_of_another_size_or_range(by_class):
    with pytest.raises(ValueError, match=r"shape \(1, 28, 28\); expected \(N, 8, 8\)"):
        by_class.elbo((np.zeros((1, 28, 28)), [0]))
    with pytest.raises(ValueError, match="grey values from 0 to 255; expected 0 to 1"):
        by_class.importance_weighted_bound((255 * digits_like(9)[0], np.zeros(9, int)))


def test_a_decoder_that_is_none():
    with pytest.raises(ValueError, match='decoder must be "dense", "rows" or "convolutional", got'):
        VAE(decoder="transformer")
