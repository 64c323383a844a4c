"""A learner's progress: nothing is lost, nothing that goes wrong with it breaks a lesson."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import os
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import build
from course_utils import exercises, expected, progress, runtime
from course_utils.exercises import faq, quiz, start_here
from plan import COURSE, PLAN

NOTEBOOK = "00_start_here"
CHECK = "distinct_characters"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner with nothing done yet, in the first notebook."""
    folder = tmp_path / "a folder" / "state"
    monkeypatch.setenv("COURSE_STATE_DIR", str(folder))
    monkeypatch.setattr(runtime, "current_notebook", NOTEBOOK)
    return folder


def row(notebook: str = NOTEBOOK) -> dict:
    (found,) = [row for row in progress.rows() if row["notebook"] == notebook]
    return found


def write(*events: tuple[float, str, str, str]) -> None:
    """Put events with times of our own into the file."""
    progress.path().parent.mkdir(parents=True, exist_ok=True)
    names = ("time", "kind", "notebook", "name")
    lines = ["\n" + json.dumps(dict(zip(names, event, strict=True))) for event in events]
    with progress.path().open("a", encoding="utf-8") as file:
        file.writelines(lines)


def test_what_is_recorded(capsys) -> None:
    question = quiz.questions(NOTEBOOK)[0]
    expected.check(CHECK, 10)
    start_here.bits.check(3)
    quiz.feedback(question, question.right)
    found = [("check", CHECK), ("exercise", "start_here.bits"), ("question", question.name)]
    events = progress.events()
    assert sorted(event[1:] for event in events) == [(k, NOTEBOOK, name) for k, name in found]
    assert all(abs(event[0] - time.time()) < 60 for event in events)
    assert [row()[f"{kind}s_done"] for kind in progress.KINDS] == [1, 1, 1]
    expected.check(CHECK, 10)  # a second time is no second check
    assert row()["checks_done"] == 1


def test_what_is_wrong_is_not_recorded(capsys) -> None:
    with pytest.raises(expected.OutsideInterval):
        expected.check(CHECK, 11)
    start_here.bits.check(4)
    start_here.bits.check(...)
    question = quiz.questions(NOTEBOOK)[0]
    quiz.feedback(question, next(iter(question.wrong)))
    assert progress.events() == []


def test_setup_is_a_start(capsys) -> None:
    runtime.setup(NOTEBOOK)
    assert [event[1:] for event in progress.events()] == [("start", NOTEBOOK, "")]


def test_without_a_notebook_nothing_is_recorded(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "current_notebook", None)
    progress.record("check", CHECK)
    assert not progress.path().exists()


WRITER = """
import sys, time
from course_utils import progress, runtime
runtime.current_notebook = sys.argv[1]
print("ready", flush=True)
start = float(sys.stdin.readline())
while time.time() < start:
    pass
for i in range(500):
    progress.record("check", f"{sys.argv[1]} {i}")
"""


@pytest.mark.skipif(os.name == "nt", reason="the C library of Windows appends in two steps")
def test_two_processes_at_once_lose_nothing() -> None:
    names = ("00_start_here", "01_background")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    start = time.time() + 0.5
    for writer in writers:
        writer.stdin.write(f"{start}\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdin.close()
        writer.stdout.close()
    wanted = {(name, f"{name} {i}") for name in names for i in range(500)}
    assert {event[2:] for event in progress.events()} == wanted
    lines = [line for line in progress.path().read_text().splitlines() if line]
    assert len(lines) == len(progress.events()) == 1000
    order = [json.loads(line)["notebook"] for line in lines]
    assert sum(a != b for a, b in itertools.pairwise(order)) > 1, "one after the other"


def test_a_write_that_was_cut_short_costs_its_own_line() -> None:
    progress.record("check", "first")
    progress.record("check", "second")
    content = progress.path().read_bytes()
    progress.path().write_bytes(content[:-10])  # the machine went down in the middle
    progress.record("check", "third")
    assert sorted(event[3] for event in progress.events()) == ["first", "third"]


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"time": 1, "kind": "check", "notebook": "00_start_here"}',
        b'{"time": "now", "kind": "check", "notebook": "00_start_here", "name": "x"}',
        b'{"time": NaN, "kind": "check", "notebook": "00_start_here", "name": "x"}',
        b'{"time": 1e999, "kind": "check", "notebook": "00_start_here", "name": "x"}',
        b'{"time": null, "kind": "check", "notebook": "00_start_here", "name": "x"}',
        b"\xff\xfe\x00",
    ],
)
def test_broken_lines_are_skipped(line: bytes) -> None:
    progress.record("check", CHECK)
    with progress.path().open("ab") as file:
        file.write(b"\n" + line)
    progress.record("check", "copied_characters")
    assert {event[3] for event in progress.events()} == {CHECK, "copied_characters"}
    assert row()["checks_done"] == 2


