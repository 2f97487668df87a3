"""What the papers' printed numbers decide by themselves: a claim's verdict and its reason, without a run.

Each function takes a paper of `book/reported` and returns (verdict, reason). The rules are written beside the numbers
that they read; `DECIDES` says which claim each of them decides.
"""

from functools import partial

import numpy as np
from scipy.stats import rankdata

from mulib.audit import final_score

ROUNDING = 1.5e-4  # a final score of two numbers printed to four digits may be off by one and a half units of the last
NOT_METHODS = ("original", "retrained", "unsir_impair")  # rows that are no finished method


def printed(paper, table, column):
    """Return {row: number} of a column of a table of `paper`, without the rows that leave it empty."""
    (rows,) = (each["rows"] for each in paper["tables"] if each["id"] == table)
    return {key: float(row["values"][column]) for key, row in rows.items() if column in row["values"]}


def label(paper, table, row):
    """Return what a row of a table of `paper` is called."""
    return next(each["rows"][row]["label"] for each in paper["tables"] if each["id"] == table)


def final_scores_follow(paper, *tables):
    """Whether each printed final score follows from the accuracy and the forgetting score of its own row.

    Reproduced: all do. Partial: most do.
    """
    count, wrong = 0, []
    for table in tables:
        accuracy, score, final = (
            printed(paper, table, c) for c in ("test_accuracy", "forgetting_score", "final_score")
        )
        for row, value in final.items():
            count += 1
            follows = final_score(accuracy[row], score[row])
            if abs(follows - value) > ROUNDING:
                wrong.append(f"{label(paper, table, row)} would be {follows:.4f}, not {value:.4f}")
    right = f"{count - len(wrong)} of {count} rows in {len(tables)} tables do"
    return _share(count - len(wrong), count), "; ".join([right, *wrong])


def best_final_score(paper, *tables):
    """Whether GLI's final score is the highest of all methods in each of `tables`. Partial: in most."""
    won, leads = 0, []
    for table in tables:
        scores = {key: value for key, value in printed(paper, table, "final_score").items() if key not in NOT_METHODS}
        lead = scores.pop("gli") - max(scores.values())
        won += lead > 0
        leads.append(f"{lead:+.4f}")
    return _share(won, len(tables)), f"GLI's lead over the next method is {', '.join(leads)}; one run each, no spread"


def js_measures(paper, table):
    """Whether the JS distance tells how much was forgotten, in a released log.

    Reproduced: over all networks of the log its rank correlation with the forgetting score is at least 0.8, and no
    method more than a tenth less accurate than the retrained model comes nearer to zero than that model. Partial: the
    correlation alone is at least 0.5.
    """
    distance, score, accuracy = (printed(paper, table, c) for c in ("js_distance", "forgetting_score", "test_accuracy"))
    ranks = rankdata([list(distance.values()), [score[key] for key in distance]], axis=1)
    agree = float(np.corrcoef(ranks)[0, 1])  # Spearman's
    ruined = [
        key
        for key in distance
        if key not in NOT_METHODS
        and accuracy[key] < 0.9 * accuracy["retrained"]
        and distance[key] < distance["retrained"]
    ]
    word = "reproduced" if agree >= 0.8 and not ruined else "partial" if agree >= 0.5 else "failed"
    named = " and ".join(
        f"{label(paper, table, key)} (accuracy {accuracy[key]:.2f}, distance {distance[key]:.4f})" for key in ruined
    )
    beside = f"; a ruined network looks well forgotten: {named}" if ruined else ""
    return word, f"rank correlation with the forgetting score {agree:.2f} over {len(distance)} networks{beside}"


def cheaper_than_a_twentieth(paper):
    """Whether each method costs at most 5 % of retraining, in training passes over images, by the recipe's epochs.

    Reproduced: all do. Partial: most do once rounded to whole per cents, as the limit is stated. Failed: otherwise.
    """
    sizes = {"epochs_all": 50_000, "epochs_retain": 49_000, "epochs_forget": 1_000}
    columns = {column: printed(paper, "recipe", column) for column in sizes}
    passes = {
        key: sum(size * columns[column].get(key, 0) for column, size in sizes.items())
        for key in columns["epochs_retain"] | columns["epochs_forget"] | columns["epochs_all"]
    }
    whole = passes.pop("retrained")
    shares = {key: 100 * count / whole for key, count in passes.items()}
    exact, rounded = (sum(share <= 5 for share in values) for values in (shares.values(), map(round, shares.values())))
    dearest = max(shares, key=shares.__getitem__)
    word = "reproduced" if exact == len(shares) else "partial" if 2 * rounded > len(shares) else "failed"
    return word, (
        f"{exact} of {len(shares)} are at most 5 % of the passes of retraining, {rounded} after rounding; "
        f"{label(paper, 'recipe', dearest)} costs {shares[dearest]:.1f} %"
    )


def balanced(paper, method):
    """Whether a method keeps test accuracy and lowers the accuracy on the forget set, by Table 1.

    Kept: at most one point below the retrained models. Lowered: at least one point below finetuning, the simplest
    method, and so nearer to the retrained models. Partial: one of the two.
    """
    test, forget = (printed(paper, "table1", f"{part}_accuracy") for part in ("test", "forget"))
    kept, lowered = test[method] >= test["baseline"] - 1, forget[method] <= forget["finetune"] - 1
    word = _share(kept + lowered, 2) if kept or lowered else "failed"
    return word, (
        f"test accuracy {test[method]:.2f} against {test['baseline']:.2f} of the retrained models; "
        f"forget accuracy {forget[method]:.2f} against {forget['finetune']:.2f} of finetuning"
    )


