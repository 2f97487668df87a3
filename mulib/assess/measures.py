"""What an experiment shows: a dict of measures per original for each row, as tables and as numbers that pages quote."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mulib import files, show
from mulib.assess.plan import GIVEN, Plan
from mulib.errors import InputError, refusing
from mulib.show.glue import jsonable

AGAIN = "null"  # the other retrained models, as a row
MEASURES = {  # in the order of the published names, which are those of `book/reported`
    **{"test": "test_accuracy", "top2": "top2_accuracy", "forgetting score": "forgetting_score"},
    **{"final score": "final_score", "JS distance": "js_distance", "retain": "retain_accuracy"},
    **{"forget": "forget_accuracy", "unseen": "unseen_accuracy", "forget gap": "forget_gap", "test gap": "test_gap"},
    **{"distance": "distance", "activation": "activation", "attack": "attack", "TPR": "tpr", "ZRF": "zrf"},
    **{"cost": "cost", "factor": "factor", "ε̂": "epsilon", "lower bound": "epsilon_lower"},
    **{"upper bound": "epsilon_upper", "worst decile": "epsilon_worst", "told apart": "told_apart"},
    **{"recovered": "recovered", "label probe": "label_probe", "membership probe": "membership_probe"},
}

PRINTED = ("test", "top2", "unseen", "forgetting score", "final score", "JS distance")  # what GLI's tables have


class Results:
    """Tables and glued numbers of the measures of a `plan`. Who inherits has `measures`, `chosen` and `trials`.

    The measures of a row are means over its models from one original:

    - "retain", "forget", "test", "unseen", "top2": accuracy (or absolute error of values), `top2` on the test set;
    - "forget gap", "test gap": minus that of the reference, the retrained models; "distance": the larger one, unsigned;
    - "attack", "forgetting score", "TPR", "JS distance": of the losses of the forget set against the unseen set, and
      "final score" with the test accuracy, as in `audit`;
    - "activation": activation distance to the reference on the forget set; "ZRF": against a network without an opinion;
    - "cost": seconds over those of the reference; "factor": the multiple of the row's rates;
    - with two models or more "ε̂", "lower bound", "upper bound" (medians over the examples), "worst decile", and "told
      apart", the share of examples with a certified ε above 0.

    - of a plan with `audits`, "recovered", "label probe" and "membership probe", as in `audit`.

    A number that a row cannot have is left out.
    """

    plan: Plan

    def measures(self, row: str, variant: str = GIVEN) -> list[dict[str, float]]:
        """One dict per original whose models are all there, by the names above."""
        raise NotImplementedError

    @property
    def chosen(self) -> dict[str, float]:
        """{row: the multiple of its rates}."""
        raise NotImplementedError

    @property
    def trials(self) -> dict[str, dict[float, dict[str, float]]]:
        """{row: {factor: its scores on the spare original}}: "validation", by which is chosen, "careless", the same
        with the validation data as they are for non-members, and "reported", the final score on the data that is
        reported. −∞ where the loss was not finite."""
        raise NotImplementedError

    @property
    def order(self) -> tuple[str, ...]:
        """The originals, the plan's rows by family, the null row, and the oracle."""
        families = list(dict.fromkeys(self.plan.method(row).family for row in self.plan.methods))
        ordered = sorted(self.plan.methods, key=lambda row: families.index(self.plan.method(row).family))
        return "original", *ordered, AGAIN, "retrained"

    def column(self, row: str, measure: str, variant: str = GIVEN) -> list[float]:
        """One measure per original, where the row has it."""
        return [each[measure] for each in self.measures(row, variant) if measure in each]

    def mean(self, row: str, measure: str, variant: str = GIVEN) -> float:
        """Over the originals; NaN where there is none."""
        values = self.column(row, measure, variant)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, row: str, measure: str, variant: str = GIVEN) -> float:
        """Standard deviation over the originals; NaN for fewer than two."""
        values = self.column(row, measure, variant)
        return statistics.stdev(values) if len(values) > 1 else math.nan

    def cell(self, row: str, measure: str, format_spec: str = ".2f", variant: str = GIVEN) -> str:
        """Mean ± standard deviation over the originals; where a value is infinite, the median. "interval" is the mean
        lower bound and the median upper bound of ε."""
        if measure == "interval":
            low, high = (self.column(row, f"{side} bound", variant) for side in ("lower", "upper"))
            if not low:
                return "–"
            high = statistics.median(high)
            return f"{statistics.fmean(low):{format_spec}} … {'∞' if high > 99 else f'{high:{format_spec}}'}"
        values = self.column(row, measure, variant)
        return f"× {values[0]:g}" if measure == "factor" and values else written(values, format_spec)

    def table(
        self,
        columns: Mapping[str, str | tuple[str, str]],
        caption: str = "",
        variant: str = GIVEN,
        *,
        rows: Iterable[str] | None = None,
        numbered: bool = False,
    ):
        """A table of means ± standard deviations over the originals.

        Args:
            columns: {heading: a measure, or (measure, format)}.
            rows: which, in the order of `order`; by default all. The null row and the oracle are always among them.
            numbered: whether titles begin with the row's number in the plan.
        """
        wanted = None if rows is None else {*rows, AGAIN, "retrained"}
        numbers = {row: f"{n} " for n, row in enumerate(self.plan.methods, 1)} if numbered else {}
        lines = []
        for row in (row for row in self.order if wanted is None or row in wanted):
            line = {"network": numbers.get(row, "") + self.plan.title(row)}
            for head, what in columns.items():
                measure, how = (what, ".2f") if isinstance(what, str) else what
                line[head] = self.cell(row, measure, how, variant)
            lines.append(line)
        return show.table(lines, caption)

    def glue(self, prefix: str, variant: str = GIVEN, *, rows: Mapping[str, str] | None = None, measures=None) -> None:
        """Publish ``PREFIX.ROW.MEASURE`` (the mean), its ``.spread`` (where there are two originals or more) and its
        ``.shown`` (both as text), by the names of `MEASURES`.

        Args:
            rows: {row: the name it is published by}; by default all, by their own.
            measures: some of `MEASURES`, or {measure: its format}; by default those of `PRINTED`.
        """
        for row, name in (rows or {row: row for row in self.order}).items():
            for measure in measures or PRINTED:
                values = self.column(row, measure, variant)
                if values:
                    where, digits = f"{prefix}.{name}.{MEASURES[measure]}", "+.2f" if measure.endswith("gap") else ".2f"
                    digits = measures[measure] if isinstance(measures, Mapping) else digits
                    show.glue(where, self.mean(row, measure, variant), digits)
                    show.glue(f"{where}.shown", self.cell(row, measure, digits, variant))
                    if len(values) > 1 and all(map(math.isfinite, values)):
                        show.glue(f"{where}.spread", self.deviation(row, measure, variant), ".2f")

    def record(self, folder: Path | str) -> list[Path]:
        """Write the measures, one small JSON file per original, into `folder`: evidence that can be committed."""
        paths = []
        for place in range(max(len(self.measures("original", variant)) for variant in self.plan.variants)):
            found = {
                v: {row: self.measures(row, v)[place : place + 1] for row in self.order} for v in self.plan.variants
            }
            content = {"original": place, "plan": self.plan.as_dict(), "measures": found, "chosen": self.chosen}
            content |= {"trials": {row: list(each.items()) for row, each in self.trials.items()}}
            paths.append(Path(folder) / f"{place}.json")
            text = json.dumps(jsonable(content), indent=1, ensure_ascii=False, allow_nan=False)
            files.replace(paths[-1], (text + "\n").encode())
        return paths


