"""What the lessons' sources define: the functions behind their interactive parts."""

from __future__ import annotations

import ast
import base64
import io
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from build import render
from plan import COURSE

LOUD_AT_LEAST = -35.0
"""Decibels below full scale that every player must reach."""


def sounds_in(page: str) -> list[np.ndarray[Any, Any]]:
    """Samples of all players in a piece of HTML, decoded from their WAV files, in [-1, 1]."""
    found = []
    for code in re.findall(r"data:audio/wav;base64,([A-Za-z0-9+/=]+)", page):
        with wave.open(io.BytesIO(base64.b64decode(code))) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            found.append(np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_768)
    return found


def cells(name: str, tag: str = "") -> list[str]:
    """Sources of the code cells of a lesson, or of those that have a tag."""
    found = [cell for cell in render(name, COURSE).cells if cell.cell_type == "code"]
    return [c.source for c in found if not tag or tag in c.metadata.get("tags", [])]


def function(name: str, wanted: str, **names: Any) -> Callable[..., Any]:
    """A function that a lesson defines; `names` are what it reads from the lesson."""
    for source in cells(name):
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name == wanted:
                module = ast.Module([node], type_ignores=[])
                exec(compile(module, f"{Path(name)}: {wanted}", "exec"), names)
                made: Callable[..., Any] = names[wanted]
                return made
    raise LookupError(f"{name} defines no function {wanted}")
