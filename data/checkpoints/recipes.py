"""Train the checkpoints that the course ships: `python data/checkpoints/recipes.py [NAME …]`.

Each is stored beside this file as weights (`NAME.weights.h5`) with a `NAME.json`: what is needed
to build the model, and the losses of the training run. `label_efficiency`, `equal_seconds`,
`jsb_benchmark` and `efficiency` are tables of results.
"""

from __future__ import annotations

import argparse
import json
import lzma
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

import course_utils
from course_utils import checkpoints, datasets, download, text
from course_utils.chorales import piano_roll
from course_utils.metrics import frechet_distance
from course_utils.models.diffusion import Diffusion
from course_utils.models.masked import DigitClassifier, MaskedImageModel, PatchEncoder
from course_utils.models.recurrent import TextGenerator
from course_utils.models.rows import RowModel
from course_utils.models.vae import VAE
from course_utils.runtime import DATA_DIR
from course_utils.training import adamw, binarise, image_batches, restart
from efficiency import efficiency
from equal_seconds import equal_seconds
from gan import GAN, draw
from jsb_benchmark import BATCH, STEPS, compiled, jsb_benchmark, windows

EARLY_STEPS = 60
"""The loss over these first steps is stored, so that a test can repeat them and compare."""


MASKED_EPOCHS, CLASSIFIER_EPOCHS = 600, 60

VAE_AUGMENTATION: dict[str, Any] = {"degrees": 10.0, "zoom": 0.1, "shift": 1.0, "contrast": 1.36}

DENSE_VAE: dict[str, Any] = {"weight_decay": 0.01, "batch_size": 200}

GAN_RATE, GAN_STEPS = 1e-3, 8_000
GAN_AUGMENTATION: dict[str, Any] = {"degrees": 5.0, "zoom": 0.05, "shift": 0.5, "contrast": 1.18}

DIFFUSION_AUGMENTATION = GAN_AUGMENTATION | {"contrast": 1.3}  # their grey values' spread is kept

LABELS, SEEDS = (10, 30, 100, 300, 1000, 4000), (0, 1, 2)
RATES, LABEL_STEPS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), 300
ARMS = ("fine-tuned", "from scratch", "convolutional")
"""What `label_efficiency` compares."""

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
        optimizer=adamw(epochs * steps_per_epoch, learning_rate=4e-3),
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


