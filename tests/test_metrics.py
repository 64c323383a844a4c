"""Measures of texts, on cases that can be checked by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.linalg

from course_utils import metrics
from course_utils.metrics import frechet_distance

WORDS = ["mean", "median", "axis", "array", "shape", "dtype", "returns", "the", "of", "value"]


def prose(characters, seed):
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(characters))[:characters]


def noise(characters, seed):
    """Text of four bits a character that no compressor can do anything about."""
    rng = random.Random(seed)
    return "".join(rng.choice("0123456789abcdef") for _ in range(characters))


def test_bits_per_character_by_hand():
    # Four tokens of probability 1/8 cost twelve bits; they stand for six characters.
    assert metrics.bits_per_character(np.full(4, math.log(1 / 8)), 6) == pytest.approx(2.0)
    assert metrics.bits_per_character(math.log(1 / 8), 1) == pytest.approx(3.0)
    assert metrics.bits_per_character(np.zeros((2, 5)), 10) == 0.0


def test_xz_needs_four_bits_for_four_random_bits():
    (bits,) = metrics.xz_bits_per_character([noise(20_000, seed=0)])
    assert 4.0 <= bits < 4.7


def test_xz_pays_almost_nothing_for_a_repeat():
    text = noise(20_000, seed=0)
    fresh, repeated = metrics.xz_bits_per_character([noise(20_000, seed=1), text], after=text)
    assert repeated < 0.05
    assert fresh > 4.0


def test_xz_reaches_back_over_all_that_it_has_read():
    text = noise(2_000, seed=0)
    between = "a" * 9_000_000  # more than the 8 MiB that the preset itself looks back
    (bits,) = metrics.xz_bits_per_character([text], after=text + between)
    assert bits < 0.3


def test_xz_charges_each_text_by_itself():
    first, second = prose(5_000, seed=0), prose(8_000, seed=1)
    together = metrics.xz_bits_per_character([first, second, first], after=second)
    apart = [metrics.xz_bits_per_character([t], after=second)[0] for t in (first, second, first)]
    assert together == pytest.approx(apart, abs=0.02)
    assert together[1] < 0.1 < together[0]


def test_xz_counts_characters_not_bytes():
    (ascii_bits,) = metrics.xz_bits_per_character([noise(5_000, seed=0)])
    greek = noise(5_000, seed=0).translate({ord(c): ord(c) - 48 + 0x3B1 for c in "0123456789"})
    assert metrics.xz_bits_per_character([greek])[0] > ascii_bits


@pytest.mark.parametrize(
    ("sample", "text", "passage"),
    [
        ("the cat sat", "a cat sat there", " cat sat"),
        ("abcXdefg", "abc defg", "defg"),  # the longer of two
        ("abXcd", "ab cd", "ab"),  # the first of equals
        ("abc", "zzabczz", "abc"),  # all of it
        ("abc", "xyz", ""),
        ("", "xyz", ""),
        ("aaaa", "aa", "aa"),
        ("Mean", "mean", "ean"),  # letter for letter
    ],
)
def test_longest_copied_passage(sample, text, passage):
    assert metrics.longest_copied_passage(sample, text) == passage


def test_a_copied_passage_is_found_in_a_long_text():
    text = prose(200_000, seed=0)
    sample = "§" + text[100_000:100_120] + "§" + prose(150, seed=1)
    assert metrics.longest_copied_passage(sample, text) == text[100_000:100_120]


# --- images --------------------------------------------------------------------------------------


def test_frechet_distance_of_two_gaussians():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T)).T)  # exactly N(0, I)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    wide = x * [3, 1] @ turn + [1, 2]
    # Shifted by (1, 2); standard deviations 3 and 1 against 1 and 1.
    assert frechet_distance(x, wide) == pytest.approx(5 + (3 - 1) ** 2, abs=1e-9)
    assert frechet_distance(wide, x) == pytest.approx(9, abs=1e-9)
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_covariances_that_do_not_commute():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) for _ in range(2))
    c_a, c_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c_a @ c_b).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(c_a + c_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_precision_and_recall_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [10.0]])
    made = np.array([[0.5], [1.5], [2.5], [3.5]])
    # With one neighbour: reals reach 1, 1, 1 and 8 far; made ones 1 each.
    assert metrics.precision_recall(real, made, neighbours=1) == (1.0, 0.75)
    assert metrics.precision_recall(made, real, neighbours=1) == (0.75, 1.0)


def test_what_is_left_out_costs_recall_and_what_is_outside_precision():
    rng = np.random.default_rng(0)
    lumps = rng.normal(size=(300, 2)) + np.repeat([[0, 0], [9, 0], [0, 9]], 100, axis=0)
    one, far = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + 50
    precision, recall = metrics.precision_recall(lumps, one)
    assert precision > 0.85 and 0.2 < recall < 0.4
    assert metrics.precision_recall(lumps, far) == (0, 0)


@pytest.mark.parametrize(("rows", "others"), [(5, 6), (3, 3)])
def test_precision_of_rows_that_cannot_be_compared(rows, others):
    with pytest.raises(ValueError, match=f"{rows} real and {others} made rows"):
        metrics.precision_recall(np.zeros((rows, 2)), np.zeros((others, 2)))


def images_of(n, seed):
    return np.random.default_rng(seed).random((n, 28, 28)).astype(np.float32) ** 2


def table(*samples):
    models = [metrics.ImageModel(f"model {i}", s, nats=1.5 * i) for i, s in enumerate(samples)]
    return metrics.compare_images(models, rows_of, images_of(200, 0), images_of(60, 1))


def rows_of(images):
    return images.reshape(len(images), 28, 28).mean(axis=2)[:, :6]


def test_one_table_for_all_models():
    real, copies, grey = table(
        lambda n: images_of(n, 2), lambda n: images_of(200, 0)[:n], lambda n: images_of(n, 2) / 2
    )
    assert real["frechet"] < 0.2 * grey["frechet"]
    assert copies["nearer"] == 1 and 0.25 < real["nearer"] < 0.75
    assert real["precision"] > 0.7 and grey["precision"] < 0.1
    assert (copies["name"], copies["nats"], copies["seconds"]) == ("model 1", 1.5, None)
    assert all(row["ms"] >= 0 for row in (real, copies, grey))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (np.full((60, 28, 28), np.nan), "grey values from nan to nan"),
        (np.full((60, 28, 28), -0.5), "grey values from -0.5 to -0.5; expected 0 to 1"),
        (np.zeros((60, 784)), r"images of shape \(60, 784\); expected \(N, 28, 28\)"),
    ],
)
def test_samples_that_are_no_images_do_not_reach_the_table(made, said):
    with pytest.raises(ValueError, match=said):
        table(lambda n: made)
