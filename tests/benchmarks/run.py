"""Measure what the course promises, and print it beside the bars: `make bench`.

Not a test: read the table on a machine that is otherwise idle. Tiny Shakespeare comes from
COURSE_DATA_DIR, from the cache, or from the network.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import course_utils

course_utils.setup()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from course_utils import checkpoints, datasets, download, text, training  # noqa: E402
from course_utils.models import recurrent  # noqa: E402
from course_utils.runtime import DATA_DIR  # noqa: E402

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(DATA_DIR / "checkpoints"), str(TESTS), str(TESTS.parent / "notebooks/source")]

import autoencoders  # noqa: E402
import recurrent_layers  # noqa: E402

import equal_seconds as comparison  # noqa: E402
import jsb_benchmark  # noqa: E402

Row = tuple[str, str, str, bool | None]  # what, bar, measured, whether the bar is met

EPOCHS = 5
IMPORT = """
import sys, time
start = time.perf_counter()
import course_utils
print(time.perf_counter() - start, *{"tensorflow", "matplotlib"} & set(sys.modules))
"""


def tiny_shakespeare() -> Iterator[Row]:
    """The lesson's own model and training call on another text; the last 10% is held out."""
    what = "Tiny Shakespeare, nats per character"
    try:
        data = datasets.text("tiny_shakespeare")
    except download.DataUnavailable as error:
        print(error, end="\n\n")
        yield what, "≤ 1.60, aim 1.52", "unavailable: see above", None
        return
    tokenizer = text.CharacterTokenizer.fit(data.train)
    assert not tokenizer.unknown_pieces(data.validation), "an unknown character would be cheap"
    windows = text.contiguous_streams(tokenizer.encode(data.train), streams=64, length=48)
    model = recurrent.TextGenerator(tokenizer.vocab_size, 64, 256, tokenizer=tokenizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(training.adamw(EPOCHS * len(windows)), loss)
    start = time.perf_counter()
    model.fit(windows, epochs=EPOCHS, shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    # Every character of the validation text but its first, which has nothing before it.
    nats = -model.log_prob(tokenizer.encode(data.validation)).mean()
    yield what, "≤ 1.60, aim 1.52", f"{nats:.3f}", nats <= 1.60
    yield f"… its training, {EPOCHS} epochs", "≤ 100 s", f"{seconds:.0f} s", seconds <= 100


def equal_seconds() -> Iterator[Row]:
    """The GRU and the Transformer of 04a's stored table, trained again here for the same seconds.

    A model for every budget, with the chosen settings and the first seed; steps are fixed
    beforehand by a measured step. Evaluation and compilation are not counted.
    """
    what = "Tiny Shakespeare at equal seconds, nats"
    try:
        datasets.text("tiny_shakespeare")
    except download.DataUnavailable:
        yield what, "as stored", "unavailable: see above", None
        return
    stored = checkpoints.results("equal_seconds")
    models = {kind: model["chosen"] for kind, model in stored["models"].items()}
    step = {kind: comparison.step_seconds(kind, chosen) for kind, chosen in models.items()}
    for budget in stored["budgets"]:
        here, there = {}, {}
        for kind, model in stored["models"].items():
            here[kind] = comparison.measured(kind, models[kind], budget, step[kind])
            there[kind] = next(row for row in model["rows"] if row["budget"] == budget)
        nats = ", ".join(f"{kind} {row['nats']:.3f}" for kind, row in here.items())
        bar = ", ".join(f"{row['nats']:.3f}" for row in there.values())
        real = " and ".join(f"{row['seconds']:.0f}" for row in here.values())
        best, once = (min(rows, key=lambda k: rows[k]["nats"]) for rows in (here, there))
        yield f"{what}: {budget} s", f"{bar}, stored", f"{nats} in {real} s", best == once


def jsb() -> Iterator[Row]:
    """The model of 04c trained again on the benchmark of chorales, and how fast it writes."""
    what = "JSB chorales, test, nats per frame"
    try:
        found = jsb_benchmark.jsb_benchmark()
    except download.DataUnavailable as error:
        print(error, end="\n\n")
        yield what, "≤ 5.3, aim 4.7", "unavailable: see above", None
    else:
        nats, seconds = found["nats"]["test"], found["seconds"]
        yield what, "≤ 5.3, aim 4.7", f"{nats:.2f}", nats <= 5.3
        yield f"… its training, {found['steps']} steps", "≤ 600 s", f"{seconds} s", seconds <= 600
        for name, value in found["baselines"]["test"].items():
            known = found["published"][name]
            yield f"… {name}", f"{known}, published", f"{value:.2f}", abs(value - known) < 0.01
    model = checkpoints.load("chorales")
    model.sample(1, 2)  # compile
    start = time.perf_counter()
    model.sample(1, 64)
    seconds = time.perf_counter() - start
    yield "a chorale of 16 bars", "≤ 3 s", f"{seconds:.2f} s", seconds <= 3


def generation(length: int = 200) -> Iterator[Row]:
    """Both ways of generating that the lesson compares, one after the other, batch 1."""
    model = checkpoints.load("text_reference_english")
    prompt = "Parameters\n----------\n"
    logits_of_prefix = tf.function(lambda ids: model(ids)[:, -1], reduce_retracing=True)
    ids, rng = list(model.tokenizer.encode(prompt)), np.random.default_rng(0)
    logits_of_prefix(tf.constant([ids])), logits_of_prefix(tf.constant([[*ids, 1]]))  # compile
    model.generate(prompt, 2)  # compile
    start = time.perf_counter()
    for _ in range(length):
        p = text.sampling_probabilities(logits_of_prefix(tf.constant([ids])).numpy()[0])
        ids.append(int(np.argmax(np.cumsum(p) > rng.random())))
    recomputing = time.perf_counter() - start
    start = time.perf_counter()
    written = model.generate(prompt, length, seed=0)
    carrying = time.perf_counter() - start
    times, rates = recomputing / carrying, [round(length / t) for t in (carrying, recomputing)]
    measured = f"{times:.0f} times, {rates[0]:,} against {rates[1]:,} tokens/s"
    yield "generation, state carried", "≥ 20 times recomputing", measured, times >= 20
    same = written == model.tokenizer.decode(ids)[len(prompt) :]
    yield "… and the same text", "yes", "yes" if same else "no", same


def importing(runs: int = 5) -> Iterator[Row]:
    """Seconds of `import course_utils` in fresh processes, the best of some."""
    once = [sys.executable, "-c", IMPORT]
    outputs = [subprocess.check_output(once, text=True).split() for _ in range(runs)]
    seconds, heavy = min(float(out[0]) for out in outputs), outputs[0][1:]
    yield "import course_utils", "< 0.2 s", f"{seconds:.3f} s", seconds < 0.2
    yield "… imports TensorFlow, matplotlib", "neither", " ".join(heavy) or "neither", not heavy


def notebook(name: str = "04a_text_generation") -> Iterator[Row]:
    """What `make notebooks` measured and stored."""
    stored = tomllib.loads((DATA_DIR / "expected.toml").read_text("utf-8")).get(name, {})
    for key, bar, unit in (("seconds", 150, "s"), ("peak_mb", 1200, "MB")):
        value = stored.get(key)
        measured = "not stored yet: make notebooks" if value is None else f"{value} {unit}"
        yield f"{name}, {key}", f"≤ {bar} {unit}", measured, None if value is None else value <= bar


PARTS = (
    importing,
    recurrent_layers.hoisted_gru,
    generation,
    tiny_shakespeare,
    equal_seconds,
    jsb,
    autoencoders.digits_autoencoders,
    autoencoders.mnist_autoencoders,
    notebook,
)


def main() -> None:
    """Run every measurement, or those named on the command line, and print one table."""
    wanted = sys.argv[1:] or [part.__name__ for part in PARTS]
    rows = [row for part in PARTS if part.__name__ in wanted for row in part()]
    table = [("what", "bar", "measured", "")]
    table += [(*row[:3], {True: "met", False: "MISSED", None: "–"}[row[3]]) for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


if __name__ == "__main__":
    main()
