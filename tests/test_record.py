"""A record says what ran and is there whole or not at all; a reported number gets the verdict that the rules give."""

import json
import math
import os

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
        *("commit", "dirty", "lock", "source", "files", "found", "data", "hardware", "versions", "started"),
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


PAPER = {
    "paper": "key",
    "title": "T",
    "setting": {"13_x": {"data": "cifar10", "smaller": "8 models", "otherwise": "digits"}},
}


def table(**changes):
    row = {"label": "finetune", "values": {"epsilon": "3.74", "accuracy": "94.58"}}
    columns = {"epsilon": {"label": "ε̂"}, "accuracy": {"label": "accuracy"}}
    plain = {"id": "t", "caption": "", "source": "", "notebook": "13_x", "agreement": "digits"}
    return {**plain, "columns": columns, "rows": {"finetune": row}, **changes}


def said(*records, smaller=""):
    """Records as evidence of one kind."""
    return [reported.Evidence(each, reported.PAGE if smaller else reported.PAPER_TIER, smaller) for each in records]


def test_a_number_is_read_from_the_first_record_that_holds_it():
    paper, quick = record("paper", **{"t.finetune.epsilon": 3.74}), record(**{"t.finetune.accuracy": 90.0})
    epsilon, accuracy = reported.judge_table(PAPER, table(), [*said(paper), *said(quick, smaller="8 models")])
    assert (epsilon.verdict, epsilon.record, epsilon.smaller) == ("reproduced", paper, "")
    assert (accuracy.verdict, accuracy.record) == ("smaller setting: disagrees", quick)
    assert (accuracy.difference, accuracy.smaller) == (pytest.approx(-4.58), "8 models")


def test_a_number_that_no_run_holds_is_not_attempted():
    (_, accuracy) = reported.judge_table(PAPER, table(), said(record(**{"t.finetune.epsilon": 3.74})))
    assert (accuracy.verdict, accuracy.reason) == ("not attempted", "our runs do not hold it")


def test_a_table_that_compares_nothing_fails():
    with pytest.raises(InputError, match="holds a number of t"):
        reported.judge_table(PAPER, table(), said(record(other=1.0)))


@pytest.mark.parametrize(
    ("smaller", "evidence", "verdicts"),
    [
        ("", None, ["reproduced", "partial", "failed"]),
        ("8 models", reported.PUBLISHED, ["reproduced", "partial", "failed"]),
        ("8 models", None, [f"smaller setting: {word}" for word in ("agrees", "open", "disagrees")]),
    ],
)
def test_no_claim_fails_in_anything_but_the_papers_setting(smaller, evidence, verdicts):
    """A `failed` that a quick run glued is planted; only the paper's setting and published files keep the word."""
    claim = CLAIM | ({"evidence": evidence} if evidence else {})
    for word, verdict in zip(reported.FULL, verdicts, strict=True):
        held = record(**{"claim.best": word, "claim.best.reason": "By a hair."})
        found = reported.judge_claim(PAPER, claim, said(held, smaller=smaller))
        assert (found.verdict, found.reason) == (verdict, "By a hair.")
        assert found.smaller == (smaller if verdict not in reported.FULL else "")


def test_a_claim_has_one_of_the_known_verdicts():
    with pytest.raises(InputError, match="must be one of"):
        reported.judge_claim(PAPER, CLAIM, said(record(**{"claim.best": "maybe"})))


def test_runs_speak_in_the_order_of_their_evidence(tmp_path):
    """The paper tier on the paper's data, the paper's data, other data, the page; the kind says what was smaller."""
    for name, tier, dataset in (("a", "quick", "digits"), ("b", "quick", "cifar10"), ("c", "paper", "cifar10")):
        at(record(tier, a=1.0), dataset).write(tmp_path / "book" / "results" / f"{name}.json")
    at(record("smoke", a=2.0), "cifar10").write(tmp_path / "_executed" / "notebooks" / "13_x.json")
    found = reported.read_evidence(tmp_path, PAPER, "13_x")
    assert [each.kind for each in found] == list(reported.RUNS)
    assert [each.smaller for each in found] == ["", "8 models", "digits", "8 models"]


@pytest.mark.parametrize(
    ("tier", "dataset", "setting", "own", "smaller"),
    [
        ("paper", "cifar10", {}, {}, ""),
        ("quick", "cifar10", {}, {}, "8 models"),
        ("paper", "digits", {}, {}, "digits"),  # the paper tier of another data set is not the paper's setting
        ("paper", None, {}, {}, "digits"),  # nor is a run that does not say what it ran on
        ("paper", "cifar10", {}, {"setting": "a third of the epochs"}, "a third of the epochs"),
        ("paper", "cifar10", {"paper_tier": "tuned rates"}, {}, "tuned rates"),
        ("quick", "cifar10", {}, {"setting": "4 models"}, "4 models"),
    ],
)
def test_what_is_smaller_is_said_by_the_run_or_by_the_papers_file(tmp_path, tier, dataset, setting, own, smaller):
    at(record(tier, a=1.0, **own), dataset).write(tmp_path / "book" / "results" / "a.json")
    paper = {**PAPER, "setting": {"13_x": {**PAPER["setting"]["13_x"], **setting}}}
    (found,) = reported.read_evidence(tmp_path, paper, "13_x")
    assert found.smaller == smaller
    assert (found.kind == reported.PAPER_TIER) == (not smaller)


def at(held, dataset):
    """The record of a run on `dataset`."""
    parameters = {"seed": 0} | ({"dataset": dataset} if dataset else {})
    return Record({**held.asked, "parameters": parameters}, held.came_out, held.came_from)