def test_unknown_notebooks_and_renamed_checks_do_no_harm() -> None:
    write(
        (1, "check", "99_no_such_notebook", "x"),
        (2, "check", NOTEBOOK, "a_check_of_an_older_version"),
        (3, "dance", NOTEBOOK, CHECK),
        (4, "check", "01_background", CHECK),
        (5, "check", NOTEBOOK, ["a list"]),
        (6, "check", NOTEBOOK, CHECK),
    )
    assert row()["checks_done"] == 1 and row("01_background")["checks_done"] == 0
    assert list(progress.table().index) == COURSE.names()


def test_minutes_leave_out_long_pauses() -> None:
    start = 1_700_000_000
    times = [0, 60, 60 + 30 * 60, 60 + 30 * 60 + 30 * 60 + 1]  # a pause of 30 minutes counts yet
    write(*((start + t, "check", NOTEBOOK, str(t)) for t in reversed(times)))
    write((start + 30, "start", "01_background", ""), (start + 630, "check", "01_background", "x"))
    assert row()["minutes"] == 31
    assert row("01_background")["minutes"] == 10
    assert row("02_concepts")["minutes"] == 0


def test_what_there_is_to_do() -> None:
    for lesson in PLAN:
        found = row(lesson.name)
        assert found["checks"] == len(COURSE.results(lesson.name)["checks"]) > 0
        assert found["questions"] == len(quiz.questions(lesson.name))
        source = COURSE.source(lesson.name).read_text("utf-8")
        module = importlib.import_module(f"course_utils.exercises.{lesson.name.split('_', 1)[1]}")
        assert f"from course_utils.exercises import {module.__name__.split('.')[-1]}" in source
        questions = [v for v in vars(module).values() if isinstance(v, exercises.Question)]
        assert found["exercises"] == len(questions) > 0


def test_exercises_have_stable_names() -> None:
    assert (start_here.bits.name, faq.bits.name) == ("start_here.bits", "faq.bits")
    names = []
    for found in pkgutil.iter_modules(exercises.__path__):
        module = importlib.import_module(f"course_utils.exercises.{found.name}")
        for key, value in vars(module).items():
            if isinstance(value, exercises.Question):
                assert value.name == f"{found.name}.{key}"
                names.append(value.name)
    assert len(set(names)) == len(names) > 30
    assert exercises.Question("", lambda: None, "", "").name == ""


def test_table_of_a_fresh_learner(capsys) -> None:
    table = progress.table()
    assert list(table.index) == COURSE.names()
    assert list(table.columns) == ["checks", "exercises", "questions", "minutes"]
    assert all(value.startswith("0 of ") for kind in progress.KINDS for value in table[f"{kind}s"])
    assert (table["minutes"] == 0).all()
    assert capsys.readouterr().out == ""


def test_export_can_be_read_back(tmp_path: Path) -> None:
    write((1, "check", NOTEBOOK, CHECK), (61, "exercise", NOTEBOOK, "start_here.bits"))
    progress.export(tmp_path / "progress.csv")
    with (tmp_path / "progress.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert found == [{key: str(value) for key, value in row.items()} for row in progress.rows()]
    assert (found[0]["checks_done"], found[0]["exercises_done"], found[0]["minutes"]) == (
        "1",
        "1",
        "1",
    )
    assert pd.read_csv(tmp_path / "progress.csv")["checks_done"].sum() == 1
    for column in found[0]:
        assert column in progress.export.__doc__, f"{column} is not described"


def test_reset() -> None:
    progress.record("check", CHECK)
    progress.reset()
    assert progress.events() == [] and row()["checks_done"] == 0
    progress.reset()  # nothing to forget is no error


def test_a_folder_that_cannot_be_written_breaks_nothing(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_STATE_DIR", str(tmp_path / "file" / "state"))  # below a file
    question = quiz.questions(NOTEBOOK)[0]
    expected.check(CHECK, 10)
    start_here.bits.check(3)
    assert "Right." in quiz.feedback(question, question.right)
    assert "cannot" not in capsys.readouterr().out
    assert (progress.table()["minutes"] == 0).all()
    assert "No progress is kept" in capsys.readouterr().out
    assert progress.events() == []


def test_the_file_is_the_learners_own(monkeypatch, repo: Path) -> None:
    monkeypatch.delenv("COURSE_STATE_DIR")
    assert repo not in progress.path().parents
    assert "generative-models-course" in progress.path().parts
    assert progress.path().name == "progress.jsonl"


def test_a_build_leaves_the_learners_progress_alone(tmp_path: Path) -> None:
    source = "from course_utils import progress, runtime\nruntime.current_notebook = 'x'\n"
    source += "progress.record('check', 'y')\nprint(len(progress.events()))"
    cell = nbformat.v4.new_code_cell(source)
    build.execute(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    assert cell.outputs[0].text == "1\n" and progress.events() == []


def test_make_keeps_the_state_of_notebooks_under_build(repo: Path) -> None:
    makefile = (repo / "Makefile").read_text("utf-8")
    state = "export COURSE_STATE_DIR = $(CURDIR)/build/state"
    assert f"test test-fast test-browser: {state}\n" in makefile
