"""The questions at the end of each notebook: their form, their truth, what is said of answers."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import nbformat
import numpy as np
import pytest

import build
from contract import BANNED
from course_utils import exercises, metrics, progress, runtime
from course_utils.exercises import background, quiz
from plan import COURSE, PLAN

ALL = [(name, question) for name in COURSE.names() for question in quiz.questions(name)]
EACH = pytest.mark.parametrize(
    ("name", "question"), ALL, ids=[f"{name[:3].strip('_')}-{q.name}" for name, q in ALL]
)
CHECK = re.compile(r"\b(?:low|high)\('(\w+)'\)")
FAR = (-1e12, 0.123, 1e12)  # what a checked value is replaced by, to see an expression fail


def stored(name: str) -> Any:
    """The results of an experiment in `data/NAME.json`."""
    return json.loads((runtime.DATA_DIR / f"{name}.json").read_text("utf-8"))


def holds(notebook: str, expression: str, **replaced: float) -> bool:
    """The value of an expression, with the ends of the notebook's intervals or replacements."""
    checks = COURSE.results(notebook)["checks"]
    ends = {
        end: (lambda key, end=end: replaced.get(key, checks[key][end])) for end in ("low", "high")
    }
    names = {"np": np, "metrics": metrics, "exercises": exercises, "data": stored, **ends}
    return bool(eval(compile(expression, notebook, "eval"), names))


def mutated(expression: str) -> list[str]:
    """The expression with one number changed, once for each number and change."""
    found = []
    numbers = [n for n in ast.walk(ast.parse(expression)) if is_number(n)]
    for place in range(len(numbers)):
        for change in (lambda x: x + 1, lambda x: 10 * x, lambda x: x / 10):
            tree = ast.parse(expression, mode="eval")
            number = [n for n in ast.walk(tree) if is_number(n)][place]
            number.value = type(number.value)(change(number.value))
            found.append(ast.unparse(tree))
    return found


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


@pytest.mark.parametrize("name", [lesson.name for lesson in PLAN])
def test_a_notebook_has_three_to_five_questions(name: str) -> None:
    assert 3 <= len(quiz.questions(name)) <= 5


def test_there_is_no_other_file() -> None:
    files = {path.stem for path in (runtime.DATA_DIR / "quizzes").iterdir()}
    assert files == {lesson.name for lesson in PLAN}


@EACH
def test_form(name: str, question: quiz.Question) -> None:
    assert question.ask.endswith("?") and len(question.ask) <= 200
    options, lines = question.options, [question.because, *question.wrong.values()]
    assert 3 <= len(options) <= 4
    assert len({option.casefold() for option in options}) == len(options)
    assert len(set(lines)) == len(options), "every option has a line of feedback of its own"
    for option in options:
        assert len(option) <= 90 and not option.endswith("."), option
    for line in lines:
        assert 20 <= len(line) <= 130 and line.endswith("."), line
    lengths = sorted(map(len, options))
    assert lengths[-1] <= max(15, 1.7 * lengths[0]), f"options of unlike length: {lengths}"
    for words in (question.ask, *options, *lines):
        assert words == words.strip() and "\n" not in words
        assert not BANNED.search(words), words
        assert words[0] == words[0].upper() or words.startswith(("k-means", "xz", "where", "p(y"))


def test_the_right_answer_is_found_by_knowing_only() -> None:
    places = Counter(question.options.index(question.right) for _, question in ALL)
    assert set(places) == {0, 1, 2, 3} and max(places.values()) < len(ALL) / 2, places
    longest = sum(max(q.options, key=len) == q.right for _, q in ALL)
    shortest = sum(min(q.options, key=len) == q.right for _, q in ALL)
    assert max(longest, shortest) < 0.4 * len(ALL), (longest, shortest)


@EACH
def test_the_order_depends_on_the_words_alone(name: str, question: quiz.Question) -> None:
    wrong = dict(reversed(question.wrong.items()))
    other = quiz.Question(question.ask, question.holds, question.right, question.because, wrong)
    assert question.options == other.options
    assert sorted(question.options) == sorted([question.right, *question.wrong])


def test_names_are_unique() -> None:
    assert len({question.name for _, question in ALL}) == len(ALL) > 39


@EACH
def test_the_right_answer_holds(name: str, question: quiz.Question) -> None:
    assert holds(name, question.holds)


@EACH
def test_it_could_have_been_otherwise(name: str, question: quiz.Question) -> None:
    nodes = list(ast.walk(ast.parse(question.holds)))
    assert any(isinstance(node, ast.Compare) for node in nodes)
    assert any(isinstance(node, ast.Call) for node in nodes), "neither a check nor a computation"
    assert not any(isinstance(n, ast.Constant) and isinstance(n.value, bool) for n in nodes)
    checked = set(CHECK.findall(question.holds))
    for key in checked:
        found = [holds(name, question.holds, **{key: value}) for value in FAR]
        assert not all(found), f"{key} may have any value"
    if not checked:
        assert not all(holds(name, expression) for expression in mutated(question.holds))


