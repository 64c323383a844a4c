"""The four descriptions of the environment agree, and a reader can install from each of them."""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from nbval.plugin import IPyNbCell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The systems that the course supports, as environment markers see them.
SYSTEMS = {
    "Linux x86-64": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    "Linux ARM": {"sys_platform": "linux", "platform_machine": "aarch64", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
}
PYTHONS = ("3.11", "3.12", "3.13")
# What a page may name though no file of the project is it.
MADE = (".venv", "build/", "path/", "release/", "submitted/")
NEWS = "@jupyterlab/apputils-extension:announcements"  # asks about news, looks for updates
WITHOUT = "python -m jupyter labextension disable --level=sys_prefix"
NUMERICAL = ("keras", "numpy", "pandas", "scikit-learn", "scipy")


@pytest.fixture(scope="module")
def project(repo) -> dict:
    return tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def lock_text(repo) -> str:
    return (repo / "requirements.lock").read_text("utf-8")


@pytest.fixture(scope="module")
def lock(lock_text) -> list[Requirement]:
    lines = [line for line in lock_text.splitlines() if line and line[0] not in " #"]
    return [Requirement(line.removesuffix("\\")) for line in lines]


@pytest.fixture(scope="module")
def environment_text(repo) -> str:
    return (repo / "environment.yml").read_text("utf-8")


@pytest.fixture(scope="module")
def pip_section(environment_text) -> list[str]:
    dependencies = yaml.safe_load(environment_text)["dependencies"]
    return next(entry["pip"] for entry in dependencies if isinstance(entry, dict))


def wanted(requirements: list[Requirement], system: str, python: str) -> list[Requirement]:
    """Those whose markers hold on one system, as an installer would choose them."""
    environment = {
        **SYSTEMS[system],
        "python_version": python,
        "python_full_version": f"{python}.9",
    }
    return [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]


def pins(requirements: list[Requirement], system: str, python: str) -> dict[str, str]:
    """Package name to pinned version on one system."""
    chosen = wanted(requirements, system, python)
    exact = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in chosen}
    assert len(exact) == len(chosen), f"a package is listed twice for {system}, Python {python}"
    return exact


def direct(project: dict, *extras: str) -> list[Requirement]:
    listed = list(project["project"]["dependencies"])
    for extra in extras:
        listed += project["project"]["optional-dependencies"][extra]
    return [Requirement(line) for line in listed]


def test_every_lock_entry_is_an_exact_pin_with_hashes(lock_text, lock):
    entries = re.split(r"\n(?=[\w-])", lock_text.strip())
    assert len(entries) == len(lock) > 100
    for entry, requirement in zip(entries, lock, strict=True):
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, f"{requirement.name} has no hash; run `make lock`"


def test_lock_names_no_address(lock_text):
    for line in lock_text.splitlines():
        entry = line.split("#")[0]
        assert not re.search(r"://|file:|--(?!hash=sha256:)| @ ", entry), line


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_lock_satisfies_every_direct_dependency(project, lock, system, python):
    locked = pins(lock, system, python)
    for requirement in wanted(direct(project, "site", "test"), system, python):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in the lock; run `make lock`"
        assert version in requirement.specifier, f"{requirement}: the lock has {version}"


def test_numerical_packages_have_one_version_on_every_python(lock):
    for name in NUMERICAL:
        found = [r for r in lock if r.name == name]
        assert len(found) == 1 and found[0].marker is None, f"{name}: {[str(r) for r in found]}"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_environment_yml_repeats_the_pins_of_the_lock(project, lock, pip_section, system, python):
    locked = pins(lock, system, python)
    names = [canonicalize_name(r.name) for r in wanted(direct(project), system, python)]
    listed = pins([Requirement(line) for line in pip_section], system, python)
    assert listed == {name: locked[name] for name in names}


def test_environment_yml_is_what_binder_needs(repo, environment_text, pip_section):
    settings = yaml.safe_load(environment_text)
    assert settings["name"] and settings["channels"] == ["conda-forge"]
    assert re.search(r"^  - python=3\.11$", environment_text, re.MULTILINE), "write python=3.11"
    assert all(re.match(r"\w", line) for line in pip_section), "names and pins only, no options"
    for hidden in ("binder", ".binder"):
        assert not (repo / hidden).exists(), f"{hidden}/ would hide environment.yml from Binder"
    assert (repo / "postBuild").read_bytes().startswith(b"#!/bin/bash\n")
    assert "set -e\n" in (repo / "postBuild").read_text("utf-8")
    if os.name == "posix":
        assert os.access(repo / "postBuild", os.X_OK), "chmod +x postBuild"


