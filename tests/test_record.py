"""A record says what ran and is there whole or not at all; a reported number gets the verdict that the rules give."""

import json
import math
import os
import subprocess
import sys

import nbformat
import pytest
import yaml
from click.testing import CliRunner
from projects import ROOT, code, notebook, prose

from mulib import InputError
from mulib.__main__ import main
from mulib.press import verdicts as reported
from mulib.press.record import Record, code_cells, fingerprint, provenance

ASKED = {"notebook": "13_x", "tier": "quick", "parameters": {"seed": 0}, "seed": 0}


def record(tier="quick", **metrics):
    came_out = {"metrics": metrics, "timings": {"seconds": 1.0}, "peak_memory_mb": 1.0, "notebook": ""}
    return Record({**ASKED, "tier": tier}, came_out, {"source": ""})


def test_a_record_is_read_as_it_was_written(tmp_path):
    record(accuracy=0.1 + 0.2).write(tmp_path / "a.json")
    assert Record.read(tmp_path / "a.json") == record(accuracy=0.1 + 0.2)


def test_a_write_that_fails_leaves_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    record(accuracy=1.0).write(path)

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        record(accuracy=2.0).write(path)
    assert Record.read(path).metrics == {"accuracy": 1.0}


def test_a_record_that_holds_a_bare_infinity_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        record(epsilon=math.inf).write(tmp_path / "a.json")
    assert not list(tmp_path.glob("*.json"))


def test_what_is_not_a_record_is_one_sentence(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="is not a record of a run"):
        Record.read(tmp_path / "a.json")


def test_provenance_says_where_a_run_came_from(tmp_path):
    nbformat.write(notebook(code("1")), tmp_path / "a.ipynb")
    came_from = provenance(ROOT, tmp_path / "a.ipynb")
    assert set(came_from) == {
        *("commit", "dirty", "lock", "source", "data", "hardware", "versions", "started"),
    }
    assert came_from["hardware"]["cores"] == os.cpu_count()
    assert came_from["started"].endswith("+00:00")
    assert {"python", "torch", "numpy"} <= set(came_from["versions"])
    json.dumps(came_from, allow_nan=False)


def test_an_edited_cell_makes_a_run_stale_and_edited_prose_does_not(tmp_path):
    path, prints = tmp_path / "a.ipynb", []
    for words, source in (("One.", "1"), ("Two.", "1"), ("Two.", "2")):
        nbformat.write(notebook(prose(words), code(source)), path)
        prints.append(fingerprint(path))
    assert prints[0] == prints[1] != prints[2]


def test_an_edited_library_makes_a_run_stale(tmp_path, monkeypatch):
    nbformat.write(notebook(code("1")), tmp_path / "a.ipynb")
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr("mulib.press.record.LIBRARY", tmp_path / "lib")
    before = fingerprint(tmp_path / "a.ipynb")
    (tmp_path / "lib" / "x.py").write_text("x = 1\n")
    assert fingerprint(tmp_path / "a.ipynb") != before


def test_what_papermill_adds_is_not_the_notebook_s_code():
    assert code_cells(notebook(code("1"), code("seed = 3", tags=["injected-parameters"]))) == ["1"]


