"""The progress of `fit`, in place of Keras's own bar, whose output is never the same twice."""

import time
from typing import Any

import ipywidgets as ipw
import keras
from IPython.display import display


class Progress(keras.callbacks.Callback):
    """A line below the cell that says how far `fit` is; an `Output` would leak what it shows."""

    def __init__(self, every_seconds: float = 0.5) -> None:
        super().__init__()
        self.every_seconds = every_seconds
        self.line = ipw.HTML("starting …")

    def on_train_begin(self, logs: Any = None) -> None:
        """Show the line."""
        self._steps, self._start, self._shown = 0, time.perf_counter(), 0.0
        display(self.line)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Bring the line up to date, a few times a second."""
        self._steps, seconds = self._steps + 1, time.perf_counter() - self._start
        if seconds - self._shown >= self.every_seconds:
            steps, self._shown = self.params.get("steps"), seconds
            last = f" of {steps * self.params['epochs']}" if steps else ""
            self.line.value = f"step {self._steps}{last}, loss {logs['loss']:.3f}, {seconds:.0f} s"

    def on_train_end(self, logs: Any = None) -> None:
        """Say that it is over."""
        self.line.value = f"done in {time.perf_counter() - self._start:.0f} s"
