"""The course's data sets: each with its splits, its source and its licence.

Datasheets are in `data/README.md`. Everything here works offline except what `download` fetches.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from course_utils import corpus, download
from course_utils.chorales import chorales as chorales
from course_utils.corpus import Page, split_of
from course_utils.images import digits as digits
from course_utils.splits import Split

TEXTS = ("reference_english", "tiny_shakespeare")
MIN_NAMES = 20  # languages with fewer names cannot be learned or judged
# Codes of unions, of outlying places and of test data.
NOT_TERRITORIES = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})


class TextData(Split[str]):
    """A text, split."""


@dataclass(frozen=True, slots=True)
class PlaceName:
    """What a language calls a country or territory, such as `"Suomi"`, `"Finnish"`, `"FI"`.

    `name` is in the language's own script, Unicode NFC; `territory` is an ISO 3166-1 code.
    """

    name: str
    language: str
    territory: str


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

    def of(self, language: str) -> PlaceNames:
        """The names in one language; a ValueError, with the nearest names, for an unknown one."""
        if language not in self.languages:
            nearest = difflib.get_close_matches(language, self.languages, n=5, cutoff=0.5)
            hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
            known = f"`.languages` lists all {len(self.languages)}"
            raise ValueError(f"no place names in {language!r}{hint} {known}")
        train, validation, test = (
            tuple(place for place in part if place.language == language)
            for part in (self.train, self.validation, self.test)
        )
        return PlaceNames(self.name, train, validation, test, self.source, self.licence)


def text(name: str = "reference_english", *, deduplicate: bool = True) -> TextData:
    """A text, split into training, validation and test part.

    `"reference_english"`: the docstrings of NumPy, SciPy, scikit-learn, pandas and Keras as
    installed, split by source file, kept in the cache folder. `"tiny_shakespeare"`: all plays in
    one text, downloaded; as in published results, the last 10% (111,540 characters) are the
    validation part, and `test` is empty. A ValueError for another name; `DataUnavailable` for
    `"tiny_shakespeare"` with no copy and no network.

    Args:
        name: one of `TEXTS`.
        deduplicate: drop paragraphs from the validation and test part of `"reference_english"`
            that share `corpus.SHARED_CHARACTERS` characters in a row with a part before them.
            False gives the plain split by file, for comparison.
    """
    if name == "reference_english":
        extracted = corpus.load()
        pages = corpus.pages(extracted)
        parts = [corpus.joined(pages, split) for split in ("train", "validation", "test")]
        if deduplicate:
            parts[1:] = extracted["validation"], extracted["test"]
        source = f"docstrings of {corpus.versions()}"
        licence = "BSD-3-Clause (NumPy, SciPy, scikit-learn, pandas), Apache-2.0 (Keras)"
        return TextData(name, parts[0], parts[1], parts[2], source, licence)
    if name == "tiny_shakespeare":
        content = download.fetch(name).read_bytes().decode("utf-8")
        entry, end = download.registry()[name], len(content) * 9 // 10
        return TextData(name, content[:end], content[end:], "", entry.urls[0], entry.licence)
    raise ValueError(f"unknown text {name!r}; known: {', '.join(map(repr, TEXTS))}")


def reference_pages() -> tuple[Page, ...]:
    """One page a source file of `reference_english`, near-duplicates included, in a fixed mix."""
    return corpus.pages(corpus.load())


def place_names() -> PlaceNames:
    """Names of countries and territories in some 250 languages, from Unicode's CLDR.

    Regional variants of a language are left out, scripts of their own are kept. The split is by
    territory: names of one country are near-copies of each other across languages, so that after
    a random split more than half of the held-out names stand in the training part letter by
    letter. A held-out name that another territory of an earlier part has too is dropped.

    Source: Unicode Common Locale Data Repository, as packaged by Babel.
    """
    from babel import __version__ as babel_version

    names, parts = _cldr_names(), dict[str, tuple[PlaceName, ...]]()
    per_language = Counter(place.language for place in names)
    taken: set[str] = set()
    for split in ("train", "validation", "test"):
        parts[split] = tuple(
            place
            for place in names
            if split_of(place.territory) == split
            and per_language[place.language] >= MIN_NAMES
            and bare(place.name) not in taken
        )
        taken.update(bare(place.name) for place in parts[split])
    source = f"CLDR in Babel {babel_version}"
    return PlaceNames("place_names", **parts, source=source, licence="Unicode-3.0")


def bare(name: str) -> str:
    """A name without accents and case, to compare by: `bare("Åland") == "aland"`."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _cldr_names() -> list[PlaceName]:
    """What each locale itself says, nothing inherited; a name stands once a language."""
    from babel import Locale, localedata

    names = []
    for identifier in sorted(localedata.locale_identifiers()):
        if not re.fullmatch(r"[a-z]{2,3}(_[A-Z][a-z]{3})?", identifier):
            continue
        territories = localedata.load(identifier, merge_inherited=False).get("territories", {})
        if identifier != "en":  # Babel would keep every locale in memory: 160 MB
            getattr(localedata, "_cache", {}).pop(identifier, None)
        if not territories:
            continue
        language = Locale.parse(identifier).get_display_name("en") or identifier
        first: dict[str, str] = {}  # name -> territory
        for code in sorted(territories):
            name = unicodedata.normalize("NFC", territories[code]).strip()
            if re.fullmatch("[A-Z]{2}", code) and code not in NOT_TERRITORIES and name != code:
                first.setdefault(name, code)
        names += [PlaceName(name, language, code) for name, code in first.items()]
    return names
