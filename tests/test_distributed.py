"""Training in several processes: bad settings, equal weights, a killed worker, a fresh start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from course_utils.distributed import read_cluster
from lessons import function


def variable(workers, kind="worker", index=0):
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": kind, "index": index}})


free_ports = function("05a_efficient_training", "free_ports", np=np, socket=socket)


def free_addresses(count):
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


def test_without_the_variable_there_is_one_process():
    assert read_cluster("") == ([], 0)


def test_a_good_variable():
    addresses = free_addresses(2)
    assert read_cluster(variable(addresses, index=1)) == (addresses, 1)


@pytest.mark.parametrize("wrong", ["worker:1", "[1]", "{}", '{"cluster": 3}', "null", "{", "3"])
def test_no_json_of_that_form(wrong):
    with pytest.raises(ValueError, match='TF_CONFIG must be JSON like {"cluster": '):
        read_cluster(wrong)


@pytest.mark.parametrize(("kind", "index"), [("worker", 2), ("worker", -1), ("ps", 0)])
def test_an_unknown_task(kind, index):
    with pytest.raises(ValueError, match=f"unknown task, {kind} {index}; .* worker 0 to worker 1"):
        read_cluster(variable(free_addresses(2), kind, index))


def test_a_port_in_use():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"port of {address} is in use; end what listens"):
            read_cluster(variable([address]))


def run(folder: Path, steps: int, workers: int = 1, name: str = "log"):
    addresses, started = free_addresses(workers), []
    for index in range(workers):
        own = {"TF_CONFIG": variable(addresses, index=index)} if workers > 1 else {}
        log = folder.with_name(f"{folder.name}.{name}.{index}").open("w")
        command = [sys.executable, "-m", "course_utils.distributed", str(folder), str(steps)]
        started.append(subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log))
    return started


def words(folder: Path, index: int, name: str = "log") -> str:
    return folder.with_name(f"{folder.name}.{name}.{index}").read_text()


def variables(folder: Path):
    store = tf.train.load_checkpoint(str(folder))
    names = [n for n in store.get_variable_to_shape_map() if n.startswith("v/")]
    return {name: np.asarray(store.get_tensor(name), float) for name in names}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed") / "one"
    (process,) = run(folder, 20)
    assert process.wait(timeout=200) == 0, words(folder, 0)
    return variables(folder)


def differ(a, b):
    return max(np.abs(a[name] - b[name]).max() for name in a)


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one(one_process, tmp_path):
    codes = [process.wait(timeout=200) for process in run(tmp_path / "two", 20, 2)]
    assert codes == [0, 0], words(tmp_path / "two", 0)
    assert differ(one_process, variables(tmp_path / "two")) < 1e-5
    losses = {words(tmp_path / "two", i).splitlines()[-1] for i in (0, 1)}
    assert len(losses) == 1 and losses.pop().startswith("step 20: loss ")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_ends_the_other_and_training_goes_on(one_process, tmp_path, killed):
    folder = tmp_path / "killed"
    pair = run(folder, 10_000, 2, "first")
    start = time.monotonic()
    while "\nstep 12:" not in words(folder, killed, "first"):
        assert pair[killed].poll() is None and time.monotonic() < start + 200
        time.sleep(0.02)
    pair[killed].send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    assert pair[1 - killed].wait(timeout=60) == 1
    last = words(folder, 1 - killed, "first").splitlines()[-1]
    assert last.startswith(f"worker {1 - killed} stops: it lost another worker (")
    saved = int(last.rpartition(" ")[2])
    assert saved % 5 == 0 and saved >= 10
    goal = max(20, saved)
    codes = [process.wait(timeout=200) for process in run(folder, goal, 2, "second")]
    assert codes == [0, 0], words(folder, 0, "second")
    assert f"starts after step {saved}\n" in words(folder, 1, "second")
    if goal == 20:
        assert differ(one_process, variables(folder)) < 1e-5


PATIENT = """
from course_utils.distributed import train
train({folder!r}, {steps}, patience=15)
"""


def patient(folder: Path, steps: int, addresses, index: int):
    """A worker that waits 15 seconds for the others; its words go where those of `run` do."""
    own = os.environ | {"TF_CONFIG": variable(addresses, index=index)}
    log = folder.with_name(f"{folder.name}.log.{index}").open("w")
    command = [sys.executable, "-c", PATIENT.format(folder=str(folder), steps=steps)]
    return subprocess.Popen(command, env=own, stdout=log, stderr=log)


@pytest.mark.slow
def test_a_worker_whose_fellow_never_comes_does_not_wait_for_ever(tmp_path):
    folder = tmp_path / "silent"
    assert patient(folder, 5, free_addresses(2), 1).wait(timeout=120) == 1
    assert "worker 1: a silence of the others for 15 s ends it" in words(folder, 1)
    assert "Timeout (0:00:15)!" in words(folder, 1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems can freeze a process")
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_worker_ends_the_other(tmp_path, frozen):
    """A frozen process keeps its connections open: TensorFlow's own check finds it, or ours."""
    folder, addresses = tmp_path / "frozen", free_addresses(2)
    pair = [patient(folder, 10_000, addresses, index) for index in (0, 1)]
    try:
        start = time.monotonic()
        while "\nstep 12:" not in words(folder, frozen):
            assert pair[frozen].poll() is None and time.monotonic() < start + 200
            time.sleep(0.02)
        pair[frozen].send_signal(signal.SIGSTOP)
        start = time.monotonic()
        assert pair[1 - frozen].wait(timeout=90) == 1
        assert time.monotonic() - start < 60
        said = words(folder, 1 - frozen)
        assert f"worker {1 - frozen} stops: it lost another worker (" in said or "Timeout (" in said
    finally:
        for process in pair:
            process.kill()
            process.wait()


