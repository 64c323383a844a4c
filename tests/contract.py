"""What every notebook keeps to. Each check takes a `Case` and raises AssertionError otherwise.

Tags that an author may set on a cell, beside those of nbval:
    fails-on-purpose   the cell's training is meant to fail, so no expected.check follows it
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from build import VERDICT, WIDGET_VIEW
from course_utils.exercises import quiz
from plan import PLAN

MAX_LINES = 20
MAX_SECONDS, MAX_PEAK_MB = 150, 1200
BANNED = re.compile(r"\b(easily|just(?!-in-time)|simply|obviously)\b", re.IGNORECASE)
HOME_FOLDERS = "home|root|Users|work|tmp|usr|opt|mnt|private|var"
MACHINE_PATH = re.compile(rf"(?<![\w.:/-])/(?:{HOME_FOLDERS})/\w|\b[A-Z]:\\\w")
UNSAFE_ADDRESS = re.compile(r"http://(?!127\.0\.0\.1|localhost)")

# What a notebook need not have, and why. The number of exercises is given where it is not two.
EXERCISES = {"00_start_here": 1}  # one question, solved, shows how checks and hints work
NO_BREAK_IT = {
    "00_start_here": "nothing is trained there",
    "06_faq": "each answer is an experiment",
}
NO_ERRATUM = {
    "00_start_here": "it follows no section of the article",
    "04c_audio_generation": "the article gives no design for sound to correct",
    "05a_efficient_training": "an outlook, no statement to correct",
    "05b_diffusion": "an outlook, no statement to correct",
    "05c_quality_control": "an outlook, no statement to correct",
    "06_faq": "it answers questions; corrections stand where the subject is taught",
}


@dataclass
class Case:
    """One notebook under test: rendered from its source, as stored, and its expected results."""

    name: str
    rendered: Any
    stored: Any
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[Any]:
        return list(self.stored.cells)

    @property
    def code(self) -> list[Any]:
        return [cell for cell in self.cells if cell.cell_type == "code"]

    @property
    def text(self) -> list[Any]:
        return [cell for cell in self.cells if cell.cell_type == "markdown"]

    def outputs(self) -> Iterator[tuple[int, Any]]:
        for index, cell in enumerate(self.cells):
            for output in cell.get("outputs", []):
                yield index, output


def prose(source: str) -> str:
    """Markdown without code: fenced blocks and code spans are left out."""
    without_blocks = re.sub(r"^(```|~~~).*?^\1`*\s*$", "", source, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", without_blocks)


def bullets(source: str) -> list[str]:
    return re.findall(r"^[-*] +(.+)$", prose(source), re.MULTILINE)


def part(source: str, heading: str) -> str:
    """What stands under a heading that contains `heading`, up to the next heading."""
    found = re.search(rf"^#+ [^\n]*{heading}[^\n]*\n(.*?)(?=^#+ |\Z)", source, re.M | re.S | re.I)
    return found[1] if found else ""


def calls(source: str) -> list[ast.Call]:
    """Every call in a code cell, in order; lines of IPython magic are left out."""
    plain = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)
    found = [node for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Call)]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def called(call: ast.Call) -> str:
    """The dotted name of what is called: `expected.check`."""
    return ast.unparse(call.func)


def expected_checks(source: str) -> list[ast.Call]:
    return [call for call in calls(source) if called(call) == "expected.check"]


def stored_equals_source(case: Case) -> None:
    mend, wanted = f"run `make notebooks NAME={case.name}`", len(case.rendered.cells)
    assert wanted == len(case.cells), (
        f"{wanted} cells in the source, {len(case.cells)} stored; {mend}"
    )
    for index, (new, old) in enumerate(zip(case.rendered.cells, case.cells, strict=True)):
        for key in ("cell_type", "source", "id"):
            assert new[key] == old[key], f"cell {index}: {key} differs from the source; {mend}"
        same_tags = new.metadata.get("tags", []) == old.metadata.get("tags", [])
        assert same_tags, f"cell {index}: tags differ from the source; {mend}"
    assert case.stored.metadata == case.rendered.metadata, f"notebook metadata differs; {mend}"


def ids_are_unique(case: Case) -> None:
    ids = [cell.id for cell in case.cells]
    assert len(set(ids)) == len(ids), "two cells have the same id"
    assert (case.stored.nbformat, case.stored.nbformat_minor) == (4, 5), "not nbformat 4.5"


def ran_in_order(case: Case) -> None:
    counts = [cell.execution_count for cell in case.code]
    assert counts == list(range(1, len(counts) + 1)), f"execution counts are {counts}"


def no_errors_stored(case: Case) -> None:
    for index, output in case.outputs():
        assert output.output_type != "error", f"cell {index} stores an error: {output.ename}"
        assert output.get("name") != "stderr", f"cell {index} writes to stderr: {output.text[:200]}"


def no_widget_state(case: Case) -> None:
    assert "widgets" not in case.stored.metadata, "metadata.widgets is stored"
    for index, output in case.outputs():
        view = WIDGET_VIEW in output.get("data", {})
        assert not view, f"cell {index} stores a widget view, which a reader sees as an error"


def opening_cell(case: Case) -> None:
    first = case.cells[0]
    assert first.cell_type == "markdown", "the first cell must be text"
    for wanted in ("{{ cost }}", "{{ binder }}"):
        assert wanted not in first.source, f"{wanted} was not filled in"
    titles = [t for c in case.text for t in re.findall(r"^# (.+)$", prose(c.source), re.MULTILINE)]
    heading = re.match(r"# (.+)\n", first.source)
    assert heading and titles == [heading[1]], f"one H1, at the very start, is wanted: {titles}"
    planned = {lesson.name: lesson.title for lesson in PLAN}
    assert case.name in planned, f"{case.name} is not in notebooks/source/plan.py"
    assert planned[case.name].lower() in heading[1].lower(), f"H1 lacks {planned[case.name]!r}"
    after = first.source[heading.end() :].strip()
    assert re.match(r"[\w*_`]", after), "a sentence on what will be built must follow the H1"
    count = len(bullets(first.source))
    assert 3 <= count <= 5, f"three to five objectives as a bullet list are wanted, found {count}"
    assert "Before this" in first.source, "what to have read: a line with 'Before this' is missing"
    assert "https://mybinder.org/v2/gh/" in first.source, "the {{ binder }} link is missing"
    assert "(measured)" in first.source, "the {{ cost }} of a run is missing"


def setup_cell(case: Case) -> None:
    names = [called(call) for call in calls(case.code[0].source)]
    assert case.cells[1] is case.code[0], "the second cell must be code"
    assert "course_utils.setup" in names, "the second cell must call course_utils.setup(...)"


def pictures_are_here(case: Case) -> None:
    for cell in case.text:
        far = re.findall(r"!\[[^]]*\]\(https?:", prose(cell.source))
        assert not far, f"a picture from another host, which is not there offline: {far}"


def rhythm(case: Case) -> None:
    kinds = [cell.cell_type for cell in case.cells]
    for index, pair in enumerate(zip(kinds, kinds[1:], strict=False)):
        assert pair != ("code", "code"), (
            f"cells {index} and {index + 1} are code with no text between"
        )
    for index, cell in enumerate(case.cells):
        lines = len([line for line in cell.source.splitlines() if line.strip()])
        assert lines > 0, f"cell {index} is empty"
        if cell.cell_type == "code":
            assert lines <= MAX_LINES, f"cell {index} has {lines} lines; at most {MAX_LINES}"


def training_is_checked(case: Case) -> None:
    for index, cell in enumerate(case.code):
        trains = any(called(call).endswith(".fit") for call in calls(cell.source))
        if trains and "fails-on-purpose" not in cell.metadata.get("tags", []):
            near = case.code[index : index + 2]
            checked = any(expected_checks(c.source) for c in near)
            assert checked, f"no expected.check in or after the training cell:\n{cell.source}"


def checks_have_intervals(case: Case) -> None:
    literal = [
        argument.value
        for cell in case.code
        for call in expected_checks(cell.source)
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    ]
    streams = [output.text for _, output in case.outputs() if output.output_type == "stream"]
    printed = [match["name"] for text in streams for match in VERDICT.finditer(text)]
    used, known = {*literal, *printed}, set(case.results.get("checks", {}))
    assert used <= known, f"no interval in data/expected.toml for {sorted(used - known)}"
    assert known <= used, f"data/expected.toml has intervals nobody checks: {sorted(known - used)}"
    assert set(literal) <= set(printed), f"not printed: {sorted(set(literal) - set(printed))}"


def figures_have_alternatives(case: Case) -> None:
    for index, cell in enumerate(case.cells):
        assert not re.search(r"\bplt\.show\(", cell.source), (
            f"cell {index}: use plots.show, not plt.show"
        )
        words = ""
        for output in reversed(cell.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" in data:
                alt = output.metadata.get("image/png", {}).get("alt", "").strip()
                assert alt, (
                    f"cell {index}: figure without alt text; use plots.show(figure, alt=...)"
                )
                assert flat(alt) in words, f"cell {index}: the alt text is not the caption below it"
            for kind in ("text/html", "text/markdown"):
                body = data.get(kind, "")
                for tag in re.findall(r"<img\b[^>]*>", body):
                    assert re.search(r'\balt="[^"]', tag), f"cell {index}: <img> without alt"
                words = flat(re.sub(r"<[^>]+>", "", body)) + " " + words


def flat(text: str) -> str:
    return " ".join(html.unescape(text).split())


def has_break_it(case: Case) -> None:
    titles = re.findall(r"^##+ (.+)$", "\n".join(prose(c.source) for c in case.text), re.MULTILINE)
    found = any("break it" in title.lower() for title in titles)
    assert found or case.name in NO_BREAK_IT, "no part is headed 'Break it'"


def has_exercises(case: Case) -> None:
    names = [called(call) for cell in case.code for call in calls(cell.source)]
    checks = {name for name in names if name.endswith(".check") and name != "expected.check"}
    wanted = EXERCISES.get(case.name, 2)
    assert len(checks) >= wanted, (
        f"{wanted} different exercise checks are wanted, found {sorted(checks)}"
    )


def has_erratum(case: Case) -> None:
    found = any(re.search(r"^> \*\*Erratum", cell.source, re.MULTILINE) for cell in case.text)
    assert found or case.name in NO_ERRATUM, "no box starts with '> **Erratum'"


def ends_with_questions(case: Case) -> None:
    last = case.code[-1]
    asks = [called(call) for call in calls(last.source)] == ["quiz.show"]
    assert asks and case.cells[-2] is last, "the last code cell must be quiz.show()"
    stored = [output.get("data", {}) for output in last.get("outputs", [])]
    readable = [d for d in stored if "<ol>" in d.get("text/html", "") and "text/plain" in d]
    assert readable, "the questions are not stored as a list to read"
    text = readable[0]["text/plain"]
    for question in quiz.questions(case.name):
        assert question.ask in text, f"not stored: {question.ask}"


def closing_cell(case: Case) -> None:
    last = case.cells[-1]
    assert last.cell_type == "markdown", "the last cell must be text"
    learned = len(bullets(part(last.source, "What you learned")))
    objectives = len(bullets(case.cells[0].source))
    assert learned == objectives, (
        f"{objectives} objectives, {learned} bullets under 'What you learned'"
    )
    assert bullets(part(last.source, "Papers")), "no bullets under a heading 'Papers'"
    assert re.search(r"\bNext\b", last.source), "no 'Next' line with the way on"


def words_are_plain(case: Case) -> None:
    for index, cell in enumerate(case.cells):
        found = BANNED.search(prose(cell.source)) if cell.cell_type == "markdown" else None
        assert not found, f"cell {index} says {found[0] if found else ''!r}"


def costs_are_bounded(case: Case) -> None:
    seconds, memory = case.results.get("seconds"), case.results.get("peak_mb")
    assert seconds is not None and memory is not None, "not measured: run make notebooks"
    assert seconds <= MAX_SECONDS, f"takes {seconds} s; at most {MAX_SECONDS}"
    assert memory <= MAX_PEAK_MB, f"needs {memory} MB; at most {MAX_PEAK_MB}"


def nothing_of_this_machine(case: Case) -> None:
    for index, cell in enumerate(case.cells):
        shown = [o.get("text", "") + "".join(texts(o)) for o in cell.get("outputs", [])]
        for body in (cell.source, *shown):
            found = MACHINE_PATH.search(body) or UNSAFE_ADDRESS.search(body)
            assert not found, f"cell {index} names {body[found.start() :][:60]!r}" if found else ""


def texts(output: Any) -> list[str]:
    return [body for kind, body in output.get("data", {}).items() if kind.startswith("text/")]


CHECKS: tuple[Callable[[Case], None], ...] = (
    stored_equals_source,
    ids_are_unique,
    ran_in_order,
    no_errors_stored,
    no_widget_state,
    opening_cell,
    setup_cell,
    pictures_are_here,
    rhythm,
    training_is_checked,
    checks_have_intervals,
    figures_have_alternatives,
    has_break_it,
    has_exercises,
    has_erratum,
    ends_with_questions,
    closing_cell,
    words_are_plain,
    costs_are_bounded,
    nothing_of_this_machine,
)
