"""The trained models that the course ships; `data/checkpoints/recipes.py` trains them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from course_utils import download
from course_utils.models.diffusion import Diffusion
from course_utils.models.gan import GANGenerator
from course_utils.models.masked import DigitClassifier, MaskedImageModel
from course_utils.models.recurrent import TextGenerator
from course_utils.models.rows import RowModel
from course_utils.models.vae import VAE

KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (TextGenerator, MaskedImageModel, DigitClassifier, VAE, RowModel, GANGenerator, Diffusion)
}
"""Classes of the models, by the name that a checkpoint's description gives."""


def load(name: str) -> Any:
    """A model that the course ships, from `data/checkpoints`.

    Args:
        name: such as `"text_reference_english"`, a `TextGenerator`, or `"masked_digits"`, a
            `MaskedImageModel`.

    Raises:
        ValueError: if there is no checkpoint of that name; the message lists the known ones.
        DataUnavailable: if its file is missing or has a wrong hash.
    """
    weights, described = _described(name)
    model = KINDS[described["kind"]].from_config(described["config"])
    model.build()
    model.load_weights(weights)
    return model


def record(name: str) -> dict[str, Any]:
    """The seconds and losses of a checkpoint's training; raises as `load` does."""
    content: dict[str, Any] = _described(name)[1]["record"]
    return content


def _described(name: str) -> tuple[Path, dict[str, Any]]:
    weights = download.shipped(name, "checkpoints")
    return weights, json.loads(weights.with_name(f"{name}.json").read_text(encoding="utf-8"))


def results(name: str) -> dict[str, Any]:
    """A table of results that a recipe stored, such as `"label_efficiency"`.

    Raises:
        ValueError: if there is no table of that name.
    """
    content: dict[str, Any] = json.loads(download.shipped(name).read_text(encoding="utf-8"))
    return content
