"""Interactive parts: pages of HTML, plain functions of slider values, and sliders for them."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np

from course_utils.datasets import Array
from course_utils.models.masked import DigitClassifier
from course_utils.models.vae import VAE


def picture(rows: list[Array], words: str, zoom: int = 3) -> str:
    """Rows of images, each (N, height, width) in [0, 1], dark on white, and the words below."""
    grid = np.concatenate([np.concatenate([*row], axis=1) for row in rows])
    buffer = io.BytesIO()
    plt.imsave(buffer, np.clip(grid, 0, 1), cmap="gray_r", vmin=0, vmax=1, format="png")
    png, width = base64.b64encode(buffer.getvalue()).decode(), zoom * grid.shape[1]
    style = f"width:{width}px;max-width:100%;image-rendering:pixelated"
    return f"<img src='data:image/png;base64,{png}' alt='{words}' style='{style}'><p>{words}</p>"


def latent_page(
    model: VAE, judge: DigitClassifier, codes: Any, image: int, dimension: int, value: float
) -> str:
    """What one of the codes, (N, latent_dim), decodes to with a number changed, and is read as."""
    if np.shape(codes)[-1] != model.latent_dim:
        found = f"the codes have {np.shape(codes)[-1]} dimensions and the model {model.latent_dim}"
        raise ValueError(f"{found}; make them with the encode method of this model")
    z = np.repeat(np.asarray(codes)[image : image + 1], 9, axis=0)
    z[1, dimension], z[2:, dimension] = value, range(-3, 4)
    p = judge.probabilities(decoded := model.decode(z))
    read = [f"{row.argmax()} ({row.max():.0%})" for row in p]
    words = f"Image {image} rebuilt, read as {read[0]}; with z[{dimension}] = {value:g} in place "
    words += f"of {codes[image][dimension]:.1f}, read as {read[1]}. Then z[{dimension}] from -3 to "
    words += "3: "
    return picture([decoded], words + ", ".join(read[2:]) + ".")


def sliders(page: Callable[..., str], name: str, **ranges: Sequence[int]) -> ipw.VBox:
    """A part, of the CSS class `name`, with one slider for each argument of a `page` of HTML.

    Each of the `ranges` is a tuple (start, lowest, highest), or a list of values to choose from;
    underscores in its name are shown as spaces.
    """
    controls = {}
    for key, span in ranges.items():
        given = {"description": key.replace("_", " "), "continuous_update": False}
        if isinstance(span, list):
            controls[key] = ipw.SelectionSlider(options=span, **given)
        else:
            controls[key] = ipw.IntSlider(span[0], min=span[1], max=span[2], **given)
    output = ipw.HTML().add_class("course-alternative")

    def refresh(_: Any = None) -> None:
        output.value = page(**{key: control.value for key, control in controls.items()})

    for control in controls.values():
        control.observe(refresh, names="value")
    refresh()
    return ipw.VBox([*controls.values(), output]).add_class(name)
