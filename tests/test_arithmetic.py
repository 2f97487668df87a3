"""What printed numbers decide by themselves: on tables small enough to decide by eye, and on the papers' own."""

import re

import pytest
from projects import ROOT

from mulib.press import arithmetic
from mulib.press.verdicts import read_papers

PAPERS = {paper["paper"]: paper for paper in read_papers(ROOT)}


def paper(**tables):
    """A paper of tables {id: {row: {column: number}}}."""
    rows = {name: {key: {"label": key, "values": row} for key, row in found.items()} for name, found in tables.items()}
    return {"tables": [{"id": name, "rows": each} for name, each in rows.items()]}


def scores(**finals):
    return {
        key: {"test_accuracy": "0.6", "forgetting_score": "0.1", "final_score": text} for key, text in finals.items()
    }


@pytest.mark.parametrize(
    ("finals", "verdict"),
    [({"a": "0.7"}, "reproduced"), ({"a": "0.7001", "b": "0.75"}, "partial"), ({"a": "0.71"}, "failed")],
)
def test_a_final_score_follows_from_its_row(finals, verdict):
    assert arithmetic.final_scores_follow(paper(t=scores(**finals)), "t")[0] == verdict


@pytest.mark.parametrize(
    ("finals", "verdict"),
    [
        ({"gli": "0.8", "scrub": "0.7", "retrained": "0.9"}, "reproduced"),  # the retrained model is no method
        ({"gli": "0.8", "scrub": "0.8"}, "failed"),
    ],
)
def test_the_best_final_score_is_ahead_of_every_method(finals, verdict):
    assert arithmetic.best_final_score(paper(t=scores(**finals)), "t")[0] == verdict


def log(*rows):
    names = ("original", "retrained", "gli", "scrub")
    columns = ("js_distance", "forgetting_score", "test_accuracy")
    return paper(t={name: dict(zip(columns, row, strict=True)) for name, row in zip(names, rows, strict=True)})


GOOD = (("0.6", "0.2", "0.6"), ("0.1", "0.04", "0.5"), ("0.2", "0.05", "0.6"))


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        (("0.3", "0.1", "0.6"), "reproduced"),
        (("0.05", "0.01", "0.3"), "partial"),  # a ruined network nearer to zero than the retrained one
        (("0.05", "0.9", "0.6"), "failed"),
    ],
)
def test_a_distance_measures_forgetting_where_it_orders_networks_and_no_ruin_wins(last, verdict):
    assert arithmetic.js_measures(log(*GOOD, last), "t")[0] == verdict


@pytest.mark.parametrize(("epochs", "verdict"), [("5", "reproduced"), ("5.2", "partial"), ("6", "failed")])
def test_cost_is_counted_in_passes_over_images(epochs, verdict):
    rows = {"retrained": {"epochs_retain": "100"}, "finetune": {"epochs_retain": epochs}}
    assert arithmetic.cheaper_than_a_twentieth(paper(recipe=rows))[0] == verdict


@pytest.mark.parametrize(
    ("test", "forget", "verdict"),
    [("94.5", "96.0", "reproduced"), ("94.5", "99.4", "partial"), ("90.0", "99.4", "failed")],
)
def test_balanced_is_useful_and_lower_on_the_forget_set(test, forget, verdict):
    row = {"test_accuracy": test, "forget_accuracy": forget}
    others = {"test_accuracy": "95.0", "forget_accuracy": "99.5"}
    rows = {"baseline": others, "finetune": others, "hybrid": row}
    assert arithmetic.balanced(paper(table1=rows), "hybrid")[0] == verdict


@pytest.mark.parametrize(
    ("most", "least", "verdict"), [("8", "90", "reproduced"), ("8", "10", "partial"), ("50", "10", "failed")]
)
def test_importance_kills_the_class_first_or_not(most, least, verdict):
    curves = {order: {"0": {"class": "82"}, "25": {"class": end}} for order, end in (("most", most), ("least", least))}
    found = paper(**{f"curve_x_{order}": rows for order, rows in curves.items()})
    assert arithmetic.importance_order(found, "x")[0] == verdict


@pytest.mark.parametrize(
    ("claim", "verdict", "reason"),
    [
        (
            "final_scores_follow.printed",
            "partial",
            "18 of 20 rows in 2 tables do; bad teaching would be 0.6024, not 0.6705",
        ),
        ("gli_best_final_score.printed", "reproduced", "+0.0833, +0.0018"),
        ("js_measures_forgetting.mufac_released", "partial", "NegGrad (accuracy 0.39, distance 0.0641)"),
        ("cost_below_five_percent", "partial", "3 of 8 are at most 5 %.*pruning complex costs 5.8 %"),
        ("balanced_methods.hybrid", "reproduced", "94.58 against 94.99"),
        ("low_forget_accuracy_is_not_forgetting.printed", "reproduced", "poison full"),
        ("agedb_against_cifar.agedb", "reproduced", "from 3.93 to 4.06"),
        ("agedb_against_cifar.cifar", "reproduced", "from 2.83 to 4.16"),
        ("importance_order.alexnet", "reproduced", "from 82 to 8 %"),
        ("balance_helps.resnet18", "partial", r"\+0.096.*back at up to 0.39"),
    ],
)
def test_the_papers_own_numbers_decide(claim, verdict, reason):
    (of,) = (found for found in PAPERS.values() if claim in {each["id"] for each in found["claims"]})
    word, said = arithmetic.DECIDES[claim](of)
    assert word == verdict
    assert reason in said or re.search(reason, said)


def test_every_function_decides_a_claim():
    asked = {c["id"] for each in PAPERS.values() for c in each["claims"] if c.get("evidence") == "arithmetic"}
    assert asked == set(arithmetic.DECIDES)
