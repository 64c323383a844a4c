"""The trained models that the course ships; `data/checkpoints/recipes.py` trains them."""

import json
from pathlib import Path
from typing import Any

import keras

from course_utils import download
from course_utils.models.chorale import ChoraleModel
from course_utils.models.diffusion import Diffusion
from course_utils.models.masked import DigitClassifier, MaskedImageModel
from course_utils.models.recurrent import TextGenerator
from course_utils.models.rows import RowModel
from course_utils.models.vae import VAE

# Classes of the models; a checkpoint's description names its own.
KINDS: tuple[Any, ...] = (
    *(TextGenerator, MaskedImageModel, DigitClassifier, VAE, RowModel, ChoraleModel),
    *(Diffusion, keras.Sequential),
)


def load(name: str) -> Any:
    """A model that the course ships, such as `"text_reference_english"`.

    A ValueError, which lists the known ones, for another name; `DataUnavailable` if its file is
    missing or has a wrong hash.
    """
    weights, described = _described(name)
    kinds = {kind.__name__: kind for kind in KINDS}
    model = kinds[described["kind"]].from_config(described["config"])
    model.build()
    model.load_weights(weights)
    return model


def record(name: str) -> dict[str, Any]:
    """The seconds and losses of a checkpoint's training; raises as `load` does."""
    return dict(_described(name)[1]["record"])


def _described(name: str) -> tuple[Path, dict[str, Any]]:
    weights = download.shipped(name, "checkpoints")
    return weights, json.loads(weights.with_name(f"{name}.json").read_text(encoding="utf-8"))


def results(name: str) -> dict[str, Any]:
    """Results that a recipe stored, such as `"label_efficiency"`; ValueError for another name."""
    return dict(json.loads(download.shipped(name).read_text(encoding="utf-8")))
