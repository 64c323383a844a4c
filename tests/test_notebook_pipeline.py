"""From Markdown to a stored notebook: what is kept, what is removed, what a failure says."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest

import build as notebooks
from plan import COURSE, Project

NAME = "04a_text_generation"
SOURCE = """# 4.1 Text generation

Cost: {{ cost }}. {{ binder }}

```{code-cell}
:tags: [nbval-check-output]

import ipywidgets
print("a")
print("loss = 1.3 nats, expected 1.2 to 1.4: ok")
```

One.

+++

Two.

```{code-cell}
for step in range(3):
    print(f"\\rstep {step}", end="")
print()
from tqdm.auto import tqdm
for step in tqdm(range(3)):
    pass
ipywidgets.FloatSlider(description="temperature")
```
"""
EXPECTED = f'# kept\n["{NAME}".checks]\nloss = {{ low = 1.2, high = 1.4 }}  # kept too\n'
README = "# Course\n\n<!-- notebooks:start -->\nold\n<!-- notebooks:end -->\n\nend\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.source(NAME).parent.mkdir(parents=True)
    made.expected.parent.mkdir()
    made.source(NAME).write_text(SOURCE, "utf-8")
    made.expected.write_text(EXPECTED, "utf-8")
    (tmp_path / "README.md").write_text(README, "utf-8")
    shutil.copy(COURSE.root / "pyproject.toml", tmp_path)
    return made


def test_build(project: Project) -> None:
    lines = notebooks.build(NAME, project)
    assert lines[1:] == ["  loss = 1.3 nats, expected 1.2 to 1.4: ok"]

    stored = nbformat.read(project.stored(NAME), as_version=4)
    kinds = [cell.cell_type for cell in stored.cells]
    assert kinds == ["markdown", "code", "markdown", "markdown", "code"]
    assert "(measured)" in stored.cells[0].source and "mybinder.org" in stored.cells[0].source
    assert stored.cells[1].metadata == {"tags": ["nbval-check-output"]}
    assert len(stored.cells[1].outputs) == 1  # two prints, one stream
    progress, widget = stored.cells[4].outputs
    assert progress.text == "step 2\n"
    assert widget.data == {"text/plain": notebooks.WIDGET_TEXT}
    assert "widgets" not in stored.metadata and "version" not in stored.metadata.language_info

    results = project.results(NAME)
    assert 0 < results["seconds"] < 60 and 20 < results["peak_mb"] < 1000
    assert project.expected.read_text("utf-8").count("# kept") == 2
    readme = (project.root / "README.md").read_text("utf-8")
    assert (
        "old" not in readme and f"(notebooks/{NAME}.ipynb)" in readme and readme.endswith("end\n")
    )

    before = project.stored(NAME).read_text("utf-8")
    ids = [cell.id for cell in stored.cells]
    notebooks.record(NAME, 140, 1100, project)
    notebooks.refresh(project)
    after = nbformat.read(project.stored(NAME), as_version=4)
    assert "1.1 GB" in after.cells[0].source and "1.1 GB" not in before
    assert [cell.id for cell in after.cells] == ids  # a new measurement changes no id


def test_a_failing_cell_is_named_and_nothing_is_stored(project: Project) -> None:
    project.source(NAME).write_text(SOURCE.replace('print("a")', "1 / 0"), "utf-8")
    with pytest.raises(
        notebooks.BuildError, match=rf"(?s){NAME}: cell 1 failed.*1 / 0.*ZeroDivision"
    ):
        notebooks.build(NAME, project)
    assert not project.stored(NAME).exists()
    assert "seconds" not in project.results(NAME)


def test_an_unknown_name_lists_the_known_ones(project: Project) -> None:
    with pytest.raises(notebooks.BuildError, match=f"no source 99.md; there are: {NAME}"):
        notebooks.build("99", project)


def test_peak_memory_grows_with_what_is_used() -> None:
    before = notebooks.peak_memory_mb()
    now = psutil.Process().memory_info().rss / 1e6
    assert 0.9 * now < before < 100_000
    # More than the distance to the peak so far, or the peak would not move.
    held = np.ones(int((before - now + 200) * 1e6 / 8))
    assert notebooks.peak_memory_mb() > before + 100
    assert held[-1] == 1
    del held
    assert notebooks.peak_memory_mb() > before + 100, "a peak does not fall"
