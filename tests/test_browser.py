"""The notebooks in JupyterLab, driven by a headless browser as a reader would use them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from course_utils.audio import level
from lab import ROOT, Notebook, lab
from lessons import LOUD_AT_LEAST, sounds_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("installed_browser"),
]


def text_generation(notebook: Notebook, seconds: float = 60) -> None:
    """The playground: the slider changes the probabilities, the button writes a new text."""
    alternative = notebook.text(".course-alternative")
    before, after = notebook.move_slider("temperature", steps=5)
    assert before != after, f"the slider still shows {before}"
    notebook.changed(".course-alternative", alternative, seconds)
    written = notebook.text(".course-generated")
    notebook.press("Generate")
    notebook.changed(".course-generated", written, seconds)


def concepts(notebook: Notebook, seconds: float = 30) -> None:
    """Both widgets: a slider of each changes what the picture's text alternative says."""
    for part, label in (("class-generator", "digit"), ("filler", "hidden rows")):
        alternative = f".course-{part} .course-alternative"
        said = notebook.text(alternative)
        before, after = notebook.move_slider(label, steps=2)
        assert before != after, f"the slider {label} still shows {before}"
        notebook.changed(alternative, said, seconds)


def images(notebook: Notebook) -> None:
    """The three parts with sliders, one after the other."""
    viewer("course-latent", "dimension", "value")(notebook)
    viewer("course-morph", "first", "second")(notebook)
    viewer("course-erase", "erased")(notebook)


def sounds(notebook: Notebook) -> None:
    """The composer and the timbre explorer; what they play is no silence."""
    parts = {"course-composer": ("key", "bars", "temperature", "draw")}
    parts["course-timbre"] = ("note", "brightness", "decay")
    for part, labels in parts.items():
        viewer(part, *labels)(notebook)
        (played,) = sounds_in(notebook.html(f".{part} .course-alternative"))
        assert level(played) > LOUD_AT_LEAST, f"{part} plays silence"


def quality(notebook: Notebook) -> None:
    """The filter and the detector, one slider after the other."""
    viewer("course-filter", "sureness", "balance")(notebook)
    viewer("course-detector", "text", "key", "redrawn")(notebook)


def background(notebook: Notebook, seconds: float = 30) -> None:
    """Another number of labels, and the text alternative lists other mistakes."""
    alternative = ".course-labels .course-alternative"
    said = notebook.text(alternative)
    before, after = notebook.move_slider("labels", steps=2)
    assert before != after, f"the slider still shows {before}"
    notebook.changed(alternative, said, seconds)


def questions(notebook: Notebook, seconds: float = 30) -> None:
    """By the keyboard alone: Tab goes from answer to answer, Space chooses, a line says why."""
    page, said = notebook.page, set()
    page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").last.click()  # command mode
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.course-quiz input[type=radio]')"):
            break
    else:
        raise AssertionError("the Tab key does not reach the questions")
    assert page.locator(".course-quiz input:checked").count() == 0, "an answer is chosen at first"
    now = notebook.text(".course-feedback")
    for _ in range(4):
        page.keyboard.press("Space")
        now = notebook.changed(".course-feedback", now, seconds)
        said.add(now)
        assert page.locator(".course-quiz input:checked").count() == 1
        page.keyboard.press("Tab")
    assert len(said) == 4 and sum(line.startswith("Right.") for line in said) == 1, said
    assert re.match(r"[01] of \d right", notebook.text(".course-score"))


def viewer(part: str, *labels: str) -> Callable[[Notebook], None]:
    """Move each of these sliders of a part, one after the other, and its words change."""

    def steps(notebook: Notebook, seconds: float = 30) -> None:
        alternative = f".{part} .course-alternative"
        for label in labels:
            said = notebook.text(alternative)
            before, after = notebook.move_slider(label, steps=1)
            assert before != after, f"the slider {label} still shows {before}"
            notebook.changed(alternative, said, seconds)

    return steps


# What a reader does in each notebook with something to do, after running all of it.
STEPS: dict[str, Callable[[Notebook], None]] = {
    "00_start_here": questions,
    "01_background": background,
    "02_concepts": concepts,
    "03a_variational_autoencoder": viewer("course-latent", "dimension", "value"),
    "03b_recurrent_networks": questions,
    "03c_attention": viewer("course-attention", "at", "head"),
    "04a_text_generation": text_generation,
    "04b_image_generation": images,
    "04c_audio_generation": sounds,
    "05a_efficient_training": viewer("course-roof", "units", "batch"),
    "05b_diffusion": viewer("course-denoise", "step", "guidance"),
    "05c_quality_control": quality,
    "06_faq": questions,
}


