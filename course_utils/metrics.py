"""What is measured of a model and of its samples."""

import lzma
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from course_utils.datasets import checked
from course_utils.runtime import release_memory


def bits_per_character(log_prob: NDArray[Any] | float, characters: int) -> float:
    """Bits per character of so many `characters`, from the log_prob of their tokens in nats."""
    return float(-np.sum(log_prob) / (characters * math.log(2)))


def xz_bits_per_character(texts: list[str], after: str = "") -> list[float]:
    """Bits per character that the xz compressor needs for each text by itself.

    It has read the text `after` before, and its dictionary reaches back over all of it; only the
    growth counts.
    """
    contents = [after, *(after + text for text in texts)]
    largest = max(len(content.encode()) for content in contents)
    dictionary = max(4096, 1 << (largest - 1).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": dictionary}]
    sizes = [len(lzma.compress(c.encode(), lzma.FORMAT_RAW, filters=filters)) for c in contents]
    return [8 * (n - sizes[0]) / len(text) for n, text in zip(sizes[1:], texts, strict=True)]


def longest_copied_passage(sample: str, text: str) -> str:
    """The first of the longest pieces of a sample, some hundreds of characters, that a text has."""
    start, length = 0, 0
    for i in range(len(sample)):
        while i + length < len(sample) and sample[i : i + length + 1] in text:
            start, length = i, length + 1
    return sample[start : start + length]


def frechet_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Squared Frechet distance of two Gaussians fitted to features, (N, D) and (M, D).

    It is biased upwards for few rows: compare only with distances of as many, of the same features.
    Source: Dowson & Landau (1982), The Frechet distance between multivariate normal
    distributions; Heusel et al. (2017) for its use on images.
    """
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    root = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(0)).sum()  # none is negative
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b) - 2 * root)


def precision_recall(
    real: NDArray[Any], made: NDArray[Any], neighbours: int = 3
) -> tuple[float, float]:
    """Share of made rows that lie where real ones are, and share of real rows where made ones are.

    A row "lies where others are" if it is within one of them's distance to its `neighbours`-th
    nearest neighbour. Both depend on the number of rows: a ValueError unless there are equally
    many, (N, D) each, and more than the neighbours. Source: Kynkäänniemi et al. (2019), Improved
    precision and recall metric for assessing generative models.
    """
    if len(real) != len(made) or len(real) <= neighbours:
        wanted = f"both must be equally many, and more than the {neighbours} neighbours (FAQ 3)"
        raise ValueError(f"{len(real)} real and {len(made)} made rows; {wanted}")

    def inside(rows: NDArray[Any], others: NDArray[Any]) -> float:
        radius = np.partition(cdist(others, others), neighbours, axis=1)[:, neighbours]  # 0: itself
        return float((cdist(rows, others) <= radius).any(axis=1).mean())

    return inside(made, real), inside(real, made)


@dataclass(frozen=True)
class ImageModel:
    """A line of `compare_images`."""

    name: str
    sample: Callable[[int], NDArray[Any]]  # n to (n, height, width) in [0, 1]
    nats: float | None = None  # minus a bound on the log-likelihood, or minus that itself
    seconds: float | None = None  # of training


def compare_images(
    models: list[ImageModel],
    features: Callable[[NDArray[Any]], NDArray[Any]],
    train: NDArray[Any],
    held_out: NDArray[Any],
) -> list[dict[str, Any]]:
    """One row a model, measured on as many samples as there are held-out images.

    Real images and noise may be among the models, as floor and ceiling. `features` takes images,
    (N, height, width), to (N, D). Frechet distances and nearest images are to the training images;
    precision and recall are by held-out ones. A row has `name`, `nats`, `frechet` (squared),
    `precision`, `recall`, `seconds`, `ms` a sample, and `nearer`: the share of samples nearer to a
    training image, in pixels, than the median held-out one. ValueError for no images in [0, 1].
    """
    known, real, rows = features(train), features(held_out), []

    def apart(images: NDArray[Any]) -> NDArray[Any]:
        from sklearn.metrics import pairwise_distances_argmin_min as nearest

        return nearest(*(np.reshape(x, (len(x), -1)) for x in (images, train)))[1]

    usual = np.median(apart(held_out))
    for model in models:
        model.sample(len(held_out))  # what is compiled is compiled here
        release_memory()
        start = time.perf_counter()
        images = checked(model.sample(len(held_out)))
        seconds, made = time.perf_counter() - start, features(images)
        row = {"name": model.name, "nats": model.nats, "frechet": frechet_distance(made, known)}
        row |= zip(("precision", "recall"), precision_recall(real, made), strict=True)
        row |= {"seconds": model.seconds, "ms": 1000 * seconds / len(images)}
        rows.append(row | {"nearer": np.mean(apart(images) < usual)})
    return rows
