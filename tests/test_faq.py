"""06_faq and the messages of the library name each other, and every answer runs by itself."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import course_utils.expected
from build import render
from course_utils import audio, datasets, metrics, text
from course_utils.models.mixture import PixelMixture
from course_utils.models.ngram import NGram
from course_utils.models.vae import VAE
from lessons import function
from plan import COURSE

NAME = "06_faq"
LIBRARY = Path(course_utils.__file__).parent
POINTER = re.compile(r"\(FAQ (\d+)\)")
QUESTION = re.compile(r"## (\d+) · .+\?$", re.MULTILINE)
SHARED = 3  # code cells in front of the first question that all of them may use


def pointers(tree: ast.Module, module: str) -> set[tuple[str, int]]:
    """The functions, methods by the name of their class, that name a question in a message."""
    found = set()

    def look(node: ast.AST, place: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                look(child, child.name)
            elif isinstance(child, ast.FunctionDef):
                own = place if child.name == "__init__" else f"{place}.{child.name}"
                look(child, own)
            elif isinstance(child, ast.Constant) and isinstance(child.value, str):
                found.update((place, int(number)) for number in POINTER.findall(child.value))
            else:
                look(child, place)

    look(tree, module)
    return found


def in_library() -> set[tuple[str, int]]:
    return {
        found
        for path in LIBRARY.rglob("*.py")
        for found in pointers(ast.parse(path.read_text("utf-8")), path.stem)
    }


@cache
def answers() -> dict[int, list[tuple[str, str]]]:
    """Kind and source of what belongs to each question; 0 is before the first, -1 after the last.

    A text cell is divided where a heading stands in it.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    number = 0
    for cell in render(NAME, COURSE).cells:
        code = cell.cell_type == "code"
        for part in [cell.source] if code else re.split(r"(?m)^(?=## )", cell.source):
            if not code and part.startswith("## "):
                question = QUESTION.match(part)
                number = int(question[1]) if question else -1
            found.setdefault(number, []).append((cell.cell_type, part))
    return found


def words(number: int) -> str:
    return "\n".join(source for kind, source in answers()[number] if kind == "markdown")


def code(number: int) -> list[str]:
    return [source for kind, source in answers()[number] if kind == "code"]


def listed(number: int) -> set[str]:
    """What the line "Messages" of an answer names."""
    line = re.search(r"^\*\*Messages:\*\* (.+)$", words(number), re.MULTILINE)
    return set(re.findall(r"`([\w.]+)`", line[1])) if line else set()


def test_there_are_ten_questions_each_with_its_parts() -> None:
    assert sorted(answers()) == [-1, *range(11)]
    for number in range(1, 11):
        for wanted in ("**Short answer.**", "**Experiment.**", "**Caveat.**", "**Deeper:**"):
            assert wanted in words(number), f"question {number} has no {wanted}"


def test_messages_and_answers_name_each_other() -> None:
    in_lesson = {(name, number) for number in range(1, 11) for name in listed(number)}
    assert in_lesson == in_library()


def test_pointers_are_found() -> None:
    source = "class A:\n def __init__(self): x = f'no {self} (FAQ 3)'\ndef f(): 'see (FAQ 12)'"
    assert pointers(ast.parse(source), "m") == {("A", 3), ("m.f", 12)}


def named(node: ast.AST) -> tuple[set[str], set[str]]:
    """Names that code binds, and names that it reads."""
    binds, reads = set(), set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            (reads if isinstance(part.ctx, ast.Load) else binds).add(part.id)
        elif isinstance(part, ast.FunctionDef | ast.ClassDef):
            binds.add(part.name)
        elif isinstance(part, ast.arg):
            binds.add(part.arg)
        elif isinstance(part, ast.alias):
            binds.add((part.asname or part.name).split(".")[0])
    return binds, reads


