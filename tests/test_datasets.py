"""Texts and place names: what they hold, how they are split, and that nothing crosses the split."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import numpy as np
import pytest

import place_name_corpus
from course_utils import datasets, download
from reference_corpus import split_of

SPLITS = ("train", "validation", "test")
LIBRARIES = {"keras", "numpy", "pandas", "scipy", "sklearn"}

LOAD = """
import json, sys
from build import peak_memory_mb
from course_utils import datasets
before = peak_memory_mb()
text = datasets.text()
memory = peak_memory_mb() - before
parts = [text.train, text.validation, text.test, datasets.place_names()]
import hashlib
print(json.dumps({
    "hashes": [hashlib.sha256(repr(part).encode()).hexdigest() for part in parts],
    "memory": memory,
    "imported": sorted({"keras", "matplotlib", "pandas", "scipy", "sklearn", "tensorflow"}
                       & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def elsewhere(repo):
    """What another process reports that loads the texts, with another hash seed."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(repo), str(repo / "notebooks/source")])}
        | {"PYTHONHASHSEED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def english():
    return datasets.text("reference_english")


@pytest.fixture(scope="module")
def pages():
    content = datasets._shipped_json("reference_english")["pages"]
    with_library = ({"library": page["path"].split("/")[0], **page} for page in content)
    return [SimpleNamespace(**{"deduplicated": page["text"], **page}) for page in with_library]


@pytest.fixture(scope="module")
def places():
    return datasets.place_names()


def parts_of(data):
    return [getattr(data, split) for split in SPLITS]


def shares_passage(text: str, other: str, length: int = 200) -> str:
    """A passage of at least `length` characters that both texts have, or "".

    Such a passage holds a whole block of the other text, whichever way it is aligned, if the
    other text is cut into blocks of half that length. Blocks are compared first, then extended.
    """
    half = length // 2
    places = {other[i : i + half]: i for i in range(0, len(other) - half + 1, half)}
    for i in range(len(text) - half + 1):
        j = places.get(text[i : i + half])
        if j is not None:
            start, end = i, i + half
            while start and j and text[start - 1] == other[j - 1]:
                start, j = start - 1, j - 1
            j += end - start
            while end < len(text) and j < len(other) and text[end] == other[j]:
                end, j = end + 1, j + 1
            if end - start >= length:
                return text[start:end]
    return ""


# reference_english


def test_same_everywhere(elsewhere, english, places):
    ours = [*parts_of(english), places]
    assert elsewhere["hashes"] == [hashlib.sha256(repr(part).encode()).hexdigest() for part in ours]


def test_nothing_heavy_is_imported(elsewhere):
    assert elsewhere["imported"] == []


def test_memory_of_loading(elsewhere):
    assert elsewhere["memory"] < 200


def test_size_and_source(english):
    assert 9_000_000 < len(english.train) < 20_000_000
    assert len(english.validation) > 100_000 and len(english.test) > 100_000
    assert re.fullmatch(
        r"docstrings of keras [\d.]+, numpy [\d.]+, pandas .*, scipy .*, scikit-learn [\d.]+",
        english.source,
    )
    assert "BSD" in english.licence and "Apache" in english.licence
    with pytest.raises(FrozenInstanceError):
        english.train = ""


def test_no_shared_passage_of_200_characters(english):
    assert not shares_passage(english.validation, english.train)
    assert not shares_passage(english.test, english.train)
    assert not shares_passage(english.test, english.validation)


def test_the_plain_split_does_share_passages(english):
    plain = datasets.text("reference_english", deduplicate=False)
    assert plain.train == english.train
    assert len(shares_passage(plain.validation, plain.train)) >= 200
    assert len(shares_passage(plain.test, plain.train)) >= 200
    assert len(plain.validation) > len(english.validation)


def test_split_by_file(english, pages):
    assert len({page.path for page in pages}) == len(pages)
    assert {page.library for page in pages} == LIBRARIES
    shares = Counter(page.split for page in pages)
    assert shares["train"] / len(pages) == pytest.approx(0.9, abs=0.03)
    assert set(shares) == set(SPLITS)
    for split in SPLITS:
        own = set(
            re.split("\n{2,}", "\n\n".join(page.text for page in pages if page.split == split))
        )
        assert set(re.split("\n{2,}", getattr(english, split))) <= own


def test_some_libraries_alone(english, pages):
    two = datasets.text(libraries=("pandas", "keras"))
    for split in SPLITS:
        own = [p for p in pages if p.split == split and p.library in ("keras", "pandas")]
        kept = [page.deduplicated for page in own if page.deduplicated]
        assert getattr(two, split) == datasets.DOCUMENT_BREAK.join(kept)
    assert set(datasets.LIBRARIES) == LIBRARIES and two.source == english.source


def test_no_docstring_twice(pages):
    docstrings = [text for page in pages for text in page.text.split(datasets.DOCUMENT_BREAK)]
    assert len(docstrings) == len(set(docstrings))
    assert min(map(len, docstrings)) >= 40


def test_the_pages_are_docstrings(pages):
    by_path = {page.path: page for page in pages}
    assert "Singular Value Decomposition" in by_path["numpy/linalg/_linalg.py"].text
    assert "Trigonometric sine" not in by_path["numpy/linalg/_linalg.py"].text
    compiled = by_path["numpy/_core/_add_newdocs.py"].text  # strings, not docstrings, there
    assert "Base object if memory is from some other object." in compiled
    assert not [path for path in by_path if "/tests/" in path or "/externals/" in path]
    assert not any("\r" in page.text or " \n" in page.text for page in pages)


def test_what_a_held_out_page_keeps(pages):
    assert all(page.deduplicated == page.text for page in pages if page.split == "train")
    held_out = [page for page in pages if page.split != "train"]
    for page in held_out:
        kept = re.split("\n{2,}", page.deduplicated) if page.deduplicated else []
        left = iter(re.split("\n{2,}", page.text))
        assert all(paragraph in left for paragraph in kept), page.path  # in this order
    assert 0.4 < np.mean([len(p.deduplicated) / len(p.text) for p in held_out]) < 0.8
    assert "" in [page.deduplicated for page in held_out]


def test_the_start_of_the_text_mixes_the_libraries(pages):
    first = [page for page in pages if page.split == "train"][:100]
    assert len({page.library for page in first}) == len(LIBRARIES)


def test_splits_are_fixed():
    assert split_of("numpy/linalg/_linalg.py") == "test"
    assert [split_of(code) for code in ("FI", "AT", "IT")] == list(SPLITS)
    counts = Counter(split_of(f"file {i}") for i in range(10_000))
    assert counts["train"] == pytest.approx(9000, abs=150)
    assert counts["validation"] == pytest.approx(500, abs=100)


# tiny_shakespeare


def test_tiny_shakespeare():
    entry = download.registry()["tiny_shakespeare"]
    folder = os.environ.get("COURSE_DATA_DIR")
    if not folder or not os.path.exists(os.path.join(folder, entry.file)):
        pytest.skip(f"COURSE_DATA_DIR names no folder with a copy of {entry.file}")
    data = datasets.text("tiny_shakespeare")
    assert [len(part) for part in parts_of(data)] == [1_003_854, 111_540, 0]
    assert data.train.startswith("First Citizen:\nBefore we proceed")
    assert len(set(data.train)) == 65
    assert (data.licence, data.source) == ("public domain", entry.urls[0])


def test_tiny_shakespeare_without_network(monkeypatch):
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setattr(download, "RETRIES", 0)
    with pytest.raises(download.DataUnavailable) as raised:
        datasets.text("tiny_shakespeare")
    entry = download.registry()["tiny_shakespeare"]
    for part in (entry.file, entry.sha256, *entry.urls, "COURSE_DATA_DIR", "reference_english"):
        assert part in str(raised.value)


def test_unknown_text():
    with pytest.raises(ValueError, match="'shakespeare'.*'reference_english', 'tiny_shakespeare'"):
        datasets.text("shakespeare")


# place_names


def test_place_names(places):
    everything = [place for part in parts_of(places) for place in part]
    assert 50_000 < len(everything) < 80_000
    assert 200 < len(places.languages) < 350
    known = {(place.language, place.territory): place.name for place in everything}
    assert known["Finnish", "FI"] == "Suomi"
    assert known["English", "DE"] == "Germany"
    assert known["Serbian (Latin)", "DE"] == "Nemačka"
    assert "British English" not in places.languages
    assert len({(place.language, place.name) for place in everything}) == len(everything)
    assert all(re.fullmatch("[A-Z]{2}", place.territory) for place in everything)
    assert all(place.name and place.name != place.territory for place in everything)
    # Two names are dropped after the languages are chosen, since they would cross the split.
    least = min(Counter(place.language for place in everything).values())
    assert least >= place_name_corpus.MIN_NAMES - 2
    assert "Babel" in places.source and places.licence == "Unicode-3.0"


def test_no_name_and_no_territory_in_two_splits(places):
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        left, right = getattr(places, one), getattr(places, other)
        assert not {place.territory for place in left} & {place.territory for place in right}
        names = {datasets.bare(place.name) for place in left}
        assert not [place for place in right if datasets.bare(place.name) in names]


def test_bare_names():
    assert datasets.bare("Åland") == datasets.bare("ALAND") == "aland"
    assert datasets.bare("Côte d’Ivoire") == "cote d’ivoire"


def test_one_language(places):
    finnish = places.of("Finnish")
    assert finnish.languages == ("Finnish",)
    assert {place.language for part in parts_of(finnish) for place in part} == {"Finnish"}
    assert [len(part) > 0 for part in parts_of(finnish)] == [True] * 3
    assert "Ruotsi" in {place.name for part in parts_of(finnish) for place in part}


def test_unknown_language(places):
    with pytest.raises(ValueError, match="'Finish'; did you mean 'Finnish'"):
        places.of("Finish")
    with pytest.raises(ValueError, match=r"'Q'.*\.languages"):
        places.of("Q")


def test_place_names_built_again_from_babel(places):
    from babel import localedata

    if places.source != f"CLDR in Babel {importlib.metadata.version('babel')}":
        pytest.skip(f"it was built from {places.source}")
    built = place_name_corpus.build()
    assert len(localedata._cache) < 10, "the locales stay in memory"
    for split, rows in built["names"].items():
        stored = getattr(places, split)
        assert rows == [[place.name, place.language, place.territory] for place in stored]


# Datasheets


def rows(sheet: str) -> dict[str, list[int]]:
    """Rows of the data set's tables that hold numbers only: first cell -> the numbers."""
    found = re.findall(r"^\| (\w+) \| ([\d,| ]+) \|$", sheet, flags=re.MULTILINE)
    return {
        name: [int(cell.replace(",", "")) for cell in cells.split("|")] for name, cells in found
    }


@pytest.fixture(scope="module")
def sheets(repo):
    page = (repo / "data" / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))


def measured_with(sheet: str) -> str:
    (versions,) = re.findall(r"^\| measured with \| (.*) \|$", sheet, flags=re.MULTILINE)
    return versions


def test_datasheet_names_the_pinned_version(sheets, repo):
    lock = (repo / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==([^ ;]+)", lock, flags=re.MULTILINE))
    package, version = measured_with(sheets["place_names"]).split()
    assert pinned[package] == version, "measure again and mend data/README.md"


def test_datasheet_of_reference_english(sheets, english, pages):
    sheet = sheets["reference_english"]
    entry = download.registry("shipped")["reference_english"]
    assert english.source == f"docstrings of {measured_with(sheet)}"
    assert f"`{entry.file}`, {entry.bytes:,} bytes" in sheet and f"`{entry.sha256}`" in sheet
    plain = datasets.text("reference_english", deduplicate=False)
    files = Counter(page.split for page in pages)
    stated = rows(sheet)
    for split in SPLITS:
        measured = [files[split], len(getattr(plain, split)), len(getattr(english, split))]
        assert stated[split] == measured
    for library in LIBRARIES:
        assert stated[library] == [sum(len(p.text) for p in pages if p.library == library)]


def test_datasheet_of_place_names(sheets, places):
    sheet = sheets["place_names"]
    entry = download.registry("shipped")["place_names"]
    assert f"`{entry.file}`, {entry.bytes:,} bytes" in sheet
    assert places.source == f"CLDR in {measured_with(sheet).capitalize()}"
    stated = rows(sheet)
    for split in SPLITS:
        part = getattr(places, split)
        assert stated[split] == [len({place.territory for place in part}), len(part)]
    assert stated["languages"] == [len(places.languages)]


def test_datasheet_of_tiny_shakespeare(sheets):
    entry = download.registry()["tiny_shakespeare"]
    sheet = sheets["tiny_shakespeare"]
    for part in (entry.file, entry.sha256, f"{entry.bytes:,} bytes", entry.licence):
        assert part in sheet
    assert rows(sheet) == {"train": [1_003_854], "validation": [111_540], "test": [0]}
