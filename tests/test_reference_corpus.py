"""How `data/reference_english.json.xz` is built, in small, and that it can be built again."""

from __future__ import annotations

import json
import lzma
import random
import re
import sys

import pytest

import reference_corpus
from course_utils import download
from course_utils.datasets import DOCUMENT_BREAK


def without_shared_passages(text: str, others: list[str]) -> str:
    """Of one page."""
    return reference_corpus.without_shared_passages([text], others)[0]


def test_what_is_read_from_a_package(tmp_path, monkeypatch):
    blanks, long = "  ", "that is long enough to count as a sentence"
    files = {
        "toy_library/__init__.py": f'"""Package {long}."""\r\n\r\nx = """No {long}."""\r\n',
        "toy_library/code.py": f'''
def function():
    """Function {long}.{blanks}

        Indented.



    Last.
    """
    def inner():
        """Inner {long}."""

if True:
    class Class:
        """Class {long}."""

        async def method(self):
            """Method {long}."""
else:
    def other():
        """Other {long}."""

def short():
    """Too short."""

def again():
    """Inner {long}."""

def emoji():
    """Emoji \U0001f600 {long}."""

raise SystemExit("this file must never be run")
''',
        "toy_library/copy.py": f'"""Class {long}."""',
        "toy_library/newdocs.py": f"add_newdoc('toy', ('f', '''Compiled {long}.\\r\\nEnd.'''))",
        "toy_library/tests/test.py": f'"""Test {long}."""',
        "toy_library/externals/other.py": f'"""Vendored {long}."""',
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content.encode())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reference_corpus, "LIBRARIES", {"toy_library": "toy"})
    monkeypatch.setattr(reference_corpus, "versions", lambda: "toy 1")
    built = reference_corpus.build()
    assert built["versions"] == "toy 1"
    texts = {page["path"]: page["text"] for page in built["pages"]}
    assert {path: text.split("\n\n\n") for path, text in texts.items()} == {
        "toy_library/__init__.py": [f"Package {long}."],
        "toy_library/code.py": [
            f"Function {long}.\n\n    Indented.\n\nLast.",
            *[f"{name} {long}." for name in ("Inner", "Class", "Method", "Other")],
        ],
        "toy_library/newdocs.py": [f"Compiled {long}.\nEnd."],
    }
    assert "toy_library" not in sys.modules


LETTERS = "".join(random.Random(0).choices("abcdefgh ", k=400))


def test_copies_are_dropped_by_the_paragraph():
    length = reference_corpus.SHARED_CHARACTERS
    copy, below = LETTERS[:length], LETTERS[100 : 100 + length - 1]
    text = f"first\n\n[{copy}]\n\nlast\n\n\nsecond document\n\n<{below}>\n\n\n{copy}"
    kept = without_shared_passages(text, [LETTERS])
    assert kept == f"first\n\nlast\n\n\nsecond document\n\n<{below}>"
    assert without_shared_passages(text, ["", "unrelated"]) == text
    assert without_shared_passages("", [LETTERS]) == ""
    across = f"{LETTERS[: length - 3]}\n\nq"  # the passage ends with the second paragraph's "q"
    assert without_shared_passages(f"{across} is touched too", [across]) == ""
    assert without_shared_passages(copy, [LETTERS, "other"]) == ""
    assert without_shared_passages(copy, ["other", LETTERS]) == ""


def test_paragraphs_that_come_together_are_compared_again():
    half = reference_corpus.SHARED_CHARACTERS * 2 // 3
    before, after = LETTERS[:half], LETTERS[half : 2 * half]
    copied = LETTERS[200 : 200 + reference_corpus.SHARED_CHARACTERS]
    others = [f"{before}\n\n{after}", copied]
    text = f"{before}\n\n{copied}\n\n{after}\n\n\nkept"
    assert without_shared_passages(text, others) == "kept"


@pytest.mark.parametrize("seed", range(5))
def test_no_copy_is_overlooked(seed):
    rng = random.Random(seed)
    source = "".join(rng.choices("ab\u03b1", k=3000))
    pieces = []
    for _ in range(60):
        start, size = rng.randrange(2900), rng.randrange(20, 150)
        pieces.append(source[start : start + size] + rng.choice(["\n\n", "\n\n\n", "x", "yz"]))
    text = "".join(pieces).strip("\n")
    kept = without_shared_passages(text, [source])
    length = reference_corpus.SHARED_CHARACTERS
    windows = {source[i : i + length] for i in range(len(source) - length + 1)}
    assert not any(kept[i : i + length] in windows for i in range(len(kept)))
    untouched = [
        paragraph
        for paragraph in re.split("\n{2,}", text)
        if not any(paragraph[i : i + length] in windows for i in range(len(paragraph)))
    ]
    assert re.split("\n{2,}", kept) == untouched


def test_long_texts_are_hashed_in_blocks():
    text = "".join(random.Random(1).choices("abcdefgh", k=(1 << 20) + 500))
    hashes = reference_corpus._window_hashes(text)
    assert len(hashes) == len(text) - reference_corpus.SHARED_CHARACTERS + 1
    for start in (0, (1 << 20) - 1, 1 << 20, len(hashes) - 1):
        window = text[start : start + reference_corpus.SHARED_CHARACTERS]
        assert hashes[start] == reference_corpus._window_hashes(window)[0]


def test_pages_are_compared_as_one_text():
    length = reference_corpus.SHARED_CHARACTERS
    ends, begins = LETTERS[: length // 2], LETTERS[length // 2 : length]
    pages = [f"own\n\n{ends}", "", begins, f"second{DOCUMENT_BREAK}third"]
    known = f"{ends}{DOCUMENT_BREAK}{begins}"  # a passage that runs from one page into the next
    kept = reference_corpus.without_shared_passages(pages, [known])
    assert kept == ["own", "", "", f"second{DOCUMENT_BREAK}third"]


@pytest.fixture(scope="module")
def stored():
    content = lzma.decompress(download.shipped("reference_english").read_bytes())
    return json.loads(content)


@pytest.mark.slow
def test_built_again_from_the_installed_libraries(stored):
    if stored["versions"] != reference_corpus.versions():
        pytest.skip(f"it was built from other versions: {stored['versions']}")
    assert reference_corpus.build() == stored


def test_the_licences_come_along(repo, stored):
    text = (repo / "data" / "reference_english.LICENSES.txt").read_text(encoding="utf-8")
    assert stored["versions"] in text
    for holder in ("NumPy Developers", "SciPy Developers", "The scikit-learn developers"):
        assert re.search(rf"Copyright \(c\) .*{holder}", text)
    assert "Apache License\n" in text and "PyData Development Team" in text
    if stored["versions"] == reference_corpus.versions():
        assert reference_corpus.licences(stored) == text
