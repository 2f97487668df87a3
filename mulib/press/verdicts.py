"""Reported against reproduced: what a paper says, beside what we have, with a verdict, its evidence and its reason.

The papers' numbers and claims are `book/reported/*.yml`; ours are the metrics of records, TABLE.ROW.COLUMN and
claim.ID. A verdict is about the paper's statement, so *reproduced*, *partial* and *failed* need a run of the paper tier
on the paper's data, the authors' published files, or arithmetic on what they print. Whatever a smaller run found is
translated: it agrees, disagrees or is open, and says what was smaller.
"""

import json
import math
from dataclasses import asdict, dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path

import yaml

from mulib.errors import InputError
from mulib.files import replace
from mulib.press import arithmetic
from mulib.press.record import Record
from mulib.press.runs import find_notebooks, parameters_of, staged

ACCEPTED = "book/reported/accepted.json"
FULL = ("reproduced", "partial", "failed")
SMALLER = dict(zip(FULL, (f"smaller setting: {word}" for word in ("agrees", "open", "disagrees")), strict=True))
VERDICTS = (*FULL, *SMALLER.values(), "not attempted")
HOLDS = ("reproduced", SMALLER["reproduced"])
RULES = {
    "digits": "recomputed from the authors' own files: reproduced when our value, rounded or cut to the printed "
    "digits, is the printed number; partial when it is within one spread of it; failed otherwise",
    "spread": "a new experiment: reproduced when the printed number is within two of our spreads (standard "
    "deviations over models or seeds), partial within four, failed otherwise; without a spread the digits decide",
}
PUBLISHED, ARITHMETIC = "published files", "arithmetic"  # what an entry's `evidence` may be, beside runs
PAPER_TIER, ON_DATA, STAND_IN, PAGE = RUNS = (  # which runs speak first
    "a run of the paper tier",
    "a committed run on the paper's data",
    "a committed run on other data",
    "this page's own run",
)


@dataclass(frozen=True)
class Evidence:
    """A record that may speak for a notebook: its kind, one of `RUNS`, and what was smaller in it than in the paper."""

    record: Record
    kind: str
    smaller: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on one printed number (`id` is TABLE.ROW.COLUMN) or claim (claim.ID, claim.ID.SETTING).

    `row` and `column` are its place in a table, or a claim and its setting. `evidence` says what speaks, `smaller` what
    was smaller in it than in the paper; both are "" where nothing speaks.
    `ours`, `spread`, `difference` and `record` are None where there is none.
    """

    paper: str
    id: str
    text: str
    verdict: str
    reason: str
    notebook: str | None
    evidence: str = ""
    smaller: str = ""
    row: str = ""
    column: str = ""
    printed: str = ""
    ours: float | None = None
    spread: float | None = None
    difference: float | None = None
    record: Record | None = None
    judged: bool = True  # whether there is a run of its notebook, or arithmetic: what was not run here is not lost

    def as_dict(self):
        """Plain values, for JSON; the record is named by what it was asked."""
        return {**asdict(self), "record": self.record and self.record.asked}


def read_papers(root):
    """Return the papers of `book/reported`, in the order of their files' names."""
    return [read_paper(path) for path in sorted((Path(root) / "book" / "reported").glob("*.yml"))]


def read_paper(path):
    """Return the paper of a file of `book/reported`, a claim per setting; raise InputError for a broken schema."""
    paper = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    paper = {"tables": [], "setting": {}, **paper, "claims": list(_by_setting(paper.get("claims", [])))}
    for table in paper["tables"]:
        where = f"{Path(path).name}: table {table.get('id')!r}"
        _need(where, paper, table, "id caption source agreement columns rows notebook")
        if table["agreement"] not in RULES:
            raise InputError(f"{where} has agreement {table['agreement']!r}; it must be one of {', '.join(RULES)}")
        for key, row in table["rows"].items():
            for column, printed in row["values"].items():
                if column not in table["columns"] or not isinstance(printed, str):
                    raise InputError(f"{where}, row {key!r}: {column}={printed!r} must be text of a known column")
    for claim in paper["claims"]:
        _need(f"{Path(path).name}: claim {claim.get('id')!r}", paper, claim, "id text source notebook")
    return paper


