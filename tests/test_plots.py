"""Figures reach the reader as a PNG with alternative text and a caption of the same words."""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from course_utils import plots


@pytest.fixture
def shown(monkeypatch):
    """What `show` displays, as (MIME bundle, metadata) pairs."""
    bundles = []

    def display(thing):
        bundle = thing._repr_mimebundle_() if hasattr(thing, "_repr_mimebundle_") else None
        bundles.append(bundle or ({"text/html": thing._repr_html_()}, {}))

    monkeypatch.setattr(plots, "display", display)
    return bundles


def figure_of(*series):
    figure, axes = plt.subplots()
    for values in series:
        axes.plot(values)
    return figure


def test_alt_text_and_caption(shown):
    plots.show(figure_of([1, 2]), alt="Loss falls from 2 & stays > 1.")
    (image, metadata), (caption, _) = shown
    assert metadata["image/png"]["alt"] == "Loss falls from 2 & stays > 1."
    assert "Loss falls from 2 &amp; stays &gt; 1." in caption["text/html"]
    assert 'class="course-caption"' in caption["text/html"]
    assert image["image/png"]


def test_the_image_is_the_figure(shown):
    import base64

    plots.show(figure_of([0, 1]), alt="a line")
    data = base64.b64decode(shown[0][0]["image/png"])
    pixels = plt.imread(io.BytesIO(data))[..., :3]
    blue = [int(plots.PALETTE[0][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    assert (abs(pixels - blue).max(axis=-1) < 0.02).sum() > 50, "the line is drawn in the palette"


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_empty_alt_is_refused(shown, alt):
    figure = figure_of([1])
    with pytest.raises(ValueError, match="alt is empty; say in one sentence"):
        plots.show(figure, alt=alt)
    assert shown == []
    plt.close(figure)


def test_the_figure_is_closed(shown):
    before = plt.get_fignums()
    plots.show(figure_of([1]), alt="a point")
    assert plt.get_fignums() == before, "an open figure would be shown a second time"


def test_series_differ_without_colour():
    assert len(set(plots.MARKERS)) == len(plots.MARKERS) >= len(set(plots.PALETTE))
