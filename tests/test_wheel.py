"""The library as others install it: built, and used in an environment of its own, far from this repository."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from projects import ROOT, called
from published import write_folder

from mulib.press import editions

PYTHON = {  # where a set-up says which Python it takes
    "Makefile": r"--python-version (\S+)",
    "Dockerfile": r"FROM python:(\S+)-slim",
    "environment.yml": r"python=(\S+)",
    ".github/workflows/book.yml": r'python-version: "(\S+)"',
}
EVIDENCE = ("book/reported", "book/results")
MODULE = "import mulib; print(mulib.__file__)"
BUILD = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
RUN = "import sys; from mulib.press import editions; print([wrong for _, wrong in editions.run(sys.argv[1:])])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(a function that runs Python in an environment with the wheel alone, the folder dist). What the library rests on
    is this environment's, lent by a path file, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    source, home = folder / "source", folder / "home"
    home.mkdir()
    shutil.copytree(ROOT / "mulib", source / "mulib", ignore=shutil.ignore_patterns("__pycache__"))
    for part in EVIDENCE:
        shutil.copytree(ROOT / part, source / part)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _python(sys.executable, source, "-c", BUILD)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(next((source / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    (shared,) = packages.glob("*.data/data/share")
    shared.rename(folder / "env" / "share")  # as pip does
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    assert str(packages) in _python(python, home, "-c", MODULE)
    return lambda *arguments: _python(python, home, *arguments), source / "dist"


def _python(python, folder, *arguments):
    done = called(folder, python, *arguments, PYTHONPATH="")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_wheel_and_the_sdist_hold_the_library_and_its_data(installed):
    _, dist = installed
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    kept = {f.relative_to(ROOT).as_posix() for f in (ROOT / "mulib").rglob("*.*") if "__pycache__" not in f.parts}
    told = {f.relative_to(ROOT).as_posix() for part in EVIDENCE for f in (ROOT / part).rglob("*.*")}
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert kept <= inside
    assert {name.partition("/data/share/mulib/")[2] for name in inside} >= told
    with tarfile.open(sdist) as source:
        assert kept | told <= {name.partition("/")[2] for name in source.getnames()}
    assert wheel.stat().st_size < 5e6


def test_what_papers_report_is_read_without_a_project_around(installed):
    python, _ = installed
    said = python("-c", "from mulib.press.runs import find_evidence as f; print(f(), len(list(f().rglob('*.yml'))))")
    assert said.split() == [str(Path(python("-c", "import sys; print(sys.prefix)").strip()) / "share" / "mulib"), "4"]


def test_the_installed_command_measures_epsilon(installed, tmp_path):
    python, _ = installed
    said = python("-m", "mulib", "epsilon", write_folder(tmp_path / "logits"), "finetune")
    assert "finetune" in said
    assert "ε median" in said


def test_chapter_0_runs_in_the_installed_environment(installed, tmp_path):
    python, _ = installed
    files = editions.write(ROOT, tmp_path, ["00"], "smoke")
    assert python("-c", RUN, *files).splitlines()[-1] == "[[], []]"


def test_every_set_up_takes_the_python_of_the_lock():
    found = {name: re.findall(pattern, (ROOT / name).read_text()) for name, pattern in PYTHON.items()}
    assert found == {name: ["3.11"] for name in PYTHON}


def test_conda_and_docker_name_what_is_there():
    *_, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert pip["pip"] == ["-r requirements.txt", "-e ."]
    (made,) = re.findall(r"^RUN (make .+)$", (ROOT / "Dockerfile").read_text(), re.M)
    planned = subprocess.run([*made.split(), "-n", "-B"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "whl/cpu" in planned
    assert "--require-hashes --no-deps" in planned
