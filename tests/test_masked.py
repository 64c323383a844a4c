"""Masked-image modelling: patches, the encoder, what is hidden and what leaks, its training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import erf, softmax

from course_utils.models.attention import TransformerBlock
from course_utils.models.masked import (
    DigitClassifier,
    MaskedImageModel,
    PatchEncoder,
    to_patches,
)
from course_utils.training import adamw

SMALL = {"patch_size": 4, "width": 8, "depth": 2, "heads": 2, "image_size": 12}  # 9 patches
PATCHES, VISIBLE = 9, 4
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)


def randomise(model, seed=0):
    """Weights large enough that everything that takes part in a result shows in it."""
    model.build()
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def encoder():
    return randomise(PatchEncoder(**SMALL))


@pytest.fixture(scope="module")
def model():
    return randomise(MaskedImageModel(PatchEncoder(**SMALL), visible=VISIBLE, width=8), seed=1)


def random_images(n=5, seed=0):
    return np.random.default_rng(seed).random((n, 12, 12)).astype(np.float32)


def random_orders(n=5, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(PATCHES) for _ in range(n)])


def with_other_pixels(images, patches):
    """The images with noise in the patches listed for each, (N, patches)."""
    changed = images.copy()
    for image, listed, noise in zip(changed, patches, random_images(seed=99), strict=True):
        for row, column in zip(*np.divmod(listed, 3), strict=True):
            place = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            image[place] = noise[place]
    return changed


# --- patches -------------------------------------------------------------------------------------


def test_patches_of_a_grid_that_is_no_square():
    images = np.random.default_rng(0).random((3, 4, 6)).astype(np.float32)
    by_hand = [
        [image[r : r + 2, c : c + 2].ravel() for r in (0, 2) for c in (0, 2, 4)] for image in images
    ]
    assert np.array_equal(to_patches(images, 2), by_hand)
    assert np.array_equal(to_patches(images[:, :, :4], 4), images[:, None, :, :4].reshape(3, 1, 16))


@pytest.mark.parametrize("size", [3, 4])
def test_patches_that_do_not_cover(size):
    with pytest.raises(ValueError, match=f"patches of {size} pixels do not cover images of 4 by 6"):
        to_patches(np.zeros((1, 4, 6), np.float32), size)


# --- the Transformer block -----------------------------------------------------------------------


def layer_norm(x, scale, shift):
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return (x - x.mean(axis=-1, keepdims=True)) / spread * scale + shift


def test_the_block_is_the_textbook_formula():
    block = TransformerBlock(width=12, heads=3)
    block(np.zeros((1, 5, 12)))
    rng = np.random.default_rng(0)
    block.set_weights([rng.normal(0, 0.5, w.shape) for w in block.get_weights()])
    x = rng.normal(size=(2, 5, 12)).astype(np.float32)

    normal = layer_norm(x, *block.norms[0].get_weights())
    query, query_bias, key, key_bias, value, value_bias, out, out_bias = (
        block.attention.get_weights()
    )
    heads = []
    for head in range(3):
        q = normal @ query[:, head] + query_bias[head]  # (batch, tokens, 4)
        k = normal @ key[:, head] + key_bias[head]
        v = normal @ value[:, head] + value_bias[head]
        heads.append(softmax(q @ k.swapaxes(1, 2) / np.sqrt(4), axis=-1) @ v @ out[head])
    wanted = x + sum(heads) + out_bias
    hidden, hidden_bias = block.hidden.get_weights()
    last, last_bias = block.output_layer.get_weights()
    assert hidden.shape == (12, 48)
    h = layer_norm(wanted, *block.norms[1].get_weights()) @ hidden + hidden_bias
    wanted = wanted + h * (1 + erf(h / np.sqrt(2))) / 2 @ last + last_bias  # GELU, exact
    assert block(x).numpy() == pytest.approx(wanted, abs=1e-4)


BLOCKS = {
    "block": lambda: TransformerBlock(10, 4),
    "no heads": lambda: TransformerBlock(10, 0),
    "encoder": lambda: PatchEncoder(width=10),
    "decoder": lambda: MaskedImageModel(PatchEncoder(), 5, width=10),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_heads_share_the_width(name):
    with pytest.raises(ValueError, match=r"[04] heads cannot share a width of 10 equally"):
        BLOCKS[name]()


# --- the encoder ---------------------------------------------------------------------------------


def test_to_keep_all_patches_is_the_same_as_to_name_none(encoder):
    images = random_images()
    everything = np.tile(np.arange(PATCHES), (5, 1))
    assert encoder(images).shape == (5, PATCHES, 8)
    assert encoder(images, everything).numpy() == pytest.approx(encoder(images).numpy(), abs=1e-5)


def test_each_patch_is_where_keep_says(encoder):
    images, order = random_images(), random_orders()
    whole = encoder(images).numpy()[np.arange(5)[:, None], order]
    assert encoder(images, order).numpy() == pytest.approx(whole, abs=1e-5)


def test_patches_that_are_not_kept_take_no_part(encoder):
    images, order = random_images(), random_orders()
    keep, dropped = order[:, :4], order[:, 4:]
    vectors = encoder(images, keep)
    assert vectors.shape == (5, 4, 8)
    assert np.array_equal(encoder(with_other_pixels(images, dropped), keep), vectors)
    for place in range(4):  # and each one that is kept does, in all vectors
        changed = encoder(with_other_pixels(images, keep[:, [place]]), keep)
        assert np.abs(changed - vectors).max(axis=2).min() > 1e-3


def test_it_matters_where_a_patch_stands(encoder):
    images = random_images()
    swapped = images.copy()
    swapped[:, :4], swapped[:, 4:8] = images[:, 4:8], images[:, :4]  # two rows of patches
    assert np.abs(encoder.features(swapped) - encoder.features(images)).max(axis=1).min() > 1e-2


def test_features_are_the_mean_over_patches(encoder):
    images = random_images(1203)
    wanted = encoder(images).numpy().mean(axis=1)
    assert encoder.features(images).shape == (1203, 8)
    assert encoder.features(images) == pytest.approx(wanted, abs=1e-5)
    assert encoder.features(images[:3]) == pytest.approx(wanted[:3], abs=1e-5)


def test_an_encoder_again_from_its_config(encoder):
    again = PatchEncoder.from_config(encoder.get_config())
    again.build()
    assert again.get_config() == encoder.get_config()
    again.set_weights(encoder.get_weights())
    images = random_images()
    assert again(images).numpy() == pytest.approx(encoder(images).numpy(), abs=1e-5)


def test_a_classifier_is_a_line_over_the_features(encoder):
    images, classifier = random_images(7), DigitClassifier(encoder)
    logits = classifier(images).numpy()
    assert logits.shape == (7, 10)
    weight, bias = classifier.layers[-1].get_weights()
    assert logits == pytest.approx(encoder.features(images) @ weight + bias, abs=1e-4)
    assert np.abs(logits - logits[0]).max(axis=1)[1:].min() > 1e-3


def test_probabilities_are_the_softmax_of_the_logits(encoder):
    images, classifier = random_images(7), DigitClassifier(encoder)
    e = np.exp(classifier(images).numpy())
    assert classifier.features(images) == pytest.approx(encoder.features(images), abs=1e-6)
    assert classifier.probabilities(images) == pytest.approx(e / e.sum(axis=1)[:, None], abs=1e-5)
    again = DigitClassifier.from_config(classifier.get_config())
    again.set_weights(classifier.get_weights())
    assert again.probabilities(images) == pytest.approx(classifier.probabilities(images), abs=1e-6)


def test_training_a_classifier_trains_its_encoder():
    encoder = randomise(PatchEncoder(**SMALL))
    before, classifier = encoder.get_weights(), DigitClassifier(encoder)
    classifier.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    classifier.fit(random_images(10), np.arange(10), verbose=0)
    for weight, old, new in zip(encoder.weights, before, encoder.get_weights(), strict=True):
        # A bias of the keys adds the same to all of a query's scores, so no loss depends on it.
        assert "key/bias" in weight.path or not np.array_equal(old, new), weight.path


# --- what is hidden ------------------------------------------------------------------------------


def test_targets_are_the_patches_that_are_hidden(model):
    images = random_images()
    (same, order), targets = model.hide(images)
    assert np.array_equal(same, images)
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(PATCHES), (5, 1)))
    assert targets.shape == (5, PATCHES - VISIBLE, 16)
    for image, listed, hidden in zip(images, order.numpy(), targets.numpy(), strict=True):
        for patch, pixels in zip(listed[VISIBLE:], hidden, strict=True):
            row, column = 4 * (patch // 3), 4 * (patch % 3)
            assert np.array_equal(pixels, image[row : row + 4, column : column + 4].ravel())


def test_every_patch_is_hidden_equally_often(model):
    (_, order), _ = model.hide(random_images(3000))
    often = np.bincount(order.numpy()[:, VISIBLE:].ravel()) / 3000
    assert often == pytest.approx([5 / 9] * PATCHES, abs=0.04)  # four standard deviations
    (_, other), _ = model.hide(random_images(3000))
    assert not np.array_equal(order, other)


def test_hidden_pixels_do_not_leak(model):
    images, order = random_images(), random_orders()
    logits = model((images, order)).numpy()
    assert logits.shape == (5, PATCHES - VISIBLE, 16)
    for place in range(PATCHES):
        changed = model((with_other_pixels(images, order[:, [place]]), order)).numpy()
        if place < VISIBLE:
            assert np.abs(changed - logits).max(axis=2).min() > 1e-3
        else:
            assert np.array_equal(changed, logits)


def test_logits_follow_the_order(model):
    images, order = random_images(), random_orders()
    logits = model((images, order)).numpy()
    turned = np.concatenate([order[:, :VISIBLE], order[:, :-6:-1]], axis=1)
    assert model((images, turned)).numpy() == pytest.approx(logits[:, ::-1], abs=1e-4)
    assert np.abs(logits - logits[:, ::-1])[:, :2].max(axis=2).min() > 1e-2
    # In which order the visible ones stand says nothing.
    turned = np.concatenate([order[:, VISIBLE - 1 :: -1], order[:, VISIBLE:]], axis=1)
    assert model((images, turned)).numpy() == pytest.approx(logits, abs=1e-4)


@pytest.mark.parametrize("visible", [-1, 0, 9, 10])
def test_something_is_seen_and_something_hidden(visible):
    wanted = f"visible must be from 1 to 8 of the 9 patches, got {visible}"
    with pytest.raises(ValueError, match=wanted):
        MaskedImageModel(PatchEncoder(**SMALL), visible)
    assert MaskedImageModel(PatchEncoder(**SMALL), visible=8).visible == 8


# --- saving and learning -------------------------------------------------------------------------


def test_saved_and_loaded(model, tmp_path):
    inputs = random_images(), random_orders()
    logits = model(inputs).numpy()
    again = MaskedImageModel.from_config(model.get_config())
    again.build()
    assert again.get_config() == model.get_config()
    assert np.abs(again(inputs) - logits).max() > 0.1
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    assert again(inputs).numpy() == pytest.approx(logits, abs=1e-5)


def test_saved_and_loaded_in_one_file(model, tmp_path):
    inputs = random_images(), random_orders()
    model.save(tmp_path / "model.keras")
    whole = keras.saving.load_model(tmp_path / "model.keras")
    assert whole(inputs).numpy() == pytest.approx(model(inputs).numpy(), abs=1e-5)


def stripes(n, seed):
    """Images of 8 × 8: stripes, four wide, that begin anywhere. A patch tells of its neighbour."""
    start = np.random.default_rng(seed).integers(8, size=(n, 1, 1))
    return np.broadcast_to((np.arange(8) + start) % 8 < 4, (n, 8, 8)).astype(np.float32)


def loss_after_training(of_another):
    """Cross-entropy of held-out stripes; the targets may be those of another image."""
    keras.utils.set_random_seed(0)
    encoder = PatchEncoder(patch_size=4, width=16, depth=1, heads=2, image_size=8)
    model = MaskedImageModel(encoder, visible=2, width=16)
    steps = 150
    model.compile(adamw(steps, learning_rate=1e-2), LOSS)
    inputs, targets = model.hide(stripes(64 * steps, seed=0))
    if of_another:
        targets = np.roll(targets, 1, axis=0)
    model.fit(inputs, targets, batch_size=64, shuffle=False, verbose=0)
    return model.evaluate(*model.hide(stripes(500, seed=1)), verbose=0)


def test_stripes_are_learned():
    mean_image = np.log(2)  # every pixel is dark in half of the images
    assert loss_after_training(of_another=False) < 0.25 * mean_image


def test_the_targets_of_another_image_teach_nothing():
    assert loss_after_training(of_another=True) > 0.95 * np.log(2)