def written(values: Sequence[float], format_spec: str = ".2f") -> str:
    """Mean ± standard deviation over the originals; where a value is infinite, the median."""
    if not values or all(map(math.isfinite, values)):
        return show.spread(values, format_spec) if values else "–"
    middle = statistics.median(values)
    return f"{middle:{format_spec}}" if math.isfinite(middle) else "∞" if middle > 0 else "–"


def beyond(values: Sequence[float], others: Sequence[float]) -> tuple[float, int]:
    """The difference of two means over networks, and whether it is more than two spreads (the larger of the two
    standard deviations): 1 above, −1 below, 0 where it is not. NaN and 0 where a side has nothing.

    >>> beyond([0.5, 0.6], [0.1, 0.2])[1]
    1
    """
    if not len(values) or not len(others):
        return math.nan, 0
    difference = statistics.fmean(values) - statistics.fmean(others)
    noise = 2 * max(statistics.stdev(side) if len(side) > 1 else math.inf for side in (values, others))
    return difference, (difference > noise) - (difference < -noise)


@dataclass(frozen=True)
class Recorded(Results):
    """What `Results.record` wrote, read again: `parts` are the files, one per original."""

    plan: Plan
    parts: tuple[dict, ...]

    def measures(self, row: str, variant: str = GIVEN) -> list[dict[str, float]]:
        """As `Results.measures`."""
        each = (part["measures"].get(variant, {}).get(row, []) for part in self.parts)
        return [{name: float(value) for name, value in one.items()} for found in each for one in found]

    @property
    def chosen(self) -> dict[str, float]:
        """As `Results.chosen`."""
        return self.parts[0]["chosen"]

    @cached_property
    def trials(self) -> dict[str, dict[float, dict[str, float]]]:
        """As `Results.trials`."""
        found = self.parts[0]["trials"].items()
        return {row: {f: {k: float(v) for k, v in scores.items()} for f, scores in each} for row, each in found}


def read(folder: Path | str) -> Recorded:
    """The recorded measures in `folder`, as `mulib assess NAME --record FOLDER` writes them.

    Raises:
        InputError: there are none, or one is damaged.
    """
    plans, parts = [], []
    for path in sorted(Path(folder).glob("*.json")):
        with refusing(str(path), "expected what `mulib assess NAME --record` wrote"):
            parts.append(json.loads(path.read_text(encoding="utf-8")))
            plans.append(Plan.of(parts[-1]["plan"]))
    if not parts:
        raise InputError(f"{folder} holds no recorded measures: write them with `mulib assess NAME --record {folder}`.")
    return Recorded(plans[-1], tuple(parts))
