"""The course's data sets: each with its splits, its source and its licence.

Datasheets are in `data/README.md`. Everything here works offline except what `download` fetches.
"""

import difflib
import json
import lzma
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from course_utils import download
from course_utils.chorales import chorales as chorales
from course_utils.download import Split
from course_utils.images import digits as digits
from course_utils.sounds import notes as notes
from course_utils.sounds import spoken_digits as spoken_digits

DOCUMENT_BREAK = "\n\n\n"  # between docstrings; two newlines part the paragraphs inside one
TEXTS = ("reference_english", "tiny_shakespeare")
LIBRARIES = ("keras", "numpy", "pandas", "scipy", "sklearn")  # of "reference_english"


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