def low_forget_accuracy(paper):
    """Whether a low accuracy on the forget set goes without forgetting: in Table 1, the lowest has not the lowest ε̂.

    Reproduced: the method with the lowest forget accuracy has one of the two highest ε̂. Partial: not the lowest.
    """
    forget, epsilon = (printed(paper, "table1", column) for column in ("forget_accuracy", "epsilon"))
    forget, epsilon = ({k: v for k, v in values.items() if k != "baseline"} for values in (forget, epsilon))
    low = min(forget, key=forget.__getitem__)
    place = 1 + sum(value > epsilon[low] for value in epsilon.values())
    word = "reproduced" if place <= 2 else "partial" if place < len(epsilon) else "failed"
    return word, (
        f"{label(paper, 'table1', low)} has the lowest forget accuracy, {forget[low]:.2f}, and with {epsilon[low]:.2f} "
        f"the ε̂ of place {place} of {len(epsilon)}, the highest first"
    )


def differs_on_agedb(paper, part):
    """The paper's comparison of finetuning, poisoning and hybrid on AgeDB and CIFAR-10, by Tables 1 and 2.

    `part` is "agedb" (ε̂ differs negligibly, the test error strongly) or "cifar" (the opposite). A spread of ε̂ below a
    twentieth of its mean is negligible, and one above a tenth is not; a test score differs strongly when the largest is
    more than a tenth above the smallest. Partial: one of the two.
    """
    three = ("finetune", "poison", "hybrid")
    table, column = {"agedb": ("table2", "test_mae"), "cifar": ("table1", "test_accuracy")}[part]
    epsilon, score = (printed(paper, table, name) for name in ("epsilon", column))
    epsilon, score = ([values[key] for key in three] for values in (epsilon, score))
    spread = (max(epsilon) - min(epsilon)) / (sum(epsilon) / 3)
    ratio = max(score) / min(score)
    holds = (spread < 0.05, ratio > 1.1) if part == "agedb" else (spread > 0.1, ratio < 1.1)
    return _share(sum(holds), 2) if any(holds) else "failed", (
        f"ε̂ from {min(epsilon):.2f} to {max(epsilon):.2f}, the test score from {min(score):.2f} to {max(score):.2f}"
    )


def importance_order(paper, network):
    """Whether removing channels by importance acts on the class as claimed, in the released curves of a network.

    With a quarter of the channels removed, the class has lost nine tenths of its accuracy where the most important went
    first, and at most a tenth where the least important did. Partial: one of the two.
    """
    (most, least) = (printed(paper, f"curve_{network}_{order}", "class") for order in ("most", "least"))
    start = most["0"]
    holds = most["25"] <= 0.1 * start, least["25"] >= 0.9 * start
    return _share(sum(holds), 2) if any(holds) else "failed", (
        f"with 25 % of the channels removed, the class falls from {start:g} to {most['25']:g} % most important first, "
        f"and stands at {least['25']:g} % least important first"
    )


def balance_keeps_more(paper, network):
    """Whether pruning after the balance keeps more of the other classes than before it, in the released log.

    Reproduced: for both layers together and for each layer alone, with the class lost each time. Partial: it keeps more
    each time, but the class comes back where one layer is pruned alone. Failed: otherwise.
    """
    rest, own = (printed(paper, "imagenet_pruning", f"{part}_accuracy") for part in ("rest", "class"))
    pairs = [(f"{network}_before{layer}", f"{network}_after{layer}") for layer in ("", "_first", "_second")]
    gains = [rest[after] - rest[before] for before, after in pairs]
    back = [own[after] for _, after in pairs if own[after] > 0]
    word = "failed" if min(gains) <= 0 else "partial" if back else "reproduced"
    again = f", but the class is back at up to {max(back):.2f} where one layer is pruned alone" if back else ""
    return word, f"{', '.join(f'{gain:+.3f}' for gain in gains)} on the rest (both layers, first, second){again}"


def _share(count, total):
    return "reproduced" if count == total else "partial" if 2 * count >= total else "failed"


PRINTED = ("mufac", "mucac")
RELEASED = ("mufac_released", "mucac_released", "young_released")
BENCHMARK = tuple(f"{task}_benchmark" for task in ("mufac", "mucac", "gender", "smiling", "young"))
DECIDES = {
    "final_scores_follow.printed": lambda paper: final_scores_follow(paper, *PRINTED),
    "final_scores_follow.released": lambda paper: final_scores_follow(paper, *RELEASED),
    "final_scores_follow.benchmark": lambda paper: final_scores_follow(paper, *BENCHMARK),
    "gli_best_final_score.printed": lambda paper: best_final_score(paper, *PRINTED),
    "gli_best_final_score.released": lambda paper: best_final_score(paper, *RELEASED),
    **{f"js_measures_forgetting.{table}": partial(js_measures, table=table) for table in RELEASED},
    "cost_below_five_percent": cheaper_than_a_twentieth,
    **{
        f"balanced_methods.{m}": partial(balanced, method=m) for m in ("hybrid", "prune_last_layer", "activation_reset")
    },
    "low_forget_accuracy_is_not_forgetting.printed": low_forget_accuracy,
    **{f"agedb_against_cifar.{part}": partial(differs_on_agedb, part=part) for part in ("agedb", "cifar")},
    **{f"importance_order.{network}": partial(importance_order, network=network) for network in ("alexnet", "vgg13")},
    **{f"balance_helps.{network}": partial(balance_keeps_more, network=network) for network in ("resnet18", "vgg13")},
}