def _by_setting(claims):
    """Yield each claim, or one for each of its `settings`: what they do not say is taken from the claim."""
    for claim in claims:
        for key, own in claim.get("settings", {}).items():
            own = own if isinstance(own, dict) else {"text": own}
            yield {**claim, **own, "id": f"{claim['id']}.{key}", "text": claim["text"], "setting": own["text"]}
        if "settings" not in claim:
            yield claim


def _need(where, paper, entry, keys):
    if missing := [key for key in keys.split() if key not in entry]:
        raise InputError(f"{where} lacks {', '.join(missing)}")
    kind, setting = entry.get("evidence"), paper["setting"].get(entry["notebook"], {})
    if kind not in (None, PUBLISHED, ARITHMETIC):
        raise InputError(f"{where} has evidence {kind!r}; it must be {PUBLISHED!r}, {ARITHMETIC!r} or left out")
    if kind == ARITHMETIC and entry["id"] not in arithmetic.DECIDES and "rows" not in entry:
        raise InputError(f"{where} is to be decided by arithmetic; write its function in mulib/press/arithmetic.py")
    if entry["notebook"] is None and kind != ARITHMETIC and not entry.get("reason"):
        raise InputError(f"{where} names no notebook and so needs a reason")
    if entry["notebook"] and kind is None and not (setting.get("otherwise") and setting.get("smaller", True)):
        raise InputError(f"{where}: `setting` must say what a run of {entry['notebook']} below the paper tier lacks")


def read_evidence(root, paper, notebook):
    """Return the Evidence that speaks for a notebook of `paper`, the first word first, in the order of `RUNS`."""
    if notebook is None:
        return []
    committed = [Record.read(path) for path in sorted((Path(root) / "book" / "results").glob("*.json"))]
    rendered = staged(root, notebook).with_suffix(".json")
    records = [(record, True) for record in committed if record.asked["notebook"] == notebook]
    records += [(Record.read(rendered), False)] if rendered.exists() else []
    found = [_weigh(root, paper["setting"].get(notebook, {}), record, stays) for record, stays in records]
    return sorted(found, key=lambda each: RUNS.index(each.kind))


def lacks(root, record):
    """Return what was smaller in a run than in the papers that its notebook judges, "" where nothing was."""
    settings = [paper["setting"].get(record.asked["notebook"]) for paper in read_papers(root)]
    return next((_weigh(root, setting, record, False).smaller for setting in settings if setting), "")


def _weigh(root, setting, record, committed):
    """Return a record as Evidence.

    It is in the paper's setting where its tier is paper and its data the paper's, and neither the run itself (a glued
    `setting`) nor the paper's file (`paper_tier`) says what is smaller all the same.
    """
    data = record.asked["parameters"].get("dataset") or _default_data(root, record.asked["notebook"])
    on_data = data is not None and data == setting.get("data")
    in_paper_tier = on_data and record.asked["tier"] == "paper"
    lacks = "paper_tier" if in_paper_tier else "smaller" if on_data else "otherwise"
    smaller = record.metrics.get("setting") or setting.get(lacks, "" if in_paper_tier else "not the paper's setting")
    kind = PAPER_TIER if not smaller else PAGE if not committed else ON_DATA if on_data else STAND_IN
    return Evidence(record, kind, smaller)


def _default_data(root, notebook):
    """The value of the parameter `dataset` that a notebook has by itself, None where it has none."""
    try:
        (path,) = find_notebooks(root, [notebook])
    except InputError:
        return None
    return (parameters_of(path) or {}).get("dataset")