def one_pass(
    model: TextGenerator, windows: Any, held_out: Any, max_steps: int | None
) -> dict[str, Any]:
    """Train on every window once, or on the first `max_steps`; the record of it."""
    model.compile(
        optimizer=adamw(int(windows.cardinality())),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    record = fit_once(model, windows, max_steps)
    return record | {"val_loss": [round(float(-model.log_prob(held_out).mean()), 4)]}


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
    held_out = tokenizer.encode(lines(names.validation))
    return model, one_pass(model, windows, held_out, max_steps) | {"trained_on": names.source}


def text_without_keras(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train a text generator on `reference_english` without the pages of Keras.

    Args:
        max_steps: as in `text_reference_english`.

    Returns:
        The model and its record; the validation loss is on held-out pages of the other four
        libraries, near-duplicates of training pages included, in nats per character.
    """
    libraries = ("numpy", "pandas", "scipy", "sklearn")
    data = datasets.text(deduplicate=False, libraries=libraries)
    tokenizer = text.CharacterTokenizer.fit(data.train, min_count=50)
    windows = text.contiguous_streams(tokenizer.encode(data.train), streams=128, length=64)
    model = TextGenerator(tokenizer.vocab_size, 64, 256, tokenizer=tokenizer)
    source = f"{data.source}; without keras"
    held_out = tokenizer.encode(data.validation)
    return model, one_pass(model, windows, held_out, max_steps) | {"trained_on": source}


def masked_digits(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Pretrain a patch encoder on the 4,000 training digits, of which it sees no label.

    Args:
        max_steps: as in `text_reference_english`.

    Returns:
        The model and its record; losses are in nats per hidden pixel, the validation loss over
        ten maskings of each validation digit.
    """
    data = datasets.digits()
    model = MaskedImageModel(PatchEncoder(), visible=5)
    steps = MASKED_EPOCHS * len(data.train) // 128
    batches = image_batches(data.train.unlabelled().images, batch_size=128, steps=steps)
    model.compile(
        optimizer=adamw(steps, learning_rate=2e-3, weight_decay=0.05),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    record = fit_once(model, batches.map(model.hide), max_steps)
    held_out = [model.hide(data.validation.images) for _ in range(10)]
    losses = [model.evaluate(x, y, batch_size=500, verbose=0) for x, y in held_out]
    return model, record | {
        "trained_on": data.source,
        "val_loss": [round(float(np.mean(losses)), 4)],
    }


def fit_once(model: keras.Model, batches: Any, max_steps: int | None) -> dict[str, Any]:
    """Train a compiled model on all batches, or on the first `max_steps`; the record of it."""
    early = EarlyLoss()
    start = time.perf_counter()
    history = model.fit(
        batches.take(max_steps) if max_steps else batches,
        callbacks=[early],
        shuffle=False,
        verbose=0,
    ).history
    return {
        "seconds": round(time.perf_counter() - start),
        "early_loss": early.value,
        "loss": [round(float(history["loss"][-1]), 4)],
    }


def digit_classifier(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Fine-tune the encoder of `masked_digits` with all 4,000 labels; it judges samples.

    Args:
        max_steps: as in `text_reference_english`.

    Returns:
        The model and its record; the losses are in nats a digit.
    """
    data, model = datasets.digits(), start_of("fine-tuned")
    steps = CLASSIFIER_EPOCHS * len(data.train) // 100
    model.compile(
        adamw(steps, 3e-3, weight_decay=0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    batches = image_batches(data.train.images, data.train.labels, batch_size=100, steps=steps)
    record = fit_once(model, batches, max_steps)
    truth = data.validation.labels
    p = model.probabilities(data.validation.images)  # (500, 10)
    return model, record | {
        "trained_on": data.source,
        "val_loss": [round(float(-np.log(p[np.arange(len(p)), truth]).mean()), 4)],
        "val_accuracy": float(np.mean(p.argmax(axis=1) == truth)),
    }


def image_model(
    model: Any,
    steps: int,
    max_steps: int | None,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.05,
    batch_size: int = 100,
) -> tuple[Any, dict[str, Any]]:
    """Train a model of the 4,000 training digits, augmented, with pixels drawn as 0 or 1.

    Returns:
        The model and its record; the training loss, minus the ELBO or the log-likelihood, is that
        of augmented digits; `val_loss` is minus the importance-weighted bound with k = 500, or
        minus the log-likelihood; all in nats an image, for a class-conditional model given the
        class.
    """
    data = datasets.digits()
    classes = getattr(model, "classes", 0)
    model.compile(adamw(steps, learning_rate, weight_decay=weight_decay))
    batches = image_batches(
        data.train.images,
        data.train.labels if classes else None,
        batch_size=batch_size,
        steps=steps,
        binary=True,
        **VAE_AUGMENTATION,
    )
    if classes:
        batches = batches.map(lambda images, labels: ((images, labels),))
    record = fit_once(model, batches, max_steps)
    held_out: Any = binarise(data.validation.images, (0, 0))
    held_out = (held_out, data.validation.labels) if classes else held_out
    exact = isinstance(model, RowModel)
    k = 5 if max_steps else 500  # a test of the first steps has no use for a tight bound
    bound = model.log_prob(held_out) if exact else model.importance_weighted_bound(held_out, k)
    return model, record | {
        "trained_on": data.source,
        "val_loss": [round(float(-bound.mean()), 4)],
    }


def digits_vae(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the dense variational autoencoder; `max_steps` as in `text_reference_english`."""
    return image_model(VAE(), 2800, max_steps, **DENSE_VAE)


def digits_rows_vae(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the autoencoder whose decoder is the article's Dense, GRU, Dense, row by row."""
    return image_model(VAE(24, 256, decoder="rows"), 3000, max_steps, learning_rate=2e-3)


def digits_convolutional_vae(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the convolutional autoencoder."""
    return image_model(VAE(32, 128, decoder="convolutional"), 2000, max_steps)


def digits_class_vae(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the dense autoencoder whose decoder is told the class."""
    return image_model(VAE(classes=10), 2800, max_steps, **DENSE_VAE)


def digits_rows(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the autoregressive model of rows."""
    return image_model(RowModel(), 4000, max_steps)


def digits_gan(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the adversarial network, on grey images.

    Returns:
        The game, whose `average` is shipped, and its record; `loss` is the generator's and tells
        nothing of quality. There is
        no likelihood: `val_loss` is the squared Frechet distance of 500 samples to the training
        digits, on the features of `digit_classifier`.
    """
    data, model = datasets.digits(), GAN()
    model.compile(keras.optimizers.Adam(GAN_RATE, beta_1=0.5, beta_2=0.99))
    batches = image_batches(data.train.images, batch_size=64, steps=GAN_STEPS, **GAN_AUGMENTATION)
    record = fit_once(model, batches, max_steps)
    judge = checkpoints.load("digit_classifier")
    made, real = (judge.features(x) for x in (draw(model.average, 500), data.train.images))
    return model, record | {
        "trained_on": data.source,
        "val_loss": [round(frechet_distance(made, real), 4)],
    }


def chorales(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the model of chorales on the four voices of the course's own, in every key.

    Args:
        max_steps: as in `text_reference_english`.

    Returns:
        The model and its record; the losses are in nats a frame, without the first of a piece.
    """
    data: Any = datasets.chorales()
    train, held_out = ([piano_roll(p.notes) for p in x] for x in (data.train, data.validation))
    model = compiled()
    record = fit_once(model, windows(train, BATCH, STEPS), max_steps)
    nats = round(model.nats_per_frame(held_out), 4)
    return model, record | {"trained_on": data.source, "val_loss": [nats]}


def digits_diffusion(max_steps: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Train the diffusion model, on grey images.

    Returns:
        The model and its record; the losses are the mean squared error of v a pixel, `frechet` is
        that of 500 samples, classes in turn, as for `digits_gan`.
    """
    data, model, steps = datasets.digits(), Diffusion(), 6_000
    model.compile(adamw(steps, 2e-3, weight_decay=0.01), jit_compile=False)  # slower with XLA
    batches = image_batches(
        data.train.images, data.train.labels, batch_size=64, steps=steps, **DIFFUSION_AUGMENTATION
    ).map(lambda images, labels: ((images, labels),))
    record = fit_once(model, batches, max_steps)
    held_out = (data.validation.images, data.validation.labels)
    losses = [np.mean(model(held_out)) for _ in range(20)]
    judge, turns = checkpoints.load("digit_classifier"), np.arange(500) % 10
    made = model.sample(500, labels=turns, steps=1 if max_steps else 25)
    frechet = frechet_distance(judge.features(made), judge.features(data.train.images))
    return model, record | {
        "trained_on": data.source,
        "val_loss": [round(float(np.mean(losses)), 4)],
        "frechet": round(frechet, 4),
    }


def convolutional() -> keras.Model:
    """A convolutional classifier of digits, for comparison."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((28, 28)), layers.Reshape((28, 28, 1))]
        + [layers.Conv2D(n, 3, strides=2, padding="same", activation="relu") for n in (32, 64, 64)]
        + [layers.Flatten(), layers.Dropout(0.3), layers.Dense(10)]
    )


def start_of(arm: str) -> keras.Model:
    """An untrained classifier, or one whose encoder comes from `masked_digits`."""
    if arm == "convolutional":
        return convolutional()
    if arm == "fine-tuned":
        return DigitClassifier(checkpoints.load("masked_digits").encoder)
    return DigitClassifier(PatchEncoder())


def predictions(
    arm: str, labels: int, learning_rate: float, seeds: tuple[int, ...] = SEEDS
) -> list[tuple[Any, Any]]:
    """Train on `labels` labelled digits, once a seed.

    Returns:
        For each seed the predicted classes of the validation and of the test digits.
    """
    keras.utils.set_random_seed(seeds[0])  # dropout draws its seed as the layer is made
    data, model, results = datasets.digits(), start_of(arm), []
    model.compile(
        adamw(LABEL_STEPS, learning_rate, weight_decay=0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        restart(model, start_of(arm).get_weights())
        part = data.train.balanced(labels, seed)
        batches = image_batches(
            part.images, part.labels, batch_size=100, steps=LABEL_STEPS, seed=seed
        )
        model.fit(batches, shuffle=False, verbose=0)
        guesses = (
            model.predict(images, batch_size=500, verbose=0).argmax(axis=1)
            for images in (data.validation.images, data.test.images)
        )
        results.append(tuple(guesses))
    return results


def label_row(arm: str, labels: int) -> dict[str, Any]:
    """One classifier with one number of labels: all rates and seeds, and the chosen rate."""
    runs = {rate: predictions(arm, labels, rate) for rate in RATES}
    truth = datasets.digits().validation.labels
    accuracy = {
        rate: [float(np.mean(guesses[0] == truth)) for guesses in of_rate]
        for rate, of_rate in runs.items()
    }
    chosen = max(RATES, key=lambda rate: sum(accuracy[rate]))
    print(arm, labels, chosen, accuracy, flush=True)
    return {
        "validation": {str(rate): values for rate, values in accuracy.items()},
        "learning_rate": chosen,
        "predicted": ["".join(map(str, guesses[1])) for guesses in runs[chosen]],
    }


def label_efficiency() -> dict[str, Any]:
    """Three classifiers over the number of labels, equal steps, three draws of labels each.

    The learning rate is chosen for every classifier and every number of labels by the mean
    accuracy on the validation part; the test part takes no part in it. Rows run two at a time,
    each in a process of its own.

    Returns:
        For each classifier and number of labels: the validation accuracy of every learning rate
        and draw, the chosen rate, and the predicted class of each test digit, one string a draw.
    """
    rows = [(arm, labels) for arm in ARMS for labels in LABELS]
    with ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        found = list(pool.map(label_row, *zip(*rows, strict=True)))
    arms: dict[str, Any] = {arm: {} for arm in ARMS}
    for (arm, labels), row in zip(rows, found, strict=True):
        arms[arm][str(labels)] = row
    return {"steps": LABEL_STEPS, "largest_batch": 100, "seeds": SEEDS, "classifiers": arms}


RECIPES: dict[str, Callable[..., tuple[Any, dict[str, Any]]]] = {
    "text_reference_english": text_reference_english,
    "place_names": place_names,
    "text_without_keras": text_without_keras,
    "masked_digits": masked_digits,
    "digit_classifier": digit_classifier,
    "digits_vae": digits_vae,
    "digits_rows_vae": digits_rows_vae,
    "digits_convolutional_vae": digits_convolutional_vae,
    "digits_class_vae": digits_class_vae,
    "digits_rows": digits_rows,
    "digits_gan": digits_gan,
    "chorales": chorales,
    "digits_diffusion": digits_diffusion,
}

TABLES: dict[str, Callable[[], dict[str, Any]]] = {
    "label_efficiency": label_efficiency,
    "equal_seconds": equal_seconds,
    "jsb_benchmark": jsb_benchmark,
    "efficiency": efficiency,
}
"""Results that a lesson shows, in place of weights."""


def store(path: Path, content: Any, table: str, name: str, licence: str = "MIT") -> None:
    """Enter a file's hash in the registry, after writing it if there is content for it."""
    import tomlkit

    if content is not None:
        path.write_text(content, encoding="utf-8", newline="\n")
    registry_path = DATA_DIR / "registry.toml"
    registry = tomlkit.parse(registry_path.read_text(encoding="utf-8"))
    registry.setdefault(table, tomlkit.table())[name] = {
        "file": path.name,
        "sha256": download.sha256(path),
        "bytes": path.stat().st_size,
        "licence": licence,
    }
    registry_path.write_text(tomlkit.dumps(registry), encoding="utf-8", newline="\n")


def store_packed(name: str, content: dict[str, Any], licence: str) -> None:
    """Write content as `data/NAME.json.xz`, and enter it in the registry."""
    path = DATA_DIR / f"{name}.json.xz"
    path.write_bytes(lzma.compress(json.dumps(content, ensure_ascii=False).encode(), preset=9))
    store(path, None, "shipped", name, licence)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def compress(path: Path) -> None:
    """Write an HDF5 file anew with its arrays compressed, so that all files stay below 5 MB."""
    import h5py

    with h5py.File(path) as old:
        objects: dict[str, Any] = {}
        old.visititems(lambda name, item: objects.update({name: (item, dict(item.attrs))}))
        arrays = {name: item[()] for name, (item, _) in objects.items() if hasattr(item, "shape")}
    with h5py.File(path, "w") as new:
        for name, (_, attributes) in objects.items():
            if name not in arrays:
                item = new.require_group(name)
            elif arrays[name].ndim:
                item = new.create_dataset(name, data=arrays[name], compression=9, shuffle=True)
            else:
                item = new.create_dataset(name, data=arrays[name])
            item.attrs.update(attributes)


def train(name: str) -> None:
    """Train one checkpoint, store it, and enter its hash in the registry."""
    course_utils.setup()
    folder = DATA_DIR / "checkpoints"
    if name in TABLES:
        content = json.dumps(TABLES[name](), indent=1) + "\n"
        store(DATA_DIR / f"{name}.json", content, "shipped", name)
        return
    model, record = RECIPES[name]()
    model = getattr(model, "average", model)  # of a GAN, what draws the samples
    weights = folder / f"{name}.weights.h5"
    config = model.get_config()
    bare = type(model).from_config(dict(config))  # without the optimizer, which is twice as large
    bare.build()
    bare.set_weights(model.get_weights())
    bare.save_weights(weights)
    compress(weights)
    described = {"kind": type(model).__name__, "record": record, "config": config}
    content = json.dumps(described, ensure_ascii=False, indent=1) + "\n"
    (folder / f"{name}.json").write_text(content, encoding="utf-8", newline="\n")
    store(weights, None, "checkpoints", name)
    print(f"{name}: {record}")


def main() -> None:
    """Train the checkpoints named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    names = [*RECIPES, *TABLES]
    parser.add_argument("names", nargs="*", choices=[[], *names], help="all when left out")
    for name in parser.parse_args().names or names:
        train(name)


if __name__ == "__main__":
    main()
