"""Files with a known hash: downloads, and what is shipped in the data folder.

A file is looked for in `COURSE_DATA_DIR`, in `COURSE_CACHE_DIR` or the user's cache, and online.
"""

import hashlib
import os
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from course_utils.runtime import DATA_DIR

Part = TypeVar("Part")
CACHE_NAME = "generative-models-course"
TIMEOUT_SECONDS = 20
RETRIES = 1  # how often a mirror is asked again after it failed


@dataclass(frozen=True, eq=False)
class Split(Generic[Part]):
    """A data set in three parts."""

    name: str
    train: Part  # to fit models on
    validation: Part  # to choose between models
    test: Part  # to judge the chosen one, once
    source: str
    licence: str


class DataUnavailable(RuntimeError):
    """A data file is nowhere to be had; the message says what to do."""


class WrongHash(DataUnavailable):
    """A data file is there but is not the one that the registry describes."""


@dataclass(frozen=True)
class Entry:
    """One file of the registry."""

    name: str  # what the course calls it
    file: str
    sha256: str  # 64 hexadecimal digits; of a .zip, that of its recordings, see `sha256`
    bytes: int
    licence: str
    urls: tuple[str, ...] = ()  # to download it from, in this order
    offline: str = ""  # the call that gives something to use without a network


def registry(table: str = "files") -> dict[str, Entry]:
    """Entries of `data/registry.toml` by name, of `"files"`, `"shipped"` or `"checkpoints"`."""
    content = tomllib.loads((DATA_DIR / "registry.toml").read_text(encoding="utf-8"))
    return {
        name: Entry(name=name, **{**fields, "urls": tuple(fields.get("urls", ()))})
        for name, fields in content.get(table, {}).items()
    }


def fetch(name: str) -> Path:
    """Path of a data file whose hash has just been checked; downloads it if need be.

    A ValueError, which lists the known ones, for another name; `DataUnavailable` if there is no
    copy and no mirror delivers one; `WrongHash` if the copy in `COURSE_DATA_DIR` is another file.
    """
    entry = _entry(name, "files")
    own_folder = os.environ.get("COURSE_DATA_DIR")
    if own_folder and (copy := Path(own_folder).expanduser() / entry.file).is_file():
        return _checked(copy, entry)
    import pooch

    pooch.get_logger().setLevel("WARNING")
    cache = Path(os.environ.get("COURSE_CACHE_DIR") or pooch.os_cache(CACHE_NAME)).expanduser()
    failures, zipped, cached = [], entry.file.endswith(".zip"), cache / entry.file
    if zipped and cached.is_file() and sha256(cached) != entry.sha256:
        cached.unlink()  # pooch compares hashes of whole files only
    known = {entry.file: None if zipped else f"sha256:{entry.sha256}"}
    for url in entry.urls:
        settings = {"registry": known, "urls": {entry.file: url}, "retry_if_failed": RETRIES}
        mirror = pooch.create(cache, "", **settings)
        try:  # a file in the cache is used if its hash is right, and replaced if not
            downloader = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS)
            return _checked(Path(mirror.fetch(entry.file, downloader=downloader)), entry)
        except (OSError, ValueError, WrongHash) as error:  # requests' are OSErrors
            failures.append(f"  {url}\n    {type(error).__name__}: {error}")
    state = f"now {own_folder}, which does not hold it" if own_folder else "not set now"
    raise DataUnavailable(
        f"{entry.file} is not on this machine and could not be downloaded:\n"
        + "\n".join(failures)
        + f"\nIt must have the sha256 {entry.sha256} ({entry.bytes:,} bytes).\n"
        f"Either save it as {entry.file} in a folder and set COURSE_DATA_DIR to that folder "
        f"({state}), or use {entry.offline}, which needs no network."
    )


def shipped(name: str, table: str = "shipped") -> Path:
    """Path of a file in the data folder, or of `"checkpoints"`; raises as `fetch` does."""
    entry = _entry(name, table)
    path = DATA_DIR / ("checkpoints" if table == "checkpoints" else "") / entry.file
    if not path.is_file():
        mend = "`git checkout data` (checkpoints can also be trained, with `make checkpoints`)"
        raise DataUnavailable(f"{path.name} is missing from {path.parent}; restore it with {mend}")
    return _checked(path, entry)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits.

    Archives are packed anew now and then. So for a .zip it is that of a list: name and SHA-256 of
    each .wav in it, a line each, in order; and "" for what is no archive.
    """
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                names = {n.rsplit("/", 1)[-1]: n for n in archive.namelist() if n.endswith(".wav")}
                files = ((n, archive.read(names[n])) for n in sorted(names))
                lines = [f"{n} {hashlib.sha256(content).hexdigest()}\n" for n, content in files]
        except zipfile.BadZipFile:
            return ""
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(name: str, table: str) -> Entry:
    known = registry(table)
    if name not in known:
        listed = ", ".join(map(repr, sorted(known)))
        raise ValueError(f"no {name!r} among the {table} of the registry; known: {listed}")
    return known[name]


def _checked(path: Path, entry: Entry) -> Path:
    """The path, if the file has the hash of the registry."""
    if (found := sha256(path)) != entry.sha256:
        fresh = f"from {entry.urls[0]}" if entry.urls else "with `git checkout data`"
        what = f"its sha256 is {found} ({path.stat().st_size:,} bytes), expected {entry.sha256} "
        mend = f"({entry.bytes:,} bytes). Delete it and get a fresh copy {fresh}"
        raise WrongHash(f"{path} is not the file that the course expects: {what}{mend}")
    return path
