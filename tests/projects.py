"""Small projects for tests: a folder with notebooks and their tiers' parameters, and how to run `mulib` in it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mulib import press  # noqa: F401  first: after it, nbformat is imported without jsonschema's grammars

# isort: split
import nbformat
import psutil
import pytest
from nbformat import v4

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "_build" / "test-book"  # kept from one test run to the next: what is unchanged is not executed again
JUPYTER_BOOK = str(Path(sys.executable).with_name("jupyter-book"))
PARAMETERS = "tier = 'quick'\ndevice = 'cpu'\nseed = 7"


def absent(reason):
    """Skip a browser test, or fail it where MULIB_REQUIRE_BROWSER is 1."""
    pytest.fail(reason) if os.environ.get("MULIB_REQUIRE_BROWSER") == "1" else pytest.skip(reason)


def notebook(*cells):
    """Return a notebook of `cells`."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def prose(text):
    """Return a markdown cell."""
    return v4.new_markdown_cell(text)


def code(source, **metadata):
    """Return a code cell without outputs."""
    return v4.new_code_cell(source, metadata=metadata)


def parameters(source=PARAMETERS):
    """Return a cell tagged `parameters`."""
    return code(source, tags=["parameters"])


def project(folder, **notebooks):
    """Make a project in `folder` out of notebooks by name; a leading underscore of a name is dropped. Return it."""
    shutil.copytree(ROOT / "notebooks" / "params", folder / "notebooks" / "params")
    for name, content in notebooks.items():
        nbformat.write(content, folder / "notebooks" / f"{name.removeprefix('_')}.ipynb")
    return folder


def command(*arguments):
    """Return the command line of `mulib` with this interpreter."""
    return [sys.executable, "-m", "mulib", *map(str, arguments)]


def called(folder, *arguments, **environment):
    """Run a command in `folder`; return the finished process with its texts."""
    return subprocess.run(
        [*map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def mulib(folder, *arguments, **environment):
    """Run `mulib` in `folder`; return the finished process with its texts."""
    return called(folder, *command(*arguments), **environment)


def left_after_the_death_of(process, at_work, seconds=60):
    """Kill a process as soon as `at_work()`; return those of its descendants that still run after `seconds`."""
    until = time.monotonic() + 2 * seconds
    while not at_work():
        assert time.monotonic() < until, "it never came to work"
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.05)
    left = psutil.Process(process.pid).children(recursive=True)
    assert len(left) >= 2
    process.kill()
    process.wait()
    until = time.monotonic() + seconds
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = [each for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    return left


def build(folder, *options, **environment):
    """Run jupyter-book in `folder`; return the finished process, its texts in one."""
    return subprocess.run(
        [JUPYTER_BOOK, "build", ".", "--all", *options],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