# --- the law that 05a fits -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def fit_law():
    from scipy.optimize import curve_fit

    return function("05a_efficient_training", "fit_law", np=np, curve_fit=curve_fit)


def test_a_law_is_found_again(fit_law):
    sizes = np.array([1e3, 3e3, 1e4, 3e4, 1e5])
    assert np.allclose(fit_law(sizes, 1.2 + 8 * sizes**-0.4), (1.2, 8, 0.4), rtol=1e-3)


@pytest.mark.parametrize(
    ("sizes", "losses", "said"),
    [
        ([1, 2, 3], [3.0, 2.0, 1.0], "at least four different sizes, got 3 and 3 losses"),
        ([1, 2, 2, 3], [3.0, 2.0, 2.0, 1.0], "at least four different sizes, got 3"),
        ([1, 2, 3, 4], [3.0, 2.0, 1.0], "got 4 and 3 losses"),
        ([0, 2, 3, 4], [3.0, 2.0, 1.5, 1.0], "sizes must be positive"),
        ([-1, 2, 3, 4], [3.0, 2.0, 1.5, 1.0], "sizes must be positive"),
        ([1, 2, 3, 4], [3.0, 2.0, float("nan"), 1.0], "leave out what diverged"),
    ],
)
def test_sizes_that_cannot_fit_a_law(fit_law, sizes, losses, said):
    with pytest.raises(ValueError, match=said):
        fit_law(sizes, losses)


# --- the page of 05a -----------------------------------------------------------------------------


def test_the_roof_page_says_what_limits_a_step():
    known = {"T": 64, "peak": 4e11, "bandwidth": 4e10}
    known["gru_operations"] = function("05a_efficient_training", "gru_operations")
    known["bytes_at_least"] = function("05a_efficient_training", "bytes_at_least")
    page = function("05a_efficient_training", "roof_page", **known)
    pages = {(u, b): page(u, b) for u in (16, 64, 256, 1024) for b in (1, 8, 128)}
    assert len(set(pages.values())) == len(pages)
    assert "<b>memory</b> limits" in pages[16, 1] and "<b>arithmetic</b> limits" in pages[1024, 128]
    assert "256 units, a batch of 128: 1.9e+10 operations" in pages[256, 128]