@pytest.mark.skipif(os.name == "nt", reason="jupyter-repo2docker runs on Linux and macOS")
def test_repo2docker_chooses_the_conda_buildpack_and_python_311(repo, tmp_path):
    copy_of_tree(repo, tmp_path / "course")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=tmp_path / "course", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Building conda environment for python=3.11" in done.stderr
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "environment.yml"' in done.stdout
    # The base environment is chosen by its lock: .../conda/environment.py-3.11-linux-64.lock
    assert re.search(r"environment-2epy-2d3-2e11", done.stdout)
    assert "RUN ./postBuild" in done.stdout


def test_links_agree_with_the_repository_setting(repo, project):
    repository = project["project"]["urls"]["repository"]
    branch = project["tool"]["course"]["branch"]
    path = repository.removeprefix("https://github.com/")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", path), "the repository must be a GitHub address"
    start = f"https://mybinder.org/v2/gh/{path}/{branch}?urlpath=lab/tree/notebooks/"
    readme = (repo / "README.md").read_text("utf-8")
    assert f"{start}00_start_here.ipynb" in unquote(readme), "README.md has no Binder badge"

    pages = [repo / "README.md", repo / "CITATION.cff", *repo.glob("notebooks/**/*.ipynb")]
    pages += repo.glob("notebooks/source/*.md")
    for page in pages:
        text = unquote(page.read_text("utf-8"))
        for link in re.findall(r"https://mybinder\.org/v2/[^\s\"')\]\\]+", text):
            assert link.startswith(start), f"{page.name}: {link} does not start with {start}"
            assert (repo / "notebooks" / link.removeprefix(start)).exists(), f"{page.name}: {link}"
        name = re.escape(path.split("/")[1])
        for link in re.findall(rf"https://github\.com/[\w.-]+/{name}\b", text):
            assert link == repository, f"{page.name}: {link} is not {repository}"


