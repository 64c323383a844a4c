"""Bach's chorales as note numbers, and a benchmark of piano rolls; see `data/README.md`."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from course_utils import download
from course_utils.download import Split

SOPRANO = (60, 81)  # lowest and highest note of the training part's sopranos: C4 and A5
LOWEST = 21  # note number of the first column of a piano roll
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

GRIDS = {"quarter": 4, "sixteenth": 1}  # name of a time grid: its step in sixteenth notes


@dataclass(frozen=True, eq=False)
class Chorale:
    """A chorale, such as `"BWV 66.6"`, on a time grid that begins on a beat.

    `notes`, (T, 4): MIDI note numbers of soprano, alto, tenor and bass; 0 is a rest. `onsets`,
    (T, 4): True where a note was struck at this step or since the step before.
    """

    title: str
    notes: npt.NDArray[np.int16]
    onsets: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ChoraleData(Split[tuple[Chorale, ...]]):
    """Chorales on a `grid`, split so that versions of one melody are in one part."""

    grid: str


# Piano rolls, (T, 88) uint8, 1 where one of the pitches from 21 to 108 sounds; split.
RollData = Split[tuple[npt.NDArray[np.uint8], ...]]


def chorales(name: str = "chorales", grid: str = "quarter") -> ChoraleData | RollData:
    """Chorales: `"chorales"` in four voices, or, downloaded, the piano rolls of `"jsb"`.

    `"jsb"` has its published split of 229, 76 and 77 sequences, in quarter notes. Both sets hold
    the same works, so a model that is trained on one cannot be tested on the other. A ValueError
    for another name or grid; `DataUnavailable` with no copy and, for `"jsb"`, no network.
    Source: Boulanger-Lewandowski et al. (2012), Modeling temporal dependencies in
    high-dimensional sequences.
    """
    known = {"chorales": [*GRIDS], "jsb": ["quarter"]}
    if grid not in known.get(name, ()):
        raise ValueError(f"no chorales {name!r} on the grid {grid!r}; known: {str(known)[1:-1]}")
    if name == "jsb":
        from scipy.io import loadmat

        entry, content = download.registry()[name], loadmat(download.fetch(name))
        rolls = [tuple(content[key][0]) for key in ("traindata", "validdata", "testdata")]
        return RollData(name, rolls[0], rolls[1], rolls[2], entry.urls[0], entry.licence)
    step, parts = GRIDS[grid], {part: list[Chorale]() for part in ("train", "validation", "test")}
    with np.load(download.shipped(name), allow_pickle=False) as file:
        notes = file["notes"][::step].astype(np.int16)  # every chorale is a number of whole steps
        since = np.pad(file["onsets"], ((step - 1, 0), (0, 0)))[: step * len(notes)]
        onsets = since.reshape(-1, step, 4).any(axis=1) & (notes > 0)
        ends = np.cumsum(file["lengths"] // step)[:-1]
        split, titles = file["parts"].tolist(), file["titles"].tolist()
    pieces = zip(titles, np.split(notes, ends), np.split(onsets, ends), strict=True)
    for part, piece in zip(split, pieces, strict=True):
        parts[part].append(Chorale(*piece))
    train, validation, test = map(tuple, parts.values())
    source, licence = "music21's corpus", download.registry("shipped")[name].licence
    return ChoraleData(name, train, validation, test, source, licence, grid)


def note_name(number: int) -> str:
    """The name of a MIDI note number: 60 is "C4", 66 is "F#4", 70 is "Bb4"."""
    return f"{_NAMES[number % 12]}{number // 12 - 1}"


def note_number(name: str, span: tuple[int, int] = (0, 127)) -> int:
    """The MIDI note number of a name: "F#4" is 66; ValueError for no name, or outside `span`."""
    found = re.fullmatch(r"([A-G])([#b]?)(-?\d)", name.strip())
    if not found:
        raise ValueError(f"no note is called {name!r}; names are like 'C4', 'F#4' or 'Bb3'")
    letter, sign, octave = found.groups()
    number = 12 * int(octave) + 12 + _NAMES.index(letter) + {"": 0, "#": 1, "b": -1}[sign]
    if not span[0] <= number <= span[1]:
        low, high = map(note_name, span)
        raise ValueError(f"the note {name} is out of range; it must lie from {low} to {high}")
    return number


def piano_roll(notes: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Notes (T, voices), 0 a rest, as a roll (T, 88): 1 where a pitch sounds."""
    roll = np.zeros((len(notes), 88), np.uint8)
    frame, voice = np.nonzero(notes)
    roll[frame, notes[frame, voice] - LOWEST] = 1
    return roll
