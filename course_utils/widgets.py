"""Interactive parts. What a button or slider does is a plain function, so that tests can call it.

Text goes into `HTML.value`: an `Output` widget would leak its content into the cell's output.
"""

import html
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ipywidgets as ipw
import keras
import numpy as np
from IPython.display import display

from course_utils.models.generation import TextModel


class Progress(keras.callbacks.Callback):
    """A line below the cell that says how far `fit` is; in place of Keras's own bar."""

    def __init__(self, every_seconds: float = 0.5) -> None:
        super().__init__()
        self.every_seconds = every_seconds
        self.line = ipw.HTML("starting …")

    def on_train_begin(self, logs: Any = None) -> None:
        """Show the line."""
        self._epoch, self._start, self._shown = 0, time.perf_counter(), 0.0
        display(self.line)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Bring the line up to date, a few times a second."""
        seconds = time.perf_counter() - self._start
        if seconds - self._shown < self.every_seconds:
            return
        self._shown = seconds
        steps = self.params.get("steps")
        self.line.value = (
            f"epoch {self._epoch + 1} of {self.params['epochs']}, "
            f"step {batch + 1}{f' of {steps}' if steps else ''}, "
            f"loss {logs['loss']:.3f}, {seconds:.0f} s"
        )

    def on_train_end(self, logs: Any = None) -> None:
        """Say that it is over."""
        self.line.value = f"done in {time.perf_counter() - self._start:.0f} s"


def playground_updates(
    model: TextModel, prompt: str, top_k: int = 0, length: int = 300, **options: Any
) -> Iterator[str]:
    """What the playground shows while text is written, as HTML, after every tenth token.

    That is the prompt in bold and the text so far, or the reason where the model refuses the
    arguments. They are as in `TextModel.generate`, but a `top_k` of 0 keeps all tokens.
    """
    head = f"<strong>{html.escape(prompt)}</strong>"
    try:
        options["top_k"] = min(top_k, model.vocab_size) or None
        for count, so_far in enumerate(model.stream(prompt, length, **options), start=1):
            if count % 10 == 0 or count == length:
                yield f"<pre>{head}{html.escape(so_far)}</pre>"
    except ValueError as error:
        yield f"<p role='alert'>{html.escape(str(error))}</p>"


def next_token_table(model: TextModel, prompt: str, temperature: float, rows: int = 8) -> str:
    """The most probable next tokens as an HTML table with bars; the reason where it cannot be made.

    The `temperature` sharpens (below 1) or flattens (above 1) what the model gives.
    """
    try:
        p = model.next_token_probabilities(prompt, temperature)
    except ValueError as error:
        return f"<p role='alert'>{html.escape(str(error))}</p>"
    assert model.tokenizer is not None
    lines = []
    for token in np.argsort(-p, kind="stable")[:rows]:
        piece = html.escape(repr(model.tokenizer.decode([token])))
        bar = f"<div style='background:#0072B2;height:0.8em;width:{120 * p[token]:.0f}px'></div>"
        lines.append(f"<tr><td><code>{piece}</code></td><td>{p[token]:.1%}</td><td>{bar}</td></tr>")
    return (
        "<table><caption>Most probable next tokens after the prompt</caption>"
        "<tr><th>token</th><th>probability</th><th></th></tr>" + "".join(lines) + "</table>"
    )


def text_playground(model: TextModel, prompt: str) -> ipw.VBox:
    """A playground: prompt and sampling controls, the next-token table, text streamed on a click.

    The model needs a tokenizer; the prompt is the one to start with.
    """
    controls = {
        "prompt": ipw.Textarea(prompt, rows=3),
        "temperature": ipw.FloatSlider(0.8, min=0.1, max=2.0, step=0.1),
        "top_k": ipw.IntSlider(0, min=0, max=50, description="top k (0: all)"),
        "top_p": ipw.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, description="top p"),
        "length": ipw.IntSlider(300, min=50, max=1000, step=50),
        "seed": ipw.IntText(0),
    }
    for name, control in controls.items():
        control.description = control.description or name
        control.style.description_width = "7em"
        control.layout.width = "14em" if name == "seed" else "32em"
    button = ipw.Button(description="Generate", button_style="primary")
    table = ipw.HTML().add_class("course-alternative")
    output = ipw.HTML().add_class("course-generated")

    def refresh(_: Any = None) -> None:
        prompt, temperature = controls["prompt"].value, controls["temperature"].value
        table.value = next_token_table(model, prompt, temperature)

    def generate(_: Any = None) -> None:
        for update in playground_updates(model, **{k: part.value for k, part in controls.items()}):
            output.value = update

    for name in ("prompt", "temperature"):
        controls[name].observe(refresh, names="value")
    button.on_click(generate)
    refresh()
    generate()
    left = ipw.VBox([*controls.values(), button])
    return ipw.VBox([ipw.HBox([left, table]), output])


def attention_page(weights: Any, pieces: Sequence[str], layer: int, head: int, at: int) -> str:
    """What one token looks at, as HTML: a bar over each token, and the largest weights in words.

    `weights` (depth, heads, tokens, tokens) are those of `Transformer.attention_weights`, `pieces`
    the tokens as text; `layer`, `head` and `at`, the place that looks, are counted from 1.
    """
    row, style = np.asarray(weights)[layer - 1, head - 1, at - 1], "background:#0072B2;height"
    column = "<span style='display:inline-block;text-align:center;min-width:1em'>"
    text = ""
    for place, (weight, piece) in enumerate(zip(row, map(html.escape, pieces), strict=True), 1):
        shown = f"<b>{piece}</b>" if place == at else piece
        text += f"{column}<div style='{style}:{40 * weight:.0f}px'></div>{shown}</span>"
    seen = (f"{k + 1} {pieces[k]!r} ({row[k]:.0%})" for k in np.argsort(-row, kind="stable")[:3])
    words = (
        f"Layer {layer}, head {head}: token {at}, {pieces[at - 1]!r}, looks at {', '.join(seen)}."
    )
    return f"<div>{text}</div><p>{html.escape(words)}</p>"
