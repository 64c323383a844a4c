"""The README's figures are those of the project."""

from __future__ import annotations

import importlib

import pytest

import figures
from course_utils.exercises import Question
from plan import PLAN


def test_the_readme_shows_the_figures_of_the_project() -> None:
    stored, counted = figures.stored(), figures.counted()
    assert {what: stored.get(what) for what in counted} == counted, (
        "run `python tests/figures.py --write`"
    )
    assert len(stored) == len(counted) + 3


def test_exercises_are_counted() -> None:
    for lesson in PLAN:
        module = importlib.import_module(f"course_utils.exercises.{lesson.name.partition('_')[2]}")
        found = [value for value in vars(module).values() if isinstance(value, Question)]
        assert figures.exercises(lesson.name) == len(found)


def test_measured_figures_keep_their_bounds() -> None:
    stored = figures.stored()
    assert float(stored["`import course_utils`"].split()[0]) <= 0.2
    assert float(stored["cold set-up from a package cache"].split()[0]) <= 300
    assert float(stored["all notebooks, one after the other"].split()[0]) <= 1200


def test_lines_of_the_library_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    inside = tmp_path / "course_utils" / "exercises"
    inside.mkdir(parents=True)
    (inside / "a.py").write_text("1\n2\n")
    (inside.parent / "b.py").write_text("1\n2\n3\n")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    assert figures.library_lines() == (3, 2)