# A lesson takes as long here as under nbval, so `make test` runs three, which have every kind of
# part between them: questions, sliders and a button. `make test-browser` runs all.
ALWAYS = ("00_start_here", "02_concepts", "04a_text_generation")
RUN = [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in STEPS]


@pytest.mark.parametrize("name", RUN)
def test_reader_runs_the_notebook_and_uses_its_widgets(name: str) -> None:
    with lab(ROOT / "notebooks" / f"{name}.ipynb") as open_notebook:
        notebook = open_notebook(name)
        notebook.run_all(seconds=900)  # for a machine that is busy with much else
        assert not notebook.page.locator(".Toastify__toast").all_inner_texts()
        STEPS[name](notebook)
        notebook.no_errors()
        notebook.screenshot(ROOT / "build" / "screenshots" / f"{name}.png")


@pytest.mark.parametrize("name", STEPS)
def test_reader_opens_the_notebook(name: str, open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook(name)
    notebook.no_errors()
    ready = "all => all.every(player => player.readyState > 0)"
    assert notebook.page.locator("audio").evaluate_all(ready), "a stored player is dead"
    assert not notebook.page.locator(".Toastify__toast").all_inner_texts()  # nothing in the way


# The harness itself, on a notebook that needs nothing of the course: it must see what goes wrong.

STAND_IN = """
import ipywidgets as widgets
from IPython.display import display

slider = widgets.FloatSlider(description="temperature", min=0.1, max=2, value=1)
button = widgets.Button(description="Generate")
generated = widgets.HTML("nothing yet").add_class("course-generated")
alternative = widgets.HTML("at 1").add_class("course-alternative")

def moved(change):
    {moved}

def pressed(button):
    {pressed}

slider.observe(moved, "value")
button.on_click(pressed)
display(slider, button, generated, alternative)
"""
MOVED = "alternative.value = f'at {change.new}'"
PRESSED = "generated.value += ' more'"
VARIANTS = {
    "works": (MOVED, PRESSED, "'end'"),
    "slider_raises": ("raise ValueError('moved')", PRESSED, "'end'"),
    "button_raises": (MOVED, "raise ValueError('pressed')", "'end'"),
    "button_raises_late": (MOVED, PRESSED + "; raise ValueError('late')", "'end'"),
    "button_does_nothing": (MOVED, "pass", "'end'"),
    "button_warns": (MOVED, PRESSED + "; import sys; print('oops', file=sys.stderr)", "'end'"),
    "cell_raises": (MOVED, PRESSED, "1 / 0"),
    "cell_warns": (MOVED, PRESSED, "import warnings; warnings.warn('careful')"),
}


def stand_in(path: Path, moved: str, pressed: str, last: str) -> Path:
    code = textwrap.dedent(STAND_IN).format(moved=moved, pressed=pressed)
    cells = [nbformat.v4.new_code_cell(source, execution_count=7) for source in (code, last)]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def open_notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Notebook]]:
    """One JupyterLab for the lessons, to look at, and for the stand-ins, to run."""
    folder = tmp_path_factory.mktemp("stand_in")
    paths = [stand_in(folder / f"{name}.ipynb", *parts) for name, parts in VARIANTS.items()]
    with lab(*paths, *(ROOT / "notebooks" / f"{name}.ipynb" for name in STEPS)) as opened:
        yield opened


@pytest.mark.parametrize("name", VARIANTS)
def test_harness_sees_what_goes_wrong(name: str, open_notebook: Any, tmp_path: Path) -> None:
    def use() -> None:
        notebook = open_notebook(name)
        notebook.run_all(seconds=60)
        text_generation(notebook, seconds=8)
        notebook.screenshot(tmp_path / "seen.png")

    if name == "works":
        use()
        assert (tmp_path / "seen.png").stat().st_size > 10_000
        return
    with pytest.raises(AssertionError) as failure:
        use()
    wanted = {"slider_raises": "moved", "button_raises": "pressed", "button_raises_late": "late"}
    wanted |= {"cell_raises": "division by zero", "cell_warns": "careful", "button_warns": "oops"}
    assert wanted.get(name, "still shows") in str(failure.value)
