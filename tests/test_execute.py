"""`mulib run` executes what is not there yet, leaves nothing half-written, and names what failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from projects import code, command, mulib, notebook, parameters, project, prose

from mulib import InputError
from mulib.press import runs as press
from mulib.press.record import Record

GOOD = notebook(
    prose("# Good"),
    parameters(),
    code("import sys\nfrom mulib.show import glue\nglue('seed', seed)\nglue('ratio', 1 / 3, '.2f')"),
    code("glue('data.x', 'abc')\nglue('most', float('inf'))\nprint(tier, sys.executable)"),
)
BAD = notebook(prose("# Bad"), parameters(), code("# Look twice.\nx = 1\n\nraise ValueError(f'no {x}')"))


def runs(folder):
    """Return the names of all files of all runs, hidden ones included."""
    return sorted(path.name for path in (folder / "_executed" / "runs").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A project with a good and a failing notebook after one run with two seeds: (folder, process)."""
    folder = project(tmp_path_factory.mktemp("ran"), _00_good=GOOD, _01_bad=BAD)
    return folder, mulib(folder, "run", "--tier", "smoke", "--seed", 3, "--seed", 4, "--jobs", 2)


def test_a_run_of_two_seeds_leaves_a_notebook_and_a_record_each(ran):
    folder, _ = ran
    stems = ("00_good.seed3", "00_good.seed4")
    assert runs(folder) == [f"{stem}.{kind}" for stem in stems for kind in ("ipynb", "json")]


def test_the_record_says_what_was_asked_and_what_came_out(ran):
    folder, _ = ran
    record = Record.read(folder / "_executed/runs/smoke/00_good.seed4.json")
    values = {"tier": "smoke", "device": "cpu", "seed": 4}
    assert record.asked == {"notebook": "00_good", "tier": "smoke", "parameters": values, "seed": 4}
    assert record.metrics == {"seed": 4, "ratio": 1 / 3, "most": "inf"}
    assert record.came_from["data"] == {"x": "abc"}
    assert record.came_out["timings"]["seconds"] > 0
    assert record.came_out["timings"]["processor_seconds"] > 0
    assert record.came_out["peak_memory_mb"] > 30


def test_the_first_seed_is_staged_for_the_book(ran):
    folder, _ = ran
    for kind in ("ipynb", "json"):
        staged = folder / "_executed" / "notebooks" / f"00_good.{kind}"
        assert staged.read_bytes() == (folder / f"_executed/runs/smoke/00_good.seed3.{kind}").read_bytes()
    assert not (folder / "_executed" / "notebooks" / "01_bad.ipynb").exists()


def test_a_failing_cell_is_named_and_the_other_notebooks_run(ran):
    _, process = ran
    assert process.returncode == 1
    assert "FAILED  01_bad  smoke  seed 3: cell 3 (# Look twice.): ValueError: no 1" in process.stderr
    assert "2 executed, 0 already there, 2 failed" in process.stdout


def test_a_run_that_is_there_is_skipped_and_staged_again(ran):
    folder, _ = ran
    staged = folder / "_executed" / "notebooks" / "00_good.json"
    staged.unlink()
    process = mulib(folder, "run", "00", "--tier", "smoke", "--seed", 3)
    assert process.returncode == 0
    assert "there   00_good  smoke  seed 3" in process.stdout
    assert staged.exists()


def test_force_runs_again(ran):
    folder, _ = ran
    path = folder / "_executed/runs/smoke/00_good.seed4.json"
    before = Record.read(path)
    process = mulib(folder, "run", "00", "--tier", "smoke", "--seed", 4, "--force")
    assert "1 executed" in process.stdout
    assert Record.read(path).came_out["notebook"] != before.came_out["notebook"]
    assert Record.read(path).metrics == before.metrics


def test_an_override_has_a_run_of_its_own_and_is_not_staged(ran):
    folder, _ = ran
    staged = folder / "_executed" / "notebooks" / "00_good.json"
    before = staged.read_bytes()
    assert mulib(folder, "run", "00", "--tier", "quick", "-p", "device", "meta").returncode == 0
    (path,) = (folder / "_executed" / "runs" / "quick").glob("00_good.seed0.*.json")
    assert Record.read(path).asked["parameters"] == {"tier": "quick", "device": "meta", "seed": 0}
    assert staged.read_bytes() == before


