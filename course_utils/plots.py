"""Figures: one colour-blind-safe palette, a PNG with alternative text, the same words below it."""

import html
import io
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import HTML, Image, display
from matplotlib.figure import Figure

plt.style.use(Path(__file__).with_name("course.mplstyle"))

PALETTE: tuple[str, ...] = tuple(plt.rcParams["axes.prop_cycle"].by_key()["color"])
"""Okabe and Ito (2008), "Color universal design"; yellow is left out, it is faint on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one a series: no figure needs colour alone


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a PNG with alternative text, and the same words as its caption.

    The figure is closed. `alt` says in one or two sentences what it shows, for readers who do not
    see it; a ValueError if it is empty.
    """
    if not alt.strip():
        raise ValueError("alt is empty; say in one sentence what the figure shows")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    display(Image(buffer.getvalue(), alt=alt))
    display(HTML(f'<p class="course-caption"><em>{html.escape(alt)}</em></p>'))
