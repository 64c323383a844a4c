"""Files with a known hash: every way in which one can be missing, wrong or half-written."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from course_utils import download

CONTENT = b"To be, or not to be: " * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """/good, /wrong, /cut (only half), /gate (half, then waits), /flaky, /silent; else 404."""

    asked: Counter[str] = Counter()
    half_sent = threading.Event()
    go_on = threading.Event()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        if self.path == "/silent":
            if not self.go_on.wait(10):
                self.asked["/silent, to the end"] += 1
            return
        if self.path not in ("/good", "/wrong", "/cut", "/gate", "/flaky"):
            self.send_error(404)
            return
        if self.path == "/flaky" and self.asked[self.path] == 1:
            self.send_error(503)
            return
        body = b"x" * len(CONTENT) if self.path == "/wrong" else CONTENT
        half = len(body) // 2
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:half])
        if self.path == "/cut":
            return
        if self.path == "/gate":
            self.wfile.flush()
            self.half_sent.set()
            self.go_on.wait(10)
        self.wfile.write(body[half:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch):
    Mirror.asked.clear()
    Mirror.half_sent.clear()
    Mirror.go_on.clear()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Mirror.go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("COURSE_CACHE_DIR", str(folder))
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setattr(download, "RETRIES", 0)
    return folder


@pytest.fixture
def register(tmp_path, monkeypatch, cache):
    """Function that writes a registry with one play at the given addresses."""

    def write(*urls: str) -> None:
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        (data / "registry.toml").write_text(
            f"""
            [files.play]
            file = "play.txt"
            urls = {json.dumps(urls)}
            sha256 = "{SHA256}"
            bytes = {len(CONTENT)}
            licence = "public domain"
            offline = 'datasets.text("reference_english")'

            [checkpoints.poet]
            file = "poet.weights.h5"
            sha256 = "{SHA256}"
            bytes = {len(CONTENT)}
            licence = "MIT"
            """,
            encoding="utf-8",
        )
        monkeypatch.setattr(download, "DATA_DIR", data)

    return write


def only_file_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_download_once_then_from_the_cache(register, mirror, cache):
    register(f"{mirror}/good")
    assert download.fetch("play") == cache / "play.txt"
    assert download.fetch("play").read_bytes() == CONTENT
    assert Mirror.asked == {"/good": 1}
    assert only_file_in(cache) == ["play.txt"]


def test_the_learners_own_folder_comes_first(register, mirror, cache, tmp_path, monkeypatch):
    register(f"{mirror}/good")
    (tmp_path / "play.txt").write_bytes(CONTENT)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    assert download.fetch("play") == tmp_path / "play.txt"
    assert not Mirror.asked and not cache.exists()


def test_own_folder_without_the_file(register, mirror, cache, tmp_path, monkeypatch):
    register(f"{mirror}/good")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "nowhere"))
    assert download.fetch("play") == cache / "play.txt"


@pytest.mark.parametrize("damaged", [b"x" * len(CONTENT), CONTENT[:-1], b""])
def test_wrong_file_in_own_folder(register, mirror, tmp_path, monkeypatch, damaged):
    register(f"{mirror}/good")
    (tmp_path / "play.txt").write_bytes(damaged)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    with pytest.raises(download.WrongHash) as raised:
        download.fetch("play")
    found = hashlib.sha256(damaged).hexdigest()
    for part in ("play.txt", SHA256, found, f"{len(damaged):,} bytes", f"{mirror}/good"):
        assert part in str(raised.value)
    assert not Mirror.asked


@pytest.mark.parametrize("damaged", [b"x" * len(CONTENT), CONTENT[: len(CONTENT) // 2], b""])
def test_damaged_cache_is_replaced(register, mirror, cache, damaged):
    register(f"{mirror}/good")
    cache.mkdir()
    (cache / "play.txt").write_bytes(damaged)
    assert download.fetch("play").read_bytes() == CONTENT
    assert only_file_in(cache) == ["play.txt"]


def test_damaged_cache_without_network_is_not_used(register, cache):
    register(closed_address())
    cache.mkdir()
    (cache / "play.txt").write_bytes(CONTENT[:-1])
    with pytest.raises(download.DataUnavailable):
        download.fetch("play")


@pytest.mark.parametrize("fault", ["wrong", "cut", "missing"])
def test_faulty_mirror_then_good_one(register, mirror, cache, fault):
    register(f"{mirror}/{fault}", f"{mirror}/good")
    assert download.fetch("play").read_bytes() == CONTENT
    assert Mirror.asked == {f"/{fault}": 1, "/good": 1}
    assert only_file_in(cache) == ["play.txt"]


@pytest.mark.parametrize("fault", ["wrong", "cut", "missing"])
def test_faulty_mirror_leaves_nothing_behind(register, mirror, cache, fault):
    register(f"{mirror}/{fault}")
    with pytest.raises(download.DataUnavailable, match=f"{mirror}/{fault}"):
        download.fetch("play")
    assert only_file_in(cache) == []


def test_a_mirror_is_asked_again(register, mirror, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)
    register(f"{mirror}/flaky")
    assert download.fetch("play").read_bytes() == CONTENT
    assert Mirror.asked == {"/flaky": 2}


def test_a_silent_mirror_is_given_up(register, mirror, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    register(f"{mirror}/silent", f"{mirror}/good")
    assert download.fetch("play").read_bytes() == CONTENT
    assert Mirror.asked == {"/silent": 1, "/good": 1}


def test_a_half_written_download_has_no_name_yet(register, mirror, cache):
    register(f"{mirror}/gate")
    with ThreadPoolExecutor(1) as pool:
        path = pool.submit(download.fetch, "play")
        assert Mirror.half_sent.wait(10)
        assert not (cache / "play.txt").exists()
        Mirror.go_on.set()
        assert path.result(timeout=10).read_bytes() == CONTENT


def test_several_at_once(register, mirror, cache):
    register(f"{mirror}/good")
    with ThreadPoolExecutor(4) as pool:
        for path in pool.map(download.fetch, ["play"] * 4):
            assert path.read_bytes() == CONTENT
    assert only_file_in(cache) == ["play.txt"]


def test_offline_without_a_copy_says_what_to_do(register):
    address = closed_address()
    register(address, f"{address}/mirror")
    with pytest.raises(download.DataUnavailable) as raised:
        download.fetch("play")
    for part in ("play.txt", address, f"{address}/mirror", SHA256, "COURSE_DATA_DIR", "not set"):
        assert part in str(raised.value)
    assert 'datasets.text("reference_english")' in str(raised.value)


def test_cache_folder_that_cannot_be_made(register, mirror, cache):
    register(f"{mirror}/good")
    cache.write_text("a file where the folder should be")
    with pytest.raises(download.DataUnavailable, match="COURSE_DATA_DIR"):
        download.fetch("play")


def test_unknown_names_list_the_known_ones(register):
    register("http://127.0.0.1/")
    with pytest.raises(ValueError, match="'novel'.*'play'"):
        download.fetch("novel")
    with pytest.raises(ValueError, match="'play'.*'poet'"):
        download.shipped("play", "checkpoints")


def test_checkpoint(register, tmp_path):
    register()
    folder = tmp_path / "data" / "checkpoints"
    with pytest.raises(download.DataUnavailable, match=r"poet\.weights\.h5 is missing.*make check"):
        download.shipped("poet", "checkpoints")
    folder.mkdir()
    (folder / "poet.weights.h5").write_bytes(CONTENT[:-1])
    with pytest.raises(download.WrongHash, match=rf"poet\.weights\.h5.*{SHA256}"):
        download.shipped("poet", "checkpoints")
    (folder / "poet.weights.h5").write_bytes(CONTENT)
    assert download.shipped("poet", "checkpoints") == folder / "poet.weights.h5"


def test_the_courses_own_registry():
    for entry in download.registry().values():
        assert entry.urls and all(url.startswith("https://") for url in entry.urls)
        assert "datasets." in entry.offline
    for name in download.registry("checkpoints"):
        path = download.shipped(name, "checkpoints")
        assert path.stat().st_size == download.registry("checkpoints")[name].bytes <= 5_000_000
    entries = [*download.registry().values(), *download.registry("checkpoints").values()]
    assert all(len(entry.sha256) == 64 and entry.bytes and entry.licence for entry in entries)
    shipped = {path.name for path in (download.DATA_DIR / "checkpoints").glob("*.h5")}
    assert shipped == {entry.file for entry in download.registry("checkpoints").values()}


def test_cache_folder_of_the_user(register, mirror, monkeypatch, tmp_path):
    register(f"{mirror}/good")
    monkeypatch.delenv("COURSE_CACHE_DIR")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    assert download.fetch("play") == tmp_path / download.CACHE_NAME / "play.txt"


def closed_address() -> str:
    """An address on this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/play.txt"
