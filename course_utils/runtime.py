"""The machine: seeds, thread caps, log level, memory."""

import contextlib
import ctypes
import gc
import math
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# The course's `data` folder: of the checkout, or the copy that a plain install carries.
_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent / "data"
DATA_DIR = _CHECKOUT if (_CHECKOUT / "expected.toml").exists() else _PACKAGE / "_data"
NOTEBOOK_MEMORY_MB = 1200  # the most that one notebook of the course needs
current_notebook: str | None = None  # the name given to the last `setup`
_added: dict[str, str] = {}  # environment variables that were not set before `setup` set them


def setup(notebook: str | None = None, seed: int = 0) -> None:
    """Prepare a notebook: cap threads, quiet TensorFlow's log, seed, and describe the machine.

    Call it before TensorFlow or Keras is imported: both read the thread caps when they start.
    `expected.check` looks intervals up under the notebook's name, such as `"04a_text_generation"`.
    """
    from course_utils import progress

    global current_notebook
    current_notebook = notebook
    progress.record("start")
    cores, before = available_cores(), set(os.environ)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for pool in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, str(cores))
    # oneDNN's own pool never gives memory back; the system's allocator does, at the same speed.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    _added.update((name, os.environ[name]) for name in os.environ.keys() - before)
    with contextlib.suppress(OSError, AttributeError):  # glibc only: one heap for all threads
        ctypes.CDLL("libc.so.6").mallopt(-8, 1)  # M_ARENA_MAX
    with _quiet_stderr():
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
    total, free = _memory_mb()
    versions = f"Python {platform.python_version()}, TensorFlow {tf.__version__}, "
    versions += f"Keras {keras.__version__} on {cores} CPU core{'s' if cores > 1 else ''}"
    print(f"{versions}, {free / 1000:.1f} of {total / 1000:.1f} GB memory free; seed {seed}")
    if free < NOTEBOOK_MEMORY_MB:
        least = f"Only {free:.0f} MB are free and a notebook may need {NOTEBOOK_MEMORY_MB} MB"
        print(f"{least}: shut other kernels down first (Kernel → Shut Down All Kernels…).")


def restore() -> None:
    """Take back the environment variables that `setup` set; what TensorFlow has read stays."""
    import tensorflow as tf

    tf.config.list_logical_devices()  # it reads the thread caps when it looks for devices
    for name in [name for name, value in _added.items() if os.environ.get(name) == value]:
        del os.environ[name]
    _added.clear()


def available_cores() -> int:
    """Number of CPU cores that this process may use, container limits included (at least 1)."""
    linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # a container's, in microseconds; none: "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def release_memory() -> None:
    """Collect garbage and, where the C library can, give freed memory back to the system.

    Keras models refer to themselves, so that `del` alone frees nothing until Python collects.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _memory_mb() -> tuple[float, float]:
    """Total and free memory in MB, of the container where there is a limit, else of the machine."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = memory.total / 1e6, memory.available / 1e6
    with contextlib.suppress(OSError, ValueError):  # no container, or "max"
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text()) / 1e6
        used = int(Path("/sys/fs/cgroup/memory.current").read_text()) / 1e6
        total, free = min(total, limit), min(free, limit - used)
    return total, free


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2; show it if the block raises."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
