"""The interactive parts with images: every page of the slider grid, and the sliders themselves."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import keras
import matplotlib.image
import numpy as np
import pytest

from course_utils import widgets
from course_utils.models.masked import DigitClassifier, PatchEncoder
from course_utils.models.mixture import PixelMixture
from course_utils.models.vae import VAE
from lessons import function

ROWS, COLUMNS = 6, 5


@pytest.fixture(scope="module")
def images():
    """300 images of 6 × 5 pixels in [0, 1] in three classes: one dark row each."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    x = rng.uniform(0, 0.3, (300, ROWS, COLUMNS))
    x[np.arange(300), 2 * labels] += 0.7
    return x, labels


@pytest.fixture(scope="module")
def model(images):
    return PixelMixture(4, components=1, regularisation=0.01).fit(*images)


def page_of(lesson, wanted, **names):
    """A page that a lesson defines, with what it reads there given by name."""
    return function(lesson, wanted, np=np, widgets=widgets, **names)


def parts(page):
    """The picture (height, width, 4), its alternative text, and the words below it."""
    found = re.fullmatch(r"<img src='data:image/png;base64,(.+?)' alt='(.+?)' .+><p>(.+)</p>", page)
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(found[1]))), found[2], found[3]


def test_every_class_and_draw_has_a_page(model, images):
    sample_page = page_of("02_concepts", "sample_page", mixture=model, x_train=images[0])
    said = set()
    for digit in range(3):
        for draw in range(4):
            picture, alternative, words = parts(sample_page(digit, draw))
            assert picture.shape[:2] == (2 * ROWS, 8 * COLUMNS)
            assert alternative == words and f"class {digit}, number {draw};" in words
            guesses = re.search(r"reads them as ([\d, ]+)\.", words)[1].split(", ")
            assert guesses.count(str(digit)) >= 6
            said.add(words)
    assert len(said) == 12


def test_below_each_draw_stands_the_nearest_training_image(model, images):
    sample_page = page_of("02_concepts", "sample_page", mixture=model, x_train=images[0])
    picture, _, words = parts(sample_page(1, 2))
    shown = 1 - picture[ROWS:, :COLUMNS, 0]  # dark on white
    apart = np.abs(images[0].clip(0, 1) - shown).max(axis=(1, 2))
    assert apart.min() < 0.01
    drawn = np.clip(model.sample(8, seed=2, label=1), 0, 1)
    nearest = ((images[0] - drawn[0]) ** 2).sum(axis=(1, 2)).argmin()
    assert apart.argmin() == nearest


def test_every_image_and_number_of_hidden_rows_has_a_page(model, images):
    fill_page = page_of("02_concepts", "fill_page", mixture=model, x_validation=images[0][:4])
    said = set()
    for image in range(4):
        for hidden in range(1, ROWS):
            picture, alternative, words = parts(fill_page(image, hidden))
            assert picture.shape[:2] == (ROWS, 6 * COLUMNS)
            assert alternative == words
            assert f"Image {image}: " in words and f"lower {hidden} rows" in words
            shares = [int(share) for share in re.findall(r"\((\d+)%\)", words)]
            assert shares == sorted(shares, reverse=True) and 98 <= sum(shares) <= 102
            seen = 1 - picture[: ROWS - hidden, :, 0]
            for copy in range(1, 6):  # the seen rows are the same in all six
                columns = slice(copy * COLUMNS, (copy + 1) * COLUMNS)
                assert np.array_equal(seen[:, columns], seen[:, :COLUMNS])
            assert picture[ROWS - hidden :, COLUMNS : 2 * COLUMNS, 0].min() == 1, "not hidden"
            said.add(words)
    assert len(said) == 4 * (ROWS - 1)


def test_what_is_seen_decides_the_class(model, images):
    """Class 0 has its dark row in sight, so nothing is left open."""
    fill_page = page_of("02_concepts", "fill_page", mixture=model, x_validation=images[0])
    _, _, words = parts(fill_page(0, 3))
    assert "reads: 0 (100%)" in words


def test_all_rows_hidden_is_refused(model, images):
    fill_page = page_of("02_concepts", "fill_page", mixture=model, x_validation=images[0])
    with pytest.raises(ValueError, match="all pixels are hidden"):
        fill_page(0, ROWS)