def test_a_run_that_names_no_data_has_that_of_its_notebook(tmp_path):
    (tmp_path / "notebooks").mkdir()
    cell = code('dataset = "cifar10"  # or "digits"', tags=["parameters"])
    nbformat.write(notebook(cell), tmp_path / "notebooks" / "13_x.ipynb")
    at(record("paper", a=1.0), None).write(tmp_path / "book" / "results" / "a.json")
    (found,) = reported.read_evidence(tmp_path, PAPER, "13_x")
    assert found.kind == reported.PAPER_TIER


def test_a_claim_has_one_verdict_for_each_of_its_settings(tmp_path):
    settings = {"one": "Setting 1.", "two": {"text": "Setting 2.", "glued": "old_name"}}
    claims = [{**CLAIM, "settings": settings}]
    (tmp_path / "p.yml").write_text(yaml.safe_dump({**PAPER, "claims": claims}))
    paper = reported.read_paper(tmp_path / "p.yml")
    held = said(record("paper", **{"claim.best.one": "failed", "claim.old_name": "reproduced"}))
    found = [reported.judge_claim(paper, claim, held) for claim in paper["claims"]]
    assert [(v.id, v.verdict, v.column) for v in found] == [
        ("claim.best.one", "failed", "Setting 1."),
        ("claim.best.two", "reproduced", "Setting 2."),
    ]


@pytest.fixture
def reproduced(tmp_path, monkeypatch):
    """A project whose one notebook reproduced a number and a claim, accepted as such."""
    monkeypatch.chdir(tmp_path)
    paper = {**PAPER, "tables": [table()], "claims": [CLAIM]}
    (tmp_path / "book" / "reported").mkdir(parents=True)
    (tmp_path / "notebooks" / "params").mkdir(parents=True)
    (tmp_path / "book" / "reported" / "key.yml").write_text(yaml.safe_dump(paper))
    rendered(tmp_path, **{"t.finetune.epsilon": 3.74, "t.finetune.accuracy": 90.0, "claim.best": "reproduced"})
    assert CliRunner().invoke(main, ["report", "--accept"], catch_exceptions=False).exit_code == 0
    return tmp_path


CLAIM = {"id": "best", "text": "It is best.", "source": "abstract", "notebook": "13_x"}


def rendered(folder, tier="quick", **metrics):
    at(record(tier, **metrics), "cifar10").write(folder / "_executed" / "notebooks" / "13_x.json")


def report(*arguments):
    return CliRunner().invoke(main, ["report", *arguments], catch_exceptions=False)


def test_the_report_prints_the_verdicts(reproduced):
    result = report()
    assert result.exit_code == 0
    assert "key: numbers: 1 smaller setting: agrees, 1 smaller setting: disagrees\n" in result.output
    assert "\n  smaller setting: agrees  It is best." in result.output
    assert "Smaller in 13_x: 8 models." in result.output
    rows = {row["id"]: row["verdict"] for row in json.loads(report("--json").stdout)}
    agrees, disagrees = "smaller setting: agrees", "smaller setting: disagrees"
    assert rows == {"t.finetune.epsilon": agrees, "t.finetune.accuracy": disagrees, "claim.best": agrees}
    assert "has no paper 'other': expected one of key" in report("other").output


def test_a_planted_regression_is_flagged_until_it_is_accepted(reproduced):
    rendered(reproduced, **{"t.finetune.epsilon": 9.0, "t.finetune.accuracy": 94.58, "claim.best": "failed"})
    result = report()
    assert result.exit_code == 1
    assert "no longer holds: claim.best is smaller setting: disagrees" in result.stderr
    told = "t.finetune.epsilon is smaller setting: disagrees (other digits, spread unknown)"
    assert f"no longer holds: {told}" in result.stderr
    assert "accuracy" not in result.stderr  # it disagreed, and is better now
    assert report("--accept").exit_code == 0
    assert report().exit_code == 0


def test_a_full_verdict_in_the_place_of_a_smaller_one_is_no_regression(reproduced):
    rendered(reproduced, "paper", **{"t.finetune.epsilon": 3.74, "claim.best": "reproduced"})
    assert report().exit_code == 0


def test_a_claim_that_its_notebook_no_longer_records_is_a_regression(reproduced):
    rendered(reproduced, **{"t.finetune.epsilon": 3.74})
    assert "no longer holds: claim.best is not attempted" in report().stderr


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


def broken(**changes):
    """A paper's file with one table, and what breaks it."""
    plain = {
        "id": "t",
        "source": "s",
        "columns": {},
        "rows": {},
        "caption": "c",
        "agreement": "digits",
        "notebook": "13_x",
    }
    fields = {name: value for name, value in {**plain, **changes}.items() if value != "absent"}
    return {**PAPER, "tables": [fields]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": "absent"}, "lacks caption"),
        ({"agreement": "close"}, "agreement 'close'"),
        ({"notebook": None}, "names no notebook and so needs a reason"),
        ({"notebook": "07_y"}, "`setting` must say what a run of 07_y below the paper tier lacks"),
        ({"evidence": "hearsay"}, "evidence 'hearsay'; it must be 'published files', 'arithmetic' or left out"),
    ],
)
def test_a_file_that_breaks_the_schema_is_one_sentence(tmp_path, change, message):
    (tmp_path / "p.yml").write_text(yaml.safe_dump(broken(**change)))
    with pytest.raises(InputError, match=r"p\.yml: table 't'.*" + message):
        reported.read_paper(tmp_path / "p.yml")


def test_a_claim_that_arithmetic_decides_needs_its_function(tmp_path):
    claim = {**CLAIM, "evidence": "arithmetic"}
    (tmp_path / "p.yml").write_text(yaml.safe_dump({**PAPER, "claims": [claim]}))
    with pytest.raises(InputError, match="write its function in mulib/press/arithmetic"):
        reported.read_paper(tmp_path / "p.yml")
