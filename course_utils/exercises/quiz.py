"""Questions to check oneself by, at the end of each notebook; they stand in `data/quizzes`."""

import hashlib
import tomllib
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as ipw
from IPython.display import display

from course_utils import progress, runtime

# An answer may take two lines, where ipywidgets has room for one; JupyterLab keeps the arrow keys.
HEAD = """<style>
.course-quiz label {height: auto; white-space: normal; display: flex;
    flex-direction: row-reverse; justify-content: flex-end}
.course-quiz .widget-html-content {line-height: 1.4}
</style>Choose with the mouse, or go to an answer with Tab and choose it with the space bar."""


def _hash(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


@dataclass(frozen=True)
class Question:
    """A question, its right answer and why, and the wrong answers with what is said of each.

    `holds` is a Python expression that makes the right answer right; a test evaluates it.
    """

    ask: str
    holds: str
    right: str
    because: str
    wrong: dict[str, str]

    @property
    def name(self) -> str:
        """Stands for the question in the learner's progress, as long as its words stay."""
        return _hash(self.ask)[:12]

    @property
    def options(self) -> list[str]:
        """All answers, in an order that stays the same and differs between questions."""
        return sorted([self.right, *self.wrong], key=lambda option: _hash(self.ask + option))


def questions(notebook: str) -> list[Question]:
    """The questions of a notebook, such as `"04a_text_generation"`."""
    path = runtime.DATA_DIR / "quizzes" / f"{notebook}.toml"
    return [Question(**entry) for entry in tomllib.loads(path.read_text("utf-8"))["question"]]


def feedback(question: Question, option: str) -> str:
    """One line about an answer, as HTML; a right one is kept in the learner's progress."""
    if option == question.right:
        progress.record("question", question.name)
        said = f"Right. {question.because}"
    else:
        said = f"Not quite. {question.wrong[option]}"
    return f"<div role='status' aria-live='polite'>{escape(said)}</div>"


def to_read(asked: list[Question]) -> dict[str, str]:
    """The questions as plain text, with the answers at the end, and as HTML that opens them."""
    text, answers, page = "", "Answers", ""
    for number, q in enumerate(asked, 1):
        letters = dict(zip(q.options, "abcdef", strict=False))
        listed = [f"   {letter}) {option}" for option, letter in letters.items()]
        text += "\n".join([f"{number}. {q.ask}", *listed, "", ""])
        answers += f"\n{number}. {letters[q.right]}) {q.because}"
        page += f"<li><p>{escape(q.ask)}</p><ul><li>{'</li><li>'.join(map(escape, q.options))}</li>"
        page += f"</ul><details><summary>Answer</summary><p>{escape(q.right)}. {escape(q.because)}"
        page += "</p></details></li>"
    return {"text/plain": text + answers, "text/html": f"<ol>{page}</ol>"}


def show() -> None:
    """Show the questions of the notebook named in `setup`: to answer live, to read when stored."""
    asked, score = questions(runtime.current_notebook or ""), ipw.HTML().add_class("course-score")
    right, parts = [False] * len(asked), [ipw.HTML(HEAD)]
    for i, q in enumerate(asked):
        radio = ipw.RadioButtons(options=q.options, value=None, layout={"width": "auto"})
        said = ipw.HTML().add_class("course-feedback")

        def answered(change: Any, i: int = i, said: ipw.HTML = said) -> None:
            right[i] = change["new"] == asked[i].right
            said.value = feedback(asked[i], change["new"])
            score.value = f"{sum(right)} of {len(asked)} right"

        radio.observe(answered, "value")
        parts += [ipw.HTML(f"<b>{i + 1}. {escape(q.ask)}</b>"), radio, said]
    page = ipw.VBox([*parts, score]).add_class("course-quiz")
    display(page._repr_mimebundle_() | to_read(asked), raw=True)
