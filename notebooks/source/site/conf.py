"""Settings of Sphinx: the course as pages to read, without a kernel and without a network.

`make site` runs it. The pages are the stored notebooks, the README, the datasheets and the
docstrings of the library; before Sphinx reads its source folder, `collect` fills it with them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SITE = Path(__file__).parent
sys.path.insert(0, str(SITE.parent))

from plan import COURSE, PLAN  # noqa: E402

# TensorFlow is imported for its docstrings alone; it need not tell about the machine.
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

BADGE = re.compile(r"\[!\[Launch on Binder\]\([^)]+\)\]")  # an image from another host
EMPTY_HEADING = re.compile(r"<th\b[^>]*>\s*(?:<p></p>|&nbsp;)?\s*</th>")
CONTENTS = """
```{toctree}
:hidden:
:caption: Lessons

%s
```

```{toctree}
:hidden:
:caption: Beside the lessons

data/README
library
CONTRIBUTING
```
"""
LIBRARY = """# The library

The notebooks import these modules of `course_utils`. The exercises are left out: their modules hold
the solutions.
"""
ARRAY = re.compile(  # "~" is in front of a name that Sphinx shows without its module
    r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[[~.\w]+(?:\[[~.\w]+\])?\]\]"
)
MODULE = """
## %s

```{eval-rst}
.. automodule:: %s
```
"""


def lesson(name: str) -> str:
    """A stored notebook whose figures carry their alternatives."""
    notebook = json.loads(COURSE.stored(name).read_text("utf-8"))
    for cell in notebook["cells"]:
        images = [output.get("metadata", {}) for output in cell.get("outputs", [])]
        words = [image["image/png"]["alt"] for image in images if "image/png" in image]
        if words:  # myst-nb takes them from the cell and not from the output
            cell["metadata"]["mystnb"] = {"image": {"alt": " ".join(words)}}
    return json.dumps(notebook)


def front_page() -> str:
    """The README, and the order of the pages."""
    readme = (COURSE.root / "README.md").read_text("utf-8")
    pages = (f"{p.name.split('_')[0]} · {p.title} <notebooks/{p.name}>" for p in PLAN)
    return BADGE.sub("[Run the course on Binder]", readme) + CONTENTS % "\n".join(pages)


def library() -> str:
    """A heading and the docstrings for each module but the exercises."""
    files = sorted((COURSE.root / "course_utils").rglob("*.py"))
    names = (".".join(p.relative_to(COURSE.root).with_suffix("").parts) for p in files)
    modules = [name.removesuffix(".__init__") for name in names if ".exercises" not in name]
    return LIBRARY + "".join(MODULE % (n.removeprefix("course_utils."), n) for n in modules)


def collect(app: Sphinx) -> None:
    """Write all pages into Sphinx's source folder."""
    pages = {"index.md": front_page(), "library.md": library()}
    for name in ("CONTRIBUTING.md", "data/README.md"):
        pages[name] = (COURSE.root / name).read_text("utf-8")
    pages |= {f"notebooks/{planned.name}.ipynb": lesson(planned.name) for planned in PLAN}
    for name, content in pages.items():
        path = Path(app.srcdir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")


def no_empty_headings(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Make the empty corner of a table a plain cell: as a heading it would head nothing."""
    context["body"] = EMPTY_HEADING.sub("<td></td>", context.get("body", ""))


def short_arrays(
    app: Sphinx, what: str, name: str, item: Any, options: Any, takes: str | None, gives: str | None
) -> tuple[str | None, str | None]:
    """Write `ndarray` for an array of any shape and type."""
    return takes and ARRAY.sub("ndarray", takes), gives and ARRAY.sub("ndarray", gives)


def setup(app: Sphinx) -> None:
    """Sphinx calls this before it looks for pages."""
    app.connect("autodoc-process-signature", short_arrays)
    app.connect("builder-inited", collect)
    app.connect("html-page-context", no_empty_headings)


def mathjax() -> Path:
    """MathJax 3 in one file: formulas become SVG, which needs no fonts."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    assert package and package.origin, "run `make site`, which installs what it needs"
    return Path(package.origin).with_name("static") / "mathjax" / "tex-svg.js"


project = html_title = "Generative models"
author = "The course authors"
project_copyright = "2026, The course authors. Code: MIT. Text and figures: CC BY 4.0"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
mathjax_path = mathjax().name

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
add_module_names = False
default_role = "code"  # docstrings write `name` as Markdown does

html_theme = "pydata_sphinx_theme"
html_static_path = ["site.css", str(mathjax())]
html_css_files = ["site.css"]
html_favicon = "icon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is set
templates_path = ["templates"]
html_sidebars = {"**": ["lessons.html"]}
html_copy_source = html_show_sourcelink = html_use_index = False
html_domain_indices = False
_settings = tomllib.loads((COURSE.root / "pyproject.toml").read_text("utf-8"))
html_theme_options = {
    "github_url": _settings["project"]["urls"]["repository"],
    "navbar_center": [],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