def names_in(page: Path) -> tuple[set[str], set[str]]:
    """Make targets, and files and folders, that a page names in code; NAME stands for any name."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    code = "\n".join([*blocks, *spans])
    targets = set(re.findall(r"^(?:\S+=\S+ )?make +([a-z-]+)", code, re.MULTILINE))
    paths = set()
    for span in spans:
        for word in span.split():
            known = re.search(r"\.(cff|lock|md|ipynb|json|py|toml|yml)$|/", word.split("::")[0])
            if known and re.fullmatch(r"\.?\w[\w./*-]*(::\w+)?", word):
                paths.add(re.sub(r"\bNAME\b", "*", word))
    return targets, {path for path in paths if not path.startswith(MADE)}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_file_and_target_that_a_page_names_exists(repo, name):
    targets, paths = names_in(repo / name)
    makefile = (repo / "Makefile").read_text("utf-8")
    assert targets and paths
    missing = {t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)}
    assert not missing, f"{name} names targets that the Makefile has not: {missing}"
    for path in paths:
        file, _, test = path.partition("::")
        found = list(repo.glob(file))
        assert found, f"{name} names {path}, which is missing"
        assert not test or f"def {test}(" in found[0].read_text("utf-8"), f"{name} names {path}"


def test_every_package_folder_is_installed(repo, project):
    folders = {path.parent for path in (repo / "course_utils").rglob("__init__.py")}
    found = {".".join(folder.relative_to(repo).parts) for folder in folders}
    listed = set(project["tool"]["setuptools"]["packages"])
    assert listed == found | {"course_utils._data"}, "mend [tool.setuptools] in pyproject.toml"


def test_data_is_found_in_a_checkout_and_in_an_installed_copy(repo, tmp_path):
    from course_utils import runtime

    assert runtime.DATA_DIR.samefile(repo / "data")

    copy_of_tree(repo, tmp_path / "course")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-index", "--target", tmp_path / "site", tmp_path / "course")  # fmt: skip
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from course_utils import runtime; print(runtime.DATA_DIR)"
    )
    found = Path(run(sys.executable, "-c", program, tmp_path / "site", cwd=tmp_path).strip())
    assert found.samefile(tmp_path / "site" / "course_utils" / "_data")
    original = {p.relative_to(repo / "data") for p in tracked(repo) if repo / "data" in p.parents}
    installed = {p for p in found.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert original == {p.relative_to(found) for p in installed}


def test_network_is_out_of_reach_here():
    with pytest.raises(OSError, match="without a network"):
        urllib.request.urlopen("http://example.org", timeout=5)
    with socket.socket() as outside, pytest.raises(OSError, match="without a network"):
        outside.connect(("192.0.2.1", 80))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_first_notebook_runs_in_a_fresh_environment_of_environment_yml(repo, tmp_path, pip_section):
    course, venv, elsewhere = (tmp_path / name for name in ("course", "venv", "elsewhere"))
    copy_of_tree(repo, course)
    elsewhere.mkdir()
    run(sys.executable, "-m", "venv", venv)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    # With no network there is nothing to install from, which says nothing about the pins.
    known = next(line for line in pip_section if line.startswith("jupyterlab="))
    probe = [python, "-m", "pip", "--retries", "0", "download", "--no-deps", "-d", tmp_path, known]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no package index in reach, so no fresh environment can be made")

    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(pip_section) + "\n", "utf-8")
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "--requirement", requirements)
    for line in after_install(repo / "postBuild"):
        run(python, *line.split()[1:], cwd=course)
    settings = json.loads((venv / "etc/jupyter/labconfig/page_config.json").read_text("utf-8"))
    assert settings["disabledExtensions"] == {NEWS: True}
    shutil.rmtree(course / "course_utils")  # what is imported below must be the installed copy

    where = "import course_utils; print(course_utils.__file__)"
    found = Path(run(python, "-c", where, cwd=elsewhere).strip()).resolve()
    assert venv.resolve() in found.parents, f"course_utils was imported from {found}"
    notebook = course / "notebooks" / "00_start_here.ipynb"
    run(python, "-m", "nbconvert", "--to", "notebook", "--execute",
        "--ExecutePreprocessor.kernel_name=python3", "--ExecutePreprocessor.timeout=300",
        "--output-dir", elsewhere, notebook)  # fmt: skip
    assert (elsewhere / notebook.name).exists()


def after_install(script: Path) -> list[str]:
    """The commands of postBuild: calls of pip through Python, then JupyterLab without its news."""
    lines = [line.strip() for line in script.read_text("utf-8").splitlines()]
    commands = [line for line in lines if line and not line.startswith("#") and line != "set -e"]
    of_pip, last = commands[:-1], commands[-1]
    assert of_pip and all(line.startswith("python -m pip install ") for line in of_pip)
    assert all("--no-deps" in line for line in of_pip), "postBuild installs the course alone"
    assert last == f"{WITHOUT} {NEWS}"
    return commands


def test_jupyterlab_is_told_to_ask_nothing_wherever_it_is_installed(repo):
    assert after_install(repo / "postBuild")
    makefile = (repo / "Makefile").read_text("utf-8")
    assert f"{WITHOUT} $(NEWS) >" in makefile and f"\nNEWS := {NEWS}\n" in makefile


def test_nbval_waits_a_minute_for_what_a_cell_shows(repo):
    assert "self.output_timeout = 5\n" in inspect.getsource(IPyNbCell.__init__)
    cell, function = IPyNbCell.__new__(IPyNbCell), object()
    cell.output_timeout = 5
    hooks = runpy.run_path(str(repo / "conftest.py"))
    hooks["pytest_collection_modifyitems"]([cell, function])
    assert cell.output_timeout == 60


def run(*command: object, cwd: Path | None = None) -> str:
    """The command's output, with its last lines of complaint in the error when it fails."""
    # A virtual environment that runs the tests must not show through in the one under test.
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done.stdout


def tracked(repo: Path) -> list[Path]:
    """The project's files: committed, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=repo, capture_output=True, check=True).stdout.decode()
    return [repo / name for name in names.split("\0") if name and (repo / name).is_file()]


def copy_of_tree(repo: Path, target: Path) -> None:
    """Copy the project without environments, caches and other ignored files."""
    for path in tracked(repo):
        copy = target / path.relative_to(repo)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
