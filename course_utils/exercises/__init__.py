"""Exercises: `check`, `hint` and `solution`, the same three verbs for every question.

One module a notebook. A question looks at the learner's answer, never at how it was found; each
common mistake has a hint of its own, and no answer, however wrong, ends in a stack trace.
"""

import copy
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils import progress

Mistake = Callable[..., str | None]


class Question:
    """One question of a notebook."""

    def __init__(self, ask: str, mistake: Mistake, hint: str, solution: Any) -> None:
        """Ask something; the `hint` shows the way to a solution, without the solution.

        `mistake` takes the answer and returns None if it is right, else what is wrong with it;
        `solution` is the right answer: a function, whose source is shown, or lines of code.
        """
        self.ask, self.reference = ask, solution
        self._mistake, self._hint = mistake, hint

    @property
    def name(self) -> str:
        """Its module and name, such as `faq.bits`; no name outside of them."""
        modules = [m for name, m in sys.modules.items() if name.startswith(f"{__name__}.")]
        places = ((m.__name__, key) for m in modules for key, v in vars(m).items() if v is self)
        return next((f"{module.rpartition('.')[2]}.{key}" for module, key in places), "")

    def check(self, *answer: Any) -> None:
        """Print whether an answer is right; `...` stands for an answer not yet given."""
        print(said := self.feedback(*answer))
        if said == "Right.":
            progress.record("exercise", self.name)

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
        shown = self.reference
        print((shown if isinstance(shown, str) else inspect.getsource(shown)).strip())


class Function(Question):
    """The answer is a function; its numbers are compared with the reference's on some inputs."""

    def __init__(
        self,
        ask: str,
        reference: Callable[..., Any],
        inputs: tuple[Any, ...],
        wrong: Callable[..., dict[str, Any]],
        hint: str,
        *,
        shape: str = "",
        not_finite: str = "",
        otherwise: str = "expected {wanted}, got {given}",
        further: dict[str, tuple[Any, ...]] | None = None,
    ) -> None:
        """Compare with the `reference` on the `inputs`; `ask` and `hint` are as in `Question`.

        Of the inputs `wrong` gives what is said of each common mistake, and the result of it.
        `shape` is said of a result of another shape, `not_finite` where some number is none,
        `otherwise` of any other answer: a format of `wanted` and `given`. `further` has what is
        said of a function that is right so far but wrong on other inputs.
        """
        super().__init__(ask, self._compare, hint, reference)
        self._inputs, self._wrong, self._further = inputs, wrong, further or {}
        self._shape, self._not_finite, self._otherwise = shape, not_finite, otherwise

    @np.errstate(all="ignore")
    def _compare(self, function: Any) -> str | None:
        wanted, given, same_shape = self._both(function, self._inputs)
        if self._not_finite and not np.isfinite(given).all():
            return self._not_finite
        for said, mistake in self._wrong(*self._inputs).items():
            value = _numbers(mistake)
            if given.shape == value.shape and np.allclose(*map(np.nan_to_num, (given, value))):
                return said
        if not same_shape:
            return f"the result has shape {given.shape}; {self._shape or wanted.shape}"
        if not np.allclose(given, wanted):
            if np.isclose(wanted.sum(), 1) and np.allclose(given / given.sum(), wanted):
                return f"the result sums to {given.sum():.3f}; divide by the sum"
            return self._otherwise.format(wanted=wanted.round(4), given=given.round(4))
        for said, inputs in self._further.items():
            wanted, given, same_shape = self._both(function, inputs)
            if not same_shape or not np.allclose(given, wanted):
                return said
        return None

    def _both(self, function: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any, bool]:
        """Numbers of the reference and of a learner's function; have the two the same shape?"""
        wanted, given = self.reference(*inputs), result(function, *copy.deepcopy(inputs))
        given = float(given) if isinstance(wanted, int | float) else given
        shapes = [[np.shape(part) for part in x] if np.iterable(x) else [] for x in (wanted, given)]
        return _numbers(wanted), _numbers(given), shapes[0] == shapes[1]


class NumberToBeat(Question):
    """An open-ended question: the notebook sets the task, and the `score` to beat, first."""

    score: float

    def __init__(self, ask: str, task: str, mistake: Mistake, hint: str, solution: str) -> None:
        """`task` names what `set_task` takes; `mistake` takes the question and then the answer."""
        self._task = task.split()

        def once_set(*answer: Any) -> str | None:
            if not hasattr(self, "score"):
                return "the task is not set; run the cell with beat_this.set_task(...) first"
            return mistake(self, *answer)

        super().__init__(ask, once_set, hint, solution)

    def set_task(self, *values: Any, **named: Any) -> None:
        """Fix the parts of the task, the last of which is the score to beat."""
        vars(self).update(zip(self._task, values, strict=False), **named)

    def verdict(self, reached: float, unit: str, digits: int = 3) -> str | None:
        """Print what was reached, a cost, and the number to beat; None if that is beaten."""
        print(f"{reached:.{digits}f} {unit}; the number to beat is {self.score:.{digits}f}.")
        if np.isinf(reached):
            return "what comes was given probability 0, which costs infinitely many bits"
        return None if reached < self.score else "not better yet; see the hint"


class NotAttempted(Exception):
    """The learner's function returned `...`."""


def result(function: Any, *arguments: Any) -> Any:
    """What a learner's function returns; `NotAttempted` if that is `...`.

    A TypeError if it is no function, or returns nothing.
    """
    if not callable(function):
        raise TypeError(f"a function is wanted, got {type(function).__name__}")
    value = function(*arguments)
    if value is ...:
        raise NotAttempted
    if value is None:
        raise TypeError("the function returns nothing; end it with a return statement")
    return value


def _numbers(value: Any) -> Any:
    """As an array of floats; a list of arrays as one flat array."""
    if isinstance(value, list | tuple):
        return np.concatenate([np.ravel(part) for part in value]).astype(float)
    return np.asarray(value, float)
