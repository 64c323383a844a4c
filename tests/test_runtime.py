"""The machine as the course sees it: cores, memory, seeds, one quiet line."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from course_utils import runtime

SETUP = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
import course_utils
from course_utils import runtime
runtime._memory_mb = lambda: (8000.0, 4000.0)
course_utils.setup("04x_lesson", seed=7)
print(runtime.available_cores(), file=sys.stderr)
"""

LIGHT = """
import sys
import course_utils.datasets, course_utils.expected, course_utils.metrics, course_utils.text
import course_utils.exercises.text_generation, course_utils.models.ngram
print(*sorted({"tensorflow", "keras", "matplotlib", "IPython"} & set(sys.modules)))
"""

IMPORT = """
import os
before = dict(os.environ)
import course_utils, course_utils.datasets, course_utils.expected, course_utils.metrics
import course_utils.exercises.faq, course_utils.models.ngram, course_utils.runtime
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
"""

HOST = """
import os, sys
from pathlib import Path

import course_utils
from course_utils import runtime

SETTINGS = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_NUM_INTRAOP_THREADS")
SETTINGS += ("TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR")
os.environ["OMP_NUM_THREADS"] = "3"  # the host's own
before = dict(os.environ)
runtime.available_cores = lambda: 7
for _ in range(2):
    course_utils.setup()
    assert [os.environ[name] for name in SETTINGS] == ["tensorflow", "2", "7", "7", "3", "1"]
    course_utils.setup()
    os.environ["KERAS_BACKEND"] = "jax"  # the host has it otherwise from now on
    runtime.restore()
    assert os.environ.pop("KERAS_BACKEND") == "jax"
    assert {name: os.environ.get(name) for name in SETTINGS} == {n: before.get(n) for n in SETTINGS}
    assert {name: os.environ[name] for name in before} == before

import tensorflow as tf

tf.linalg.matmul(tf.ones((500, 500)), tf.ones((500, 500)))
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
print("pool of", sum(name.startswith("tf_Compute") for name in names))
"""


def run(code, repo):
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "OMP_", "KERAS_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=repo,
        env=quiet | {"PYTHONPATH": str(repo)},
        timeout=300,
    )


def test_setup_prints_one_line_and_no_log(repo):
    done = run(SETUP, repo)
    assert re.fullmatch(
        r"Python 3\.\d+\.\d+, TensorFlow [\d.]+, Keras [\d.]+ on \d+ CPU cores?, "
        r"4\.0 of 8\.0 GB memory free; seed 7\n",
        done.stdout,
    ), done.stdout
    logged, cores = done.stderr.splitlines()[:-1], done.stderr.splitlines()[-1]
    assert not logged, f"TensorFlow's log reaches the notebook: {logged}"
    if hasattr(os, "sched_setaffinity"):
        assert cores == "1" and "on 1 CPU core," in done.stdout


def test_what_needs_no_tensorflow_does_not_load_it(repo):
    done = run(LIGHT, repo)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_import_alone_changes_no_environment_variable(repo):
    done = run(IMPORT, repo)
    assert done.returncode == 0, done.stderr


def test_a_host_gets_its_environment_back_and_the_caps_stay(repo):
    done = run(HOST, repo)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"TensorFlow's log reaches the host: {done.stderr}"
    if sys.platform == "linux":
        assert done.stdout.splitlines()[-1] == "pool of 7"


@pytest.fixture
def quota(monkeypatch):
    """Pretend a container's limits: files of /sys by path."""
    files = {}
    read = Path.read_text

    def read_text(path, *args, **kwargs):
        if path.as_posix().startswith("/sys/fs/cgroup"):
            if path.name not in files:
                raise FileNotFoundError(path)
            return files[path.name]
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    return files


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        (None, 4),
        ("max 100000\n", 4),
        ("100000 100000\n", 1),
        ("150000 100000\n", 2),  # a share of a core is worth a thread
        ("20000 100000\n", 1),
        ("900000 100000\n", 4),
        ("nonsense\n", 4),
    ],
)
def test_cores_of_a_container(quota, limit, cores):
    if limit:
        quota["cpu.max"] = limit
    assert runtime.available_cores() == cores


def test_memory_of_a_container(quota):
    total, free = runtime._memory_mb()
    assert 0 < free <= total
    quota |= {"memory.max": "64000000\n", "memory.current": "24000000\n"}
    assert runtime._memory_mb() == pytest.approx((64.0, 40.0))
    quota["memory.max"] = "max\n"
    assert runtime._memory_mb()[0] == pytest.approx(total)


def test_the_seed_reaches_every_generator(monkeypatch, capsys):
    import tensorflow as tf

    def draw(seed):
        runtime.setup(seed=seed)
        return random.random(), float(np.random.rand()), float(tf.random.uniform(()))

    monkeypatch.setattr(runtime, "current_notebook", None)
    first, again, other = draw(1), draw(1), draw(2)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_little_memory_is_said(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "_memory_mb", lambda: (2000.0, 700.0))
    monkeypatch.setattr(runtime, "current_notebook", None)
    runtime.setup("04x_lesson")
    assert runtime.current_notebook == "04x_lesson"
    assert "Only 700 MB are free and a notebook may need 1200 MB" in capsys.readouterr().out


def test_held_back_messages_come_out_with_an_error(capfd):
    with runtime._quiet_stderr():
        os.write(2, b"a log line\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), runtime._quiet_stderr():
        os.write(2, b"why it failed\n")
        raise ImportError
    assert "why it failed" in capfd.readouterr().err
