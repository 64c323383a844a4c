"""The trained models that the course ships; `data/checkpoints/recipes.py` trains them."""

from __future__ import annotations

import json
from typing import Any

from course_utils import download
from course_utils.models.masked import DigitClassifier, MaskedImageModel
from course_utils.models.recurrent import TextGenerator
from course_utils.models.vae import VAE

KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (TextGenerator, MaskedImageModel, DigitClassifier, VAE)
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
    weights = download.checkpoint(name)
    described = json.loads(weights.with_name(f"{name}.json").read_text(encoding="utf-8"))
    model = KINDS[described["kind"]].from_config(described["config"])
    model.build()
    model.load_weights(weights)
    return model


def results(name: str) -> dict[str, Any]:
    """A table of results that a recipe stored, such as `"label_efficiency"`.

    Raises:
        ValueError: if there is no table of that name.
    """
    content: dict[str, Any] = json.loads(download.shipped(name).read_text(encoding="utf-8"))
    return content
