"""The instructor's room: copies of the lessons to hand out, to mark, and to teach from.

Run as ``python notebooks/source/classroom.py student [NAME ...]`` or ``... instructor [NAME ...]``,
which is what ``make student`` and ``make instructor`` do. Both read the one source of a lesson,
``notebooks/source/NAME.md``, and its questions in ``course_utils/exercises``.

- ``build/student/NAME.ipynb`` is the lesson without outputs. Each exercise has a cell for the
  answer and a locked cell that raises while the answer is not right, with nbgrader's metadata.
- ``build/instructor/NAME.ipynb`` is the same notebook with the reference solutions in it, executed;
  nbgrader makes assignments of it. ``NAME.md`` beside it has minutes per section and answer key.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import inspect
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import course_utils
from answer_key import EXERCISE_MINUTES, OPEN_EXERCISE_MINUTES, answer_key, minutes
from build import BuildError, clean, execute, render, write
from course_utils.exercises import NumberToBeat, Question
from plan import COURSE, Project

POINTS, OPEN_POINTS = 1, 2
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader cuts out what is between them


@dataclass(frozen=True)
class Exercise:
    """A code cell of a lesson in which the reader replaces three dots."""

    name: str  # the question's, in the lesson's module of exercises
    question: Question
    task: str  # code that sets the task; "" if there is none
    stub: str  # the function whose answer is three dots
    answer: str  # its name

    @property
    def open_ended(self) -> bool:
        """Is there a number to beat, and no single right answer?"""
        return isinstance(self.question, NumberToBeat)

    @property
    def points(self) -> int:
        """What a right answer is worth."""
        return OPEN_POINTS if self.open_ended else POINTS

    @property
    def worth(self) -> str:
        """The points in words."""
        return f"{self.points} point{'s' if self.points > 1 else ''}"

    @property
    def minutes(self) -> int:
        """The time that a class is given for it."""
        return OPEN_EXERCISE_MINUTES if self.open_ended else EXERCISE_MINUTES

    @property
    def marking(self) -> str:
        """Code that raises unless the answer is right, and then says so."""
        return (
            f"# Worth {self.worth}: run this cell to check the answer, and leave it as it is.\n"
            f"feedback = exercises.{self.name}.feedback({self.answer})\n"
            f'assert feedback == "Right.", feedback\n'
            f"print(feedback)"
        )

    def solution(self, marked: bool = False) -> str:
        """The stub with the reference solution in place of the three dots.

        Args:
            marked: put nbgrader's marks around the part that is not in a student's copy.

        Raises:
            BuildError: the reference takes other arguments than the stub.
        """
        reference = self.question.reference
        source = (reference if isinstance(reference, str) else inspect.getsource(reference)).strip()
        node, header = ast.parse(source).body[-1], self.stub.splitlines()[:-1]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            given, short = node.value.args, ast.get_source_segment(source, node.value.body)
            body = f"return {short}"
        else:
            given = _function(node).args
            body = textwrap.dedent("\n".join(source.splitlines()[node.lineno :]))
        wanted = _function(ast.parse(self.stub).body[0]).args
        if [a.arg for a in given.args] != [a.arg for a in wanted.args]:
            raise BuildError(f"the reference of {self.name} takes other arguments than {header[0]}")
        used = {} if isinstance(reference, str) else inspect.getclosurevars(reference).globals
        modules = [name for name, value in used.items() if inspect.ismodule(value) and name != "np"]
        body = "".join(f"import {name}\n\n" for name in modules) + body
        body = f"{BEGIN}\n{body}\n{END}" if marked else body
        return "\n".join([*header, textwrap.indent(body, "    ")])


def _function(node: ast.stmt) -> ast.FunctionDef:
    if not isinstance(node, ast.FunctionDef):
        raise BuildError(f"a function is wanted, found {ast.unparse(node)[:60]!r}")
    return node


def questions(notebook: Any) -> dict[str, Question]:
    """The questions of a lesson by name, in order: those of the module that it imports."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    found = re.search(r"^from course_utils\.exercises import (\w+) as exercises\b", code, re.M)
    if not found:
        return {}
    module = importlib.import_module(f"course_utils.exercises.{found[1]}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Question)}


def exercise(source: str, known: dict[str, Question]) -> Exercise | None:
    """The exercise in a code cell; None if no answer is left open there.

    Args:
        source: the cell's text, without IPython magic.
        known: the lesson's questions by name.

    Raises:
        BuildError: there is an open answer without one check right after it.
    """
    if "return ..." not in source:
        return None
    body = ast.parse(source).body
    index = next(
        i
        for i, node in enumerate(body)
        if isinstance(node, ast.FunctionDef) and ast.unparse(node.body[-1]) == "return ..."
    )
    stub, after = _function(body[index]), body[index + 1 :]
    checks = [re.fullmatch(r"exercises\.(\w+)\.check\(.*\)", ast.unparse(node)) for node in after]
    if len(checks) != 1 or not checks[0] or checks[0][1] not in known:
        raise BuildError(f"one exercises.NAME.check(...) must follow the stub in\n{source}")
    name, lines = checks[0][1], source.splitlines()
    return Exercise(
        name=name,
        question=known[name],
        task="\n".join(lines[: stub.lineno - 1]).strip(),
        stub="\n".join(lines[stub.lineno - 1 : stub.end_lineno]),
        answer=stub.name,
    )


def exercises(notebook: Any) -> dict[int, Exercise]:
    """The exercises of a rendered lesson by the index of their cell."""
    known = questions(notebook)
    found = {
        index: exercise(cell.source, known)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    }
    return {index: one for index, one in found.items() if one}


def student(name: str, project: Project = COURSE, solved: bool = False) -> Any:
    """A lesson whose exercises are cells that nbgrader knows.

    Args:
        name: the notebook's file name without suffix.
        project: where to find it.
        solved: with the reference solutions, between nbgrader's marks, in place of three dots.

    Returns:
        A notebook without outputs, as ``build.render`` returns it.

    Raises:
        BuildError: there is no such source, or an exercise in it has no check.
    """
    notebook = render(name, project)
    found, cells = exercises(notebook), []
    for index, cell in enumerate(notebook.cells):
        one = found.get(index)
        if not one:
            cells.append(cell)
            continue
        if one.task:
            cells.append(_cell(cell, one.task, f"{one.name}-task", locked=True))
        answer = one.solution(marked=True) if solved else one.stub
        cells.append(_cell(cell, answer, f"{one.name}-answer", solution=True))
        cells.append(_cell(cell, one.marking, one.name, locked=True, points=one.points))
    notebook.cells = cells
    return notebook


def _cell(model: Any, source: str, grade_id: str, **marks: bool | int) -> Any:
    """A copy of a cell with other text and nbgrader's metadata, which has points if graded."""
    settings = {"grade": "points" in marks, "locked": False, "solution": False, "task": False}
    cell = copy.deepcopy(model)
    cell.source, cell.id = source, f"{model.id}-{grade_id.rpartition('-')[2]}"
    cell.metadata.nbgrader = {"schema_version": 3, "grade_id": grade_id} | settings | marks
    return cell


def make_student(name: str, project: Project = COURSE) -> list[Path]:
    """Write the copy to hand out; returns what was written."""
    path = project.root / "build" / "student" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(student(name, project), path)
    return [path]


def make_instructor(name: str, project: Project = COURSE) -> list[Path]:
    """Execute the copy with solutions, write it and its page; returns what was written.

    Raises:
        BuildError: a cell failed, a marking cell among them; nothing is written.
    """
    notebook = student(name, project, solved=True)
    execute(notebook, project.folder)
    left_open = exercises(render(name, project)).values()
    parts = [
        notebook.cells[0].source.splitlines()[0],
        minutes(notebook, {one.name: one.minutes for one in left_open}),
        answer_key(
            questions(notebook), {one.name: (one.worth, one.solution()) for one in left_open}
        ),
    ]
    marks = [cell.metadata.get("nbgrader") for cell in notebook.cells]
    clean(notebook)
    for cell, mark in zip(notebook.cells, marks, strict=True):
        if mark:
            cell.metadata.nbgrader = mark
    path = project.root / "build" / "instructor" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(notebook, path)
    page = path.with_suffix(".md")
    page.write_text("\n\n".join(parts) + "\n", "utf-8", newline="\n")
    return [path, page]


def main(arguments: list[str] | None = None) -> int:
    """Write the copies named on the command line, or of all lessons; returns the exit status."""
    makers = {"student": make_student, "instructor": make_instructor}
    parser = argparse.ArgumentParser(prog="python notebooks/source/classroom.py")
    parser.add_argument("copy", choices=makers)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="such as 02_concepts; all when left out"
    )
    given = parser.parse_args(arguments)
    course_utils.setup()  # some questions import TensorFlow, which is to be quiet
    for name in given.names or COURSE.names():
        try:
            for path in makers[given.copy](Path(name).stem):
                print(path.relative_to(COURSE.root), flush=True)
        except BuildError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
