"""Fixtures that several test files share."""

import os
import shutil
from pathlib import Path

import pytest
from projects import absent

ROOT = Path(__file__).parents[1]
NEEDS = {"browser": "browser", "published": "real", "real": "real"}  # fixtures, and the mark of what uses them
NEEDS |= dict.fromkeys(("html", "small", "ran", "planted"), "book")


def pytest_configure(config):
    """Real data lies where MULIB_DATA says, or in ../shared/data beside the project."""
    beside = ROOT.parent / "shared" / "data"
    if "MULIB_DATA" not in os.environ and beside.is_dir():
        os.environ["MULIB_DATA"] = str(beside)
    if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_itemcollected(item):
    """Mark a test by the fixtures that it uses, and keep together what shares them when several processes test.

    The book's pages are built once, so every test that looks at them is in one group; else a file is a group. It is
    done here, before xdist reads the groups.
    """
    for fixture in NEEDS.keys() & set(item.fixturenames):
        item.add_marker(NEEDS[fixture])
    item.add_marker(pytest.mark.xdist_group("book" if "html" in item.fixturenames else item.path.stem))


def pytest_collection_modifyitems(items):
    """The longest first; the others keep their order."""
    items.sort(key=lambda item: "html" not in item.fixturenames)


@pytest.fixture(scope="session")
def published():
    """The published logits of *Forget with Precision*; tests that need them are skipped where they are not."""
    from mulib import data

    found = data.find("forget-with-precision")
    if found is None:
        pytest.skip("the published logits are not here: set MULIB_DATA or run `mulib fetch forget-with-precision`")
    return found


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium for all tests; without one they are skipped, or fail where MULIB_REQUIRE_BROWSER is 1."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        absent("no Chromium here: nothing was looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
