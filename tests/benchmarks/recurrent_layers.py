"""The GRU of 05a against Keras's and, where PyTorch is installed, against PyTorch's."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lessons import cells

Row = tuple[str, str, str, bool | None]  # what, bar, measured, whether the bar is met

BATCH, STEPS, UNITS, ROUNDS = 32, 64, 256, 30


def lesson_layer() -> Any:
    """The class `HoistedGRU` of the lesson, with all that it uses."""
    wanted = {"forward", "state_gradients", "hoisted_gru", "HoistedGRU"}
    names: dict[str, Any] = {"tf": tf, "keras": keras}
    for source in cells("05a_efficient_training"):
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in wanted:
                code = compile(ast.Module([node], type_ignores=[]), "05a", "exec")
                exec(code, names)
    return names["HoistedGRU"]


def keras_step(kind: Any, x: Any, compiled: bool = False) -> Callable[[], Any]:
    """Outputs and all gradients of a Keras layer; `compiled`: the whole step by XLA."""
    layer = kind(UNITS, return_sequences=True)
    layer.build(x.shape)
    weights = [v.value for v in layer.trainable_weights]

    @tf.function(autograph=False, jit_compile=compiled)
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, [x, *weights])

    return lambda: step(x)[1].numpy()


def torch_step(x: Any) -> Callable[[], Any]:
    """The same of `torch.nn.GRU`, which has two biases and the same operations otherwise."""
    import torch

    layer = torch.nn.GRU(x.shape[2], UNITS, batch_first=True)
    inputs = torch.tensor(x.numpy(), requires_grad=True)

    def step() -> Any:
        layer.zero_grad()
        inputs.grad = None
        (layer(inputs)[0] ** 2).sum().backward()

    return step


def hoisted_gru() -> Iterator[Row]:
    """A training step of each, in turns; the first call compiles."""
    x = tf.constant(np.random.default_rng(0).normal(size=(BATCH, STEPS, UNITS)), tf.float32)
    layer, whole = lesson_layer(), "hoisted, all compiled"
    steps = {"Keras": keras_step(keras.layers.GRU, x), "hoisted": keras_step(layer, x)}
    steps[whole] = keras_step(layer, x, compiled=True)
    try:
        steps["torch"] = torch_step(x)
    except ImportError:
        yield "torch.nn.GRU", "for comparison", "PyTorch is not installed", None
    compiling = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        compiling[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    middle = {name: float(np.median(column)) for name, column in times.items()}
    gain = {name: middle["Keras"] / seconds for name, seconds in middle.items()}
    each = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in middle.items())
    for name in ("hoisted", whole):
        what = f"GRU, training step, {name}"
        yield what, "≥ 1.5 times", f"{gain[name]:.2f}", gain[name] >= 1.5
        yield "… its first call", "≤ 5 s", f"{compiling[name]:.1f} s", compiling[name] <= 5
    level = gain["hoisted"] >= gain["torch"] if "torch" in gain else None
    yield "… against torch.nn.GRU", "level, an aim", each, level
