"""Build the notebooks: MyST Markdown in, executed and cleaned ipynb out.

Run as ``python notebooks/source/build.py [NAME ...]``, which is what ``make notebooks`` does.
Each named notebook (all of them without a name) is read from ``notebooks/source/NAME.md``,
executed in order, cleaned of everything that changes from run to run, and stored as
``notebooks/NAME.ipynb``. Its seconds and peak memory go to ``data/expected.toml``.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from plan import COURSE, Project, binder_link, cost, table

CELL_TIMEOUT = 300  # seconds
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PROGRESS_BAR = re.compile(r"\[\d\d:\d\d[<,]")  # what tqdm shows where there are no widgets
WIDGET_TEXT = "Interactive part: run the notebook to use it."
VERDICT = re.compile(r"^(?P<name>\w+) = .+, expected .+: .+$", re.MULTILINE)
TABLE = re.compile(r"(<!-- notebooks:start -->\n).*?(<!-- notebooks:end -->)", re.DOTALL)


class BuildError(Exception):
    """A notebook could not be built; the message says which cell and why."""


def _nbformat() -> Any:
    """The nbformat package, imported late and as Any, since its functions carry no types."""
    import nbformat

    return nbformat


def render(name: str, project: Project = COURSE) -> Any:
    """Turn a source file into a notebook without outputs, placeholders filled.

    Args:
        name: the notebook's file name without suffix.
        project: where to find it.

    Returns:
        An ``nbformat.NotebookNode`` of format 4.5 whose cell ids depend on the source alone.

    Raises:
        BuildError: there is no such source file.
    """
    import jupytext

    nbformat = _nbformat()

    path = project.source(name)
    if not path.exists():
        raise BuildError(f"no source {path.name}; there are: {', '.join(project.names())}")
    cells = jupytext.reads(path.read_text("utf-8"), fmt="md:myst").cells
    fill = {
        "cost": cost(name, project),
        "binder": binder_link(name, project),
        "notebooks": table(project),
    }
    seen: dict[str, int] = {}
    for cell in cells:
        # From the source before filling in, so that a new measurement changes no id.
        digest = hashlib.sha256(f"{name}\n{cell.cell_type}\n{cell.source}".encode()).hexdigest()[
            :12
        ]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata = {"tags": list(cell.metadata.tags)} if cell.metadata.get("tags") else {}
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{\{ (\w+) \}\}", lambda m: fill.get(m[1], m[0]), cell.source)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.nbformat_minor = 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {
                "file_extension": ".py",
                "mimetype": "text/x-python",
                "name": "python",
                "pygments_lexer": "ipython3",
            },
        }
    )
    return notebook


def execute(notebook: Any, folder: Path) -> tuple[int, int]:
    """Run every cell in order in a fresh kernel; outputs are stored in ``notebook``.

    The learner's progress goes to a folder that is thrown away.

    Args:
        notebook: what ``render`` returns.
        folder: the kernel's working folder.

    Returns:
        Wall seconds, kernel start included, and the kernel's peak resident memory in MB.

    Raises:
        BuildError: a cell raised, ran too long, or took the kernel down.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    nbformat = _nbformat()

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=True,  # minutes per section are made of it; `clean` takes it out
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    # One more cell asks the kernel for its memory; it is not part of what is timed or stored.
    probe = nbformat.v4.new_code_cell(
        f"{inspect.getsource(peak_memory_mb)}\nprint(peak_memory_mb())"
    )
    cells = list(notebook.cells)
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as state,
        client.setup_kernel(env=os.environ | {"COURSE_STATE_DIR": state}),
    ):
        for index, cell in enumerate(cells):
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                text = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip()
                message = "\n".join([cell.source, "", *text.splitlines()[-8:]])
                raise BuildError(f"cell {index} failed:\n{message}") from None
        seconds = time.perf_counter() - start
        notebook.cells.append(probe)
        client.execute_cell(probe, len(cells))
        notebook.cells.pop()
    return math.ceil(seconds), round(float(probe.outputs[0].text))


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    import contextlib
    import sys
    from pathlib import Path

    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    with contextlib.suppress(OSError):  # Linux; getrusage would count the parent before exec
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: in bytes


