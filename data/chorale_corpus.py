"""Builds `data/chorales.npz` from music21's corpus: `python data/chorale_corpus.py`."""

import hashlib
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from course_utils.runtime import DATA_DIR

Array = npt.NDArray[Any]

SHARED_BEATS = 12
"""So many quarter notes in common, in a row and in any key, make two melodies versions of one.

Fewer would chain most of the corpus together through its stock phrases.
"""


def build() -> dict[str, Array]:
    """Arrays of the file; `notes` and `onsets`, (T, 4), hold one chorale after the other."""
    from music21 import corpus

    titles, notes, onsets = [], [], []
    for path in sorted(corpus.getComposer("bach")):
        score = corpus.parse(path, forceSource=True) if path.suffix in (".mxl", ".xml") else None
        if score and [part.partName for part in score.parts] == "Soprano Alto Tenor Bass".split():
            titles.append(f"BWV {path.stem.removeprefix('bwv')}")
            notes.append(np.zeros((ceil(4 * score.highestTime), 4), np.uint8))
            onsets.append(np.zeros(notes[-1].shape, bool))
            for voice, part in enumerate(score.parts):
                for note in part.stripTies().flatten().notes:
                    start = ceil(4 * note.offset)  # what sounds on the sixteenth counts
                    end = ceil(4 * (note.offset + note.quarterLength))
                    notes[-1][start:end, voice] = note.pitch.midi
                    onsets[-1][start:end, voice] = np.arange(start, end) == start
    parts = split({title: piece[::4, 0] for title, piece in zip(titles, notes, strict=True)})
    return {
        "titles": np.array(titles),
        "lengths": np.array([len(piece) for piece in notes], np.int32),  # in sixteenth notes
        "parts": np.array([parts[title] for title in titles]),
        "notes": np.concatenate(notes),
        "onsets": np.concatenate(onsets),
    }


def split(melodies: dict[str, Array]) -> dict[str, str]:
    """Title -> part, for title -> (T,) soprano in quarter notes; versions are in one part."""
    versions = {title: [title] for title in melodies}  # one list for all versions of a melody
    first: dict[bytes, str] = {}
    for title, melody in melodies.items():
        steps = np.diff(melody.astype(np.int8))  # the same in any key
        for i in range(len(steps) - SHARED_BEATS + 2):
            others = versions[first.setdefault(steps[i : i + SHARED_BEATS - 1].tobytes(), title)]
            if others is not versions[title]:
                others += versions[title]
                versions |= dict.fromkeys(versions[title], others)
    parts: dict[str, str] = {}
    melody_names = {min(titles) for titles in versions.values()}
    for name in sorted(melody_names, key=lambda name: hashlib.sha256(name.encode()).digest()):
        share = len(parts) / len(melodies)
        part = "test" if share < 0.1 else "validation" if share < 0.2 else "train"
        parts |= dict.fromkeys(versions[name], part)
    return parts


if __name__ == "__main__":
    np.savez_compressed(DATA_DIR / "chorales.npz", allow_pickle=False, **build())
