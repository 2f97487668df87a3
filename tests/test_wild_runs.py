"""Batches that are watched, and what they are given: refused in one sentence before anything runs, or kept as a log."""

import json
import os
import re
import signal
import subprocess
import time

import nbformat
import pytest
from papermill.engines import NotebookExecutionManager
from projects import code, command, mulib, notebook, parameters, project

from mulib.press import grid, runs, worker

DECLARED = """from typing import Literal

tier: Literal["smoke", "quick", "paper"] = "quick"
dataset: Literal["faces", "celeba"] = "faces"
n: (None, range(1, 9)) = None
delta: "0 <= delta < 1" = 0.05
seed: range(2**32) = 0"""
USE = "from mulib import show\nfrom mulib.show import glue\nshow.use()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    good = notebook(parameters(DECLARED), code(USE), code("glue('v', seed * 10 + delta)"))
    fails = notebook(parameters(DECLARED), code("print('so far')"), code("1 / 0"))
    hangs = notebook(parameters(DECLARED), code("import time\nprint('waits', flush=True)\ntime.sleep(600)"))
    dies = notebook(parameters(DECLARED), code("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    made = project(tmp_path_factory.mktemp("wild"), _00_good=good, _01_fails=fails, _02_hangs=hangs, _03_dies=dies)
    (made / "aside").mkdir()
    return made


BAD = [("dataset", "CelebA"), ("dataset", "mufac"), ("dataset", "1"), ("n", "9"), ("n", "0"), ("n", "1.0"), ("n", "x")]
BAD += [("delta", "1"), ("delta", "-1"), ("delta", "x"), ("delta", "True"), ("seed", "1"), ("tier", "paper")]
BAD += [
    ("n", "(1, 2)"),
    ("n", "{1: 2}"),
    ("n", "{1, 2}"),
    ("n", "b'x'"),
    ("n", "1j"),
    ("delta", "1e999"),
    ("n", "[" * 300),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_is_not_declared_is_refused_before_anything_runs(folder, name, value):
    def plan():
        given = runs.parse_overrides([(name, value)])
        runs.plan(folder, runs.find_notebooks(folder, ["00"]), "smoke", [0], given)

    with pytest.raises(runs.InputError, match=name):
        plan()


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "0", "../../x", True, None])
def test_a_seed_is_a_whole_number(folder, seed):
    with pytest.raises(runs.InputError, match="the seed is"):
        runs.plan(folder, runs.find_notebooks(folder, ["00"]), "smoke", [seed])


def test_the_command_says_it_in_one_line(folder):
    process = mulib(folder, "run", "00", "-p", "dataset", "CelebA")
    assert process.returncode == 2
    assert process.stderr == "mulib: dataset is 'CelebA' in 00_good.ipynb: expected 'faces', 'celeba'.\n"
    assert not (folder / "_executed" / "runs").exists()


@pytest.mark.book
def test_plain_papermill_refuses_it_in_the_notebook(folder):
    papermill = [command()[0], "-m", "papermill", "00_good.ipynb", "../aside/out.ipynb", "-p", "dataset", "CelebA"]
    process = subprocess.run(papermill, cwd=folder / "notebooks", capture_output=True, text=True, check=False)
    assert process.returncode != 0
    assert "dataset is 'CelebA' in this notebook: expected 'faces', 'celeba'." in process.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("parameters: {seed: [0, 1]}", "seed is no parameter to set: use --seed"),
        ("parameters: {tier: [paper]}", "tier is no parameter to set"),
        ("parameters: [n]", "expected names with a value"),
        ("parameters: {n: 2024-01-01}", "n is datetime.date"),
        ("parameters: {delta: .inf}", "delta is inf"),
        ("parameters: {1: 2}", "1"),
        ("parameters: {n: !!set {1, 2}}", "n is"),
        ("datasets: [faces, CelebA]", "dataset is 'CelebA'"),
        ("seeds: [a]", "the seed is 'a'"),
        ("seeds: [1.5]", "the seed is 1.5"),
        ("seeds: ['../../x']", "the seed is"),
        ("notebooks: {a: 1}", "expected a list"),
        ("1: 2", "has 1: expected a mapping"),
        ("a: &a [1, 2]\nb: [*a, *a]", "aliases"),
        ("seeds: [" + "0, " * 20_000 + "]", "asks for 20,000 runs"),
        ("tier: [", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_grid_that_means_nothing_is_one_sentence(folder, text, sentence):
    path = folder / "grid.yml"
    if isinstance(text, str) and not text.startswith(("notebooks", "a:")):
        text = f'notebooks: ["00"]\n{text}'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(runs.InputError, match=re.escape(sentence)):
        grid.read_grid(folder, path)


CELL = '{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "SOURCE"}]}'


def test_numbers_of_yaml_are_numbers(folder):
    (folder / "grid.yml").write_text('notebooks: ["00"]\nparameters: {delta: [1e-2, 1E-3, 0.5]}\n')
    assert [run.parameters["delta"] for run in grid.read_grid(folder, folder / "grid.yml")] == [0.01, 0.001, 0.5]


@pytest.mark.parametrize(
    "content",
    [
        "<<<<<<< HEAD\n{}",
        "",
        "[]",
        "{}",
        '{"nbformat": 3, "worksheets": []}',
        '{"nbformat": 4, "cells": [{"cell_type": "code"}]}',
        CELL.replace("SOURCE", "%magic"),
        CELL.replace("SOURCE", "x: range(y) = 1"),
    ],
)
def test_a_broken_notebook_is_one_sentence_that_names_it(folder, content):
    path = folder / "notebooks" / "74_case.ipynb"
    path.write_text(content)
    try:
        with pytest.raises(runs.InputError, match=r"74_case\.ipynb"):
            runs.plan(folder, runs.find_notebooks(folder), "smoke", [0])
    finally:
        path.unlink()


@pytest.mark.book
def test_a_failing_a_hanging_and_a_dying_notebook_leave_a_log_and_no_result(folder):
    process = mulib(folder, "run", "01", "02", "03", "--tier", "smoke", "--timeout", 5)
    assert process.returncode == 1
    assert "0 executed, 0 already there, 3 failed" in process.stdout
    logs = {path.name: path for path in (folder / "_executed" / "failed" / "smoke").iterdir()}
    assert sorted(logs) == [f"{name}.seed0.ipynb" for name in ("01_fails", "02_hangs", "03_dies")]
    said = process.stderr
    assert "cell 3 (1 / 0): ZeroDivisionError: division by zero [see " in said
    assert re.search(r"code cell 2 of 2 \(import time\) since [\d:]+, waits took longer than 5 s", said)
    assert re.search(r"the kernel died, killed or out of memory, in code cell 2 of 2 \(import os, signal\)", said)
    assert all(f"[see {path}]" in said for path in logs.values())
    assert "so far" in logs["01_fails.seed0.ipynb"].read_text()
    for part in ("runs", "running", "notebooks"):
        assert not [path for path in (folder / "_executed" / part).rglob("*") if path.is_file()]


@pytest.mark.book
def test_a_dry_run_says_what_would_run_and_why(folder, monkeypatch):
    def line(*more):
        process = mulib(folder, "run", "00", "--tier", "smoke", "--dry-run", *more)
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    assert line().endswith("would run  00_good  smoke  seed 0: it has not been executed")
    assert mulib(folder, "run", "00", "--tier", "smoke").returncode == 0
    path = folder / "_executed" / "runs" / "smoke" / "00_good.seed0.json"
    record = json.loads(path.read_text())
    assert line() == "there      00_good  smoke  seed 0"
    assert line("--force").endswith("--force was given")
    assert record["came_out"]["peak_memory_mb"] > 0
    assert "peak_gpu_mb" in record["came_out"]

    def changed(**parts):
        path.write_text(json.dumps(record | parts))
        return line()

    came = record["came_from"]
    other = came | {"source": "x", "files": came["files"] | {"train.py": "0"}}
    assert changed(came_from=other).endswith("train.py changed since it was executed")
    assert changed(came_from=came | {"found": ["celeba", "moon"]}).count("the data on this machine changed")
    asked = record["asked"] | {"parameters": record["asked"]["parameters"] | {"delta": 0.5}}
    assert changed(asked=asked).endswith("it was executed with other parameters: delta, parameters")


@pytest.mark.book
def test_the_last_line_before_a_silence_is_shown_where_saving_is_slow(folder, monkeypatch):
    (run,) = runs.plan(folder, runs.find_notebooks(folder, ["02"]), "smoke", [8], timeout=3)
    save, saved = NotebookExecutionManager.save, []

    def slowly(manager, **options):
        time.sleep(0.3)
        save(manager, **options)
        saved.append(run.at)

    monkeypatch.setattr(NotebookExecutionManager, "save", slowly)
    with pytest.raises(worker.Failure, match="took longer than 3 s"):
        worker.perform(run)
    shown = [at for at in saved if at.startswith("code cell 2")]
    assert not shown[0].endswith("waits")  # the cell was begun; what it printed came right after that was saved
    assert len([at for at in shown if at.endswith("waits")]) >= 2  # not only when the time was out
    assert len(saved) < 12


@pytest.mark.book
def test_what_runs_can_be_opened_and_ctrl_c_is_one_line_at_once(folder):
    (run,) = runs.plan(folder, runs.find_notebooks(folder, ["02"]), "smoke", [7])
    arguments = command("run", "02", "--tier", "smoke", "--seed", 7, "--timeout", 120)
    process = subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 180
    while "waits" not in run.at and time.monotonic() < until:
        time.sleep(0.2)
    assert re.fullmatch(r"code cell 2 of 2 \(import time\) since \d\d:\d\d:\d\d, waits", run.at)
    assert nbformat.read(run.running, 4).cells
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert time.monotonic() - began < 20  # its cell has ten minutes to go
    assert process.returncode == 130
    assert said.strip() == "mulib: interrupted; what is finished is kept, and the same command goes on from there."
