"""The diffusion model: noise and its way back where the answer is known, training, bad input."""

import keras
import numpy as np
import pytest

from course_utils import checkpoints, datasets
from course_utils.models.diffusion import TIMES, Diffusion

SIZE = 4
BRIGHT = np.zeros((2, SIZE, SIZE), np.float32)
BRIGHT[0, :, :2] = BRIGHT[1, :, 2:] = 1  # class 0 is bright at the left, class 1 at the right


def images(n):
    """Pictures of both classes in turn, with some unevenness."""
    labels, rng = np.arange(n) % 2, np.random.default_rng(0)
    return np.clip(np.abs(BRIGHT[labels] - rng.uniform(0, 0.2, (n, SIZE, SIZE))), 0, 1), labels


@pytest.fixture(scope="module")
def tiny():
    """A model that has learned the two classes."""
    keras.utils.set_random_seed(0)
    model = Diffusion((8, 16), SIZE)
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    x, y = images(640)
    losses = model.fit((x.astype(np.float32), y), batch_size=64, epochs=60, verbose=0)
    model.losses_seen = losses.history["loss"]
    return model


@pytest.fixture
def perfect():
    """A model whose guess is right for pixels from N(0.3, 0.25 squared), each by itself."""
    model, mean, variance = Diffusion((8, 8), SIZE), 0.3, 0.25**2

    def denoise(x, t, *_):
        a = model.alpha_bar[t]
        return mean + np.sqrt(a) * variance / (a * variance + 1 - a) * (x - np.sqrt(a) * mean)

    model.denoise = denoise
    return model


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_way_back_ends_in_the_data(perfect, eta):
    *_, (t, x, _) = perfect.path(2000, steps=200, eta=eta)
    assert t == 0 and x.shape == (2000, SIZE, SIZE)
    assert x.mean() == pytest.approx(0.3, abs=0.01)
    assert x.std() == pytest.approx(0.25, abs=0.01)


def test_one_step_is_the_mean(perfect):
    ((_, x, guess),) = perfect.path(500, steps=1)
    np.testing.assert_allclose(x, guess, atol=1e-6)
    assert x.mean() == pytest.approx(0.3, abs=0.01) and x.std() < 0.01


def test_steps_may_be_times(perfect):
    even, listed = (perfect.sample(3, seed=5, steps=s) for s in (4, [1000, 750, 500, 250]))
    np.testing.assert_array_equal(even, listed)
    assert [t for t, *_ in perfect.path(1, steps=[900, 10, 1])] == [10, 1, 0]


def test_known_pixels_stay(perfect):
    known = np.linspace(0, 1, 2 * SIZE**2, dtype=np.float32).reshape(2, SIZE, SIZE)
    seen = np.zeros((SIZE, SIZE), bool)
    seen[:2] = True
    filled = perfect.sample(2, steps=20, known=(known, seen), rounds=2, eta=1.0)
    np.testing.assert_allclose(filled[:, :2], known[:, :2], atol=1e-6)
    assert np.abs(filled[:, 2:] - known[:, 2:]).max() > 0.1
    stops = len([*perfect.path(2, steps=20, known=(known, seen), rounds=2)])
    assert stops == 39, "the last step is gone once, the others twice"