def judge_table(paper, table, evidence):
    """Return the Verdict on each printed number of `table`, from the first of `evidence` that holds it.

    Raises InputError when there is evidence and not one number could be compared: such a table checks nothing.
    """
    found = []
    for key, row in table["rows"].items():
        for column, printed in row["values"].items():
            name, text = (
                f"{table['id']}.{key}.{column}",
                f"{row['label']}, {table['columns'][column]['label']}: {printed}",
            )
            ours = spread = difference = None
            source = _holder(evidence, name)
            if source:
                ours, spread = float(source.record.metrics[name]), source.record.metrics.get(f"{name}.spread")
                spread, difference = None if spread is None else float(spread), ours - number(printed)
                word, reason = judge(printed, ours, spread, table["agreement"])
            else:
                word, reason = "not attempted", _why_not(table)
            beside = {"row": row["label"], "column": column, "printed": printed, "ours": ours, "spread": spread}
            head = paper["paper"], name, text, word, reason
            found.append(_said(*head, table, source, difference=difference, judged=bool(evidence), **beside))
    if evidence and not any(item.record for item in found):
        raise InputError(
            f"no record of {table['notebook']} holds a number of {table['id']}, such as {name}; glue it there, "
            "or run the tier that has it"
        )
    return found


def judge_claim(paper, claim, evidence):
    """Return the Verdict on a claim in words: by arithmetic, or what its notebook recorded as claim.ID."""
    name, setting = f"claim.{claim['id']}", claim.get("setting", "")
    head = paper["paper"], name, f"{claim['text']} {setting}".rstrip()
    words = {"row": claim["text"], "column": setting}
    if claim.get("evidence") == ARITHMETIC:
        word, reason = arithmetic.DECIDES[claim["id"]](paper)
        return Verdict(*head, word, reason, claim["notebook"], ARITHMETIC, **words)
    glued = f"claim.{claim['glued']}" if "glued" in claim else name
    source = _holder(evidence, glued)
    if source is None:
        return _said(*head, "not attempted", _why_not(claim), claim, None, judged=bool(evidence), **words)
    word = source.record.metrics[glued]
    if word not in (*FULL, "not attempted"):
        raise InputError(f"{claim['notebook']} recorded {glued} = {word!r}; it must be one of {', '.join(FULL)}")
    reason = source.record.metrics.get(f"{glued}.reason", "")
    return _said(*head, word, reason, claim, source, **words)


def _said(paper, name, text, word, reason, entry, source, **numbers):
    """Return the Verdict that `word` is, said by `source`: translated where something was smaller than in the paper."""
    head = (paper, name, text)
    if source is None or word == "not attempted":
        return Verdict(*head, "not attempted", reason, entry["notebook"], **numbers)
    full = entry.get("evidence") == PUBLISHED or not source.smaller
    kind, smaller = (PUBLISHED, "") if entry.get("evidence") == PUBLISHED else (source.kind, source.smaller)
    word = word if full else SMALLER[word]
    return Verdict(*head, word, reason, entry["notebook"], kind, smaller, record=source.record, **numbers)


def _holder(evidence, name):
    return next((each for each in evidence if name in each.record.metrics), None)


def _why_not(entry):
    return entry.get("reason", "") if entry["notebook"] is None else "our runs do not hold it"


def judge_papers(root, smoke=True):
    """Yield (paper, entry, its verdicts) for every table and claim of `book/reported`; smoke runs speak if asked."""
    for paper in read_papers(root):
        for entry in [*paper["tables"], *paper["claims"]]:
            evidence = read_evidence(root, paper, entry["notebook"])
            evidence = [each for each in evidence if smoke or each.record.asked["tier"] != "smoke"]
            is_table = "rows" in entry
            found = judge_table(paper, entry, evidence) if is_table else [judge_claim(paper, entry, evidence)]
            yield paper, entry, found


def report(root):
    """Return the Verdict on every printed number and every claim of the papers, in their order; smoke runs are mute."""
    return [item for _, _, found in judge_papers(root, smoke=False) for item in found]


def regressed(verdicts, before):
    """Return those of `verdicts` that held in `before`, {id: verdict}, in whatever setting, and no longer do.

    What no run on this machine has judged is not among them, and what the papers' data no longer holds is.
    """
    now = {item.id: item for item in verdicts}
    held = [key for key, verdict in before.items() if verdict in HOLDS]
    gone = "book/reported no longer has it"
    found = [now.get(key) or Verdict("", key, "", "not attempted", gone, None) for key in held]
    return [item for item in found if item.judged and item.verdict not in HOLDS]


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
