"""Result intervals: the learner and CI compare a measured value with the same interval."""

import functools
import tomllib
from typing import Any

from course_utils import progress, runtime


class OutsideInterval(AssertionError):
    """A measured value lies outside the interval that `data/expected.toml` gives for it."""


@functools.cache
def intervals() -> dict[str, Any]:
    """The tables of `data/expected.toml`, one a notebook."""
    return tomllib.loads((runtime.DATA_DIR / "expected.toml").read_text(encoding="utf-8"))


def check(name: str, value: float) -> None:
    """Compare a scalar with its interval in `data/expected.toml`, print both and the verdict.

    The interval is looked up in the table of the notebook given to `setup`; a KeyError if there is
    none. `OutsideInterval`, which says what usually causes it, if the value is not a number inside.
    """
    notebook = runtime.current_notebook
    checks = intervals().get(notebook or "", {}).get("checks", {})
    if name not in checks:
        known = ", ".join(sorted(checks)) or "none (was course_utils.setup(name) run first?)"
        where = f"for notebook {notebook!r} in data/expected.toml"
        raise KeyError(f"no interval {name!r} {where}; known: {known}")
    entry = checks[name]
    low, high, unit = float(entry["low"]), float(entry["high"]), entry.get("unit", "")
    measured = f"{name} = {float(value):.4g}{' ' + unit if unit else ''}"
    interval, hint = f"expected {low:g} to {high:g}", f"Usual cause: {entry['miss']} (FAQ 8)"
    if not low <= float(value) <= high:  # a NaN is outside too
        raise OutsideInterval(f"{measured}, {interval}: OUTSIDE. {hint}")
    print(f"{measured}, {interval}: ok")
    progress.record("check", name)
