"""Exercises: `check`, `hint` and `solution`, the same three verbs for every question.

One module a notebook. A question looks at the learner's answer, never at how it was found; each
common mistake has a hint of its own, and no answer, however wrong, ends in a stack trace.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any


class Question:
    """One question of a notebook."""

    def __init__(
        self,
        ask: str,
        mistake: Callable[..., str | None],
        hint: str,
        solution: Callable[..., Any] | str,
    ) -> None:
        """Make a question.

        Args:
            ask: the question, one line.
            mistake: takes the answer; returns None if it is right, else what is wrong with it.
            hint: the way to a solution, without the solution.
            solution: the reference answer: a function, whose source is shown, or a line of code.
        """
        self.ask, self.reference = ask, solution
        self._mistake, self._hint = mistake, hint

    def check(self, *answer: Any) -> None:
        """Print whether an answer is right; `...` stands for an answer not yet given."""
        print(self.feedback(*answer))

    def feedback(self, *answer: Any) -> str:
        """What `check` prints: `"Right."` for a right answer, else what is wrong with it."""
        if any(part is ... for part in answer):
            return "Not attempted yet: put your answer in place of the three dots."
        try:
            wrong = self._mistake(*answer)
        except NotAttempted:
            return "Not attempted yet: the function still returns the three dots."
        except Exception as error:  # the learner's function may raise anything
            wrong = f"it raised {type(error).__name__}: {error}"
        return f"Not yet: {wrong}" if wrong else "Right."

    def hint(self) -> None:
        """Print a hint."""
        print(self._hint)

    def solution(self) -> None:
        """Print the reference solution."""
        if isinstance(self.reference, str):
            print(self.reference)
        else:
            print(textwrap.dedent(inspect.getsource(self.reference)).rstrip())


class NumberToBeat(Question):
    """An open-ended question: the notebook fixes the task, and the `score` to beat, first."""

    score: float

    def __init__(
        self,
        ask: str,
        mistake: Callable[..., str | None],
        hint: str,
        solution: Callable[..., Any] | str,
    ) -> None:
        """As of `Question`; `mistake` is asked only once the task is set."""

        def once_set(*answer: Any) -> str | None:
            if not hasattr(self, "score"):
                return "the task is not set; run the cell with beat_this.set_task(...) first"
            return mistake(*answer)

        super().__init__(ask, once_set, hint, solution)


class NotAttempted(Exception):
    """The learner's function returned `...`."""


def result(function: Any, *arguments: Any) -> Any:
    """What a learner's function returns.

    Raises:
        NotAttempted: if that is `...`.
        TypeError: if it is no function, or returns nothing.
    """
    if not callable(function):
        raise TypeError(f"a function is wanted, got {type(function).__name__}")
    value = function(*arguments)
    if value is ...:
        raise NotAttempted
    if value is None:
        raise TypeError("the function returns nothing; end it with a return statement")
    return value