def test_the_library_needs_nothing_of_the_book():
    absent = ["papermill", "nbformat", "nbclient", "IPython", "ipywidgets", "jupyter_client", "sphinx"]
    modules = "mulib.press.record, mulib.press.verdicts, mulib.show"
    script = f"import sys; sys.modules.update(dict.fromkeys({absent})); import {modules}"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("printed", "ours", "spread", "agreement", "verdict"),
    [
        ("3.74", 3.7449, None, "digits", "reproduced"),  # rounded
        ("3.74", 3.7499, None, "digits", "reproduced"),  # cut
        ("3.74", 3.75, None, "digits", "failed"),
        ("3.74", 3.75, 0.02, "digits", "partial"),
        ("3.74", 3.80, 0.02, "digits", "failed"),
        ("99.2%", 99.24, None, "digits", "reproduced"),
        ("−0.3", -0.34, None, "digits", "reproduced"),
        ("1,000", 1000.0, None, "digits", "reproduced"),
        ("∞", math.inf, None, "digits", "reproduced"),
        ("∞", 3.0, 1.0, "digits", "failed"),
        ("3.74", math.nan, 1.0, "digits", "failed"),
        ("0.50", 0.53, 0.02, "spread", "reproduced"),
        ("0.50", 0.57, 0.02, "spread", "partial"),
        ("0.50", 0.60, 0.02, "spread", "failed"),
        ("0.50", 0.51, 0.0, "spread", "failed"),
        ("0.50", 0.50, None, "spread", "reproduced"),
        ("0.50", 0.51, None, "spread", "failed"),
        ("0.50", 0.51, math.nan, "spread", "failed"),
    ],
)
def test_verdicts_follow_the_rules(printed, ours, spread, agreement, verdict):
    assert reported.judge(printed, ours, spread, agreement)[0] == verdict


def table(**changes):
    row = {"label": "finetune", "values": {"epsilon": "3.74", "accuracy": "94.58"}}
    columns = {"epsilon": {"label": "ε̂"}, "accuracy": {"label": "accuracy"}}
    plain = {"id": "t", "caption": "", "source": "", "notebook": "13_x", "agreement": "digits"}
    return {**plain, "columns": columns, "rows": {"finetune": row}, **changes}


def test_a_number_is_read_from_the_first_record_that_holds_it():
    paper, quick = record("paper", **{"t.finetune.epsilon": 3.74}), record(**{"t.finetune.accuracy": 90.0})
    epsilon, accuracy = reported.compare_table(table(), [paper, quick])
    assert (epsilon.verdict, epsilon.record) == ("reproduced", paper)
    assert (accuracy.verdict, accuracy.record, accuracy.difference) == ("failed", quick, pytest.approx(-4.58))


def test_a_number_that_no_run_holds_is_not_attempted():
    (_, accuracy) = reported.compare_table(table(), [record(**{"t.finetune.epsilon": 3.74})])
    assert (accuracy.verdict, accuracy.reason) == ("not attempted", "our runs do not hold it")


def test_a_table_that_compares_nothing_fails():
    with pytest.raises(InputError, match="holds a number of t"):
        reported.compare_table(table(), [record(other=1.0)])


def test_a_claim_has_the_verdict_that_its_notebook_recorded():
    claim = {"id": "best", "text": "It is best.", "source": "", "notebook": "13_x"}
    held = record(**{"claim.best": "partial", "claim.best.reason": "By a hair."})
    found = reported.compare_claim(claim, [held])
    assert (found.verdict, found.reason) == ("partial", "By a hair.")
    with pytest.raises(InputError, match="must be one of"):
        reported.compare_claim(claim, [record(**{"claim.best": "maybe"})])


def test_a_recorded_run_at_full_size_speaks_before_the_rendered_one(tmp_path):
    record("paper", a=1.0).write(tmp_path / "book" / "results" / "b.json")
    record("quick", a=3.0).write(tmp_path / "book" / "results" / "a.json")
    record("smoke", a=2.0).write(tmp_path / "_executed" / "notebooks" / "13_x.json")
    found = reported.read_records(tmp_path, "13_x")
    assert [entry.asked["tier"] for entry in found] == ["paper", "smoke", "quick"]


