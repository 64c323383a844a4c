"""What no file of the project may hold, and how large the library may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "course_utils"
MODULES = sorted(LIBRARY.rglob("*.py"))
EXERCISES = [path for path in MODULES if "exercises" in path.relative_to(LIBRARY).parts]

# In two parts each, so that this file does not hold what it looks for.
FOLDERS = ["/wo" + "rk/", "/ro" + "ot/", "/tmp" + "/dev", "/tmp" + "/bash", "/ho" + "me/"]
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "conda.ana" + "conda.org", "npm" + "js.org"]
INDEX = r"index-ur" + r"l[ =]+\w+:|find-lin" + r"ks[ =]+\w+:"
FORBIDDEN = re.compile(
    "|".join(
        [*(rf"(?<![\w.:-]){re.escape(f)}" for f in FOLDERS), *map(re.escape, REGISTRIES), INDEX]
    )
)
UNSAFE_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
UNSAFE_CALLS = re.compile(
    r"yaml\.(unsafe_|full_)?load(_all)?|torch\.load"
    r"|(\w+\.)*(read_pickle|enable_unsafe_deserialization)"
)
RUNS_TEXT = {"eval", "exec"}  # tests may: they run the code of lessons
UNPACKS = {"extract", "extractall", "unpack_archive", "untar", "Untar", "Unzip"}


def project_files() -> list[Path]:
    """Every file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of the project's files")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def forbidden(text: str) -> list[str]:
    return [found[0] for found in FORBIDDEN.finditer(text)]


def unsafe(source: str) -> list[str]:
    """Calls and imports that could run code hidden in a data file, or write where it says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if UNSAFE_CALLS.fullmatch(name) or name in RUNS_TEXT or name.split(".")[-1] in UNPACKS:
                found.append(name)
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in UNSAFE_IMPORTS]
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            setting = (node.arg, node.value.value)
            if setting in {("allow_pickle", True), ("safe_mode", False)}:
                found.append(f"{node.arg}={node.value.value}")
    return found


def undocumented(source: str) -> Iterator[str]:
    """Public functions, classes and methods without a docstring."""
    tree = ast.parse(source)
    public = [node for node in tree.body if not getattr(node, "name", "_").startswith("_")]
    for node in public:
        members = node.body if isinstance(node, ast.ClassDef) else []
        for item in (node, *members):
            if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if not item.name.startswith("_") and not ast.get_docstring(item):
                yield item.name


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def code_of_sources() -> Iterator[tuple[str, str]]:
    """Code of the notebooks' sources, without lines of IPython magic; one text a notebook."""
    for path in sorted((ROOT / "notebooks" / "source").glob("*.md")):
        blocks = re.findall(
            r"^```\{code-cell\}[^\n]*\n(.*?)^```", path.read_text("utf-8"), re.M | re.S
        )
        yield path.name, re.sub(r"^\s*([%!]|:\w+:).*$", "", "\n".join(blocks), flags=re.MULTILINE)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {}
    for path in project_files():
        hits = forbidden(path.read_bytes().decode("utf-8", "ignore"))
        if hits:
            found[str(path.relative_to(ROOT))] = sorted(set(hits))
    assert not found, f"addresses or paths that only one machine knows: {found}"


@pytest.mark.parametrize(
    "text", [*(f"see {f}x" for f in FOLDERS), *(f"https://{r}/x" for r in REGISTRIES)]
)
def test_forbidden_is_found(text: str) -> None:
    assert forbidden(text)


def test_modules_stay_small() -> None:
    long = {path.name: lines(path) for path in MODULES if lines(path) > 300}
    assert not long, f"at most 300 lines a module: {long}"
    exercises = sum(map(lines, EXERCISES))
    library = sum(map(lines, MODULES)) - exercises
    assert library <= 3000, f"course_utils has {library} lines; at most 3,000"
    assert exercises <= 1500, f"exercises have {exercises} lines; at most 1,500"


def test_public_names_have_docstrings() -> None:
    found = {path.name: list(undocumented(path.read_text("utf-8"))) for path in MODULES}
    found = {name: missing for name, missing in found.items() if missing}
    assert not found, f"without a docstring: {found}"
    assert list(undocumented("def f(): pass\nclass A:\n def g(self): pass")) == ["f", "A", "g"]


def test_nothing_unpickles() -> None:
    folders = [LIBRARY, ROOT / "data", ROOT / "notebooks" / "source", ROOT / "tests"]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    sources = [(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in files]
    found = {name: unsafe(source) for name, source in [*sources, *code_of_sources()]}
    for name in (name for name in found if name.startswith("tests")):
        found[name] = [hit for hit in found[name] if hit not in RUNS_TEXT]
    found = {name: hits for name, hits in found.items() if hits}
    assert not found, f"may run code from a data file, or unpack it: {found}"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "np.load(f, allow_pickle=True)",
        "m(safe_mode=False)",
        "yaml.load(f)",
        "yaml.unsafe_load(f)",
        "torch.load(f)",
        "pd.read_pickle(f)",
        "keras.config.enable_unsafe_deserialization()",
        "eval(text)",
        "exec(text)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(path)",
        "pooch.Unzip()",
    ],
)
def test_unsafe_is_found(source: str) -> None:
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    ["yaml.safe_load(f)", "model.eval()", "np.load(f)", "model.load_weights(f)", "load(f)"],
)
def test_what_is_safe_is_not_found(source: str) -> None:
    assert not unsafe(source)


IMPORT = """
import sys, time
start = time.perf_counter()
import course_utils
seconds = time.perf_counter() - start
print(seconds, *(name for name in ("tensorflow", "keras", "matplotlib") if name in sys.modules))
"""


def test_import_is_light() -> None:
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        seconds, *heavy = done.stdout.split()
        assert not heavy, f"import course_utils imports {heavy}"
        runs.append(float(seconds))
    assert min(runs) < 0.2, f"import course_utils takes {min(runs):.2f} s; at most 0.2"
