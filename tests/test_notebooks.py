"""The notebooks keep the contract, and the contract can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

import contract
from build import TABLE, render
from contract import Case
from course_utils.exercises import quiz
from plan import COURSE, PLAN, table

NAMES = COURSE.names()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(name: str, check: Callable[[Case], None]) -> None:
    path = COURSE.stored(name)
    assert path.exists(), f"no {path.name}: run `make notebooks NAME={name}`"
    stored = nbformat.read(path, as_version=4)
    check(Case(name, render(name), stored, COURSE.results(name)))


def test_every_source_is_planned_and_every_notebook_has_a_source() -> None:
    assert NAMES, "no sources in notebooks/source"
    assert set(NAMES) <= {lesson.name for lesson in PLAN}
    assert {path.stem for path in COURSE.folder.glob("*.ipynb")} <= set(NAMES)


def test_links_between_notebooks_lead_somewhere() -> None:
    for name in NAMES:
        for target in re.findall(r"\]\(([\w./-]+\.ipynb)", COURSE.source(name).read_text("utf-8")):
            assert (COURSE.folder / target).exists(), f"{name} links to {target}, which is missing"


def test_readme_shows_the_table() -> None:
    readme = (COURSE.root / "README.md").read_text("utf-8")
    found = TABLE.search(readme)
    assert found, "README.md lacks <!-- notebooks:start --> and <!-- notebooks:end -->"
    assert table(COURSE, "notebooks/") in found[0], "stale table: run `make notebooks`"


# The contract can fail: a notebook that passes, broken in one place at a time.

PNG = "iVBORw0KGgo="
OPENING = """# 4.1 Text generation

You will have built a model.

- one
- two
- three