@pytest.mark.parametrize("number", range(1, 11))
def test_each_question_needs_the_first_cells_alone(number: int) -> None:
    assert len(code(0)) == SHARED
    known = set(dir(builtins)) | {"display"}
    for source in code(0) + code(number):
        binds, reads = named(ast.parse(source))
        known |= binds
        assert reads <= known, f"question {number} reads {sorted(reads - known)} of another one"


def assigned(source: str) -> set[str]:
    """Names that the statements of a cell bind, without those inside functions."""
    found = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            found |= {(a.asname or a.name).split(".")[0] for a in statement.names}
        elif isinstance(statement, ast.Assign | ast.For | ast.With):
            found |= named(statement)[0]
    return found


@pytest.mark.parametrize("number", range(1, 11))
def test_no_question_changes_what_all_share(number: int) -> None:
    shared = set().union(*map(assigned, code(0))) - {"i", "part", "parts"}
    changed = shared & set().union(*map(assigned, code(number)))
    assert not changed, f"question {number} gives another meaning to {sorted(changed)}"


def outside() -> None:
    course_utils.expected.check("distinct_characters", 0)


# What raises each message; the question it names is in the library's source alone.
RAISED: dict[str, Callable[[], Any]] = {
    "metrics.precision_recall": lambda: metrics.precision_recall(np.ones((9, 2)), np.ones((8, 2))),
    "VAE": lambda: VAE(beta=-1),
    "VAE.importance_weighted_bound": lambda: VAE(2, 4).importance_weighted_bound(
        np.zeros((1, 28, 28)), k=0
    ),
    "text.sampling_probabilities": lambda: text.sampling_probabilities(np.zeros(3), 0.0),
    "datasets.checked": lambda: datasets.checked(np.full((1, 28, 28), np.nan)),
    "audio.play": lambda: audio.play([0.1, np.nan]),
    "expected.check": outside,
    "text.contiguous_streams": lambda: text.contiguous_streams(np.zeros(9, np.int32)),
    "CharacterTokenizer.fit": lambda: text.CharacterTokenizer.fit("abc", min_count=9),
    "NGram.fit": lambda: NGram(5, 3).fit(np.zeros(4, np.int32)),
    "Images.balanced": lambda: datasets.Images(np.zeros((3, 28, 28)), np.arange(3)).balanced(2),
    "PixelMixture.fit": lambda: PixelMixture(2).fit(np.zeros((3, 2, 2)), np.arange(3)),
}


@pytest.mark.parametrize("name", RAISED)
def test_each_message_ends_with_its_question(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course_utils.runtime, "current_notebook", "00_start_here")
    numbers = dict(in_library())
    with pytest.raises((ValueError, AssertionError)) as raised:
        RAISED[name]()
    assert str(raised.value).endswith(f"(FAQ {numbers[name]})")


def test_every_message_is_raised() -> None:
    assert set(RAISED) == {name for name, _ in in_library()}


def test_first_not_finite_finds_data_weights_and_outputs() -> None:
    import keras

    find = function(NAME, "first_not_finite", np=np)
    layer = keras.layers.Dense(2)
    model = keras.Sequential([keras.layers.Input((3,)), layer])
    x = np.ones((4, 3), np.float32)
    assert find(model, x) == "nowhere"
    spoiled = x.copy()
    spoiled[2, 1] = np.inf
    assert find(model, spoiled) == "data: 1 of 4 rows, the first is 2"
    layer.kernel.assign(np.full((3, 2), 3e38, np.float32))
    assert find(model, x) == f"output of {layer.name}"
    layer.bias.assign([np.nan, 0])
    assert find(model, x) == "weight bias of shape (2,)"


def test_repeated_counts_passages_that_came_before() -> None:
    repeated = function(NAME, "repeated")
    assert repeated("abcdefgh", n=3) == 0
    assert repeated("abab", n=2) == pytest.approx(1 / 3)


def test_the_greedy_loop_is_found() -> None:
    loop = function(NAME, "greedy_loop", counted="abcabcabd")
    assert loop(1, "a") == (3, "bca")
