"""The Gaussian mixture over images, against quadrature, brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from course_utils.models.mixture import PixelMixture


@pytest.fixture(scope="module")
def images():
    """600 images of 3 × 4 pixels in two classes, with structure in some directions only."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=600)
    z = rng.normal(size=(600, 3)) * [1.0, 0.5, 0.3] + labels[:, None] * [1.5, -1.0, 0.5]
    x = z @ rng.normal(size=(3, 12)) + rng.normal(0, 0.1, (600, 12))
    return x.reshape(600, 3, 4), labels


@pytest.fixture(scope="module")
def model(images):
    return PixelMixture(dimensions=4, components=2).fit(*images)


def dense(model):
    """Every component as (weight, mean, covariance) over all pixels."""
    eye = np.eye(len(model.mean))
    outside = model.variance * (eye - model.basis @ model.basis.T)
    for weight, mean, cov in zip(model.weights, model.means, model.covariances, strict=True):
        yield weight, model.mean + model.basis @ mean, outside + model.basis @ cov @ model.basis.T


def test_log_prob_integrates_to_one_in_two_dimensions():
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=300)
    x = rng.normal(size=(300, 2)) @ [[0.6, 0.2], [0.0, 0.3]] + labels[:, None] * [1.0, -0.7]
    model = PixelMixture(1, components=2).fit(x, labels)
    axis, step = np.linspace(-12, 12, 2401, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(model.log_prob(grid)).sum() * step**2 == pytest.approx(1, abs=1e-6)
    joint = np.exp(model.joint_log_prob(grid)).sum(axis=0) * step**2
    assert joint == pytest.approx(np.bincount(labels) / 300, abs=1e-6)


def test_log_prob_is_that_of_the_dense_gaussians(model, images):
    x = images[0][:50]
    p = sum(w * multivariate_normal(m, c).pdf(x.reshape(50, -1)) for w, m, c in dense(model))
    assert model.log_prob(x) == pytest.approx(np.log(p), abs=1e-8)
    assert model.log_prob(x.astype(np.float32)).dtype == np.float64


def test_joint_adds_up_and_classifies(model, images):
    x, labels = images
    joint = model.joint_log_prob(x)
    assert np.logaddexp.reduce(joint, axis=1) == pytest.approx(model.log_prob(x))
    assert np.mean(model.classes[joint.argmax(axis=1)] == labels) > 0.9  # the best possible: 0.93


def conditional(model, x, seen):
    """(weight, mean, covariance) of the hidden pixels a component, by the textbook formula."""
    found = []
    for weight, mean, cov in dense(model):
        inverse = np.linalg.inv(cov[np.ix_(seen, seen)])
        cross = cov[np.ix_(~seen, seen)]
        weight = weight * multivariate_normal(mean[seen], cov[np.ix_(seen, seen)]).pdf(x[seen])
        hidden_mean = mean[~seen] + cross @ inverse @ (x[seen] - mean[seen])
        found.append((weight, hidden_mean, cov[np.ix_(~seen, ~seen)] - cross @ inverse @ cross.T))
    total = sum(weight for weight, _, _ in found)
    return [(weight / total, mean, cov) for weight, mean, cov in found]


MASKS = {
    "half": np.arange(12) < 6,
    "one seen": np.arange(12) == 7,
    "fewer than dimensions": np.arange(12) % 5 == 0,
    "one hidden": np.arange(12) != 3,
    "none hidden": np.arange(12) >= 0,
}


@pytest.mark.parametrize("seen", MASKS.values(), ids=MASKS)
def test_fill_is_the_brute_force_conditional_mean(model, images, seen):
    x = images[0][:5]
    filled = model.fill(x, seen.reshape(3, 4))
    for row, image in zip(filled.reshape(5, -1), x.reshape(5, -1), strict=True):
        mean = sum(weight * mean for weight, mean, _ in conditional(model, image, seen))
        assert row[~seen] == pytest.approx(mean, abs=1e-6)
        assert np.array_equal(row[seen], image[seen])


def test_classes_from_a_part_of_the_pixels(model, images):
    seen, x = np.arange(12) % 5 == 0, images[0][:20]
    by_component = [
        weight
        * multivariate_normal(mean[seen], cov[np.ix_(seen, seen)]).pdf(x.reshape(20, -1)[:, seen])
        for weight, mean, cov in dense(model)
    ]
    wanted = np.log(np.transpose(by_component).reshape(20, 2, 2).sum(axis=2))
    assert model.joint_log_prob(x, seen.reshape(3, 4)) == pytest.approx(wanted, abs=1e-8)
    everything = model.joint_log_prob(x, np.ones((3, 4), bool))
    assert np.array_equal(everything, model.joint_log_prob(x))


def test_fill_draws_from_the_brute_force_conditional(model, images):
    seen = np.arange(12) % 5 == 0
    x = np.repeat(images[0][:1], 20_000, axis=0)
    drawn = model.fill(x, seen.reshape(3, 4), sample=True, seed=3).reshape(len(x), -1)[:, ~seen]
    parts = conditional(model, x[0].ravel(), seen)
    mean = sum(weight * mean for weight, mean, _ in parts)
    second = sum(weight * (cov + np.outer(m, m)) for weight, m, cov in parts)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.05)
    assert np.cov(drawn.T) == pytest.approx(second - np.outer(mean, mean), abs=0.1)


