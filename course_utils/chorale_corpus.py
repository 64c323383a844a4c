"""Builds `data/chorales.npz` from music21's corpus: `python -m course_utils.chorale_corpus`."""

from __future__ import annotations

import hashlib
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from course_utils.runtime import DATA_DIR

Array = npt.NDArray[Any]

SHARED_BEATS = 12
"""With as many quarter notes of melody in common, in a row and in any key, two chorales count as
versions of one melody. Fewer would chain most of the corpus together through stock phrases."""


def build() -> dict[str, Array]:
    """The file's arrays: `titles`, `lengths` (in sixteenth notes), `parts`, `notes`, `onsets`.

    The last two, (sum of lengths, 4) uint8 and bool, hold one chorale after the other.
    """
    from music21 import corpus

    titles, notes, onsets = [], [], []
    for path in sorted(corpus.getComposer("bach")):
        score = corpus.parse(path, forceSource=True) if path.suffix in (".mxl", ".xml") else None
        if score and [part.partName for part in score.parts] == "Soprano Alto Tenor Bass".split():
            titles.append(f"BWV {path.stem.removeprefix('bwv')}")
            notes.append(np.zeros((ceil(4 * score.highestTime), 4), np.uint8))
            onsets.append(np.zeros(notes[-1].shape, bool))
            for voice, part in enumerate(score.parts):
                for note in part.flatten().notes:
                    if not note.duration.isGrace:
                        start = ceil(4 * note.offset)
                        end = ceil(4 * (note.offset + note.quarterLength))
                        notes[-1][start:end, voice] = note.pitch.midi
                        struck = note.tie is None or note.tie.type == "start"
                        onsets[-1][start : start + 1, voice] |= struck
            onsets[-1] &= notes[-1] > 0
    parts = split({title: piece[::4, 0] for title, piece in zip(titles, notes, strict=True)})
    lengths = np.array([len(piece) for piece in notes], np.int32)
    joined = {"notes": np.concatenate(notes), "onsets": np.concatenate(onsets)}
    in_order = [parts[title] for title in titles]
    return {"titles": np.array(titles), "lengths": lengths, "parts": np.array(in_order)} | joined


def split(melodies: dict[str, Array]) -> dict[str, str]:
    """Title -> part (10% test, 10% validation, 80% train), with versions of a melody in one part.

    Args:
        melodies: title -> (T,) note numbers of the soprano on a grid of quarter notes.
    """
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
    for title in sorted(melodies, key=lambda title: hashlib.sha256(title.encode()).digest()):
        share = len(parts) / len(melodies)
        part = "test" if share < 0.1 else "validation" if share < 0.2 else "train"
        parts = dict.fromkeys(versions[title], part) | parts
    return parts


if __name__ == "__main__":
    np.savez_compressed(DATA_DIR / "chorales.npz", allow_pickle=False, **build())
