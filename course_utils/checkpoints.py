"""Train the checkpoints that the course ships: `python -m course_utils.checkpoints [NAME …]`.

Each is stored in `data/checkpoints/` as weights (`NAME.weights.h5`) with a `NAME.json` beside them:
what is needed to build the model, and the losses of the training run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import course_utils
from course_utils import datasets, download, text
from course_utils.models.recurrent import TextGenerator, text_optimizer
from course_utils.runtime import DATA_DIR

EARLY_STEPS = 60
"""The loss over these first steps is stored, so that a test can repeat them and compare."""


NAME_LANGUAGES = """
    Basque Finnish French German Greek Hungarian Icelandic Irish Italian Lithuanian Polish Russian
    Swahili Turkish Vietnamese Welsh
""".split()
"""The languages of the place-name generator: Latin, Greek and Cyrillic script."""


class EarlyLoss(keras.callbacks.Callback):
    """Keeps the mean loss of the first `EARLY_STEPS` steps, and prints a line now and then."""

    value: float | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keras gives the mean loss since the epoch began."""
        if batch == EARLY_STEPS - 1 and self.value is None:
            self.value = float(logs["loss"])
        if batch % 200 == 0:
            print(f"step {batch} of {self.params['steps']}: loss {logs['loss']:.4f}", flush=True)


def text_reference_english(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the text generator of the course on all of `reference_english`.

    Args:
        max_steps: stop after so many steps (the learning-rate schedule stays that of a full run).

    Returns:
        The model, and its record: seconds, mean training loss of the first `EARLY_STEPS` steps and
        of each epoch, validation loss of each epoch, in nats per character.
    """
    data = datasets.text("reference_english")
    tokenizer = text.CharacterTokenizer.fit(data.train, min_count=50)
    train = text.contiguous_streams(tokenizer.encode(data.train), streams=128, length=64)
    validation = text.contiguous_streams(tokenizer.encode(data.validation), streams=128, length=64)
    epochs = 2
    steps_per_epoch = int(train.cardinality())
    model = TextGenerator(tokenizer.vocab_size, 64, 512, tokenizer=tokenizer)
    model.compile(
        optimizer=text_optimizer(epochs * steps_per_epoch, learning_rate=4e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    early = EarlyLoss()
    start = time.perf_counter()
    history = model.fit(
        train.take(max_steps) if max_steps else train,
        epochs=1 if max_steps else epochs,
        validation_data=None if max_steps else validation,
        callbacks=[early],
        shuffle=False,
        verbose=0,
    ).history
    record = {
        "seconds": round(time.perf_counter() - start),
        "trained_on": data.source,
        "early_loss": early.value,
        **{name: [round(float(v), 4) for v in values] for name, values in history.items()},
    }
    return model, record


def place_names(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the generator of place names.

    Each line is a language's mark, a name, a newline. Sixteen lines of one language stand
    together, so that the model learns to look at the lines before as well as at the mark.

    Args:
        max_steps: as in `text_reference_english`.

    Returns:
        The model and its record; the validation loss is on the names of held-out territories, in
        nats per character, marks and newlines included.
    """
    names = datasets.place_names()
    marks = {k: mark for k, mark in names.marks.items() if k in NAME_LANGUAGES}
    rng = np.random.default_rng(0)

    def lines(part: tuple[datasets.PlaceName, ...]) -> str:
        blocks = []
        for language, mark in marks.items():
            own = rng.permutation([f"{mark}{p.name}\n" for p in part if p.language == language])
            blocks += ["".join(own[i : i + 16]) for i in range(0, len(own), 16)]
        return "".join(rng.permutation(blocks))

    content = "".join(lines(names.train) for _ in range(12))  # in a new order each time
    tokenizer = text.CharacterTokenizer.fit(content)
    windows = text.contiguous_streams(tokenizer.encode(content), streams=32, length=32)
    model = TextGenerator(tokenizer.vocab_size, 64, 256, dropout=0.3, tokenizer=tokenizer)
    model.compile(
        optimizer=text_optimizer(int(windows.cardinality())),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    early = EarlyLoss()
    start = time.perf_counter()
    model.fit(
        windows.take(max_steps) if max_steps else windows,
        callbacks=[early],
        shuffle=False,
        verbose=0,
    )
    held_out = model.log_prob(tokenizer.encode(lines(names.validation)))
    return model, {
        "seconds": round(time.perf_counter() - start),
        "trained_on": names.source,
        "early_loss": early.value,
        "val_loss": [round(float(-held_out.mean()), 4)],
    }


RECIPES: dict[str, Callable[..., tuple[Any, dict[str, Any]]]] = {
    "text_reference_english": text_reference_english,
    "place_names": place_names,
}


def train(name: str) -> None:
    """Train one checkpoint, store it, and enter its hash in the registry."""
    import tomlkit

    course_utils.setup()
    model, record = RECIPES[name]()
    folder = DATA_DIR / "checkpoints"
    weights = folder / f"{name}.weights.h5"
    config = model.get_config()
    bare = type(model).from_config(dict(config))  # without the optimizer, which is twice as large
    bare.build()
    bare.set_weights(model.get_weights())
    bare.save_weights(weights)
    content = json.dumps({"record": record, "config": config}, ensure_ascii=False, indent=1)
    (folder / f"{name}.json").write_text(content + "\n", encoding="utf-8", newline="\n")
    path = DATA_DIR / "registry.toml"
    registry = tomlkit.parse(path.read_text(encoding="utf-8"))
    registry.setdefault("checkpoints", tomlkit.table())[name] = {
        "file": weights.name,
        "sha256": download.sha256(weights),
        "bytes": weights.stat().st_size,
        "licence": "MIT",
    }
    path.write_text(tomlkit.dumps(registry), encoding="utf-8", newline="\n")
    print(f"{name}: {record}")


def load(name: str) -> TextGenerator:
    """A model that the course ships, from `data/checkpoints`.

    Args:
        name: one of `RECIPES`.

    Raises:
        ValueError: if there is no checkpoint of that name.
        DataUnavailable: if its file is missing or has a wrong hash.
    """
    weights = download.checkpoint(name)
    described = json.loads(weights.with_name(f"{name}.json").read_text(encoding="utf-8"))
    model = TextGenerator.from_config(described["config"])
    model.build()
    model.load_weights(weights)
    return model


def main() -> None:
    """Train the checkpoints named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *RECIPES], help="all when left out")
    for name in parser.parse_args().names or RECIPES:
        train(name)


if __name__ == "__main__":
    main()
