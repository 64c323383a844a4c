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

import course_utils
from course_utils import datasets, download, text
from course_utils.runtime import DATA_DIR

EARLY_STEPS = 60
"""The loss over these first steps is stored, so that a test can repeat them and compare."""


def text_reference_english(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the text generator of the course on all of `reference_english`.

    Args:
        max_steps: stop after so many steps (the learning-rate schedule stays that of a full run).

    Returns:
        The model, and its record: seconds, mean training loss of the first `EARLY_STEPS` steps and
        of each epoch, validation loss of each epoch, in nats per character.
    """
    import keras

    from course_utils.models.recurrent import TextGenerator, text_optimizer

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
    early: list[float] = []

    def after_step(batch: int, logs: dict[str, float]) -> None:
        if batch == EARLY_STEPS - 1 and not early:
            early.append(float(logs["loss"]))  # Keras's mean since the epoch began
        if batch % 200 == 0:
            print(f"step {batch} of {steps_per_epoch}: {logs['loss']:.4f}", flush=True)

    start = time.perf_counter()
    history = model.fit(
        train.take(max_steps) if max_steps else train,
        epochs=1 if max_steps else epochs,
        validation_data=None if max_steps else validation,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=after_step)],
        shuffle=False,
        verbose=0,
    ).history
    record = {
        "seconds": round(time.perf_counter() - start),
        "trained_on": data.source,
        "early_loss": early[0] if early else None,
        **{name: [round(float(v), 4) for v in values] for name, values in history.items()},
    }
    return model, record


RECIPES: dict[str, Callable[..., tuple[Any, dict[str, Any]]]] = {
    "text_reference_english": text_reference_english,
}


def train(name: str) -> None:
    """Train one checkpoint, store it, and enter its hash in the registry."""
    import tomlkit

    course_utils.setup()
    model, record = RECIPES[name]()
    folder = DATA_DIR / "checkpoints"
    weights = folder / f"{name}.weights.h5"
    model.save_weights(weights)
    config = model.get_config()
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


def main() -> None:
    """Train the checkpoints named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *RECIPES], help="all when left out")
    for name in parser.parse_args().names or RECIPES:
        train(name)


if __name__ == "__main__":
    main()
