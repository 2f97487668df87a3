"""The command line as a user meets it: output, exit codes, one sentence for bad input."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from published import write_folder

from mulib import audit
from mulib.__main__ import main
from mulib.data.logits import Logits

KEYS = {
    "approach",
    "delta",
    "n_models",
    "median",
    "mean",
    "infinite",
    "undefined",
    "lower_median",
    "ceiling",
    "accuracy",
}


def call(*args):
    return CliRunner().invoke(main, ["epsilon", *map(str, args)])


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "logits", models=40)


def test_one_approach_is_one_object(folder):
    result = call(folder, "finetune", "--json")
    row = json.loads(result.output)
    assert set(row) >= KEYS
    assert row["n_models"] == 40
    assert row["accuracy"] == {"retain": 0.75, "forget": 0.5, "test": 0.25}


def test_all_is_every_approach_and_the_null_row(folder):
    rows = json.loads(call(folder, "--all", "--json").output)
    assert [row["approach"] for row in rows] == ["baseline", "finetune", "prune"]
    assert [row["n_models"] for row in rows] == [20, 40, 40]


def test_split_null_adds_the_null_row(folder):
    rows = json.loads(call(folder, "prune", "--split-null", "--json").output)
    assert [row["approach"] for row in rows] == ["prune", "baseline"]


def test_models_and_delta_are_used(folder):
    few = json.loads(call(folder, "finetune", "--models", 20, "--delta", 0.2, "--json").output)
    assert (few["n_models"], few["delta"]) == (20, 0.2)
    assert few["ceiling"] < json.loads(call(folder, "finetune", "--delta", 0.2, "--json").output)["ceiling"]


def test_json_is_strict(folder):
    """Infinite means are text, because JSON has no infinity."""
    array = np.load(folder / "finetune" / "logits_unlearn.npy")
    array[:, 1:] += 1000 * array[:, :1]  # every model far more certain than any retrained one
    np.save(folder / "finetune" / "logits_unlearn.npy", array)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    row = json.loads(call(folder, "finetune", "--json").output, parse_constant=refuse)
    assert float(row["mean"]) == np.inf
    assert row["infinite"] == 6


def test_table_for_reading(folder):
    lines = call(folder, "--all").output.splitlines()
    assert lines[0].split()[0] == "approach"
    assert [line.split()[0] for line in lines[1:4]] == ["baseline", "finetune", "prune"]
    assert len({len(line) for line in lines[:4]}) == 1


def test_published_row_by_command(published):
    row = json.loads(call(published.path, "prune_complex", "--json").output)
    assert f"{row['median']:.2f}" == "2.20"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["finetune", "--models", "1"], "expected 2 to 40"),
        (["finetune", "--models", "41"], "expected 2 to 40"),
        (["finetune", "--delta", "1"], "expected 0 ≤ delta < 1"),
        (["scrub"], "there is no approach 'scrub'"),
        (["../logits/finetune"], "there is no approach"),
        ([], "no approach was named"),
    ],
)
def test_bad_input_is_one_sentence_and_two(folder, args, message):
    before = sorted(folder.rglob("*"))
    result = call(folder, *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert sorted(folder.rglob("*")) == before


def change(name, edit):
    """A damage: rewrite one array of the folder."""

    def damage(folder):
        path = folder / name
        np.save(path, edit(np.load(path)))

    return damage


def nan(array):
    array[0, 5, 0] = np.nan
    return array


UNLEARNED, RETRAINED = "finetune/logits_unlearn.npy", "logits_retain.npy"
DAMAGES = {
    "expected floats (examples, 1 + models, classes)": change(UNLEARNED, lambda a: a[0]),
    "not the same forget set (3 against 6 examples": change(UNLEARNED, lambda a: a[:3]),
    "contain NaN": change(UNLEARNED, nan),
    "(0, 41, 4): expected floats": change(RETRAINED, lambda a: a[:0]),
    "there is 1 unlearned model": change(UNLEARNED, lambda a: a[:, :2]),
    "may be truncated": lambda folder: (folder / UNLEARNED).write_bytes((folder / UNLEARNED).read_bytes()[:200]),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_folders_are_one_sentence_and_two(folder, message):
    DAMAGES[message](folder)
    result = call(folder, "finetune")
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_exit_code_of_the_real_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mulib", "epsilon", tmp_path / "none", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mulib: ")
    assert "Traceback" not in done.stderr


def test_the_library_needs_none_of_the_books_packages():
    """`import mulib` and the audit work where papermill, jupyter and sphinx are not installed."""
    blocked = ["papermill", "nbformat", "nbclient", "IPython", "ipywidgets", "pandas", "jupyter_book", "cv2"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import mulib.__main__, mulib.data, mulib.models, mulib.train, mulib.unlearn, mulib.audit, mulib.press.record\n"
        "from mulib.show.glue import glue\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_classes_may_be_audited_by_their_loss(folder):
    row = json.loads(call(folder, "finetune", "--statistic", "loss", "--json").output)
    logits = Logits(folder)
    sides = logits.unlearned("finetune"), logits.retrained
    assert row["median"] == audit.epsilon(*sides, logits.labels, statistic="loss").median


def test_an_accuracy_has_the_interval_of_its_mean(folder):
    table = folder / "finetune" / "metrics.csv"
    head, *rows = table.read_text().splitlines()
    column = head.split(",").index("test_accuracy")
    cells = [row.split(",") for row in rows]
    for i, row in enumerate(cells):
        row[column] = str(0.2 + 0.1 * (i % 2))
    table.write_text("\n".join([head, *map(",".join, cells)]) + "\n")
    half = json.loads(call(folder, "finetune", "--json").output)["accuracy_half_width"]
    values = [0.2 + 0.1 * (i % 2) for i in range(len(cells))]
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert half["test"] == pytest.approx((high - low) / 2)
    assert half["retain"] == 0


@pytest.mark.parametrize(
    ("option", "cache", "says"),
    [
        (["--folder", "/etc/hostname"], None, r"/etc/hostname cannot be used \(File exists\): correct it"),
        ([], "/proc/nope", r"/proc/nope cannot be used \(.*\): correct it"),
        (["--folder", "/proc/nope"], None, r"/proc/.nope.lock cannot be used \(.*\): correct it"),
        (["--folder", ""], None, "the folder of the experiment is '': expected one of its own"),
        (["--folder", "/"], None, "the folder of the experiment is '/': expected one of its own"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence(monkeypatch, tmp_path, option, cache, says):
    monkeypatch.setenv("MULIB_CACHE", cache or str(tmp_path))
    asked = ["assess", "digits", "--tier", "smoke", "--models", "2", "--originals", "1", *option]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2
    assert re.search(says, result.output)
    assert len([line for line in result.output.splitlines() if line.startswith("mulib:")]) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_disk_that_is_full_at_the_first_model_is_one_sentence_at_every_call(monkeypatch, tmp_path, named):
    def full(path, content):
        if path.parent.name == "models":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache"))
    asked = ["assess", "digits", "--tier", "smoke", "--models", "2", "--originals", "1", "--workers", "1"]
    for _ in range(2):
        result = CliRunner().invoke(main, [*asked, *(["--folder", str(tmp_path / "run")] if named else [])])
        assert result.exit_code == 2
        assert re.search(r"mulib: .*No space left on device.*: make room", result.output)
        assert "Traceback" not in result.output


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_terminal_without_utf_8_shows_what_it_can(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "mulib", "data"]
    process = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"\\u2713 digits" in process.stdout


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--device", "cuda:99"], "--device is 'cuda:99': expected one of cpu"),
        (["--device", "gpu"], "--device is 'gpu': expected one of cpu"),
        (["--device", "mps"], "--device is 'mps': expected one of cpu"),
        (["--seed", "99999999999999999"], "99999999999999999 is not in the range 0<=x<=4294967295"),
    ],
)
def test_a_device_or_a_seed_that_there_is_not_ends_with_2(tmp_path, option, says):
    called = CliRunner().invoke(main, ["assess", "digits", "--tier", "smoke", "--folder", str(tmp_path), *option])
    assert called.exit_code == 2
    assert says in called.stderr
    assert list(tmp_path.iterdir()) == []


def test_data_below_the_home_of_nobody_is_one_sentence(monkeypatch):
    monkeypatch.setenv("MULIB_DATA", "~no-such-user/data")
    called = CliRunner().invoke(main, ["data"])
    assert called.exit_code == 2
    assert re.fullmatch(r"mulib: MULIB_DATA names .*~no-such-user/data, which is no folder: .*\n", called.stderr)


def test_a_user_without_a_home_is_told_in_one_sentence(monkeypatch):
    for name in ("HOME", "MULIB_CACHE", "MULIB_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    called = CliRunner().invoke(main, ["epsilon", "~/logits", "--all"])
    assert called.exit_code == 2
    assert len(called.stderr.splitlines()) == 1


def test_a_full_disk_behind_the_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "mulib", "data"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert process.returncode == 2
    assert "the output cannot be used (No space left on device): make room." in process.stderr
    assert "Traceback" not in process.stderr