def clean(notebook: Any) -> None:
    """Remove in place what differs from run to run or cannot be shown without a kernel."""
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {}
        if cell.cell_type != "code":
            continue
        outputs: list[Any] = []
        for output in cell.outputs:
            if output.output_type == "stream":
                if (
                    outputs
                    and outputs[-1].output_type == "stream"
                    and outputs[-1].name == output.name
                ):
                    outputs[-1].text += output.text
                else:
                    outputs.append(output)
                continue
            if "data" in output:
                image = output.metadata.get("image/png", {})
                kept = {key: image[key] for key in ("alt", "height", "width") if key in image}
                output.metadata = {"image/png": kept} if kept else {}
                # JupyterLab shows "model not found" for a view whose kernel is gone: keep the text.
                view = output.data.pop(WIDGET_VIEW, None)
                if view is not None and PROGRESS_BAR.search(output.data.get("text/plain", "")):
                    continue
                if view is not None and re.match(r"\w+\(", output.data.get("text/plain", "X(")):
                    output.data["text/plain"] = WIDGET_TEXT
            outputs.append(output)
        for output in outputs:
            if output.output_type == "stream":  # what a progress bar wrote over is not for reading
                output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
        cell.outputs = [o for o in outputs if o.output_type != "stream" or o.text.strip()]


def verdicts(notebook: Any) -> list[str]:
    """The lines that ``expected.check`` printed, in order."""
    streams = [
        o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream"
    ]
    return [match[0] for text in streams for match in VERDICT.finditer(text)]


def write(notebook: Any, path: Path) -> None:
    """Store a notebook as JSON that is the same for the same content."""
    nbformat = _nbformat()
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def record(name: str, seconds: int, memory: int, project: Project) -> None:
    """Write the measured cost to ``expected.toml``; comments and intervals stay as they are."""
    import tomlkit

    path = project.expected
    document = tomlkit.parse(path.read_text("utf-8") if path.exists() else "")
    if name not in document:
        document[name] = tomlkit.table()
    document[name]["seconds"] = seconds
    document[name]["peak_mb"] = memory
    path.write_text(tomlkit.dumps(document), encoding="utf-8", newline="\n")


def refresh(project: Project) -> None:
    """Bring the measured numbers in stored text cells and in the README up to date."""
    nbformat = _nbformat()
    for name in project.names():
        if not project.stored(name).exists():
            continue
        stored = nbformat.read(project.stored(name), as_version=4)
        fresh = {
            cell.id: cell.source
            for cell in render(name, project).cells
            if cell.cell_type == "markdown"
        }
        for cell in stored.cells:
            cell.source = fresh.get(cell.id, cell.source)
        write(stored, project.stored(name))
    readme = project.root / "README.md"
    if readme.exists():
        rows = table(project, "notebooks/")
        text = TABLE.sub(lambda match: f"{match[1]}{rows}\n{match[2]}", readme.read_text("utf-8"))
        readme.write_text(text, encoding="utf-8", newline="\n")


def build(name: str, project: Project = COURSE) -> list[str]:
    """Render, execute, clean and store one notebook.

    Args:
        name: the notebook's file name without suffix.
        project: where to find it.

    Returns:
        One line for each checked value, with its interval.

    Raises:
        BuildError: there is no such source, or a cell failed; the stored notebook is not changed.
    """
    notebook = render(name, project)
    try:
        seconds, memory = execute(notebook, project.folder)
    except BuildError as error:
        raise BuildError(f"{name}: {error}") from None
    clean(notebook)
    write(notebook, project.stored(name))
    record(name, seconds, memory, project)
    refresh(project)
    return [
        f"{name}: {seconds} s, {memory} MB at most",
        *(f"  {line}" for line in verdicts(notebook)),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Build the notebooks named on the command line, or all of them; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python notebooks/source/build.py", description=build.__doc__
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="such as 04a_text_generation; all when left out"
    )
    names = parser.parse_args(arguments).names or COURSE.names()
    for name in names:
        try:
            print("\n".join(build(Path(name).stem)), flush=True)
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
