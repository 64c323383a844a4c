"""Reference English: the docstrings of five installed libraries, split by file.

The files are parsed with `ast`, never imported. Documentation repeats itself, so a split by file
alone leaves most of the held-out text with a copy in the training text; `without_shared_passages`
removes such copies.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from course_utils import download

# Import name and distribution name of each library that is read.
LIBRARIES = {name: name for name in ("keras", "numpy", "pandas", "scipy")}
LIBRARIES["sklearn"] = "scikit-learn"

# Folders that are left out: tests, copies, and other people's code under other licences.
NOT_THEIR_OWN = frozenset(
    ["tests"]
    + ["api", "_tf_keras"]  # the interface of Keras once more
    + ["externals", "_external", "_vendored", "_uarray", "array_api_compat", "array_api_extra"]
    + ["cobyqa", "pyprima"]
)

MIN_CHARACTERS = 40  # shorter docstrings ("Fit model.") are labels rather than sentences
MAX_CODE_POINT = "\uffff"  # one beyond it would double the memory of every string that holds it
DOCUMENT_BREAK = "\n\n\n"  # between docstrings; two newlines part the paragraphs inside one
FORMAT = 1  # part of the cache key: raise it when this module would extract another text

SHARED_CHARACTERS = 64
"""A passage of this length in two splits counts as a copy; a power of two.

Docstring lines are wrapped at 72 to 79 columns with an indent of 4 or 8, so 64 characters are
about one whole line: whole lines are copied, shorter stock phrases are the language of the field.
"""

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Page:
    """The docstrings of one source file."""

    library: str  # import name, such as "numpy"
    path: str  # such as "numpy/linalg/_linalg.py"
    text: str  # the docstrings, joined by `DOCUMENT_BREAK`
    split: str  # "train", "validation" or "test"


def split_of(key: str) -> str:
    """Split that a key falls into, the same everywhere: 90% train, 5% validation, 5% test.

    The key is what must not be torn apart, such as a file's path or a territory's code.
    """
    digest = hashlib.sha256(key.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.90 else "validation" if share < 0.95 else "test"


def load() -> dict[str, Any]:
    """The extracted corpus, from the cache if these versions were extracted before.

    `"pages"` is a list of `[path, text]` in the order of the path's hash, so that the start of the
    text is as mixed as the whole; `"validation"` and `"test"` are the text of these splits without
    passages that a split before them has too. Raises as `versions` does.
    """
    key = f"{versions()}; format {FORMAT}; shared {SHARED_CHARACTERS}"
    return dict(download.cached_json("reference_english", key, _build))


def versions() -> str:
    """Installed versions of the libraries, such as `"keras 3.15.1, numpy 2.4.6, …"`.

    A ModuleNotFoundError if one of them is not installed.
    """
    try:
        return ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES.values())
    except metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(
            f"reference_english is read from the documentation of {', '.join(LIBRARIES.values())}, "
            f"but {error.name} is not installed; install the course's requirements.lock"
        ) from None


def pages(corpus: dict[str, Any]) -> tuple[Page, ...]:
    """The pages of `load()`'s result."""
    return tuple(
        Page(path.split("/")[0], path, text, split_of(path)) for path, text in corpus["pages"]
    )


def joined(pages: Sequence[Page], split: str) -> str:
    """Text of all pages of one split."""
    return DOCUMENT_BREAK.join(page.text for page in pages if page.split == split)


def without_shared_passages(text: str, others: Sequence[str]) -> str:
    """Drop every paragraph that a passage shared with another text touches.

    What is left has no `SHARED_CHARACTERS` characters in a row in common with the others. As
    paragraphs that come to stand side by side can form a new shared passage, the search is
    repeated until it finds none. Documents are parted by `DOCUMENT_BREAK`, paragraphs by two
    newlines.

    Source: Lee et al. (2022), "Deduplicating Training Data Makes Language Models Better", who
        drop exact substrings of 50 tokens; here by hashing all windows instead of a suffix array.
    """
    known = [_window_hashes(other) for other in others]
    for hashes in known:
        hashes.sort()
    while True:
        shared = _shared(text, known)  # (len(text),)
        if not shared.any():
            return text
        documents, position = [], 0
        for document in text.split(DOCUMENT_BREAK):
            kept = []
            for paragraph in document.split("\n\n"):
                if not shared[position : position + len(paragraph)].any():
                    kept.append(paragraph)
                position += len(paragraph) + 2
            position += len(DOCUMENT_BREAK) - 2
            if kept:
                documents.append("\n\n".join(kept))
        text = DOCUMENT_BREAK.join(documents)


