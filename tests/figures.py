"""The course in figures: `python tests/figures.py` prints the table that the README shows.

With `--write` it brings the README's table up to date, as `make notebooks` does; a test compares
the two. With `--measure` it first measures what depends on the machine: cold set-up and import.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks" / "source"))

from plan import COURSE, PLAN  # noqa: E402

TABLE = re.compile(r"(<!-- figures:start -->\n).*?(<!-- figures:end -->)", re.DOTALL)
ROW = re.compile(r"^\| (?P<what>[^|]+?) \| (?P<value>[^|]+?) \|$", re.MULTILINE)
KINDS = ("Question", "Function", "NumberToBeat", "Challenge", "Attack")  # of exercises
IMPORT = "import time; start = time.perf_counter(); import course_utils; "
IMPORT += "print(time.perf_counter() - start)"


def library_lines() -> tuple[int, int]:
    """Lines of the library without its exercises, and of those."""
    paths = {path: "exercises" in path.parts for path in (ROOT / "course_utils").rglob("*.py")}
    counts = [0, 0]
    for path, exercise in paths.items():
        counts[exercise] += len(path.read_text("utf-8").splitlines())
    return counts[0], counts[1]


def exercises(name: str) -> int:
    """How many exercises a notebook has."""
    path = ROOT / "course_utils" / "exercises" / f"{name.partition('_')[2]}.py"
    assigned = [
        n.value for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.Assign)
    ]
    calls = [ast.unparse(value.func) for value in assigned if isinstance(value, ast.Call)]
    return sum(call in KINDS for call in calls)


def questions(name: str) -> int:
    """How many multiple-choice questions a notebook has."""
    path = COURSE.root / "data" / "quizzes" / f"{name}.toml"
    return len(tomllib.loads(path.read_text("utf-8"))["question"])


def counted() -> dict[str, str]:
    """What the project itself says, the same on every machine."""
    results = {lesson.name: COURSE.results(lesson.name) for lesson in PLAN}
    seconds = {name: result["seconds"] for name, result in results.items()}
    memory = {name: result["peak_mb"] for name, result in results.items()}
    slowest, largest = max(seconds, key=seconds.__getitem__), max(memory, key=memory.__getitem__)
    library, of_exercises = library_lines()
    return {
        "all notebooks, one after the other": f"{sum(seconds.values())} seconds",
        "slowest notebook": f"{slowest}, {seconds[slowest]} seconds",
        "largest peak memory": f"{largest}, {memory[largest]:,} MB",
        "lines of the library; of its exercises": f"{library:,}; {of_exercises:,}",
        "checked values with an interval": str(sum(len(r["checks"]) for r in results.values())),
        "exercises": str(sum(map(exercises, results))),
        "questions to check oneself by": str(sum(map(questions, results))),
    }


def measured() -> dict[str, str]:
    """What the project does not say by itself; takes some minutes."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        start = time.perf_counter()
        subprocess.run(["make", ".venv/installed"], cwd=folder, check=True, capture_output=True)
        setting_up = time.perf_counter() - start
    runs = [subprocess.check_output([sys.executable, "-c", IMPORT], cwd=ROOT) for _ in range(5)]
    collect = [sys.executable, "-m", "pytest", "tests", "--collect-only", "-q"]
    tests = re.findall(
        r"^(\d+) tests? collected", subprocess.check_output(collect, text=True, cwd=ROOT), re.M
    )
    return {
        "cold set-up from a package cache": f"{setting_up:.0f} seconds",
        "`import course_utils`": f"{min(map(float, runs)):.2f} seconds",
        "tests, notebooks not counted": f"{int(tests[0]):,}",
    }


def stored() -> dict[str, str]:
    """The rows of the README's table."""
    found = TABLE.search((ROOT / "README.md").read_text("utf-8"))
    rows = dict(ROW.findall(found[0])) if found else {}
    return {what: value for what, value in rows.items() if what not in ("figure", "---")}


def table(rows: dict[str, str]) -> str:
    """The rows in Markdown."""
    return "\n".join(
        ["| figure | value |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows.items())]
    )


def main() -> None:
    """Print the table; write it into the README, and measure first, if asked to."""
    rows = table(stored() | counted() | (measured() if "--measure" in sys.argv else {}))
    if {"--write", "--measure"} & {*sys.argv}:
        readme = ROOT / "README.md"
        text = TABLE.sub(lambda found: f"{found[1]}{rows}\n{found[2]}", readme.read_text("utf-8"))
        readme.write_text(text, encoding="utf-8", newline="\n")
    print(rows)


if __name__ == "__main__":
    main()