Cost: about 2 minutes and 1.0 GB of memory on 2 cores (measured). **Before this:** nothing.
[Launch on Binder](https://mybinder.org/v2/gh/a/b/main?urlpath=c)
"""
CLOSING = (
    "## What you learned\n\n- one\n- two\n- three\n\n## Papers\n\n- A paper.\n\n**Next:** 04b."
)
TEXTS = [OPENING, "> **Erratum** (4.1). It fails.\n\n## Break it\n\nText.", "`just` text"]
TEXTS += ["## Questions", CLOSING]
CODES = [
    "import course_utils\ncourse_utils.setup('04a_text_generation')",
    "model.fit(x)\nexpected.check('loss', 1.3)\nexercises.first.check(1)",
    "exercises.second.check(2)\nplots.show(figure, alt='A dot.')",
    "quiz.show()",
]
VERDICT = "loss = 1.3 nats, expected 1.2 to 1.4: ok\n"


def good_case() -> Case:
    """A notebook that keeps to everything."""
    new, v4 = nbformat.from_dict, nbformat.v4
    cells = []
    for text, code in zip(TEXTS, CODES, strict=False):
        cells += [v4.new_markdown_cell(text), v4.new_code_cell(code)]
    cells.append(v4.new_markdown_cell(TEXTS[-1]))
    for count, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    image = v4.new_output("display_data", data={"image/png": PNG})
    image.metadata = new({"image/png": {"alt": "A dot."}})
    caption = v4.new_output("display_data", data={"text/html": "<p><em>A dot.</em></p>"})
    cells[3].outputs = [v4.new_output("stream", name="stdout", text=VERDICT)]
    cells[5].outputs = [image, caption]
    questions = quiz.to_read(quiz.questions("04a_text_generation"))
    cells[7].outputs = [v4.new_output("display_data", data=questions)]
    stored, rendered = v4.new_notebook(cells=cells), v4.new_notebook(cells=new(cells))
    stored.nbformat_minor = rendered.nbformat_minor = 5
    results = {"seconds": 100, "peak_mb": 1000, "checks": {"loss": {"low": 1.2, "high": 1.4}}}
    rendered = nbformat.from_dict(nbformat.reads(nbformat.writes(rendered), as_version=4))
    return Case("04a_text_generation", rendered, stored, results)


def put(index: int, old: str, new: str) -> Callable[[Case], Any]:
    def change(case: Case) -> None:
        assert old in case.stored.cells[index].source
        case.stored.cells[index].source = case.stored.cells[index].source.replace(old, new)

    return change


def output(index: int, **values: Any) -> Callable[[Case], Any]:
    made = nbformat.v4.new_output(**values)
    return lambda case: case.stored.cells[index].outputs.append(made)


BREAKS: list[tuple[str, Callable[[Case], Any]]] = [
    ("stored_equals_source", put(4, "text", "other text")),
    ("stored_equals_source", lambda c: c.stored.cells.pop()),
    ("stored_equals_source", lambda c: c.stored.cells[1].metadata.update(tags=["nbval-skip"])),
    ("stored_equals_source", lambda c: c.stored.metadata.update(language_info={"version": "3"})),
    ("stored_equals_source", lambda c: c.stored.cells[2].update(id="new")),
    ("ids_are_unique", lambda c: c.stored.cells[2].update(id=c.stored.cells[0].id)),
    ("ids_are_unique", lambda c: c.stored.update(nbformat_minor=4)),
    ("ran_in_order", lambda c: c.stored.cells[3].update(execution_count=None)),
    ("ran_in_order", lambda c: c.stored.cells[3].update(execution_count=7)),
    ("no_errors_stored", output(3, output_type="error", ename="E", evalue="", traceback=[])),
    ("no_errors_stored", output(3, output_type="stream", name="stderr", text="warning")),
    ("no_widget_state", lambda c: c.stored.metadata.update(widgets={})),
    ("no_widget_state", output(3, output_type="display_data", data={contract.WIDGET_VIEW: {}})),
    ("opening_cell", put(0, "- one\n", "")),
    ("opening_cell", put(0, "- one\n", "- one\n- 4\n- 5\n- 6\n")),
    ("opening_cell", put(0, "# 4.1 Text generation", "# Another title")),
    ("opening_cell", put(0, "# 4.1", "Hello\n\n# 4.1")),
    ("opening_cell", put(0, "You will have built a model.\n\n", "")),
    ("opening_cell", put(2, "## Break it", "# Break it")),
    ("opening_cell", put(0, "Before this", "Prerequisites")),
    ("opening_cell", put(0, "mybinder", "example")),
    ("opening_cell", put(0, "(measured)", "(guessed)")),
    ("setup_cell", put(1, "course_utils.setup('04a_text_generation')", "")),
    ("pictures_are_here", put(0, "[Launch on Binder](", "[![Binder](https:x)](")),
    ("rhythm", lambda c: c.stored.cells.pop(2)),
    ("rhythm", put(1, "import course_utils", "x = 1\n" * 20 + "import course_utils")),
    ("rhythm", put(4, "`just` text", " ")),
    ("training_is_checked", put(3, "expected.check('loss', 1.3)", "")),
    ("checks_have_intervals", put(3, "'loss'", "'lost'")),
    ("checks_have_intervals", lambda c: c.results["checks"].update(unused={})),
    ("checks_have_intervals", lambda c: c.results.pop("checks")),
    ("checks_have_intervals", lambda c: c.stored.cells[3].outputs.clear()),
    ("figures_have_alternatives", lambda c: c.stored.cells[5].outputs[0].metadata.clear()),
    ("figures_have_alternatives", lambda c: c.stored.cells[5].outputs.pop()),
    ("figures_have_alternatives", lambda c: c.stored.cells[5].outputs.reverse()),
    ("figures_have_alternatives", put(5, "plots.show(", "plt.show(")),
    (
        "figures_have_alternatives",
        output(5, output_type="display_data", data={"text/html": "<img src='x'>"}),
    ),
    ("has_break_it", put(2, "## Break it", "## Repair it")),
    ("has_exercises", put(5, "exercises.second.check(2)", "exercises.second.hint()")),
    ("has_exercises", put(5, "exercises.second", "exercises.first")),
    ("has_erratum", put(2, "> **Erratum**", "Erratum")),
    ("ends_with_questions", put(7, "quiz.show()", "print()")),
    ("ends_with_questions", lambda c: c.stored.cells.insert(-1, c.stored.cells[2])),
    ("ends_with_questions", lambda c: c.stored.cells[7].outputs.clear()),
    ("ends_with_questions", lambda c: c.stored.cells[7].outputs[0].data.pop("text/html")),
    ("ends_with_questions", lambda c: setattr(c, "name", "05b_diffusion")),
    ("closing_cell", put(8, "- two\n", "")),
    ("closing_cell", put(8, "What you learned", "The end")),
    ("closing_cell", put(8, "- A paper.", "")),
    ("closing_cell", put(8, "Next", "After")),
    ("words_are_plain", put(4, "`just` text", "It is Simply text")),
    ("costs_are_bounded", lambda c: c.results.update(seconds=151)),
    ("costs_are_bounded", lambda c: c.results.update(peak_mb=1201)),
    ("costs_are_bounded", lambda c: c.results.pop("seconds")),
    ("nothing_of_this_machine", put(3, "x", "'/ho" + "me/me/x'")),
    ("nothing_of_this_machine", put(4, "text", "http" + "://example.org")),
    (
        "nothing_of_this_machine",
        output(3, output_type="stream", name="stdout", text="File C:\\Users\\me"),
    ),
]


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_good_case_passes(check: Callable[[Case], None]) -> None:
    check(good_case())


@pytest.mark.parametrize(
    ("name", "change"), BREAKS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(BREAKS)]
)
def test_broken_case_fails(name: str, change: Callable[[Case], Any]) -> None:
    case = good_case()
    change(case)
    with pytest.raises(AssertionError):
        getattr(contract, name)(case)


def test_every_check_is_seen_to_fail() -> None:
    assert {check.__name__ for check in contract.CHECKS} == {name for name, _ in BREAKS}
