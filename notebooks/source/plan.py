"""The thirteen lessons of the course: order, titles, cost, and the tables made of them."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Lesson(NamedTuple):
    """One planned notebook: file name without suffix, title, and what the reader builds."""

    name: str
    title: str
    builds: str


PLAN = (
    Lesson(
        "00_start_here",
        "Start here",
        "a text, a page of digits and a chorale from checkpoints",
    ),
    Lesson("01_background", "Background", "a digit classifier pretrained on images without labels"),
    Lesson("02_concepts", "Concepts", "three models by counting, and a classifier out of each"),
    Lesson(
        "03a_variational_autoencoder",
        "Variational autoencoder",
        "a bound on log p(x), checked where it is known",
    ),
    Lesson("03b_recurrent_networks", "Recurrent networks", "a GRU from scratch, equal to Keras's"),
    Lesson("03c_attention", "Attention", "a Transformer that copies from its context"),
    Lesson(
        "04a_text_generation", "Text generation", "a character model that writes technical English"
    ),
    Lesson(
        "04b_image_generation",
        "Image generation",
        "five generators of digits, compared in one table",
    ),
    Lesson(
        "04c_audio_generation",
        "Audio generation",
        "chorales in four voices, and notes of new timbre",
    ),
    Lesson(
        "05a_efficient_training", "Efficient training", "a faster, smaller model and a scaling law"
    ),
    Lesson("05b_diffusion", "Diffusion", "a denoising model of digits, guided by a label"),
    Lesson(
        "05c_quality_control",
        "Quality control",
        "a memorisation test, a critic and a text watermark",
    ),
    Lesson("06_faq", "FAQ", "ten short experiments that answer ten questions"),
)


@dataclass(frozen=True)
class Project:
    """The folders that the pipeline reads and writes."""

    root: Path = ROOT

    @property
    def folder(self) -> Path:
        """Where the executed notebooks are."""
        return self.root / "notebooks"

    def source(self, name: str) -> Path:
        """The Markdown file that people edit."""
        return self.folder / "source" / f"{name}.md"

    def stored(self, name: str) -> Path:
        """The executed notebook."""
        return self.folder / f"{name}.ipynb"

    @property
    def expected(self) -> Path:
        """The measured costs and the intervals of the checked values."""
        return self.root / "data" / "expected.toml"

    def names(self) -> list[str]:
        """The notebooks that have a source, in reading order."""
        return sorted(path.stem for path in (self.folder / "source").glob("*.md"))

    def results(self, name: str) -> dict[str, Any]:
        """The table of one notebook in ``expected.toml``; empty when there is none."""
        if not self.expected.exists():
            return {}
        table: dict[str, Any] = parsed(self.expected.read_text("utf-8")).get(name, {})
        return table


@functools.lru_cache(maxsize=1)
def parsed(toml: str) -> dict[str, Any]:
    """The tables of ``expected.toml``, which is long and read once for each row of a table."""
    return tomllib.loads(toml)


COURSE = Project()


def binder_link(name: str, project: Project) -> str:
    """The Binder link of one notebook: words, as a badge from another host is not there offline."""
    settings = tomllib.loads((project.root / "pyproject.toml").read_text("utf-8"))
    repository = settings["project"]["urls"]["repository"].rstrip("/").removesuffix(".git")
    owner_and_name = repository.removeprefix("https://github.com/")
    branch = settings.get("tool", {}).get("course", {}).get("branch", "main")
    address = f"https://mybinder.org/v2/gh/{owner_and_name}/{branch}?urlpath=lab/tree/notebooks/{name}.ipynb"
    return f"[Launch on Binder]({address})"


def duration(seconds: float) -> str:
    """Seconds in words: ``"40 seconds"``, ``"2 minutes"``, ``"2.5 minutes"``."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    return f"{round(seconds / 30) / 2:g} minutes"


def cost(name: str, project: Project) -> str:
    """What one run costs, from the measured table."""
    results = project.results(name)
    if "seconds" not in results:
        return "not measured yet"
    memory = f"{results['peak_mb'] / 1000:.1f} GB"
    return f"about {duration(results['seconds'])} and {memory} of memory on 2 cores (measured)"


def table(project: Project, folder: str = "") -> str:
    """The Markdown table of all planned notebooks; ``folder`` goes in front of the links."""
    rows = ["| notebook | what you build | time | memory |", "| --- | --- | --- | --- |"]
    for lesson in PLAN:
        number = lesson.name.split("_")[0]
        if not project.source(lesson.name).exists():
            rows.append(f"| {number} · {lesson.title} (to come) | {lesson.builds} | | |")
            continue
        results = project.results(lesson.name)
        minutes = duration(results["seconds"]) if "seconds" in results else ""
        memory = f"{results['peak_mb'] / 1000:.1f} GB" if "seconds" in results else ""
        link = f"[{number} · {lesson.title}]({folder}{lesson.name}.ipynb)"
        rows.append(f"| {link} | {lesson.builds} | {minutes} | {memory} |")
    return "\n".join(rows)
