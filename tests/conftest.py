"""Shared by all tests: where the project is, the browser, no network, nobody's progress."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import find_browser

MAY_LEAVE = ("slow", "browser")  # markers of the tests that may reach other machines


@pytest.fixture(scope="session")
def repo() -> Path:
    """The project's top folder."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def state_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the course records of a learner's progress goes to a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def installed_browser() -> None:
    """Without a browser there is nothing to see; where CI runs, one must be there."""
    if not find_browser():
        reason = "no Chromium or Chrome found; install one or set CHROME_PATH to its program"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def is_local(host: str | bytes | None) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse, as a machine without a network does, every connection that leaves this one."""
    if any(request.node.get_closest_marker(name) for name in MAY_LEAVE):
        return

    def guard(function, host_of, error):
        def guarded(*args, **kwargs):
            if not is_local(host_of(args)):
                raise error(f"tests run without a network, so {host_of(args)} is out of reach")
            return function(*args, **kwargs)

        return guarded

    def peer(args):
        sock, address = args[:2]
        return address[0] if sock.family in (socket.AF_INET, socket.AF_INET6) else None

    for name in ("connect", "connect_ex"):
        guarded = guard(getattr(socket.socket, name), peer, ConnectionError)
        monkeypatch.setattr(socket.socket, name, guarded)
    look_up = guard(socket.getaddrinfo, lambda args: args[0], socket.gaierror)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