def test_the_loss_is_that_of_v():
    """A network that knows the one image there is has no loss, and hears one class in ten less."""
    model, heard = Diffusion((8, 8), SIZE), []
    x = np.random.default_rng(0).random((1, SIZE, SIZE)).repeat(4000, axis=0).astype(np.float32)

    def knows(x_t, t, told):
        heard.append((np.asarray(t), np.asarray(told)))
        a, x_0 = model.alpha_bar[np.asarray(t)][:, None, None], 2 * x - 1
        noise = (np.asarray(x_t) - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        return np.sqrt(a) * noise - np.sqrt(1 - a) * x_0

    model.velocity = knows
    assert np.max(model((x, np.full(4000, 3)))) < 1e-5
    ((t, told),) = heard
    assert (t.min(), t.max()) == (1, TIMES) and t.mean() == pytest.approx(500.5, abs=1)
    assert set(told.argmax(axis=1)) == {0, 3} and told[:, 3].mean() == pytest.approx(0.9, abs=0.02)
    model.velocity = lambda x_t, t, told: 0 * x_t  # knows nothing
    assert np.mean(model((x, np.full(4000, 3)))) > 0.3


def test_guidance_adds_what_the_class_has_changed(tiny):
    x_t = np.random.default_rng(1).normal(size=(5, SIZE, SIZE))
    t, labels = 700, np.array([0, 1, 0, 1, 0])
    told, untold = tiny.denoise(x_t, t, labels), tiny.denoise(x_t, t)
    assert np.abs(told - untold).mean() > 0.1
    wanted = np.clip(told + 0.5 * (told - untold), -1, 1)
    inside = (np.abs(told) < 1) & (np.abs(untold) < 1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(tiny.denoise(x_t, t, labels, 0.5)[inside], wanted[inside], atol=1e-4)


def test_it_learns_both_classes_and_what_hangs_together(tiny):
    labels = np.arange(60) % 2
    drawn = tiny.sample(60, 1, labels)
    apart = np.abs(drawn[:, None] - np.abs(BRIGHT - 0.1)).mean(axis=(2, 3))  # (60, classes)
    assert (apart.argmin(axis=1) == labels).mean() > 0.95
    assert np.median(apart.min(axis=1)) < 0.12
    left = tiny.sample(60, 2)[:, :, :2].mean(axis=(1, 2)) > 0.5
    assert 0.2 < left.mean() < 0.8, "without a class both must come"
    seen = np.zeros((SIZE, SIZE), bool)
    seen[0] = True
    x, y = images(60)
    filled = tiny.sample(60, 3, known=(x, seen), eta=1.0, rounds=3)
    assert ((filled[:, 1:, :2].mean(axis=(1, 2)) > 0.5) == (y == 0)).mean() > 0.9


def test_the_seed_decides(tiny):
    a, b, c = (tiny.sample(3, seed, steps=3) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.1


def test_it_is_saved_and_loaded(tiny):
    again = Diffusion.from_config(tiny.get_config())
    again.build()
    again.set_weights(tiny.get_weights())
    np.testing.assert_allclose(again.sample(2, steps=2), tiny.sample(2, steps=2), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps must be 1 to 1000, .* got 0"),
        ({"steps": -3}, "got -3"),
        ({"steps": TIMES + 1}, "steps must be 1 to 1000, .* got 1001"),
        ({"steps": [5, 5]}, r"times that fall in it; got \[5, 5\]"),
        ({"steps": [1001, 5]}, "got"),
        ({"steps": [5, 0]}, "got"),
        ({"steps": []}, "got"),
        ({"guidance": -0.5}, "guidance must not be negative, got -0.5"),
        ({"guidance": float("nan")}, "guidance must not be negative, got nan"),
        ({"labels": [0, 10]}, r"labels must be classes from 0 to 9, got \[0, 10\]"),
        ({"labels": [0, -1]}, "labels must be classes from 0 to 9"),
        ({"labels": [0, 1.5]}, "labels must be classes from 0 to 9"),
    ],
)
def test_bad_input(tiny, options, said):
    with pytest.raises(ValueError, match=said):
        tiny.sample(2, **options)


# --- the checkpoint ------------------------------------------------------------------------------


def test_the_shipped_model_draws_the_class_it_is_told():
    model, judge = map(checkpoints.load, ("digits_diffusion", "digit_classifier"))
    labels = np.arange(100) % 10
    drawn = model.sample(100, 4, labels, steps=10, guidance=0.5)
    assert (judge.probabilities(drawn).argmax(axis=1) == labels).mean() > 0.93
    held_out = datasets.digits().validation
    keras.utils.set_random_seed(0)
    loss = np.mean(model((held_out.images, held_out.labels)))
    assert loss == pytest.approx(checkpoints.record("digits_diffusion")["val_loss"][-1], rel=0.04)
