"""Reported against reproduced: what a paper prints, beside what our runs gave, with a verdict and its reason.

The papers' numbers are `book/reported/*.yml`; ours are the metrics of records, named TABLE.ROW.COLUMN.
"""

import json
import math
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path

import yaml

from mulib.errors import InputError
from mulib.files import replace
from mulib.press.record import Record
from mulib.press.runs import staged

ACCEPTED = "book/reported/accepted.json"
VERDICTS = ("reproduced", "partial", "failed", "not attempted")
RULES = {
    "digits": "recomputed from the authors' own files: reproduced when our value, rounded or cut to the printed "
    "digits, is the printed number; partial when it is within one spread of it; failed otherwise",
    "spread": "a new experiment: reproduced when the printed number is within two of our spreads (standard "
    "deviations over models or seeds), partial within four, failed otherwise; without a spread the digits decide",
}


@dataclass(frozen=True)
class Comparison:
    """One printed number or claim beside ours. `ours`, `spread`, `difference` and `record` are None where unknown."""

    row: str
    column: str
    printed: str
    verdict: str
    reason: str
    ours: float | None = None
    spread: float | None = None
    difference: float | None = None
    record: Record | None = None


def read_papers(root):
    """Return the papers of `book/reported`, in the order of their files' names."""
    return [read_paper(path) for path in sorted((Path(root) / "book" / "reported").glob("*.yml"))]


def read_paper(path):
    """Return the paper of a file of `book/reported`; raise InputError where it does not follow the schema."""
    paper = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    for table in paper.get("tables", []):
        where = f"{Path(path).name}: table {table.get('id')!r}"
        _need(where, table, "id caption source agreement columns rows notebook")
        if table["agreement"] not in RULES:
            raise InputError(f"{where} has agreement {table['agreement']!r}; it must be one of {', '.join(RULES)}")
        for key, row in table["rows"].items():
            for column, printed in row["values"].items():
                if column not in table["columns"] or not isinstance(printed, str):
                    raise InputError(f"{where}, row {key!r}: {column}={printed!r} must be text of a known column")
    for claim in paper.get("claims", []):
        _need(f"{Path(path).name}: claim {claim.get('id')!r}", claim, "id text source notebook")
    return paper


def read_records(root, notebook):
    """Return the records that speak for a notebook, the first word first.

    That is a committed run of the paper tier (book/results), then the run that the book renders, then any other
    committed run.
    """
    committed = [Record.read(path) for path in sorted((Path(root) / "book" / "results").glob("*.json"))]
    committed = [record for record in committed if record.asked["notebook"] == notebook]
    path = staged(root, notebook).with_suffix(".json")
    rendered = [Record.read(path)] if path.exists() else []
    full = [record for record in committed if record.asked["tier"] == "paper"]
    return [*full, *rendered, *(record for record in committed if record not in full)]


def compare_table(table, records):
    """Return a Comparison for each printed number of `table`, from the first of `records` that holds it.

    Raises InputError when a notebook is named and not one number could be compared: such a table checks nothing.
    """
    found = []
    for key, row in table["rows"].items():
        for column, printed in row["values"].items():
            name = f"{table['id']}.{key}.{column}"
            found.append(_compare_number(table, row["label"], column, printed, name, records))
    if table["notebook"] and records and not any(comparison.record for comparison in found):
        raise InputError(
            f"no record of {table['notebook']} holds a number of {table['id']}, such as {name}; glue it there, "
            "or run the tier that has it"
        )
    return found


def compare_claim(claim, records):
    """Return the Comparison of a claim in words; its verdict is what the notebook recorded as claim.ID."""
    name = f"claim.{claim['id']}"
    record = _holder(records, name)
    if record is None:
        return Comparison(claim["text"], "", "", "not attempted", _why_not(claim))
    verdict = record.metrics[name]
    if verdict not in VERDICTS:
        raise InputError(f"{claim['notebook']} recorded {name} = {verdict!r}; it must be one of {', '.join(VERDICTS)}")
    return Comparison(claim["text"], "", "", verdict, record.metrics.get(f"{name}.reason", ""), record=record)


@dataclass(frozen=True)
class Verdict:
    """One number or claim as `mulib report` lists it. `id` is TABLE.ROW.COLUMN, or claim.ID."""

    paper: str
    id: str
    text: str
    verdict: str
    reason: str
    notebook: str | None
    judged: bool  # by a run of the quick or the paper tier: in smoke, a verdict means nothing


def report(root):
    """Return the Verdict of every printed number and every claim of the papers in `book/reported`, in their order."""
    return [item for paper in read_papers(root) for item in _report(root, paper)]


