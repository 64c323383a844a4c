"""The answer key of a lesson and its minutes: two parts of the page that an instructor gets.

The key is read from the questions themselves, from the parts too that are private to them: what a
check says of a wrong answer has no other use outside.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, Question

# What the minutes rest on, beside the seconds that the cells were measured to run.
WORDS_A_MINUTE, LINES_A_MINUTE = 150, 15
EXERCISE_MINUTES, OPEN_EXERCISE_MINUTES = 10, 25

SHOWN = 70  # characters of a wrong result
OTHERWISE = "—"  # where the check says what is wrong, and not what came out
ALWAYS = """Three dots stand for what depends on the answer. Of each question the check may also say
that it is not attempted yet, that a function is wanted or returns nothing, and what it raised."""

ASSUMED = f"""Reading: {WORDS_A_MINUTE} words of text or {LINES_A_MINUTE} lines of code a minute.
Running: as measured when the copy beside this page was executed. Exercises: {EXERCISE_MINUTES}
minutes each, {OPEN_EXERCISE_MINUTES} for an open-ended one. The last column is rounded, line by
line. A line with a dot is a part of the section above it. Questions, breaks and playing with the
sliders come on top."""


def mistakes(question: Question) -> list[tuple[str, str]]:
    """The usual wrong answers to a question, and what its check says of each of them.

    Of a function it is the wrong results that tell; of an open question, what is wrong with them.
    """
    if not isinstance(question, Function):
        mistake = question._mistake
        if isinstance(question, NumberToBeat):  # what is asked once the task is set
            mistake = inspect.getclosurevars(mistake).nonlocals["mistake"]
        return list(_said(mistake))
    inputs = question._inputs
    with np.errstate(all="ignore"):
        rows = [(_short(value), said) for said, value in question._wrong(*inputs).items()]
    if question._shape:
        rows.append(("a result of another shape", question._shape))
    if question._not_finite:
        rows.append(("a number that is not finite", question._not_finite))
    further = question._further.items()
    return rows + [(f"right there, wrong for {_short(other)}", said) for said, other in further]


def _said(mistake: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """What a check may return as wrong; three dots stand for what depends on the answer."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(mistake)))
    nodes = sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Return | ast.Dict | ast.Assign)),
        key=lambda node: node.lineno,
    )
    parts: dict[str, ast.expr] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            parts[ast.unparse(node.targets[0])] = node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key and (text := _text(value, parts)):
                    yield f"`{ast.unparse(key)}`", text
        elif isinstance(node.value, ast.Call) and "task.verdict(" in ast.unparse(node.value):
            yield from _said(NumberToBeat.verdict)
        elif text := _text(node.value, parts):
            yield OTHERWISE, text


def _text(value: ast.expr | None, parts: dict[str, ast.expr]) -> str:
    """A string in a source, with what is known of its parts; "" for anything else."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else ""
    if isinstance(value, ast.JoinedStr):
        return "".join(_text(part, parts) for part in value.values)
    if isinstance(value, ast.IfExp):
        return _text(value.body, parts) or _text(value.orelse, parts)
    if isinstance(value, ast.FormattedValue):
        return _text(parts.get(ast.unparse(value.value)), parts) or "…"
    return ""


def _short(value: Any) -> str:
    """A result in one line, numbers to four digits, cut off where it is long."""
    if isinstance(value, list | tuple):
        text = ", ".join(map(_short, value))
    else:
        text = np.array2string(np.asarray(value), precision=4, separator=", ", threshold=20)
        text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"


def answer_key(questions: dict[str, Question], exercises: dict[str, tuple[str, str]]) -> str:
    """Markdown: each question of a lesson with its solution, its hint and the usual mistakes.

    Args:
        questions: by name, in order.
        exercises: of each question that is left open in the lesson, its points and its solution.
    """
    blocks = ["## Answer key", ALWAYS]
    for name, question in questions.items():
        worth, solution = exercises.get(name, ("solved in the lesson", str(question.reference)))
        blocks += [f"### {name} ({worth})", question.ask]
        if isinstance(question, Function):
            wanted = _short(question.reference(*question._inputs))
            blocks.append(f"It is tried on {_short(question._inputs)}; the right result: {wanted}.")
        blocks += [f"```python\n{solution}\n```", f"Hint: {question._hint}"]
        rows = [[text.replace("|", r"\|") for text in row] for row in mistakes(question)]
        rows = [["a wrong answer", "what the check says"], ["---", "---"], *rows]
        blocks.append("\n".join(f"| {what} | {said} |" for what, said in rows))
    return "\n\n".join(blocks)


def minutes(notebook: Any, exercises: dict[str, int]) -> str:
    """Markdown: how many minutes each section of an executed lesson takes, and what that rests on.

    Args:
        notebook: executed by ``build.execute``, which notes when a cell began and ended.
        exercises: the minutes of each exercise by nbgrader's id of its marking cell.
    """
    sections: dict[str, list[float]] = {}  # minutes of reading, running, and exercises
    title = ""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            mark = cell.metadata.get("nbgrader")
            sections[title][0] += 0 if mark else len(lines) / LINES_A_MINUTE
            sections[title][1] += _seconds(cell) / 60
            sections[title][2] += exercises.get(mark["grade_id"], 0) if mark else 0
            continue
        for part in re.split(r"^(?=###? )", cell.source, flags=re.MULTILINE):
            heading = re.match(r"(#+) (.+)", part)
            title = ("· " if heading[1] == "###" else "") + heading[2] if heading else title
            sections.setdefault(title, [0, 0, 0])[0] += len(part.split()) / WORDS_A_MINUTE
    sections["**all**"] = [sum(column) for column in zip(*sections.values(), strict=True)]
    rows = ["| section | reading | running | exercises | minutes |", "| --- " * 5 + "|"]
    for name, (reading, running, given) in sections.items():
        whole = round(reading + running + given)
        rows.append(f"| {name} | {reading:.1f} | {running:.1f} | {given:.0f} | {whole} |")
    table = "\n".join(rows)
    return f"## Minutes per section\n\n{table}\n\n{ASSUMED}"


def _seconds(cell: Any) -> float:
    """How long a cell ran, as noted by the client that executed it."""
    noted = cell.metadata["execution"]
    ends = (noted[key] for key in ("iopub.status.busy", "shell.execute_reply"))
    start, end = map(datetime.fromisoformat, ends)
    return (end - start).total_seconds()
