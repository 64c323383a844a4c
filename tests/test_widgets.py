"""The interactive parts: their callbacks are plain functions, run here over the slider grid."""

from __future__ import annotations

import html
import itertools
import re

import ipywidgets as ipw
import numpy as np
import pytest

from course_utils.models.recurrent import TextGenerator
from course_utils.text import CharacterTokenizer
from lessons import cells, function

ALPHABET = "abc <&>\nRetuns-r"  # the last eight for the prompt of the lesson


@pytest.fixture(scope="module")
def model():
    tokenizer = CharacterTokenizer.fit(ALPHABET)
    model = TextGenerator(tokenizer.vocab_size, 4, 8, tokenizer=tokenizer)
    model.build()
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def controls_of(playground):
    """Every control of a playground by its description, and what is below the sliders."""
    found = {}

    def walk(widget):
        if getattr(widget, "description", ""):
            found[widget.description] = widget
        for child in getattr(widget, "children", ()):
            walk(child)

    walk(playground)
    by_class = {c: w for w in html_of(playground) for c in w._dom_classes}
    return found, by_class["course-alternative"], by_class["course-generated"]


def html_of(widget):
    own = [widget] if isinstance(widget, ipw.HTML) else []
    return own + [h for child in getattr(widget, "children", ()) for h in html_of(child)]


@pytest.fixture(scope="module")
def lesson(model):
    """What the cells of the playground define, with a small model in place of the shipped one."""
    names = {"shipped": model, "html": html, "ipw": ipw, "np": np}
    for name in ("playground_updates", "next_token_table"):
        names[name] = function("04a_text_generation", name, **names)
    return names


@pytest.fixture
def playground(lesson):
    first, second = (c for c in cells("04a_text_generation") if "controls" in c)
    names = dict(lesson)
    *rest, last = second.strip().splitlines()
    exec("\n".join([first, *rest, f"playground = {last}"]), names)
    found = controls_of(names["playground"])
    assert found[2].value.startswith("<pre><strong>Returns\n-------\n</strong>")
    found[0]["prompt"].value = "abc"
    found[0]["Generate"].click()
    return found


def steps(slider, count):
    """`count` values from one end of a slider to the other."""
    values = np.linspace(slider.min, slider.max, count)
    return [int(v) if isinstance(slider, ipw.IntSlider) else float(v) for v in values]


def test_updates_over_the_whole_slider_grid(lesson, playground):
    sliders, _, _ = playground
    grid = itertools.product(
        steps(sliders["temperature"], 4),
        steps(sliders["top k"], 3),
        steps(sliders["top p"], 3),
    )
    for temperature, top_k, top_p in grid:
        *_, last = lesson["playground_updates"](
            "a<b", top_k, 20, temperature=temperature, top_p=top_p
        )
        assert last.startswith("<pre><strong>a&lt;b</strong>"), (temperature, top_k, top_p, last)
        assert len(re.findall(r"&\w+;|[^&]", written(last))) == 20


def written(update):
    """The generated part of an update, as HTML."""
    return re.fullmatch(r"<pre><strong>.*?</strong>(.*)</pre>", update, re.DOTALL)[1]


def test_each_update_continues_the_one_before(lesson):
    updates = [*lesson["playground_updates"]("abc", length=25)]
    assert len(updates) == 3  # after 10, 20 and 25 tokens
    parts = [written(update) for update in updates]
    assert parts[1].startswith(parts[0]) and parts[2].startswith(parts[1])
    assert parts[0] != parts[1] != parts[2]


def test_written_text_is_escaped(lesson):
    *_, update = lesson["playground_updates"]("<", temperature=2.0)
    inner = update.removeprefix("<pre><strong>&lt;</strong>").removesuffix("</pre>")
    assert "&lt;" in inner and "&amp;" in inner and "&gt;" in inner
    assert not re.search(r"[<>]|&(?!(lt|gt|amp|#x27|quot);)", inner)


def test_the_text_is_that_of_generate(model, lesson):
    *_, update = lesson["playground_updates"]("abc", 3, 40, temperature=0.9, top_p=0.8, seed=4)
    text = model.generate("abc", 40, temperature=0.9, top_k=3, top_p=0.8, seed=4)
    assert html.unescape(written(update)) == text