def _report(root, paper):
    for entry in [*paper.get("tables", []), *paper.get("claims", [])]:
        records = read_records(root, entry["notebook"]) if entry["notebook"] else []
        records = [record for record in records if record.asked["tier"] != "smoke"]
        if "rows" in entry:
            keys = [f"{entry['id']}.{key}.{column}" for key, row in entry["rows"].items() for column in row["values"]]
            found = compare_table(entry, records)
        else:
            keys, found = [f"claim.{entry['id']}"], [compare_claim(entry, records)]
        for key, item in zip(keys, found, strict=True):
            text = f"{item.row}, {entry['columns'][item.column]['label']}: {item.printed}" if item.column else item.row
            yield Verdict(paper["paper"], key, text, item.verdict, item.reason, entry["notebook"], bool(records))


def regressed(verdicts, before):
    """Return those of `verdicts` that were reproduced in `before`, {id: verdict}, and no longer are.

    What no run on this machine has judged is not among them, and what the papers' data no longer holds is.
    """
    now = {item.id: item for item in verdicts}
    good = [key for key, verdict in before.items() if verdict == "reproduced"]
    gone = [Verdict("", key, "", "not attempted", "book/reported no longer has it", None, True) for key in good]
    found = [now.get(key, lost) for key, lost in zip(good, gone, strict=True)]
    return [item for item in found if item.judged and item.verdict != "reproduced"]


def read_accepted(root):
    """Return {id: verdict} as last accepted; empty when nothing was."""
    path = Path(root) / ACCEPTED
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON ({error}); restore it, or write it anew with `mulib report --accept`"
        ) from None


def accept(root, verdicts):
    """Make `verdicts` those that later ones are held against; those not judged here keep what was accepted before."""
    before = read_accepted(root)
    kept = {item.id: item.verdict if item.judged else before.get(item.id) for item in verdicts}
    text = json.dumps({key: verdict for key, verdict in sorted(kept.items()) if verdict}, indent=1)
    replace(Path(root) / ACCEPTED, (text + "\n").encode())


def judge(printed, ours, spread=None, agreement="digits"):
    """Return (verdict, reason) for a printed number (text) and ours, by the rule RULES[agreement].

    judge("0.53", 0.534) is ("reproduced", "same digits, rounded").
    """
    target = number(printed)
    how = {text: way for way, text in _to_digits(ours, _bare(printed)).items()}.get(_bare(printed))
    difference = abs(ours - target) if math.isfinite(ours) and math.isfinite(target) else math.inf
    if how and (agreement == "digits" or spread is None):
        return "reproduced", f"same digits, {how}"
    if spread is None or not math.isfinite(spread):
        return "failed", "other digits, spread unknown"
    limits = {"reproduced": 2, "partial": 4} if agreement == "spread" else {"partial": 1}
    for verdict, limit in limits.items():
        if difference <= limit * spread:
            return verdict, f"within {limit} {'spreads' if limit > 1 else 'spread'}"
    return "failed", f"off by {difference / spread:.1f} spreads" if spread > 0 else "differs, and the spread is zero"


def number(text):
    """Return the number of a printed text: "94.58", "−0.3", "99.2%", "∞", "0.53 ± 0.02" (its first part)."""
    try:
        return float(_bare(text))
    except ValueError:
        raise InputError(f"{text!r} is not a printed number") from None


def _bare(text):
    first = text.split("±")[0].strip().removesuffix("%").strip()
    return first.replace("−", "-").replace("∞", "inf").replace(",", "")


def _to_digits(value, printed):
    """Return `value` written with as many decimals as `printed`, by the way it got there: cut, or rounded."""
    if not math.isfinite(value):
        return {"as it is": str(value)}
    step = Decimal(1).scaleb(-len(printed.partition(".")[2]))
    ways = {"cut": ROUND_DOWN, "rounded half to even": ROUND_HALF_EVEN, "rounded": ROUND_HALF_UP}
    return {way: str(Decimal(repr(value)).quantize(step, mode)) for way, mode in ways.items()}


def _compare_number(table, label, column, printed, name, records):
    record = _holder(records, name)
    if record is None:
        return Comparison(label, column, printed, "not attempted", _why_not(table))
    ours = float(record.metrics[name])
    spread = record.metrics.get(f"{name}.spread")
    spread = None if spread is None else float(spread)
    verdict, reason = judge(printed, ours, spread, table["agreement"])
    return Comparison(label, column, printed, verdict, reason, ours, spread, ours - number(printed), record)


def _holder(records, name):
    return next((record for record in records if name in record.metrics), None)


def _why_not(entry):
    if entry["notebook"] is None:
        return entry.get("reason", "")
    return "our runs do not hold it"


def _need(where, entry, keys):
    missing = [key for key in keys.split() if key not in entry]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}")
    if entry["notebook"] is None and not entry.get("reason"):
        raise InputError(f"{where} names no notebook and so needs a reason")
