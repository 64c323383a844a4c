"""The pages that `make site` builds, as a reader's browser shows them."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

from lab import LAPTOP, ROOT, chromium
from plan import COURSE, PLAN

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("installed_browser"),
]

PHONE = {"width": 360, "height": 740}
LESSONS = [f"notebooks/{lesson.name}" for lesson in PLAN]
PAGES = ["index", *LESSONS, "data/README", "library", "CONTRIBUTING"]

# What a page must have no more of when it is shown; each gives a list of what is wrong.
LOOKS = {
    "broken pictures": "[...document.images].filter(i => !i.naturalWidth).map(i => i.src)",
    "broken players": "[...document.querySelectorAll('audio')].filter(a => !(a.duration > 0))"
    ".map(a => a.outerHTML.slice(0, 80))",
    "broken formulas": "[...document.querySelectorAll('[data-mml-node=merror]')]"
    ".map(e => e.textContent)",
    "formulas not set": "[...document.querySelectorAll('.math')]"
    ".filter(m => !m.querySelector('mjx-container svg')).map(m => m.textContent)",
}


# By how many pixels the page, or the text in it, is wider than the window.
OVERFLOW = """Math.max(...["html", ".bd-article-container"].map(document.querySelector, document)
    .map(box => box.scrollWidth - Math.min(box.clientWidth, window.innerWidth)))"""


@dataclass
class Visit:
    """What a reader of one page met."""

    errors: list[str]
    requests: set[str]
    wrong: dict[str, list[str]]
    titles: list[str]
    links: list[str]
    pictures: list[str]  # their text alternatives
    players: int
    overflow: int
    violations: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` builds it: a warning is an error."""
    pages, site = tmp_path_factory.mktemp("pages"), tmp_path_factory.mktemp("built") / "site"
    recipe = re.search(r"-m sphinx (.+)", (ROOT / "Makefile").read_text("utf-8"))
    assert recipe, "the Makefile runs no Sphinx"
    places = {"build/site-pages": str(pages), "build/site": str(site)}
    options = [
        re.sub(r"build/site(-pages)?", lambda place: places[place[0]], option)
        for option in recipe[1].split()
    ]
    command = [sys.executable, "-m", "sphinx", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-8000:]}"
    return site


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def visit(address: str, browser: Any) -> Callable[[str], Visit]:
    """Open a page, once for all tests, on a laptop and then on a telephone."""

    @functools.cache
    def open_page(name: str) -> Visit:
        page = browser.new_page(viewport=LAPTOP)
        errors: list[str] = []
        requests: set[str] = set()
        page.on("console", lambda m: errors.append(said(m)) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.add(request.url))
        page.goto(f"{address}{name}.html")
        settle(page)
        wrong = {what: page.evaluate(script) for what, script in LOOKS.items()}
        titles = page.locator("h1").all_inner_texts()
        links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        pictures = page.eval_on_selector_all("article img", "all => all.map(i => i.alt)")
        players = page.locator("article audio").count()
        page.set_viewport_size(PHONE)
        settle(page)
        overflow = page.evaluate(OVERFLOW)
        met = Visit(list(errors), requests, wrong, titles, links, pictures, players, overflow)
        page.set_viewport_size(LAPTOP)
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        met.violations = {rule["id"]: [n["html"][:300] for n in rule["nodes"]] for rule in found}
        page.close()
        return met

    return open_page


def said(message: Any) -> str:
    """What the console says, and of which file."""
    return f"{message.text} ({message.location['url']})"


def settle(page: Any) -> None:
    """Wait until formulas are set and the players know how long they play."""
    page.evaluate("() => window.MathJax?.startup?.promise.then(() => true)")
    ready = "a => a.readyState || a.networkState == HTMLMediaElement.NETWORK_NO_SOURCE"
    page.wait_for_function(f"() => [...document.querySelectorAll('audio')].every({ready})")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_fails_and_nothing_comes_from_outside(name: str, address: str, visit) -> None:
    seen = visit(name)
    parts = [urlsplit(url) for url in seen.requests]
    outside = {p.netloc for p in parts if p.scheme not in ("data", "blob")} - {address[7:-1]}
    assert not outside, f"{name} asks {outside}"
    assert not seen.errors


@pytest.mark.parametrize("name", PAGES)
def test_pictures_sounds_and_formulas_show(name: str, visit) -> None:
    wrong = {what: found for what, found in visit(name).wrong.items() if found}
    assert not wrong


@pytest.mark.parametrize("name", PAGES)
def test_it_is_accessible(name: str, visit) -> None:
    seen = visit(name)
    assert len(seen.titles) == 1, f"one title is wanted: {seen.titles}"
    assert not seen.violations


@pytest.mark.parametrize("name", PAGES)
def test_it_fits_a_telephone(name: str, visit) -> None:
    assert visit(name).overflow <= 0


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str, address: str, folder: Path, visit) -> None:
    inside = [url for url in visit(name).links if url.startswith(address)]
    lost = []
    for url in inside:
        parts = urlsplit(url)
        path = folder / unquote(parts.path).lstrip("/")
        anchor = unquote(parts.fragment)
        found = path.is_file() and (not anchor or f'id="{anchor}"' in path.read_text("utf-8"))
        lost += [] if found else [url]
    assert not lost


@pytest.mark.parametrize("name", LESSONS)
def test_every_output_is_there(name: str, visit) -> None:
    stored = nbformat.read(COURSE.stored(Path(name).name), as_version=4)
    outputs = [output for cell in stored.cells for output in cell.get("outputs", [])]
    figures = [o.metadata["image/png"]["alt"] for o in outputs if "image/png" in o.get("data", {})]
    sounds = [o for o in outputs if "<audio" in o.get("data", {}).get("text/html", "")]
    assert visit(name).pictures == figures, "each figure, with its own words"
    assert visit(name).players == len(sounds)


@pytest.mark.parametrize("name", LESSONS)
def test_each_lesson_can_be_launched(name: str, visit) -> None:
    launch = [url for url in visit(name).links if url.startswith("https://mybinder.org/")]
    assert any(url.endswith(f"?urlpath=lab/tree/{name}.ipynb") for url in launch), launch


def test_pages_are_in_the_order_of_the_plan(address: str, visit) -> None:
    listed = [url.removeprefix(address) for url in visit("index").links]
    lessons = [url for url in listed if url.startswith("notebooks/") and "#" not in url]
    sidebar = lessons[: len(LESSONS)]
    assert sidebar == [f"{name}.html" for name in LESSONS]


def test_the_library_is_described(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}library.html")
    shown = page.locator("article").inner_text()
    page.close()
    assert "kl_divergence(" in shown and "Source: Kingma & Welling (2014)" in shown
    assert "exercises.concepts" not in shown, "solutions are for those who ask for them"


def test_search_finds_the_right_page(browser: Any, address: str) -> None:
    page = browser.new_page(viewport=LAPTOP)
    page.goto(f"{address}search.html?q=Fréchet")
    page.wait_for_selector("#search-results a")
    page.wait_for_function("() => !document.querySelector('#search-progress')?.innerText")
    found = page.eval_on_selector_all("#search-results a", "all => all.map(a => a.href)")
    page.close()
    pages = [url.removeprefix(address).split(".html")[0] for url in found]
    assert "notebooks/04b_image_generation" in pages
    assert "notebooks/03b_recurrent_networks" not in pages, "it says nothing of Fréchet"