def test_what_stands_in_hidden_pixels_is_ignored(model, images):
    seen = np.arange(12).reshape(3, 4) < 8
    x = images[0][:3]
    assert np.array_equal(
        model.fill(np.where(seen, x, np.nan), seen), model.fill(np.where(seen, x, 9.0), seen)
    )
    assert np.isfinite(model.fill(np.where(seen, x, np.nan), seen)).all()


def test_samples_have_the_moments_of_their_class(model, images):
    x, labels = images
    drawn = model.sample(20_000, seed=1, label=1).reshape(20_000, -1)
    real = x[labels == 1].reshape(-1, 12)
    assert drawn.mean(axis=0) == pytest.approx(real.mean(axis=0), abs=0.05)
    assert np.cov(drawn.T) == pytest.approx(np.cov(real.T), abs=0.25)
    assert model.sample(7).shape == (7, 3, 4)
    assert np.array_equal(model.sample(3, seed=2), model.sample(3, seed=2))
    assert not np.array_equal(model.sample(3, seed=2), model.sample(3, seed=3))


def test_the_mean_log_prob_of_samples_is_that_of_the_data(model, images):
    assert model.log_prob(model.sample(5000)).mean() == pytest.approx(
        model.log_prob(images[0]).mean(), abs=0.5
    )


def test_without_labels_it_is_one_mixture_of_scikit_learn(images):
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    flat = images[0].reshape(600, -1)
    model = PixelMixture(4, components=3).fit(images[0])
    pca = PCA(4, svd_solver="covariance_eigh").fit(flat)
    z = pca.transform(flat)
    inside = GaussianMixture(3, random_state=0).fit(z).score_samples(z)
    rest = flat - pca.inverse_transform(z)
    outside = -0.5 * ((rest**2).sum(1) / model.variance + 8 * np.log(2 * np.pi * model.variance))
    assert model.log_prob(images[0]) == pytest.approx(inside + outside)
    assert model.classes.tolist() == [0]


def test_classes_may_be_words(images):
    names = np.array(["one", "two"])[images[1]]
    model = PixelMixture(2).fit(images[0], names)
    assert model.classes.tolist() == ["one", "two"]
    assert model.sample(2, label="two").shape == (2, 3, 4)


ERRORS = [
    (lambda m, x: m.log_prob(x[:, :2]), r"images of shape \(600, 2, 4\); expected \(N, 3, 4\)"),
    (lambda m, x: m.log_prob(x[0]), r"images of shape \(3, 4\); expected \(N, 3, 4\)"),
    (lambda m, x: m.joint_log_prob(x.reshape(600, 12)), r"expected \(N, 3, 4\)"),
    (lambda m, x: m.sample(0), "n must be at least 1, got 0"),
    (lambda m, x: m.sample(-3), "n must be at least 1, got -3"),
    (lambda m, x: m.sample(1, label=7), r"no class 7; the model knows \[0, 1\]"),
    (lambda m, x: m.fill(x, np.zeros((3, 4), bool)), "all pixels are hidden"),
    (lambda m, x: m.fill(x, np.ones(12, bool)), r"observed has shape \(12,\); expected \(3, 4\)"),
    (lambda m, x: m.joint_log_prob(x, np.zeros((3, 4), bool)), "all pixels are hidden"),
    (lambda m, x: m.fill(x[:, 1:], np.ones((3, 4), bool)), r"images of shape \(600, 2, 4\)"),
    (lambda m, x: PixelMixture(12).fit(x), "dimensions must be 1 to 11, got 12"),
    (lambda m, x: PixelMixture(0).fit(x), "dimensions must be 1 to 11, got 0"),
    (lambda m, x: PixelMixture(2).fit(x, np.arange(5)), "5 labels for 600 images"),
    (
        lambda m, x: PixelMixture(2, 3).fit(x[:6], np.array([0, 0, 0, 0, 1, 1])),
        "class 1 has 2 images; needed: 3",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_bad_input_gets_one_clear_error(model, images, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, images[0])