@pytest.fixture(scope="module")
def autoencoder():
    """A VAE of 28 × 28 pixels that was not trained, a classifier, and codes of four images."""
    keras.utils.set_random_seed(0)
    model, judge = VAE(latent_dim=3, width=8, blocks=0), DigitClassifier(PatchEncoder(depth=1))
    return model, judge, np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def test_every_image_dimension_and_value_has_a_page(autoencoder):
    model, judge, codes = autoencoder
    said, kept = set(), codes.copy()
    for image in range(4):
        for dimension in range(3):
            for value in range(-3, 4):
                page = widgets.latent_page(*autoencoder, image, dimension, value)
                picture, alternative, words = parts(page)
                assert picture.shape[:2] == (28, 9 * 28) and alternative == words
                shown = (1 - picture[..., 0]).reshape(28, 9, 28).swapaxes(0, 1)
                z = np.repeat(codes[image : image + 1], 9, axis=0)
                z[1:, dimension] = [value, *range(-3, 4)]
                np.testing.assert_allclose(shown, model.decode(z), atol=0.01)
                read = judge.probabilities(model.decode(z)).argmax(axis=1)
                assert re.findall(r"(\d) \(\d+%\)", words) == [str(digit) for digit in read]
                assert (
                    f"z[{dimension}] = {value} in place of {codes[image, dimension]:.1f}" in words
                )
                said.add(words)
    assert len(said) == 4 * 3 * 7
    np.testing.assert_array_equal(codes, kept)


def test_codes_of_another_size_are_refused(autoencoder):
    model, judge, codes = autoencoder
    with pytest.raises(ValueError, match="the codes have 2 dimensions and the model 3"):
        widgets.latent_page(model, judge, codes[:, :2], 0, 0, 1.0)


def test_the_path_from_one_image_to_another(autoencoder):
    model, judge, _ = autoencoder
    x = np.random.default_rng(0).integers(0, 2, (3, 28, 28)).astype(np.float32)
    ends = np.asarray(model.encode(x)[0])
    named = {"convolutional": model, "judge": judge, "b_validation": x}
    morph_page = page_of("04b_image_generation", "morph_page", **named)
    for first, second in [(0, 1), (1, 0), (2, 2)]:
        picture, alternative, words = parts(morph_page(first, second))
        shown = (1 - picture[..., 0]).reshape(2, 28, 9, 28).swapaxes(1, 2)  # (2, 9, 28, 28)
        assert alternative == words and f"From image {first} to image {second}." in words
        for at, share in ((0, 0.0), (2, 0.25), (8, 1.0)):
            z = (1 - share) * ends[[first]] + share * ends[[second]]
            np.testing.assert_allclose(shown[0, at], model.decode(z)[0], atol=0.01)
            blend = (1 - share) * x[first] + share * x[second]
            np.testing.assert_allclose(shown[1, at], blend, atol=0.01)
        assert len(re.findall(r"\d \(\d+%\)", words)) == 9


def test_each_model_fills_what_is_erased(autoencoder):
    _, judge, _ = autoencoder
    x = np.random.default_rng(0).integers(0, 2, (4, 28, 28)).astype(np.float32)
    upper = np.broadcast_to(np.arange(28)[:, None] < 14, (28, 28))
    halves = {"lower": upper, "upper": ~upper}
    fills = {f"all {v}": lambda x, seen, v=v: np.where(seen, x, v) for v in (0.25, 0.75)}
    named = {"fills": fills, "judge": judge, "b_validation": x, "halves": halves}
    erase_page = page_of("04b_image_generation", "erase_page", **named)
    for image in range(4):
        for erased, seen in halves.items():
            picture, alternative, words = parts(erase_page(image, erased))
            shown = (1 - picture[..., 0]).reshape(28, 4, 28).swapaxes(0, 1)
            hidden = [x[image][~seen], 0, 0.25, 0.75]
            for one, value in zip(shown, hidden, strict=True):
                np.testing.assert_allclose(one[seen], x[image][seen], atol=0.01)
                np.testing.assert_allclose(one[~seen], value, atol=0.01)
            assert alternative == words and f"Image {image}: whole; without its {erased}" in words
            assert re.search(r"all 0.25, read as \d \(\d+%\); all 0.75, read as \d", words)


