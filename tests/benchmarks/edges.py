"""How near do checked values come to the edges of their intervals, elsewhere than here?

`make edges`, or `make edges NAME=04a_text_generation`, runs notebooks with oneDNN off, with
one thread and with two, and with three other sets of seeds, and prints every value that lies
outside its interval in `data/expected.toml` or within a tenth of its width from an edge. All
notebooks take about 90 minutes. What was measured is kept in `build/edges.json`.

With `--broken` it breaks what the lessons rest on, each in a run of its own, and prints the checks
that notice nothing: those must rest on arithmetic alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "notebooks" / "source"))

from build import execute, render  # noqa: E402
from plan import COURSE, PLAN  # noqa: E402

NEAR = 0.1  # of an interval's width
POOLS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
# Environment, and what is added to every seed that stands as a number in a code cell.
VARIANTS: dict[str, tuple[dict[str, str], int]] = {
    "oneDNN off": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, 0),
    "1 thread": (dict.fromkeys(POOLS, "1"), 0),
    "2 threads": (dict.fromkeys(POOLS, "2"), 0),
    **{f"seeds + {shift}": ({}, shift) for shift in (100, 200, 300)},
}
SEED = re.compile(r"(?<=set_random_seed\()\d+|(?<=default_rng\()\d+|(?<=\bseed=)\d+")
BROKEN = {
    "untrained checkpoints": """
def untrained(name):
    _, described = course_utils.checkpoints._described(name)
    kinds = {kind.__name__: kind for kind in course_utils.checkpoints.KINDS}
    model = kinds[described["kind"]].from_config(described["config"])
    model.build()
    return model
import course_utils.checkpoints
course_utils.checkpoints.load = untrained
""",
    "training undone": """
def undone(model, *data, fit=keras.Model.fit, **options):
    if not model.built:
        return fit(model, *data, **options)
    before = model.get_weights()
    history = fit(model, *data, **options)
    model.set_weights(before)
    return history
keras.Model.fit = undone
""",
    "other labels": """
import dataclasses
import course_utils.datasets
def relabelled(*name, digits=course_utils.datasets.digits):
    data = digits(*name)
    mixed = {part: getattr(data, part) for part in ("train", "validation", "test")}
    for part, images in mixed.items():
        order = np.random.default_rng(0).permutation(len(images))
        mixed[part] = dataclasses.replace(images, classes=images.classes[order])
    return dataclasses.replace(data, **mixed)
course_utils.datasets.digits = relabelled
""",
}
# Checks do not raise; what they would have compared is printed in full.
RECORD = """
course_utils.expected.check = lambda name, value: print("checked:", name, float(value))
"""
CHECKED = re.compile(r"^checked: (\w+) (\S+)$", re.MULTILINE)


def with_seeds(source: str, shift: int) -> str:
    """The source with other seeds; `setup` gets one too."""
    if not shift:
        return source
    source = SEED.sub(lambda found: str(int(found[0]) + shift), source)
    return re.sub(r'(course_utils\.setup\("\w+")\)', rf"\1, seed={shift})", source)


def values(name: str, variant: str) -> dict[str, float]:
    """What a notebook checks, as measured in one variant."""
    environment, shift = VARIANTS.get(variant, ({}, 0))
    notebook = render(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = with_seeds(cell.source, shift)
            if variant in BROKEN:  # what raises then is no reason to stop
                cell.metadata["tags"] = ["raises-exception"]
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    setup.source += "\nimport course_utils.expected\n" + RECORD + BROKEN.get(variant, "")
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    try:
        execute(notebook, COURSE.folder)
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
    outputs = (o for cell in notebook.cells for o in cell.get("outputs", []))
    printed = "".join(o.text for o in outputs if o.output_type == "stream")
    # Of a check that is made twice, on purpose, the first value counts.
    return {key: float(value) for key, value in reversed(CHECKED.findall(printed))}


def nearness(value: float, low: float, high: float, ends: Collection[float] = ()) -> float:
    """Distance to the nearer edge as a share of the width; negative outside, infinite for none.

    An edge among `ends`, 0 below or 1 above, is where a value ends by nature: only what crosses it
    counts. Where the edges lie a factor of ten or more apart, logarithms are compared.
    """
    if not low <= value <= high:
        return max(low - value, value - high) / (low - high) if high > low else -math.inf
    scale = math.log if high >= 10 * low > 0 else float
    edges = [edge for edge, end in ((low, 0), (high, 1)) if not (edge == end and end in ends)]
    away = [abs(scale(value) - scale(edge)) for edge in edges]
    return min(away, default=math.inf) / (scale(high) - scale(low)) if high > low else math.inf


def natural_ends(check: str, unit: str) -> set[float]:
    """Sizes and shares end at 0, shares at 1 as well; a gain may be negative."""
    return set() if check.endswith("_gain") else {0} if unit else {0, 1}


def lines(name: str, measured: dict[str, dict[str, float]]) -> list[str]:
    """One line for every check that comes near an edge, or crosses it, in some variant."""
    table = tomllib.loads(COURSE.expected.read_text("utf-8"))[name]["checks"]
    result = []
    for check, entry in table.items():
        low, high = float(entry["low"]), float(entry["high"])
        ends = natural_ends(check, entry["unit"])
        share = {
            v: nearness(row[check], low, high, ends) for v, row in measured.items() if check in row
        }
        if missing := [v for v, row in measured.items() if check not in row]:
            result.append(f"{name} {check}: not reached in {', '.join(missing)}")
        if close := [v for v, distance in share.items() if not distance >= NEAR]:
            word = "near the edge" if all(share[v] >= 0 for v in close) else "OUTSIDE"
            shown = ", ".join(f"{v} {measured[v][check]:.4g}" for v in close)
            result.append(f"{name} {check}: {word} of {low:g} to {high:g}: {shown}")
    return result


def unmoved(name: str, measured: dict[str, dict[str, float]]) -> list[str]:
    """The checks whose value lies in its interval in every run."""
    table = tomllib.loads(COURSE.expected.read_text("utf-8"))[name]["checks"]
    return [
        check
        for check, entry in table.items()
        if all(
            check in row and entry["low"] <= row[check] <= entry["high"]
            for row in measured.values()
        )
    ]


def main() -> None:
    """Run what is named on the command line; all notebooks in all variants without names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks; all when left out")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--broken", action="store_true", help="break the lessons' foundations")
    given = parser.parse_args()
    variants = list(BROKEN) if given.broken else given.variants
    kept = ROOT / "build" / ("broken.json" if given.broken else "edges.json")
    kept.parent.mkdir(exist_ok=True)
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in given.names or [lesson.name for lesson in PLAN]:
        for variant in variants:
            found.setdefault(name, {})[variant] = values(name, variant)
            kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
        if given.broken:
            said = [
                f"{name}: no breakage moves {', '.join(unmoved(name, found[name])) or 'nothing'}"
            ]
        else:
            said = [*lines(name, found[name]), f"{name}: {len(found[name])} variants"]
        print(*said, sep="\n", flush=True)


if __name__ == "__main__":
    main()
