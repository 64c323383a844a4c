"""What each data set of the course has: three parts, a source and a licence."""

import hashlib
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


def split_of(key: str) -> str:
    """Split that a key falls into, the same everywhere: 90% train, 5% validation, 5% test.

    The key is what must not be torn apart, such as a file's path or a territory's code.
    """
    digest = hashlib.sha256(key.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.90 else "validation" if share < 0.95 else "test"
