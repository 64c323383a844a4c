"""Copies for a class: every exercise is set and marked, and no copy tells the answer."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest

import answer_key
import classroom
from build import BuildError, render
from contract import called, calls
from course_utils.exercises import Function, Question, attention, faq, start_here
from lessons import function
from plan import COURSE, Project

NAMES = COURSE.names()
SOLVED_IN_THE_LESSON = {"00_start_here": {"bits"}}  # it shows how checks and hints work
EXERCISES = {name: list(classroom.exercises(render(name)).values()) for name in NAMES}
SELF_CONTAINED = [e for found in EXERCISES.values() for e in found if not e.open_ended]


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def marks(notebook: Any) -> list[Any]:
    return [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]


def checked(name: str) -> set[str]:
    """The questions that a lesson checks, found without the code under test."""
    names = [called(call) for cell in code(render(name)) for call in calls(cell.source)]
    return {n.split(".")[1] for n in names if re.fullmatch(r"exercises\.\w+\.check", n)}


def bodies(source: str) -> list[str]:
    """The bodies of all functions in a source, in one form whatever their layout."""
    found = []
    for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))):
        if isinstance(node, ast.FunctionDef):
            found.append("\n".join(map(ast.unparse, node.body)))
        elif isinstance(node, ast.Lambda):
            found.append(f"return {ast.unparse(node.body)}")
    return found


def reference_body(question: Question) -> str:
    shown = question.reference
    return bodies((shown if isinstance(shown, str) else inspect.getsource(shown)).strip())[0]


# --- the student's copy --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_of_a_lesson_is_set_and_marked(name: str) -> None:
    notebook = classroom.student(name)
    graded = [mark.grade_id for mark in marks(notebook) if mark.grade]
    assert set(graded) == checked(name) - SOLVED_IN_THE_LESSON.get(name, set())
    assert len(graded) == len(set(graded)) == len(EXERCISES[name])
    assert [m.grade_id for m in marks(notebook) if m.solution] == [f"{g}-answer" for g in graded]
    assert set(classroom.questions(notebook)) == checked(name)


@pytest.mark.parametrize("solved", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_copy_is_what_nbgrader_reads(name: str, solved: bool) -> None:
    notebook = classroom.student(name, solved=solved)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    grade_ids = [mark.grade_id for mark in marks(notebook)]
    assert len(ids) == len(set(ids)) and len(grade_ids) == len(set(grade_ids))
    for mark in marks(notebook):
        always = {"schema_version", "grade", "grade_id", "locked", "solution", "task"}
        assert set(mark) == always | ({"points"} if mark.grade else set())
        assert mark.schema_version == 3 and re.fullmatch(r"[\w-]+", mark.grade_id)
        assert mark.locked != mark.solution and not mark.task and not (mark.grade and mark.solution)
        assert not mark.grade or mark.points > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_copy_is_the_lesson_with_its_exercises_cut_into_cells(name: str) -> None:
    copied = {cell.id: cell for cell in classroom.student(name).cells}
    for cell in render(name).cells:
        if cell.id in copied:
            assert copied.pop(cell.id) == cell
            continue
        own = [i for i in copied if i.startswith(f"{cell.id}-")]
        *given, marking = [copied.pop(i).source for i in own]
        check = cell.source.rindex("exercises.")
        assert "\n".join(given).split() == cell.source[:check].split()
        (call,) = calls(marking)[:1]
        assert called(call) == called(calls(cell.source[check:])[0]).replace("check", "feedback")
    assert not copied
    assert not any(cell.outputs for cell in code(classroom.student(name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_students_copy_holds_no_reference_solution(name: str) -> None:
    for solved in (False, True):
        source = "\n".join(cell.source for cell in code(classroom.student(name, solved=solved)))
        told = "\n".join(bodies(source))
        for exercise in EXERCISES[name]:
            found = reference_body(exercise.question) in told
            assert found == solved, f"{exercise.name}: the copy {'tells' if found else 'lacks'} it"


# --- marking -------------------------------------------------------------------------------------


def outcome(exercise: classroom.Exercise, answer: str) -> str:
    """What the marking cell says after an answer: "Right.", or what it raises."""
    module = SimpleNamespace(**{exercise.name: exercise.question})
    names: dict[str, Any] = {"np": np, "exercises": module}
    exec(answer, names)
    try:
        exec(exercise.marking, names)
    except AssertionError as error:
        return f"raised: {error}"
    return str(names["feedback"])


@pytest.mark.parametrize("exercise", SELF_CONTAINED, ids=lambda e: f"{e.name}-{e.answer}")
def test_the_solution_is_marked_right_and_all_else_is_not(exercise: classroom.Exercise) -> None:
    assert outcome(exercise, exercise.solution()) == "Right."
    assert outcome(exercise, exercise.solution(marked=True)) == "Right."
    assert outcome(exercise, exercise.stub).startswith("raised: Not attempted yet")
    released = exercise.stub.replace("return ...", "raise NotImplementedError()")
    assert "it raised NotImplementedError" in outcome(exercise, released)
    nothing = exercise.stub.replace("return ...", "return None")
    assert outcome(exercise, nothing).startswith("raised: Not yet: ")


def test_a_common_mistake_is_marked_wrong_and_told_its_hint() -> None:
    (exercise,) = (e for e in EXERCISES["02_concepts"] if e.name == "bayes")
    wrong = "def posterior(log_likelihood, prior):\n    return log_likelihood + np.log(prior)\n"
    assert outcome(exercise, wrong) == (
        "raised: Not yet: that is log p(x, y); the question asks for p(y | x)"
    )


def test_a_number_to_beat_is_marked_once_its_task_is_set() -> None:
    (exercise,) = (e for e in EXERCISES["06_faq"] if e.open_ended)
    known = np.zeros((4, 28, 28))
    seen = np.broadcast_to(np.arange(28)[:, None] < 14, (28, 28))
    better = "def fill(images, seen):\n    return images\n"
    assert "the task is not set" in outcome(exercise, better)
    try:
        faq.beat_this.set_task(known, seen, score=0.5)
        assert outcome(exercise, better) == "Right."
        worse = "def fill(images, seen):\n    return np.where(seen, images, 1.0)\n"
        assert outcome(exercise, worse) == "raised: Not yet: not better yet; see the hint"
    finally:
        vars(faq.beat_this).pop("score", None)


def test_the_solution_for_attention_is_right_on_the_lessons_own_task() -> None:
    """There, unlike in smaller tasks, a letter can stand before where another piece begins."""
    (exercise,) = (e for e in EXERCISES["03c_attention"] if e.open_ended)
    induction = function("03c_attention", "induction", np=np, LETTERS=16, T=32)
    try:
        attention.beat_this.set_task(*induction(40, seed=997), 0.001)
        assert outcome(exercise, exercise.solution()) == "Right."
    finally:
        vars(attention.beat_this).pop("score", None)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return ...",
        "def f(x):\n    return ...\n\n\nexercises.other.check(f)",
        "def f(x):\n    return ...\n\n\nexercises.bits.check(f)\nexercises.bits.check(f)",
        "def f(x):\n    return ...\n\n\nexercises.bits.hint()",
    ],
)
def test_an_open_answer_without_its_check_is_refused(source: str) -> None:
    with pytest.raises(BuildError, match="must follow the stub"):
        classroom.exercise(source, {"bits": faq.bits})


def test_a_reference_with_other_arguments_is_refused() -> None:
    source = "def f(x):\n    return ...\n\n\nexercises.bits.check(f)"
    exercise = classroom.exercise(source, {"bits": faq.bits})
    assert exercise
    with pytest.raises(BuildError, match=r"bits takes other arguments than def f\(x\):"):
        exercise.solution()


# --- what the instructor gets --------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_key_has_every_question_with_its_solution_and_its_mistakes(name: str) -> None:
    questions = classroom.questions(render(name))
    solutions = {one.name: (one.worth, one.solution()) for one in EXERCISES[name]}
    page = answer_key.answer_key(questions, solutions)
    parts = dict(zip(questions, re.split(r"^### ", page, flags=re.MULTILINE)[1:], strict=True))
    for question_name, question in questions.items():
        part = parts[question_name]
        assert part.startswith(question_name) and question.ask in part and question._hint in part
        shown = re.search(r"```python\n(.+?)\n```", part, re.DOTALL)
        if question_name in solutions:
            assert shown and reference_body(question) in "\n".join(bodies(shown[1]))
        else:
            assert shown and shown[1] == question.reference and "solved in the lesson" in part
        if isinstance(question, Function):
            with np.errstate(invalid="ignore"):
                said = [*question._wrong(*question._inputs), *question._further]
            said += [question._shape, question._not_finite]
            for text in said:
                assert text.replace("|", r"\|") in part
        else:
            assert len(answer_key.mistakes(question)) >= 3


def test_the_key_of_an_open_question_lists_what_its_check_says() -> None:
    for found in EXERCISES.values():
        for question in (e.question for e in found if e.open_ended):
            said = " ".join(text for _, text in answer_key.mistakes(question))
            assert re.search("not (better|enough|low enough) yet; see the hint", said)
    assert answer_key.mistakes(start_here.bits)[0] == (
        "`math.log(8)`",
        "that is in nats (natural logarithm); bits use the logarithm to base 2",
    )
    assert (answer_key.OTHERWISE, "… is not −log₂(1/8)") in answer_key.mistakes(start_here.bits)


def test_a_long_result_is_cut_off() -> None:
    assert answer_key._short(2 / 3) == "0.6667"
    assert answer_key._short((np.zeros(2), 1)) == "[0., 0.], 1"
    assert answer_key._short(np.arange(1000.0).reshape(10, 100)).endswith(" …")


def executed(*cells: tuple[str, str, float]) -> Any:
    """A notebook of texts and of code that ran for so many seconds; "bits" marks an exercise."""
    made = []
    for kind, source, seconds in cells:
        if kind == "text":
            made.append(nbformat.v4.new_markdown_cell(source))
            continue
        cell = nbformat.v4.new_code_cell(source)
        start, end = "2026-01-01T00:00:00.000Z", f"2026-01-01T00:00:{seconds:06.3f}Z"
        cell.metadata.execution = {"iopub.status.busy": start, "shell.execute_reply": end}
        if kind == "exercise":
            cell.metadata.nbgrader = {"grade_id": "bits"}
        made.append(cell)
    return nbformat.v4.new_notebook(cells=made)


def test_minutes_are_reading_running_and_exercises() -> None:
    words = "word " * (2 * answer_key.WORDS_A_MINUTE - 2)
    lines = "x = 1\n\n" * answer_key.LINES_A_MINUTE
    notebook = executed(
        ("text", f"# Title\n{words}", 0),
        ("code", lines, 30),
        ("text", "Two words.\n\n## Part\n\nAnd four words more.\n\n### Next", 0),
        ("exercise", "exercises.bits.check(3)", 15),
    )
    page = answer_key.minutes(notebook, {"bits": answer_key.EXERCISE_MINUTES})
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in page.splitlines()[4:8]]
    assert rows == [
        ["Title", "3.0", "0.5", "0", "4"],
        ["Part", "0.0", "0.0", "0", "0"],
        ["· Next", "0.0", "0.2", "10", "10"],
        ["**all**", "3.1", "0.8", "10", "14"],
    ]
    assert f"{answer_key.WORDS_A_MINUTE} words" in page and "minutes each" in page


LESSON = """# Bits

