"""Nobody else gets in, and no file that is read can run code or write elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from course_utils import checkpoints, datasets, download
from lab import stop, wait_for_server

# --- JupyterLab ----------------------------------------------------------------------------------


@dataclass
class Server:
    """A running JupyterLab: where it is, what lets one in, and its process."""

    address: str
    token: str
    process: psutil.Process

    def status(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """What it answers: the status, and the path that a browser ends at."""
        request = urllib.request.Request(f"{self.address}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.url.removeprefix(self.address)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, path

    def listening(self) -> set[str]:
        """The addresses at which the server and the kernels that it started listen."""
        family = [self.process, *self.process.children(recursive=True)]
        connections = [one for process in family for one in process.net_connections("inet")]
        return {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}


def command_of_make_lab(repo: Path, *arguments: str) -> list[str]:
    """What `make lab` runs, with this Python's programs in place of those in `.venv`."""
    found = re.search(r"^lab:.*\n\t(.+)$", (repo / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert found, "the Makefile has no target `lab`"
    parts = [part for part in found[1].split() if part != "$(LAB_ARGS)"]
    program = Path(sys.executable).with_name(Path(parts[0]).name)
    return [str(program), *parts[1:], *arguments]


@pytest.fixture(scope="module")
def lab_server(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab as `make lab` starts it for a user who has no settings of their own."""
    private = tmp_path_factory.mktemp("jupyter")
    folders = {f"JUPYTER_{kind}_DIR": str(private / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    clean = {name: value for name, value in os.environ.items() if "JUPYTER" not in name}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    log = private / "lab.log"
    with log.open("wb") as stream:
        started = subprocess.Popen(
            command_of_make_lab(repo, *arguments),
            env=clean | folders,
            cwd=repo,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    token = ""
    try:
        wait_for_server(started, f"http://127.0.0.1:{port}/api", log)
        (described,) = (private / "RUNTIME").glob("jpserver-*.json")
        server = json.loads(described.read_text("utf-8"))
        token = server["token"]
        yield Server(f"http://127.0.0.1:{port}", token, psutil.Process(server["pid"]))
    finally:
        stop(started, f"http://127.0.0.1:{port}/api/shutdown", token)


def test_lab_makes_up_a_token(lab_server: Server) -> None:
    assert re.fullmatch(r"[0-9a-f]{40,}", lab_server.token), "the token could be guessed"


@pytest.mark.parametrize("given", ["", "wrong", "of the right length"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/contents"),
        ("GET", "/files/README.md"),
        ("GET", "/lab"),
        ("POST", "/api/kernels"),
        ("POST", "/api/terminals"),
        ("POST", "/api/shutdown"),
    ],
)
def test_lab_lets_nobody_in_without_the_token(
    lab_server: Server, method: str, path: str, given: str
) -> None:
    token = secrets.token_hex(len(lab_server.token) // 2) if "length" in given else given
    headers = {"Authorization": f"token {token}"} if given else {}
    status, end = lab_server.status(path, method, **headers)
    assert status == 403 or end.startswith("/login?"), f"{method} {path}: {status} at {end}"


def test_lab_lets_in_who_has_the_token(lab_server: Server) -> None:
    for path in ("/api/contents", "/lab"):
        status, end = lab_server.status(path, Authorization=f"token {lab_server.token}")
        assert (status, end) == (200, path)


def test_lab_answers_to_no_other_name(lab_server: Server) -> None:
    """A page elsewhere that has its own name point to this machine gets nothing."""
    headers = {"Authorization": f"token {lab_server.token}", "Host": "course.example"}
    assert lab_server.status("/api/contents", **headers)[0] == 403


def test_lab_and_its_kernels_listen_on_this_machine_alone(lab_server: Server) -> None:
    headers = {"Authorization": f"token {lab_server.token}"}
    assert lab_server.status("/api/kernels", "POST", **headers)[0] == 201
    assert len(lab_server.process.children(recursive=True)) >= 1
    addresses = lab_server.listening()
    assert addresses and addresses <= {"127.0.0.1", "::1"}, f"listens at {addresses}"


# --- poisoned files ------------------------------------------------------------------------------


class Poison:
    """What a careless reader of a pickle would run: it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return open, (self.trace.as_posix(), "w")

    def pickled(self) -> bytes:
        """The same as the bytes of a pickle, which needs no unpickler to be written."""
        return b"cbuiltins\nopen\n(V%b\nVw\ntR." % (
            self.trace.as_posix().encode("raw_unicode_escape")
        )

    def arrays(self, *names: str) -> bytes:
        """An .npz file whose arrays are such objects."""
        file = io.BytesIO()
        np.savez(file, **{name: np.array([self], object) for name in names})
        return file.getvalue()


@pytest.fixture
def poison(tmp_path: Path) -> Poison:
    return Poison(tmp_path / "trace")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own, for shipped files and for those of `COURSE_DATA_DIR`."""
    folder = tmp_path / "data"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "registry.toml").write_bytes((download.DATA_DIR / "registry.toml").read_bytes())
    for path in (download.DATA_DIR / "checkpoints").glob("*.json"):
        (folder / "checkpoints" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(download, "DATA_DIR", folder)
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder))
    return folder


def test_the_poison_works(poison: Poison, tmp_path: Path) -> None:
    """Read with the setting that the course never uses; in two parts, as it is looked for."""
    careless: dict[str, Any] = {"allow" + "_pickle": True}
    np.load(io.BytesIO(poison.arrays("x")), **careless)["x"][0].close()
    assert poison.trace.exists()
    poison.trace.unlink()
    np.load(io.BytesIO(poison.pickled()), **careless).close()
    assert poison.trace.exists()


TABLES = [(table, name) for table in ("files", "shipped") for name in download.registry(table)]
TABLES += [("checkpoints", name) for name in download.registry("checkpoints")]


@pytest.mark.parametrize(("table", "name"), TABLES)
def test_a_file_in_the_place_of_another_is_not_read(
    data: Path, poison: Poison, table: str, name: str
) -> None:
    entry = download.registry(table)[name]
    (data / ("checkpoints" if table == "checkpoints" else "") / entry.file).write_bytes(
        poison.pickled()
    )
    with pytest.raises(download.WrongHash, match=re.escape(entry.file)):
        download.fetch(name) if table == "files" else download.shipped(name, table)
    assert not poison.trace.exists()


READERS: dict[str, tuple[str, Callable[[], Any], tuple[str, ...]]] = {
    "chorales": ("chorales.npz", datasets.chorales, ("notes", "onsets", "lengths", "parts")),
    "mnist": ("mnist.npz", lambda: datasets.digits("mnist"), ("x_train", "y_train")),
    "mnist_train": ("mnist_train.npz", lambda: datasets.digits("mnist"), ("x_train", "y_train")),
    "jsb": ("JSB_Chorales.mat", lambda: datasets.chorales("jsb"), ()),
    "spoken_digits": ("spoken_digits_1.0.10.zip", datasets.spoken_digits, ()),
    "reference_english": ("reference_english.json.xz", datasets.text, ()),
    "place_names": ("place_names.json.xz", datasets.place_names, ()),
    "results": ("label_efficiency.json", lambda: checkpoints.results("label_efficiency"), ()),
    "checkpoint": (
        "checkpoints/text_reference_english.weights.h5",
        lambda: checkpoints.load("text_reference_english"),
        (),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_poisoned_file_runs_nothing_even_with_the_right_hash(
    data: Path, poison: Poison, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_checked", lambda path, entry: path)
    file, read, arrays = READERS[name]
    variants = [poison.pickled(), *([poison.arrays(*arrays)] if arrays else [])]
    for content in variants:
        (data / file).write_bytes(content)
        with pytest.raises(Exception) as raised:  # of whatever class: it must not be read
            read()
        assert not isinstance(raised.value, download.DataUnavailable), "the file was not reached"
        assert not poison.trace.exists(), f"{file} ran code"


def test_every_file_of_the_registry_is_poisoned_above() -> None:
    files = {download.registry(table)[name].file for table, name in TABLES}
    weights = {file for file in files if file.endswith(".weights.h5")}  # read by one function
    results = {file for file in files if file.endswith(".json")}  # so are these
    plain = {"tinyshakespeare.txt"}  # decoded as UTF-8, whatever it holds
    assert files - weights - results - plain <= {file for file, *_ in READERS.values()}


def test_a_description_beside_a_checkpoint_names_no_code(
    data: Path, poison: Poison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers in a checkpoint's JSON are built by name; a function stored there is refused."""
    monkeypatch.setattr(download, "_checked", lambda path, entry: path)
    (data / "checkpoints" / "digits_gan.weights.h5").write_bytes(b"")
    function = {"code": "4wAAAA==", "defaults": None, "closure": None}
    code = {"class_name": "__lambda__", "config": function}
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "lambda", "function": code},
        "registered_name": None,
    }
    (data / "checkpoints" / "digits_gan.json").write_text(
        json.dumps({"kind": "Sequential", "config": {"name": "poison", "layers": [layer]}}), "utf-8"
    )
    with pytest.raises(ValueError, match="(?i)lambda.*unsafe|unsafe.*lambda"):
        checkpoints.load("digits_gan")


# --- archives ------------------------------------------------------------------------------------


def test_an_archive_writes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that lead out of the folder, absolute ones, a link: read in memory or not at all."""
    outside = data.parent / "outside.wav"
    names = ["../outside.wav", "../../outside.wav", str(outside), "a/../../outside.wav"]
    path = data / "spoken_digits_1.0.10.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"RIFF")
        link = zipfile.ZipInfo("0_link_0.wav")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(data.parent))
    before = {file: file.stat().st_mtime_ns for file in data.parent.rglob("*")}
    with pytest.raises(download.WrongHash):
        datasets.spoken_digits()
    monkeypatch.setattr(download, "_checked", lambda path, entry: path)
    with pytest.raises(ValueError):
        datasets.spoken_digits()
    after = {file: file.stat().st_mtime_ns for file in data.parent.rglob("*")}
    assert after == before


# --- the lock ------------------------------------------------------------------------------------

YANKED = re.compile(r"`([^`]+)` is yanked(?: \(reason: (.*)\))?")


def yanked(requirements: Path) -> dict[str, str]:
    """The pins of a file that their authors have withdrawn, with the reason if one was given."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--no-deps", "--universal"]
    command.append(str(requirements))
    done = subprocess.run(command, capture_output=True, text=True)
    if re.search("Failed to fetch|network was disabled", done.stderr):
        pytest.skip("no package index in reach, so nobody can be asked what was withdrawn")
    assert done.returncode == 0, done.stderr
    return {name: reason or "" for name, reason in YANKED.findall(done.stderr)}


@pytest.mark.slow
def test_no_locked_package_was_withdrawn(repo: Path) -> None:
    found = yanked(repo / "requirements.lock")
    assert not found, f"withdrawn by their authors: {found}; run `make lock LOCK_ARGS=--upgrade`"


@pytest.mark.slow
def test_a_withdrawn_package_is_seen(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("requests==2.32.0\n", "utf-8")  # withdrawn in May 2024
    assert list(yanked(requirements)) == ["requests==2.32.0"]
