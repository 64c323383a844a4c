"""Data sets of short sounds; see `data/README.md`."""

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_utils import download
from course_utils.download import Split

SAMPLES = 4_096  # of every sound, about half a second


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