def test_an_empty_claim_is_found() -> None:
    assert holds("00_start_here", "low('distinct_characters') < 11")
    assert not holds("00_start_here", "low('distinct_characters') < 10")
    assert not holds("00_start_here", "low('distinct_characters') < 11", distinct_characters=12)
    assert mutated("f(1) > 'a'") == ["f(2) > 'a'", "f(10) > 'a'", "f(0) > 'a'"]
    with pytest.raises(KeyError):
        holds("00_start_here", "low('no such check') < 1")
    assert background.purity.name == "background.purity"  # one of the names in the expressions


@EACH
def test_feedback(name: str, question: quiz.Question, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(runtime, "current_notebook", name)
    for option in question.wrong:
        said = quiz.feedback(question, option)
        assert "Not quite." in said and "role='status'" in said and "Right." not in said
    assert progress.events() == []
    assert "Right." in quiz.feedback(question, question.right)
    assert [event[1:] for event in progress.events()] == [("question", name, question.name)]


def test_what_is_said_is_escaped() -> None:
    question = quiz.Question("a < b?", "", "a<b", "Since a < b.", {"b<a": "No: <b>."})
    assert "&lt;b&gt;" in quiz.feedback(question, "b<a")
    page = quiz.to_read([question])["text/html"]
    assert "a &lt; b?" in page and "<b>" not in page and "b&lt;a" in page


@pytest.fixture
def shown(monkeypatch) -> Any:
    """Shows the questions of a notebook; gives the widget and what is displayed."""
    pages, bundles, real = [], [], ipw.VBox

    def kept(children: list[Any]) -> Any:
        pages.append(real(children))
        return pages[-1]

    monkeypatch.setattr(quiz.ipw, "VBox", kept)
    monkeypatch.setattr(quiz, "display", lambda bundle, raw: bundles.append((bundle, raw)))

    def show(name: str) -> tuple[Any, dict[str, Any]]:
        monkeypatch.setattr(runtime, "current_notebook", name)
        quiz.show()
        (bundle, raw) = bundles[-1]
        assert raw
        return pages[-1], bundle

    return show


@pytest.mark.parametrize("name", COURSE.names())
def test_every_answer_to_every_question(name: str, shown: Any, capfd) -> None:
    page, bundle = shown(name)
    asked = quiz.questions(name)
    radios = [part for part in page.children if isinstance(part, ipw.RadioButtons)]
    said = [part for part in page.children if "course-feedback" in part._dom_classes]
    (score,) = [part for part in page.children if "course-score" in part._dom_classes]
    assert len(radios) == len(said) == len(asked)
    for radio, line, question in zip(radios, said, asked, strict=True):
        assert radio.value is None and line.value == "", "something is chosen at first"
        for option in [*question.wrong, question.right]:
            radio.value = option
            assert line.value == quiz.feedback(question, option)
    assert score.value == f"{len(asked)} of {len(asked)} right"
    radios[0].value = next(iter(asked[0].wrong))
    assert score.value == f"{len(asked) - 1} of {len(asked)} right"
    assert capfd.readouterr() == ("", "")
    assert bundle[build.WIDGET_VIEW]["model_id"] == page.model_id


@pytest.mark.parametrize("name", COURSE.names())
def test_to_read(name: str) -> None:
    asked = quiz.questions(name)
    text, page = quiz.to_read(asked).values()
    questions, answers = text.split("\n\nAnswers\n")
    parts = zip(asked, questions.split("\n\n"), answers.splitlines(), strict=True)
    for number, (question, part, answer) in enumerate(parts, 1):
        assert part.startswith(f"{number}. {question.ask}\n")
        letters = dict(re.findall(r"^   ([a-d])\) (.+)$", part, re.M))
        assert list(letters.values()) == question.options
        found = re.fullmatch(rf"{number}\. ([a-d])\) (.+)", answer)
        assert found and (letters[found[1]], found[2]) == (question.right, question.because)
    assert page.count("<details>") == len(asked) == page.count("<summary>Answer</summary>")


def test_a_kernel_shows_it_and_the_stored_cell_can_be_read(tmp_path: Path) -> None:
    source = "from course_utils import runtime\nfrom course_utils.exercises import quiz\n"
    source += "runtime.current_notebook = '00_start_here'"
    cells = [nbformat.v4.new_code_cell(f"{source}\nquiz.show()") for _ in range(2)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    build.execute(notebook, tmp_path)
    assert all(build.WIDGET_VIEW in cell.outputs[0].data for cell in cells)
    build.clean(notebook)
    (first,), (second,) = (cell.outputs for cell in cells)  # one output each, none to stderr
    assert first == second, "two runs differ"
    assert first.data == quiz.to_read(quiz.questions("00_start_here"))
