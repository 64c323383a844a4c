"""Builds `data/reference_english.json.xz` and `data/reference_english.LICENSES.txt`.

`python data/reference_corpus.py` reads the docstrings of five installed libraries. The files are
parsed with `ast`, never imported. They are split by file; documentation repeats itself, so that
alone leaves most of the held-out text with a copy in the training text.
`without_shared_passages` removes such copies.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from course_utils.datasets import DOCUMENT_BREAK
from course_utils.runtime import DATA_DIR

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

SHARED_CHARACTERS = 64
"""A passage of this length in two splits counts as a copy; a power of two.

Docstring lines are wrapped at 72 to 79 columns with an indent of 4 or 8, so 64 characters are
about one whole line: whole lines are copied, shorter stock phrases are the language of the field.
"""

LICENCE = "BSD-3-Clause (NumPy, SciPy, scikit-learn, pandas), Apache-2.0 (Keras)"

Hashes = npt.NDArray[np.uint64]


def split_of(key: str) -> str:
    """Split that a key falls into, the same everywhere: 90% train, 5% validation, 5% test.

    The key is what must not be torn apart, such as a file's path or a territory's code.
    """
    digest = hashlib.sha256(key.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.90 else "validation" if share < 0.95 else "test"


def versions() -> str:
    """Installed versions of the libraries, such as `"keras 3.15.1, numpy 2.4.6, …"`.

    A PackageNotFoundError if one of them is not installed.
    """
    return ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES.values())


def without_shared_passages(pages: Sequence[str], others: Sequence[str]) -> list[str]:
    """Each page without the paragraphs that a passage shared with another text touches.

    What is left of the pages, joined by `DOCUMENT_BREAK`, has no `SHARED_CHARACTERS` characters
    in a row in common with the others. As paragraphs that come to stand side by side can form a
    new shared passage, the search is repeated until it finds none. Documents are parted by
    `DOCUMENT_BREAK`, paragraphs by two newlines; a page of which nothing is left is "".

    Source: Lee et al. (2022), "Deduplicating Training Data Makes Language Models Better", who
        drop exact substrings of 50 tokens; here by hashing all windows instead of a suffix array.
    """
    known = [_window_hashes(other) for other in others]
    for hashes in known:
        hashes.sort()
    kept = [page.split(DOCUMENT_BREAK) if page else [] for page in pages]  # documents
    while True:
        shared = _shared(DOCUMENT_BREAK.join(sum(kept, [])), known)  # one for each character
        if not shared.any():
            return [DOCUMENT_BREAK.join(documents) for documents in kept]
        position = 0
        for documents in kept:
            for i, document in enumerate(documents):
                paragraphs = []
                for paragraph in document.split("\n\n"):
                    if not shared[position : position + len(paragraph)].any():
                        paragraphs.append(paragraph)
                    position += len(paragraph) + 2
                position += len(DOCUMENT_BREAK) - 2
                documents[i] = "\n\n".join(paragraphs)
            documents[:] = filter(None, documents)


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


def build() -> dict[str, Any]:
    """Content of the file: versions of the libraries, and one page a source file.

    A page has `"path"`, `"split"` and `"text"`; outside the training part also `"deduplicated"`,
    the text without passages that a part before its own has too. Pages are in the order of the
    path's hash, so that the start of the text is as mixed as the whole.
    """
    seen: set[str] = set()
    texts = {}
    for path, docstrings in sorted(_docstrings_by_file()):
        new = [text for text in dict.fromkeys(docstrings) if text not in seen]
        seen.update(new)
        if new:
            texts[path] = DOCUMENT_BREAK.join(new)
    order = sorted(texts, key=lambda path: hashlib.sha256(path.encode()).digest())
    pages = [{"path": path, "split": split_of(path), "text": texts[path]} for path in order]
    earlier: list[str] = []
    for split in ("train", "validation", "test"):
        own = [page for page in pages if page["split"] == split]
        kept = [page["text"] for page in own]
        if earlier:
            kept = without_shared_passages(kept, earlier)
            for page, deduplicated in zip(own, kept, strict=True):
                page["deduplicated"] = deduplicated
        earlier.append(DOCUMENT_BREAK.join(filter(None, kept)))
    return {"versions": versions(), "pages": pages}


def _docstrings_by_file() -> Iterator[tuple[str, list[str]]]:
    """Path and cleaned docstrings of each source file."""
    for library in LIBRARIES:
        root = _root(library)
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


def _root(library: str) -> Path:
    """Folder of an installed library."""
    spec = util.find_spec(library)
    assert spec and spec.origin, f"{library} has no folder"
    return Path(spec.origin).parent


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


def licences(content: dict[str, Any]) -> str:
    """Licence texts and copyright notices of the pages, which must go wherever the pages go."""
    blocks = [f"Licences of reference_english.json.xz, which holds docstrings of {versions()}."]
    for library, name in LIBRARIES.items():
        paths = [page["path"] for page in content["pages"]]
        paths = sorted(path for path in paths if path.startswith(f"{library}/"))
        folder = _root(library).parent
        sources = {path: (folder / path).read_text(encoding="utf-8") for path in paths}
        wanted = {"", *(path.rpartition("/")[0] for path in paths)}  # folders
        named = set(re.findall(r"LICENSES/\w+", "".join(sources.values())))
        for file in metadata.files(name) or ():
            inside = file.as_posix().partition(".dist-info/")[2].removeprefix("licenses/")
            at, _, base = inside.rpartition("/")
            of_folder = at in wanted and base.startswith(("LICEN", "COPYING"))
            if of_folder or inside in named:
                text = file.read_text(encoding="utf-8")
                own = text.split("\n----\n")[0]  # what follows is about compiled libraries
                blocks.append(f"{name}, {inside}\n\n{own.strip()}")
        notices: dict[str, list[str]] = {}  # comment -> files that it stands in
        for path, source in sources.items():
            for comment in re.findall(r"(?:^#.*\n+)+", source, flags=re.MULTILINE):
                if "copyright" in comment.lower():
                    notices.setdefault(comment.strip(), []).append(path)
        blocks += [f"{', '.join(files)}\n\n{comment}" for comment, files in notices.items()]
    return f"\n\n{'=' * 80}\n\n".join(blocks) + "\n"


def main() -> None:
    """Write both files, and enter the first in the registry."""
    sys.path.append(str(DATA_DIR / "checkpoints"))
    from recipes import store_packed

    content = build()
    path = DATA_DIR / "reference_english.LICENSES.txt"
    path.write_text(licences(content), encoding="utf-8", newline="\n")
    store_packed("reference_english", content, LICENCE)


if __name__ == "__main__":
    main()
