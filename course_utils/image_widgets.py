"""Interactive parts with images: pages of HTML, plain functions of slider values, and sliders."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np

from course_utils.models.masked import DigitClassifier
from course_utils.models.mixture import Array, PixelMixture
from course_utils.models.vae import VAE


def picture(rows: list[Array], words: str, zoom: int = 3) -> str:
    """Rows of images, each (N, height, width) in [0, 1], dark on white, and the words below."""
    grid = np.concatenate([np.concatenate([*row], axis=1) for row in rows])
    buffer = io.BytesIO()
    plt.imsave(buffer, np.clip(grid, 0, 1), cmap="gray_r", vmin=0, vmax=1, format="png")
    png, width = base64.b64encode(buffer.getvalue()).decode(), zoom * grid.shape[1]
    style = f"width:{width}px;max-width:100%;image-rendering:pixelated"
    return f"<img src='data:image/png;base64,{png}' alt='{words}' style='{style}'><p>{words}</p>"


def sample_page(model: PixelMixture, train: Array, digit: int, draw: int) -> str:
    """Eight draws of a class above the training images, (N, height, width), nearest to them."""
    drawn = np.clip(model.sample(8, seed=draw, label=digit), 0, 1)
    apart = np.array([((one - train) ** 2).mean(axis=(1, 2)) for one in drawn])  # (8, N)
    nearest, distance = train[apart.argmin(axis=1)], np.sqrt(apart.min(axis=1)).mean()
    guesses = model.classes[model.joint_log_prob(drawn).argmax(axis=1)]
    words = f"Top: eight draws of class {digit}, number {draw}; the model itself reads them as "
    words += f"{', '.join(map(str, guesses))}. Bottom: the nearest training images, "
    return picture([drawn, nearest], words + f"which differ by {distance:.2f} a pixel.")


def fill_page(model: PixelMixture, images: Array, image: int, hidden_rows: int) -> str:
    """One of the images, what is left of it, the mean of p(hidden | seen), and three draws."""
    x = images[image : image + 1]
    seen = np.ones(x.shape[1:], bool)
    seen[x.shape[1] - hidden_rows :] = False
    draws = [model.fill(x, seen, sample=True, seed=seed) for seed in range(3)]
    log_joint = model.joint_log_prob(x, seen)[0]
    p = np.exp(log_joint - np.logaddexp.reduce(log_joint))
    likely = ", ".join(f"{model.classes[c]} ({p[c]:.0%})" for c in np.argsort(-p)[:3])
    words = f"Image {image}: whole; without its lower {hidden_rows} rows; filled by the mean; "
    words += f"three draws. From the rows that are left the model reads: {likely}."
    return picture([np.concatenate([x, x * seen, model.fill(x, seen), *draws])], words, zoom=5)


def latent_page(
    model: VAE, judge: DigitClassifier, codes: Any, image: int, dimension: int, value: float
) -> str:
    """What a code decodes to with one number changed, and how the classifier reads it.

    `codes` (N, latent_dim) are means of q; a ValueError if the model has another latent_dim.
    """
    if np.shape(codes)[-1] != model.latent_dim:
        raise ValueError(
            f"the codes have {np.shape(codes)[-1]} dimensions and the model {model.latent_dim}; "
            "make them with the encode method of this model"
        )
    z = np.repeat(np.asarray(codes)[image : image + 1], 9, axis=0)
    z[1, dimension], z[2:, dimension] = value, range(-3, 4)
    p = judge.probabilities(decoded := model.decode(z))
    read = [f"{row.argmax()} ({row.max():.0%})" for row in p]
    words = f"Image {image} rebuilt, read as {read[0]}; with z[{dimension}] = {value:g} instead of "
    words += f"{codes[image][dimension]:.1f}, read as {read[1]}. Then z[{dimension}] from -3 to 3: "
    return picture([decoded], words + ", ".join(read[2:]) + ".")


def morph_page(model: VAE, judge: DigitClassifier, images: Array, first: int, second: int) -> str:
    """Nine steps from the code of one image to that of another, above the blends of their pixels.

    `images` are (N, height, width) binary, for the encoder of the model.
    """
    share = np.linspace(0, 1, 9, dtype=np.float32)[:, None]
    start, end = np.asarray(model.encode(images[[first, second]])[0])
    decoded = model.decode((1 - share) * start + share * end)
    blends = (1 - share[..., None]) * images[first] + share[..., None] * images[second]
    p = judge.probabilities(decoded)
    read = ", ".join(f"{row.argmax()} ({row.max():.0%})" for row in p)
    words = f"From image {first} to image {second}. Top: decoded along the line between the codes, "
    return picture([decoded, blends], words + f"read as {read}. Bottom: the pixels blended.", 5)


def erase_page(
    fills: dict[str, Callable[[Array, Array], Array]],
    judge: DigitClassifier,
    images: Array,
    parts: dict[str, Array],
    image: int,
    erased: str,
) -> str:
    """One of the images, what is left of it, and how each model fills what is erased.

    `fills` are functions of binary images (N, height, width) and of what is observed, boolean and
    of one image's shape, as `VAE.fill`; `parts` names such shapes; `erased` is one of the names.
    """
    x, seen = images[image : image + 1], parts[erased]
    filled = [fill(x, seen) for fill in fills.values()]
    p = judge.probabilities(np.concatenate(filled).astype(np.float32))
    named = zip(fills, p, strict=True)
    read = "; ".join(f"{name}, read as {row.argmax()} ({row.max():.0%})" for name, row in named)
    words = f"Image {image}: whole; without its {erased} half; filled by {read}."
    return picture([np.concatenate([x, x * seen, *filled])], words, zoom=5)


def denoise_page(
    paths: dict[float, list[tuple[int, Array, Array]]],
    judge: DigitClassifier,
    step: int,
    guidance: float,
) -> str:
    """Noisy images after a step, above the guesses that led there: those of `Diffusion.path`.

    There is one of the `paths` for each amount of guidance.
    """
    t, x, guess = paths[guidance][step - 1]
    shown = (np.array([x, guess], np.float32) + 1) / 2
    read = ", ".join(f"{row.argmax()} ({row.max():.0%})" for row in judge.probabilities(shown[1]))
    words = f"After step {step} of {len(paths[guidance])} with guidance {guidance:g}, at t = {t}. "
    return picture([*shown], f"{words}Bottom: what the network took them for, read as {read}.")


def errors_page(predicted: dict[str, Array], images: Array, labels: Array) -> str:
    """Accuracy of some classifiers, and the images that each gets wrong, at most 24 of them.

    `predicted` has the classes (N,) that each gives the images (N, height, width), by its name.
    """
    parts = []
    for name, guesses in predicted.items():
        wrong = np.flatnonzero(guesses != labels)
        shown = wrong[:24]
        words = f"{name}: {np.mean(guesses == labels):.1%} right, {len(wrong)} of {len(labels)} "
        words += "wrong" + (", the first 24" if len(wrong) > 24 else "")
        listed = ", ".join(f"{labels[i]} read as {guesses[i]}" for i in shown)
        words += f": {listed}." if listed else "."
        parts.append(picture([images[shown]], words, zoom=2) if len(shown) else f"<p>{words}</p>")
    return "".join(parts)


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
