"""Controls where there is a kernel: a slider in a real JupyterLab."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
from projects import ROOT, code, notebook

SLIDER = """
import numpy as np
from mulib import show
grey = [np.full((4, 4), 100 * k, np.uint8) for k in range(3)]
show.slider(grey, "filter", [f"Filter {k}." for k in range(3)], values=range(3))
"""
RUN = """async () => {
    await jupyterapp.shell.currentWidget.sessionContext.ready;
    await jupyterapp.commands.execute('notebook:run-all-cells');
}"""


@contextlib.contextmanager
def lab(folder, settings):
    """A JupyterLab server on `folder`; yields its address and token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = settings / "@jupyterlab" / "notebook-extension"
    place.mkdir(parents=True)
    (place / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token=t"]
    options += ["--LabApp.expose_app_in_browser=True"]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"],
        env={**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(settings), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=t", timeout=5)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def test_the_slider_moves_the_picture_in_jupyterlab(tmp_path, browser):
    folder = tmp_path / "folder"
    folder.mkdir()
    nbformat.write(notebook(code(SLIDER)), folder / "slider.ipynb")
    with lab(folder, tmp_path / "settings") as address:
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.goto(f"{address}/lab/tree/slider.ipynb?token=t")
        tab.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        tab.set_default_timeout(240_000)
        tab.evaluate(RUN)
        control = tab.locator(".mulib-control").first
        control.evaluate("box => box.scrollIntoView()")
        control.locator("img").first.wait_for(timeout=60_000)
        handle = control.locator(".noUi-handle").first
        handle.focus()
        seen = [shown(control)]
        for _ in range(2):
            tab.keyboard.press("ArrowRight")
            tab.wait_for_timeout(500)
            seen.append(shown(control))
        tab.close()
    assert len({picture for picture, _ in seen}) == 3
    assert len({alt for _, alt in seen}) == 3


def shown(control):
    """The picture that can be seen: its source and its alt text."""
    image = control.locator("img:visible").first
    return image.get_attribute("src"), image.get_attribute("alt")