@pytest.fixture
def reproduced(tmp_path, monkeypatch):
    """A project whose one notebook reproduced a number and a claim, accepted as such."""
    monkeypatch.chdir(tmp_path)
    paper = {"paper": "key", "title": "T", "tables": [table()], "claims": [CLAIM]}
    (tmp_path / "book" / "reported").mkdir(parents=True)
    (tmp_path / "notebooks" / "params").mkdir(parents=True)
    (tmp_path / "book" / "reported" / "key.yml").write_text(yaml.safe_dump(paper))
    rendered(tmp_path, **{"t.finetune.epsilon": 3.74, "t.finetune.accuracy": 90.0, "claim.best": "reproduced"})
    assert CliRunner().invoke(main, ["report", "--accept"], catch_exceptions=False).exit_code == 0
    return tmp_path


CLAIM = {"id": "best", "text": "It is best.", "source": "abstract", "notebook": "13_x"}


def rendered(folder, tier="quick", **metrics):
    record(tier, **metrics).write(folder / "_executed" / "notebooks" / "13_x.json")


def report(*arguments):
    return CliRunner().invoke(main, ["report", *arguments], catch_exceptions=False)


def test_the_report_prints_the_verdicts(reproduced):
    result = report()
    assert result.exit_code == 0
    assert "key: numbers: 1 reproduced, 1 failed\n  reproduced     It is best." in result.output
    rows = {row["id"]: row["verdict"] for row in json.loads(report("--json").stdout)}
    assert rows == {"t.finetune.epsilon": "reproduced", "t.finetune.accuracy": "failed", "claim.best": "reproduced"}
    assert "has no paper 'other': expected one of key" in report("other").output


def test_a_planted_regression_is_flagged_until_it_is_accepted(reproduced):
    rendered(reproduced, **{"t.finetune.epsilon": 9.0, "t.finetune.accuracy": 94.58, "claim.best": "failed"})
    result = report()
    assert result.exit_code == 1
    assert "no longer reproduced: claim.best is failed" in result.stderr
    assert "no longer reproduced: t.finetune.epsilon is failed (other digits, spread unknown)" in result.stderr
    assert "accuracy" not in result.stderr  # it was failed, and is better now
    assert report("--accept").exit_code == 0
    assert report().exit_code == 0


def test_a_claim_that_its_notebook_no_longer_records_is_a_regression(reproduced):
    rendered(reproduced, **{"t.finetune.epsilon": 3.74})
    assert "no longer reproduced: claim.best is not attempted" in report().stderr


def test_what_was_not_run_here_or_in_smoke_only_is_no_regression_and_stays_accepted(reproduced):
    rendered(reproduced, "smoke", **{"claim.best": "failed", "t.finetune.epsilon": 0.0})
    result = report("--accept")
    assert result.exit_code == 0
    assert "Not run here, except perhaps in smoke: 13_x." in result.output
    rendered(reproduced, **{"claim.best": "failed", "t.finetune.epsilon": 3.74})
    assert report().exit_code == 1


PAPERS = sorted((ROOT / "book" / "reported").glob("*.yml"))


@pytest.mark.parametrize("path", PAPERS, ids=[path.stem for path in PAPERS])
def test_every_reported_number_can_be_read(path):
    tables = reported.read_paper(path)["tables"]
    values = [value for t in tables for row in t["rows"].values() for value in row["values"].values()]
    assert values
    assert all(math.isfinite(reported.number(value)) for value in values)


def test_the_four_papers_are_there():
    assert len(PAPERS) == 4


@pytest.mark.parametrize("change", ["caption: x", "agreement: close", "notebook: null"])
def test_a_file_that_breaks_the_schema_is_one_sentence(tmp_path, change):
    text = "paper: p\ntitle: t\ntables:\n- {id: t, source: s, columns: {}, rows: {}, %s}\n"
    fields = {"caption": "c", "agreement": "digits", "notebook": "n"}
    key, value = change.split(": ")
    if key == "caption":
        del fields["caption"]
    else:
        fields[key] = value
    (tmp_path / "p.yml").write_text(text % ", ".join(f"{k}: {v}" for k, v in fields.items()))
    with pytest.raises(InputError, match=r"p\.yml: table 't'"):
        reported.read_paper(tmp_path / "p.yml")
