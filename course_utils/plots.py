"""Figures: one colour-blind-safe palette, a PNG with alternative text, the same words below it."""

from __future__ import annotations

import html
import io

import matplotlib.pyplot as plt
from cycler import cycler
from IPython.display import HTML, Image, display
from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito (2008), "Color universal design"; yellow is left out, it is faint on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one a series: no figure needs colour alone

plt.rcParams.update(
    {
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.dpi": 100,
        "figure.figsize": (7.5, 3.6),
        "font.size": 11,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "savefig.bbox": "tight",
    }
)


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
