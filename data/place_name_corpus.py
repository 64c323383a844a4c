"""Builds `data/place_names.json.xz` from Babel's CLDR data: `python data/place_name_corpus.py`."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from typing import Any

from course_utils.datasets import PlaceName, bare
from course_utils.runtime import DATA_DIR
from reference_corpus import split_of

MIN_NAMES = 20  # languages with fewer names cannot be learned or judged
# Codes of unions, of outlying places and of test data.
NOT_TERRITORIES = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})


def build() -> dict[str, Any]:
    """The content of the file: where it is from, and [name, language, territory] by split."""
    from babel import __version__ as babel_version

    names, parts = cldr_names(), dict[str, list[list[str]]]()
    per_language = Counter(place.language for place in names)
    taken: set[str] = set()
    for split in ("train", "validation", "test"):
        parts[split] = [
            [place.name, place.language, place.territory]
            for place in names
            if split_of(place.territory) == split
            and per_language[place.language] >= MIN_NAMES
            and bare(place.name) not in taken
        ]
        taken.update(bare(name) for name, _, _ in parts[split])
    return {"source": f"CLDR in Babel {babel_version}", "names": parts}


def cldr_names() -> list[PlaceName]:
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


def main() -> None:
    """Write the file, and enter it in the registry."""
    sys.path.append(str(DATA_DIR / "checkpoints"))
    from recipes import store_packed

    store_packed("place_names", build(), "Unicode-3.0")


if __name__ == "__main__":
    main()