Text.

```{code-cell}
import numpy as np
from course_utils.exercises import faq as exercises
```

## Exercises

Text.

```{code-cell}
print("the task")


def bits(nats, pixels, largest):
    return ...


exercises.bits.check(bits)
```
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One short lesson with one exercise."""
    made = Project(tmp_path)
    made.source("bits").parent.mkdir(parents=True)
    made.source("bits").write_text(LESSON, "utf-8")
    shutil.copy(COURSE.root / "pyproject.toml", tmp_path)
    return made


def test_the_students_file_is_the_unsolved_copy(project: Project) -> None:
    (path,) = classroom.make_student("bits", project)
    assert path == project.root / "build" / "student" / "bits.ipynb"
    stored = nbformat.read(path, as_version=4)
    assert stored.cells == classroom.student("bits", project).cells
    assert [mark.grade_id for mark in marks(stored)] == ["bits-task", "bits-answer", "bits"]


def test_the_instructors_files_are_solved_executed_and_timed(project: Project) -> None:
    path, page = classroom.make_instructor("bits", project)
    assert path == project.root / "build" / "instructor" / "bits.ipynb"
    stored = nbformat.read(path, as_version=4)
    assert [cell.source for cell in stored.cells] == [
        cell.source for cell in classroom.student("bits", project, solved=True).cells
    ]
    assert [c.execution_count for c in code(stored)] == [1, 2, 3, 4]
    assert code(stored)[-1].outputs[0].text == "Right.\n"
    assert [mark.grade_id for mark in marks(stored)] == ["bits-task", "bits-answer", "bits"]
    assert not any("execution" in cell.metadata for cell in stored.cells)
    text = page.read_text("utf-8")
    assert text.startswith("# Bits\n\n## Minutes per section\n")
    assert f"| Exercises | 0.0 | 0.0 | {answer_key.EXERCISE_MINUTES} |" in text
    assert "### bits (1 point)" in text and "those are nats; a bit is ln 2 of them" in text


def test_a_solution_that_is_marked_wrong_is_not_stored(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faq.bits, "reference", "def f(nats, pixels, largest):\n    return 0.0\n")
    with pytest.raises(BuildError, match="(?s)cell 5 failed.*Not yet: 0 bits a pixel"):
        classroom.make_instructor("bits", project)
    assert not (project.root / "build").exists()


def test_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert classroom.main(["student", "99"]) == 1
    assert "no source 99.md; there are: 00_start_here" in capsys.readouterr().err


# --- nbgrader itself -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validate(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], str]:
    """What `nbgrader validate` says of a notebook; it is installed apart, with the lock's pins."""
    folder = tmp_path_factory.mktemp("nbgrader")
    wanted = tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))["project"]
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    make = [*uv, "venv", "--python", sys.executable, str(folder / "venv")]
    subprocess.run(make, check=True, timeout=300)
    install = [*uv, "pip", "install", "--python", str(programs / "python")]
    install += ["--constraint", str(repo / "requirements.lock")]
    install += wanted["optional-dependencies"]["classroom"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600)
    if re.search("Failed to fetch|network was disabled", done.stderr):
        pytest.skip("no package index in reach, so nbgrader cannot be installed")
    assert done.returncode == 0, f"nbgrader does not fit beside the lock: {done.stderr}"

    # Its notebooks run in the Python of these tests, which has the course.
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    described = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(described), "utf-8")

    def said(notebook: Any) -> str:
        path = folder / "02_concepts.ipynb"
        nbformat.write(notebook, path)
        done = subprocess.run(
            [str(programs / "nbgrader"), "validate", path.name, "--Execute.timeout=300"],
            cwd=folder,
            env=os.environ | {"JUPYTER_PATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return said


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nbgrader_passes_a_solved_copy(validate: Callable[[Any], str]) -> None:
    said = validate(classroom.student("02_concepts", solved=True))
    assert said.strip() == "Success! Your notebook passes all the tests."


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nbgrader_fails_what_is_wrong_or_not_attempted(validate: Callable[[Any], str]) -> None:
    notebook = classroom.student("02_concepts")
    answers = {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}
    density, bayes, _ = EXERCISES["02_concepts"]
    answers["density-answer"].source = density.solution()
    answers["bayes-answer"].source = bayes.stub.replace("...", "log_likelihood + np.log(prior)")
    said = validate(notebook)
    assert "VALIDATION FAILED ON 2 CELL(S)!" in said
    assert "Not yet: that is log p(x, y); the question asks for p(y | x)" in said
    assert "exercises.density" not in said and "exercises.beat_this.feedback(predict)" in said
    assert "Not attempted yet: the function still returns the three dots." in said