@pytest.mark.parametrize(
    ("prompt", "settings", "reason"),
    [
        ("", {}, "the prompt is empty"),
        ("abX<i>", {}, "the prompt has &#x27;X&#x27;, &#x27;i&#x27;, which the vocabulary lacks"),
        ("abc", {"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ("abc", {"top_p": 0.0}, "top_p must be in (0, 1], got 0.0"),
    ],
)
def test_what_cannot_be_done_is_said(lesson, prompt, settings, reason):
    (update,) = lesson["playground_updates"](prompt, **settings)
    assert update.startswith("<p role='alert'>") and reason in update
    if not settings:
        table = lesson["next_token_table"](prompt, 1.0)
        assert table.startswith("<p role='alert'>") and reason in table


def rows_of(table):
    return [
        (token, float(share))
        for token, share in re.findall(r"<code>(.*?)</code></td><td>([\d.]+)%", table)
    ]


def test_table_of_next_tokens(model, lesson):
    rows = rows_of(lesson["next_token_table"]("abc", 1.0, rows=100))
    shares = [share for _, share in rows]
    assert len(rows) == model.vocab_size
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(rows))
    assert shares == sorted(shares, reverse=True)
    p = model.next_token_probabilities("abc")
    assert shares[0] == pytest.approx(100 * p.max(), abs=0.06)
    assert {"&#x27;&lt;&#x27;", "&#x27;\\n&#x27;", "&#x27;a&#x27;"} <= {token for token, _ in rows}
    assert len(rows_of(lesson["next_token_table"]("abc", 1.0, rows=3))) == 3


def test_temperature_sharpens_the_table(lesson):
    top = [rows_of(lesson["next_token_table"]("abc", t))[0][1] for t in (0.2, 1.0, 2.0)]
    assert top[0] > top[1] > top[2]


def test_the_playground_opens_with_a_table_and_a_text(playground):
    controls, table, output = playground
    assert rows_of(table.value)
    assert output.value.startswith("<pre><strong>abc</strong>")


def test_moving_the_slider_changes_the_table(playground):
    controls, table, output = playground
    before, text = rows_of(table.value), output.value
    controls["temperature"].value = 0.2
    assert rows_of(table.value)[0][1] > before[0][1]
    assert output.value == text, "text is written on a click, not on a move"
    controls["prompt"].value = "a&"
    assert rows_of(table.value) != before
    controls["prompt"].value = "Z"
    assert "role='alert'" in table.value
    controls["prompt"].value = "abc"
    controls["temperature"].value = 0.8
    assert rows_of(table.value) == before


@pytest.mark.parametrize(
    ("control", "value"),
    [("seed", 5), ("temperature", 2.0), ("length", 50), ("top k", 1), ("top p", 0.1)],
)
def test_generate_uses_every_control(playground, control, value):
    controls, _, output = playground
    before = output.value
    controls[control].value = value
    controls["Generate"].click()
    assert output.value != before
    assert output.value.startswith("<pre><strong>abc</strong>")


def test_generating_again_gives_the_same_text(playground):
    controls, _, output = playground
    before = output.value
    controls["Generate"].click()
    assert output.value == before


# --- the attention viewer ------------------------------------------------------------------------


def test_every_layer_head_and_token_has_a_page():
    rng, pieces = np.random.default_rng(0), list("ab<cd")
    weights = np.tril(rng.random((2, 3, 5, 5)))
    weights /= weights.sum(axis=-1, keepdims=True)
    named = {"maps": weights[:, None], "names": pieces, "np": np, "html": html}
    attention_page, said = function("03c_attention", "attention_page", **named), set()
    for layer in (1, 2):
        for head in (1, 2, 3):
            for at in range(1, 6):
                page = attention_page(layer, head, at)
                row = weights[layer - 1, head - 1, at - 1]
                words = html.unescape(re.search(r"<p>(.+)</p>", page)[1])
                best = row.argmax()
                wanted = f"Layer {layer}, head {head}: token {at}, {pieces[at - 1]!r}, looks at "
                assert words.startswith(f"{wanted}{best + 1} {pieces[best]!r} ({row[best]:.0%}), ")
                heights = [int(h) for h in re.findall(r"height:(\d+)px", page)]
                assert heights == [round(40 * w) for w in row]
                assert page.count("<b>") == 1 and "<c" not in page
                said.add(words)
    assert len(said) == 30
