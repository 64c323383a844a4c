"""JupyterLab in a headless browser, as a reader would use it.

From tests: `with lab() as page_of: ...`. By hand, to look at a notebook screen by screen:

    python tests/lab.py 04a_text_generation build/screens
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAPTOP = {"width": 1366, "height": 768}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
QUIET = ["gpu", "quic", "background-networking", "component-update", "sync"]
SETTINGS = {
    # Every cell in the page, also those out of sight, so that a test can see them all.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
ERRORS = ", ".join(
    f'.jp-OutputArea [data-mime-type="application/vnd.jupyter.{kind}"]'
    for kind in ("stderr", "error")
)


def find_browser() -> str | None:
    """The path of a Chromium-like browser; CHROME_PATH comes first."""
    named = os.environ.get("CHROME_PATH")
    installed = (shutil.which(name) for name in BROWSERS)
    usual = (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    )
    found = [path for path in (named, *installed, *usual) if path and Path(path).exists()]
    return found[0] if found else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serve `folder` by this Python's JupyterLab; gives the address with {name} for a notebook."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as private:
        for plugin, values in SETTINGS.items():
            path = Path(private, "settings", "@jupyterlab", f"{plugin}.jupyterlab-settings")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), "utf-8")
        environment = os.environ | {
            "COURSE_STATE_DIR": f"{private}/state",
            "JUPYTER_CONFIG_DIR": f"{private}/config",
            "JUPYTER_DATA_DIR": f"{private}/data",
            "JUPYTER_RUNTIME_DIR": f"{private}/runtime",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTERLAB_SETTINGS_DIR": f"{private}/settings",
            "JUPYTERLAB_WORKSPACES_DIR": f"{private}/workspaces",
        }
        command = [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--ServerApp.ip=127.0.0.1",
        ]
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
        command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        log = Path(private, "lab.log")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=stream, stderr=subprocess.STDOUT
            )
            try:
                wait_for_server(process, f"{address}/api/status?token={token}", log)
                yield f"{address}/lab/tree/{{name}}.ipynb?reset&token={token}"
            finally:
                stop(process, f"{address}/api/shutdown", token)


def wait_for_server(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def stop(process: subprocess.Popen[bytes], address: str, token: str) -> None:
    """Ask the server to shut down its kernels and itself; then make sure that it did."""
    headers = {"Authorization": f"token {token}"}
    try:
        request = urllib.request.Request(address, method="POST", headers=headers)
        urllib.request.urlopen(request, timeout=10).close()
        process.wait(15)
    except (OSError, subprocess.TimeoutExpired):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Notebook:
    """One notebook open in JupyterLab."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.kernel_errors: list[str] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._listen))
        page.goto(address)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.wait_until_idle()

    def _listen(self, frame: str | bytes) -> None:
        """Keep what the kernel reports as error or warning, also where no cell shows it."""
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        error = re.search(r'"ename": ?"(\w+)", ?"evalue": ?"((?:[^"\\]|\\.)*)"', text)
        warning = re.search(r'"name": ?"stderr", ?"text": ?"((?:[^"\\]|\\.)*)"', text)
        if error:
            self.kernel_errors.append(f"{error[1]}: {error[2]}")
        # Of the warnings, those of widget callbacks: cells show their own, and the debugger has
        # some. A page also asks a new kernel for widgets that are not there yet.
        of_widget = re.search(r'"msg_type": ?"comm_msg"', text)
        if warning and of_widget and not warning[1].startswith("No such comm"):
            self.kernel_errors.append(warning[1][:2000])

    def run_all(self, seconds: float = 240) -> None:
        """Clear all outputs, restart the kernel, run every cell, and wait for the last one."""
        self.menu("Edit", "editmenu:clear-all")
        # The numbers of the stored run stay in the prompts: blank them, to see the new ones come.
        prompts = self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")
        prompts.evaluate_all("all => all.forEach(prompt => prompt.textContent = '')")
        self.menu("Run", "runmenu:restart-and-run-all")
        self.page.click('.jp-Dialog:has-text("Restart Kernel?") button.jp-mod-accept')
        deadline = time.monotonic() + seconds
        while self.unfinished():
            self.no_errors()
            if time.monotonic() > deadline:
                raise AssertionError(f"after {seconds:g} s these cells wait: {self.unfinished()}")
            self.page.wait_for_timeout(2000)  # each look takes the browser's time from the kernel
        self.wait_until_idle()
        self.no_errors()

    def wait_until_idle(self) -> None:
        """Wait for the status bar to say so; the notebook's own sign says it too early."""
        self.page.wait_for_selector("#jp-bottom-panel >> text=/\\| Idle/", timeout=60_000)

    def menu(self, title: str, command: str) -> None:
        self.page.click(f'.lm-MenuBar-item:has-text("{title}")')
        self.page.click(f'.lm-Menu [data-command="{command}"]')

    def unfinished(self) -> list[str]:
        """The first line of every code cell that has not got its number yet."""
        script = """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')]
            .filter(c => !/\\[\\d+\\]/.test(c.querySelector('.jp-InputPrompt')?.textContent ?? ''))
            .map(c => c.querySelector('.cm-line')?.textContent ?? '?')"""
        return list(self.page.evaluate(script))

    def no_errors(self) -> None:
        """Raise AssertionError if a cell, a widget or the kernel shows an error."""
        shown = self.page.locator(ERRORS).all_inner_texts()
        broken = self.page.locator(
            "text=/Error displaying widget|model not found/"
        ).all_inner_texts()
        problems = [*shown, *broken, *self.kernel_errors]
        assert not problems, "\n".join(problems)

    def slider(self, label: str) -> Any:
        """The handle of the slider that has this label."""
        row = self.page.locator(".widget-slider").filter(
            has=self.page.locator(".widget-label", has_text=re.compile(rf"^\s*{re.escape(label)}"))
        )
        return row.locator("[role=slider]").first

    def move_slider(self, label: str, steps: int = 3) -> tuple[str, str]:
        """Press the arrow key on a slider; returns the value shown before and after."""
        handle = self.slider(label)
        handle.scroll_into_view_if_needed()
        row = handle.locator("xpath=ancestor::*[contains(@class, 'widget-slider')]")
        before = row.locator(".widget-readout").inner_text()
        handle.focus()
        for _ in range(steps):
            self.page.keyboard.press("ArrowRight")
        return before, row.locator(".widget-readout").inner_text()

    def press(self, label: str) -> None:
        """Click the widget button that has this label."""
        button = self.page.locator(".widget-button").filter(has_text=label).first
        button.scroll_into_view_if_needed()
        button.click()

    def text(self, selector: str) -> str:
        """What the first element that matches shows, as text."""
        return str(self.page.locator(selector).first.inner_text())

    def html(self, selector: str) -> str:
        """What is inside the first element that matches, as HTML."""
        return str(self.page.locator(selector).first.inner_html())

    def changed(self, selector: str, before: str, seconds: float = 30) -> str:
        """Wait until the element shows another text than `before`, then until it rests."""
        deadline = time.monotonic() + seconds
        now = before
        while now == before or now != self.text(selector):
            self.no_errors()
            if time.monotonic() > deadline:
                raise AssertionError(f"{selector} still shows {now[:80]!r} after {seconds:g} s")
            now = self.text(selector)
            self.page.wait_for_timeout(500)
        self.no_errors()
        return now

    def screenshot(self, path: Path) -> None:
        """What a laptop shows now."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))

    def screens(self, folder: Path) -> int:
        """Scroll from top to bottom, one screenshot a screen; returns how many."""
        folder.mkdir(parents=True, exist_ok=True)
        script = """y => { const box = document.querySelector('.jp-WindowedPanel-outer');
            box.scrollTop = y; return [box.clientHeight, box.scrollHeight]; }"""
        top, count = 0, 0
        while True:
            height, whole = self.page.evaluate(script, top)
            self.page.wait_for_timeout(400)
            self.screenshot(folder / f"{count:02d}.png")
            count += 1
            if top + height >= whole:
                return count
            top += height - 60  # a line or two of overlap


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; RuntimeError if none is installed."""
    from playwright.sync_api import sync_playwright

    browser_path = find_browser()
    if not browser_path:
        raise RuntimeError("no Chromium or Chrome found; install one or set CHROME_PATH")
    arguments = [f"--disable-{feature}" for feature in QUIET] + ["--no-sandbox", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def lab(*notebooks: Path) -> Iterator[Any]:
    """Serve copies of the notebooks; gives a function that opens one of them by name."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for path in notebooks:
            shutil.copy(path, folder)
        with server(Path(folder)) as address, chromium() as browser:
            page = browser.new_page(viewport=LAPTOP)
            yield lambda name: Notebook(page, address.format(name=name))


def main() -> None:
    """Run one notebook in the browser and save what a reader sees, screen by screen."""
    if len(sys.argv) != 3:
        sys.exit("usage: python tests/lab.py NAME OUTDIR")
    name, folder = sys.argv[1], Path(sys.argv[2])
    path = Path(name) if name.endswith(".ipynb") else ROOT / "notebooks" / f"{name}.ipynb"
    with lab(path) as open_notebook:
        notebook = open_notebook(path.stem)
        stored = notebook.screens(folder / "stored")
        start = time.perf_counter()
        try:
            notebook.run_all(600)
        except AssertionError as error:
            print(f"a reader would see:\n{error}", file=sys.stderr)
        print(f"ran {time.perf_counter() - start:.0f} s, {stored} screens stored", end=", ")
        print(f"{notebook.screens(folder / 'run')} screens after the run, in {folder}")


if __name__ == "__main__":
    main()