def _shared(text: str, known: Sequence[Hashes]) -> npt.NDArray[np.bool_]:
    """(len(text),): True for characters inside a window whose hash is known."""
    hashes = _window_hashes(text)
    order = np.argsort(hashes)  # to walk through the known ones once, in order
    hashes = hashes[order]
    starts = np.zeros(len(text) + 1, dtype=np.int32)  # windows that begin before this character
    for one in known:
        if len(one):
            nearest = one[np.minimum(np.searchsorted(one, hashes), len(one) - 1)]
            starts[order[nearest == hashes] + 1] = 1
    np.cumsum(starts, out=starts)
    before = np.maximum(np.arange(1, len(text) + 1) - SHARED_CHARACTERS, 0)
    return starts[1:] > starts[before]


def _window_hashes(text: str) -> Hashes:
    """Hash of each window, (len(text) - SHARED_CHARACTERS + 1,) or empty, modulo 2^64.

    By doubling: h_1 is a mixed code point, and h_2k[i] = h_k[i] B^k + h_k[i + k]. Equal windows
    have equal hashes; two unequal ones agree with a chance of about 2^-64: it costs a paragraph.
    """
    base, block = 0x9E3779B97F4A7C15, 1 << 20
    result = np.empty(max(0, len(text) - SHARED_CHARACTERS + 1), dtype=np.uint64)
    for start in range(0, len(result), block):  # in blocks, to keep the memory low
        piece = text[start : start + block + SHARED_CHARACTERS - 1]
        codes = np.frombuffer(piece.encode("utf-32-le"), dtype="<u4")
        hashes = codes * np.uint64(base)
        hashes ^= hashes >> np.uint64(29)
        length = 1
        while length < SHARED_CHARACTERS:
            power = np.uint64(pow(base, length, 2**64))
            hashes = hashes[:-length] * power + hashes[length:]
            length *= 2
        result[start : start + len(hashes)] = hashes
    return result


def _build() -> dict[str, Any]:
    seen: set[str] = set()
    texts = {}
    for path, docstrings in sorted(_docstrings_by_file()):
        new = [text for text in dict.fromkeys(docstrings) if text not in seen]
        seen.update(new)
        if new:
            texts[path] = DOCUMENT_BREAK.join(new)
    order = sorted(texts, key=lambda path: hashlib.sha256(path.encode()).digest())
    corpus: dict[str, Any] = {"pages": [[path, texts[path]] for path in order]}
    splits = ("train", "validation", "test")
    train, validation, test = (joined(pages(corpus), split) for split in splits)
    corpus["validation"] = without_shared_passages(validation, [train])
    corpus["test"] = without_shared_passages(test, [train, corpus["validation"]])
    return corpus


def _docstrings_by_file() -> Iterator[tuple[str, list[str]]]:
    """Path and cleaned docstrings of each source file."""
    for library in LIBRARIES:
        spec = util.find_spec(library)
        assert spec and spec.origin, f"{library} has no folder"
        root = Path(spec.origin).parent
        for file in root.rglob("*.py"):
            path = file.relative_to(root.parent)
            # These two files differ from one operating system to the next.
            varies = path.name.startswith(("_distributor_init", "__config__"))
            if varies or NOT_THEIR_OWN & set(path.parts):
                continue
            source = file.read_bytes()
            if b'"""' in source or b"'''" in source:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # old escapes in other people's strings
                    tree = ast.parse(source)
                cleaned = (_clean(text) for text in _docstrings(tree))
                kept = [text for text in cleaned if len(text) >= MIN_CHARACTERS]
                yield path.as_posix(), [text for text in kept if max(text) <= MAX_CODE_POINT]


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module, its classes and functions, in the order of the file."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield ast.get_docstring(node, clean=False) or ""
    for block in ("body", "orelse", "finalbody"):
        for statement in getattr(node, block, ()):
            if isinstance(statement, ast.Expr):
                yield from _added(statement.value)
            else:
                yield from _docstrings(statement)


def _added(call: ast.expr) -> Iterator[str]:
    """Strings that a statement such as `add_newdoc("numpy", "sin", "…")` gives to compiled code."""
    if isinstance(call, ast.Call):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if name.lstrip("_").startswith(("add_newdoc", "add_docstring")):
            for part in (part for argument in call.args for part in ast.walk(argument)):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _clean(docstring: str) -> str:
    """Without indent, trailing blanks and runs of blank lines."""
    lines = inspect.cleandoc(docstring.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()
