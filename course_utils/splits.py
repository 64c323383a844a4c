"""What each data set of the course has: three parts, a source and a licence."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Split(Generic[Part]):
    """A data set in three parts."""

    name: str
    train: Part  # to fit models on
    validation: Part  # to choose between models
    test: Part  # to judge the chosen one, once
    source: str
    licence: str