def test_every_step_and_guidance_has_a_page(autoencoder):
    _, judge, _ = autoencoder
    rng, paths = np.random.default_rng(0), {}
    for guidance in (0, 2):
        pairs = rng.uniform(-1, 1, (3, 2, 10, 28, 28)).astype(np.float32)
        paths[guidance] = [(t, *pair) for t, pair in zip((600, 300, 0), pairs, strict=True)]
    said, denoise_page = set(), page_of("05b_diffusion", "denoise_page", paths=paths, judge=judge)
    for guidance, stops in paths.items():
        for step, (t, x, guess) in enumerate(stops, start=1):
            picture, alternative, words = parts(denoise_page(step, guidance))
            shown = (1 - picture[..., 0]).reshape(2, 28, 10, 28).swapaxes(1, 2)
            np.testing.assert_allclose(shown, (np.array([x, guess]) + 1) / 2, atol=0.01)
            wanted = f"After step {step} of 3 with guidance {guidance}, at t = {t}. "
            assert alternative == words and words.startswith(wanted)
            read = judge.probabilities((guess + 1) / 2).argmax(axis=1)
            assert re.findall(r"(\d) \(\d+%\)", words) == [str(digit) for digit in read]
            said.add(words)
    assert len(said) == 6


def test_sliders_change_the_page():
    part = widgets.sliders(
        lambda **at: f"<p>{at}</p>", "course-part", digit=(3, 0, 9), hidden_rows=(1, 1, 5)
    )
    digit, rows, output = part.children
    assert part._dom_classes == ("course-part",)
    assert output._dom_classes == ("course-alternative",)
    assert (digit.description, rows.description) == ("digit", "hidden rows")
    assert output.value == "<p>{'digit': 3, 'hidden_rows': 1}</p>"
    for value in range(10):
        digit.value = value
        assert output.value == f"<p>{{'digit': {value}, 'hidden_rows': 1}}</p>"
    rows.value = 5
    assert output.value == "<p>{'digit': 9, 'hidden_rows': 5}</p>"


def test_a_slider_over_a_list_takes_each_of_its_values():
    part = widgets.sliders(
        lambda **at: f"<p>{at}</p>", "course-part", labels=[10, 300, 4000], draw=(0, 0, 2)
    )
    labels, draw, output = part.children
    assert labels.description == "labels"
    assert tuple(labels.options) == (10, 300, 4000)
    assert output.value == "<p>{'labels': 10, 'draw': 0}</p>"
    for value in (4000, 10, 300):
        labels.value = value
        assert output.value == f"<p>{{'labels': {value}, 'draw': 0}}</p>"
    draw.value = 2
    assert output.value == "<p>{'labels': 300, 'draw': 2}</p>"


def wrong_at(labels, places):
    """Guesses that are right but at these places."""
    guesses = labels.copy()
    guesses[places] = (labels[places] + 1) % 3
    return guesses


def errors_page(predicted, x, labels):
    """The page of lesson 01 for one number of labels, 10."""
    written = {arm: {"10": {"predicted": ["".join(map(str, p))]}} for arm, p in predicted.items()}
    digits = SimpleNamespace(test=SimpleNamespace(images=x, labels=labels))
    named = {"results": {"classifiers": written}, "digits": digits}
    return page_of("01_background", "errors_page", **named)(10)


def test_errors_are_counted_and_shown(images):
    x, labels = images[0][:100], images[1][:100]
    page = errors_page({"a tree": wrong_at(labels, [7, 50, 98])}, x, labels)
    picture, alternative, words = parts(page)
    assert alternative == words
    wanted = "a tree: 97.0% right, 3 of 100 wrong: 1 read as 2, 2 read as 0, 2 read as 0."
    assert words == wanted
    shown = np.split(1 - picture[:, :, 0], 3, axis=1)  # dark on white
    assert np.array(shown) == pytest.approx(x[[7, 50, 98]].clip(0, 1), abs=0.01)


@pytest.mark.parametrize("wrong", [24, 25, 60])
def test_at_most_24_errors_are_shown(images, wrong):
    x, labels = images[0][:100], images[1][:100]
    page = errors_page({"none": wrong_at(labels, np.arange(wrong))}, x, labels)
    picture, _, words = parts(page)
    assert picture.shape[:2] == (ROWS, 24 * COLUMNS)
    assert words.count("read as") == 24
    assert f"{100 - wrong}.0% right, {wrong} of 100 wrong" in words
    assert ("the first 24" in words) == (wrong > 24)


def test_where_nothing_is_wrong_there_is_no_picture(images):
    x, labels = images
    page = errors_page({"all right": labels.copy()}, x, labels)
    assert "<img" not in page
    assert re.fullmatch(r"<p>all right: 100\.0% right, 0 of 300 wrong\.</p>", page)


def test_each_classifier_has_its_errors(images):
    x, labels = images
    predicted = {"one": wrong_at(labels, [0]), "two": labels, "three": wrong_at(labels, [1, 2])}
    page = errors_page(predicted, x, labels)
    assert [words.split(":")[0] for words in re.findall("<p>(.+?)</p>", page)] == list(predicted)
    assert page.count("<img") == 2
