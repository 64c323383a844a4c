"""For nbval, which waits five seconds for a cell's output: too few on a busy machine."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each cell of a notebook wait a minute."""
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 60
