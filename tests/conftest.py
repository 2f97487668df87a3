"""Fixtures that several test files share."""

import importlib.util
import json
import os
import shutil

import pytest
from projects import BUILD, ROOT, absent, build, mulib

NEEDS = {"browser": "browser", "published": "real", "real": "real"}  # fixtures, and the mark of what uses them
NEEDS |= dict.fromkeys(("html", "small", "ran", "planted"), "book")


def pytest_configure(config):
    """Real data lies where MULIB_DATA says, or in ../shared/data beside the project; one of several has one thread."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    beside = ROOT.parent / "shared" / "data"
    if "MULIB_DATA" not in os.environ and beside.is_dir():
        os.environ["MULIB_DATA"] = str(beside)


def pytest_itemcollected(item):
    """Mark a test by the fixtures that it uses."""
    for fixture in NEEDS.keys() & set(item.fixturenames):
        item.add_marker(NEEDS[fixture])


@pytest.fixture(scope="session")
def published():
    """The published logits of *Forget with Precision*; tests that need them are skipped where they are not."""
    from mulib import data

    found = data.find("forget-with-precision")
    if found is None:
        pytest.skip("the published logits are not here: set MULIB_DATA or run `mulib fetch forget-with-precision`")
    return found


@pytest.fixture(scope="session")
def html():
    """The folder of the book's built pages: a copy of the project, executed in the smoke tier.

    For one file of tests, test_book.py: files are tested at the same time, each by one process.
    """
    for part in ("book", "mulib", "notebooks"):
        shutil.rmtree(BUILD / part, ignore_errors=True)
        shutil.copytree(ROOT / part, BUILD / part, ignore=shutil.ignore_patterns("__pycache__", ".vendor*"))
    for part in ("_config.yml", "_toc.yml", "requirements.lock", "SECURITY.md"):
        shutil.copy(ROOT / part, BUILD / part)
    executed = mulib(BUILD, "run", "--tier", "smoke", "--jobs", 2)
    assert executed.returncode == 0, executed.stderr
    built = build(BUILD, "-W", "-n", "--keep-going")
    assert built.returncode == 0, built.stdout[-3000:]
    return BUILD / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium for all tests; without one they are skipped, or fail where MULIB_REQUIRE_BROWSER is 1."""
    from mulib.press.paper import BROWSERS

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        absent("no Chromium here: nothing was looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """axe-core's script, by npm and by its pin, as the book's own scripts are."""
    place = importlib.util.spec_from_file_location("offline", ROOT / "book" / "_ext" / "offline.py")
    offline, folder = importlib.util.module_from_spec(place), tmp_path_factory.mktemp("axe")
    place.loader.exec_module(offline)
    pin = json.loads((ROOT / "tests" / "axe.json").read_text())
    try:
        offline.unpack(offline.download(pin, folder), pin["files"], folder)
    except offline.VendorError as error:
        absent(f"{error}: no page was looked at by axe-core")
    return (folder / "axe.min.js").read_text()