def test_the_kernel_is_this_python_whatever_is_registered(ran, tmp_path):
    folder, _ = ran
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"})
    )
    process = mulib(folder, "run", "00", "--tier", "smoke", "--seed", 5, JUPYTER_PATH=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert sys.executable in (folder / "_executed/runs/smoke/00_good.seed5.ipynb").read_text()


def test_a_number_is_not_the_beginning_of_another(tmp_path):
    folder = project(tmp_path, _08_one=notebook(code("1")), _08b_two=notebook(code("1")))
    found = [press.find_notebooks(folder, [name]) for name in ("08", "08b")]
    assert [[path.stem for path in paths] for paths in found] == [["08_one"], ["08b_two"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["02_god"], "'02_god' is not a notebook; did you mean 00_good"),
        (["0"], "'0' fits several notebooks; did you mean 00_good or 01_bad?"),
        (["00", "-p", "sed", "1"], "00_good.ipynb has no parameter 'sed'; it has: tier, device, seed"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(ran, arguments, message):
    folder, _ = ran
    process = mulib(folder, "run", *arguments)
    assert process.returncode == 2
    assert message in process.stderr
    assert process.stderr.count("\n") == 1


def test_outside_a_project_is_one_sentence(tmp_path):
    assert "no folder notebooks/params" in mulib(tmp_path, "run").stderr


@pytest.mark.book
def test_a_notebook_without_parameters_gets_none(tmp_path):
    folder = project(tmp_path, plain=notebook(code("assert 'seed' not in globals()")))
    assert mulib(folder, "run", "--tier", "smoke").returncode == 0
    assert Record.read(folder / "_executed/runs/smoke/plain.seed0.json").asked["parameters"] == {}
    with pytest.raises(InputError, match="has no parameter 'width'; it has: none"):
        press.plan(folder, [folder / "notebooks" / "plain.ipynb"], "smoke", [0], {"width": 1})


@pytest.mark.book
def test_plain_papermill_takes_the_tier_s_file(tmp_path):
    folder = project(tmp_path, good=notebook(parameters(), code("print('tier', tier)")))
    papermill = [sys.executable, "-m", "papermill", "good.ipynb", "out.ipynb", "-f", "params/quick.yml"]
    subprocess.run(papermill, cwd=folder / "notebooks", check=True, capture_output=True)
    assert "tier quick" in (folder / "notebooks" / "out.ipynb").read_text()


def test_values_are_python_literals_or_text():
    given = [("lr", "1e-3"), ("sizes", "[1, 2]"), ("on", "True"), ("dataset", "cifar10")]
    assert press.parse_overrides(given) == {"lr": 1e-3, "sizes": [1, 2], "on": True, "dataset": "cifar10"}


@pytest.mark.book
def test_a_kernel_gets_folders_that_do_not_depend_on_where_it_starts(tmp_path):
    glued = [f"glue('{name.lower()}', os.environ['MULIB_{name}'])" for name in ("DATA", "CACHE")]
    told = code("\n".join(["import os", "from mulib.show import glue", *glued]))
    folder = project(tmp_path, told=notebook(parameters(), told))
    (folder / "mine").mkdir()
    process = mulib(folder, "run", "--tier", "smoke", MULIB_DATA="mine", MULIB_CACHE="kept")
    assert process.returncode == 0, process.stderr
    metrics = Record.read(folder / "_executed/runs/smoke/told.seed0.json").metrics
    assert metrics == {"data": str(folder / "mine"), "cache": str(folder / "kept")}


@pytest.mark.book
def test_kill_9_leaves_nothing_half_written_and_the_next_run_completes(tmp_path):
    slow = notebook(
        parameters(),
        code("import os, pathlib, time\npathlib.Path('../pids').write_text(f'{os.getppid()} {os.getpid()}')"),
        code("time.sleep(float(os.environ['NAP']))"),
    )
    folder = project(tmp_path, slow=slow)
    parent = subprocess.Popen(command("run", "--tier", "smoke"), cwd=folder, env={**os.environ, "NAP": "600"})
    job, kernel = _wait_for(lambda: (folder / "pids").exists() and _pids(folder / "pids"))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _wait_for(lambda: not _alive(job) and not _alive(kernel))
    assert runs(folder) == []

    process = mulib(folder, "run", "--tier", "smoke", NAP="0")
    assert process.returncode == 0, process.stderr
    assert runs(folder) == ["slow.seed0.ipynb", "slow.seed0.json"]


def test_a_run_killed_between_notebook_and_record_is_run_again(ran):
    folder, _ = ran
    path = folder / "_executed/runs/smoke/00_good.seed3.ipynb"
    path.write_text(path.read_text() + "\n")  # as if only the notebook of a later run had been put in place
    (job,) = press.plan(folder, [folder / "notebooks" / "00_good.ipynb"], "smoke", [3])
    assert not job.done()


def test_a_tidied_notebook_keeps_no_trace_of_papermill(ran):
    folder, _ = ran
    executed = nbformat.read(folder / "_executed/runs/smoke/00_good.seed3.ipynb", 4)
    assert not any("papermill" in part.metadata for part in (executed, *executed.cells))
    (injected,) = (cell for cell in executed.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert "remove-cell" in injected.metadata.tags


def _pids(path: Path):
    numbers = path.read_text().split()
    return [int(number) for number in numbers] if len(numbers) == 2 else None


def _alive(pid):
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _wait_for(condition, seconds=60):
    """Return the first true value of `condition`, asked again and again; fail after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"nothing happened in {seconds} s")
