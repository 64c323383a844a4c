"""The checkpoints that the course ships: the right files, they load, and the recipe makes them."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import course_utils
from course_utils import checkpoints, datasets, download
from course_utils.runtime import DATA_DIR

PROMPTS = {"text_reference_english": "Compute the ", "place_names": "\n"}


@pytest.fixture(scope="module", params=checkpoints.RECIPES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def described(name):
    return json.loads((DATA_DIR / "checkpoints" / f"{name}.json").read_text("utf-8"))


def test_the_file_is_the_registered_one(name):
    entry = download.registry("checkpoints")[name]
    path = DATA_DIR / "checkpoints" / entry.file
    assert path.name == f"{name}.weights.h5"
    assert download.sha256(path) == entry.sha256
    assert path.stat().st_size == entry.bytes < 5_000_000
    weights = 4 * checkpoints.load(name).count_params()  # bytes
    assert entry.bytes < weights + 100_000, "more than the weights: the optimizer's state too?"


def test_every_registered_checkpoint_has_a_recipe():
    assert set(download.registry("checkpoints")) == set(checkpoints.RECIPES)


def test_it_loads_and_writes(name):
    model = checkpoints.load(name)
    written = model.generate(PROMPTS[name], 100, temperature=0.5, seed=1)
    assert len(written) == 100
    assert written == checkpoints.load(name).generate(PROMPTS[name], 100, 0.5, seed=1)
    assert len(set(written)) > 8, f"hardly a text: {written!r}"


def test_the_weights_are_what_the_record_says():
    described = json.loads(
        (DATA_DIR / "checkpoints" / "text_reference_english.json").read_text("utf-8")
    )
    model = checkpoints.load("text_reference_english")
    assert model.get_config() == {**described["config"], "name": model.name}
    held_out = datasets.text("reference_english").validation[50_000:60_000]
    nats = -model.log_prob(model.tokenizer.encode(held_out)).mean()
    # A slice of the validation part, so near the loss over all of it, and far from other models'.
    assert nats == pytest.approx(described["record"]["val_loss"][-1], rel=0.25)


def test_the_record_tells_of_a_training_that_went_well(described):
    record = described["record"]
    assert record["early_loss"] > 1.3 * record["val_loss"][-1]
    assert record["seconds"] > 0 and record["trained_on"]


def test_names_follow_the_mark():
    names = datasets.place_names()
    model = checkpoints.load("place_names")

    def written(language):
        lines = model.sample(["\n" + names.marks[language]] * 20, 30, temperature=0.7, seed=1)
        return "".join(line.split("\n")[0] for line in lines)

    greek, finnish = (written(language) for language in ("Greek", "Finnish"))
    assert np.mean(["Ͱ" <= c <= "Ͽ" or "ἀ" <= c <= "῿" for c in greek if c.isalpha()]) > 0.9
    assert not any("Ͱ" <= c <= "Ͽ" for c in finnish)
    assert len(set(finnish)) > 8


@pytest.mark.slow
def test_the_first_steps_of_the_recipe_again(name, described):
    keras.backend.clear_session()
    course_utils.setup()
    model, record = checkpoints.RECIPES[name](max_steps=checkpoints.EARLY_STEPS)
    assert int(model.optimizer.iterations) == checkpoints.EARLY_STEPS
    assert record["trained_on"] == described["record"]["trained_on"]
    assert record["early_loss"] == pytest.approx(described["record"]["early_loss"], rel=0.02)
    stored = dict(described["config"], name=None, dtype=None)
    assert dict(model.get_config(), name=None, dtype=None) == stored
