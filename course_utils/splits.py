"""What each data set of the course has: three parts, a source and a licence."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Split(Generic[Part]):
    """A data set in three parts, from where, and under which licence.

    Attributes:
        train: to fit models on.
        validation: to choose between models.
        test: to judge the chosen one, once.
    """

    name: str
    train: Part
    validation: Part
    test: Part
    source: str
    licence: str
