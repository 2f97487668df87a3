"""Sphinx extension: pages that are made from the papers' data, the records, and the executed notebooks.

{reported-and-reproduced}  every printed number beside ours
{claims}                   every claim in words; {claims} PAPER those of one paper
{fidelity-notes} 09 13     the fidelity notes of these chapters
{runs}                     the runs that the book renders
"""

import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from mdit_py_plugins.anchors.index import slugify
from sphinx.errors import ExtensionError

from mulib import InputError
from mulib.press.chapters import number
from mulib.press.record import Record
from mulib.press.runs import find_notebooks, staged
from mulib.press.verdicts import ARITHMETIC, FULL, RULES, SMALLER, VERDICTS, judge_papers
from mulib.show.glue import format_value, glued

COLOURS = {"reproduced": "success", "partial": "warning", "failed": "danger", "not attempted": "muted"}
COLOURS |= dict.fromkeys(SMALLER.values(), "info")


def reported_page(root):
    """Return the Markdown of the papers' numbers beside ours, attempted papers first.

    Raises InputError when not one of them was compared with a run.
    """
    by_paper = {}
    for paper, table, found in judge_papers(root):
        if "rows" in table:
            by_paper.setdefault(paper["paper"], (paper, []))[1].append((table, found))
    papers = sorted(by_paper.values(), key=lambda each: all(table["notebook"] is None for table, _ in each[1]))
    every = [item for _, tables in papers for _, found in tables for item in found]
    if not any(item.record for item in every):
        raise InputError("book/reported was compared with no run at all; run the notebooks, or record their runs")
    parts = [_counted(every, "Numbers"), "How a number is judged:"]
    parts.append("\n".join(f"- *{name}*: {rule}." for name, rule in RULES.items()))
    for paper, tables in papers:
        parts += [f"## {paper['title']}\n\n{{cite:t}}`{paper['paper']}`\n", *(_table(*each) for each in tables)]
    return "\n\n".join(parts)


def claims_page(root, wanted=None):
    """Return the Markdown of every claim in words, its verdict and where the evidence stands; of one paper, or of all.

    The page of all opens with what is decided in the papers' own settings. Raises InputError for an unknown paper.
    """
    by_paper = {}
    for paper, claim, found in judge_papers(root):
        if wanted in (None, paper["paper"]) and "rows" not in claim:
            by_paper.setdefault(paper["paper"], (paper, []))[1].append((claim, *found))
    if not by_paper:
        raise InputError(f"book/reported has no paper {wanted!r}")
    if wanted is not None:
        return _claims(root, by_paper[wanted][1])
    every = [(claim, item) for _, claims in by_paper.values() for claim, item in claims]
    decided = sorted(
        ((claim, item) for claim, item in every if item.verdict in FULL), key=lambda each: FULL.index(each[1].verdict)
    )
    parts = ["## What holds in the papers' own settings", _claims(root, decided)]
    for paper, claims in by_paper.values():
        parts += [f"## {paper['title']}", f"{{cite:t}}`{paper['paper']}`", _claims(root, claims)]
    return "\n\n".join([_counted([item for _, item in every], "Claims"), *parts])


def _claims(root, judged):
    """Return the table of (claim, Verdict) pairs; a claim stands once, beside the first of its settings."""
    rows, above = [], (None, None)
    for claim, item in judged:
        here = item.row, claim["source"]
        words, where = ("" if same == that else _text(same) for same, that in zip(here, above, strict=True))
        said, above = [words, _text(item.column), where if not words else _text(claim["source"])], here
        rows.append([*said, f"{_badge(item.verdict)} {_text(item.reason)}", _evidence(root, claim, item)])
    return _pipe_table(["claim", "setting", "where", "verdict", "evidence"], rows)


def fidelity_page(root, numbers):
    """Return the fidelity notes of chapters, such as "09 13", as they stand there, with their numbers filled in."""
    parts = []
    for notebook in map(Path, find_notebooks(root, numbers.split())):
        path = staged(root, notebook.stem)
        cells = json.loads(notebook.read_bytes())["cells"]
        values = glued(json.loads(path.read_bytes())) if path.exists() else {}
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        found = re.search(r"^## Fidelity notes\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        if found is None:
            raise InputError(f"{notebook.name} has no section *Fidelity notes*")
        note = found[1]
        for name in set(re.findall(r"\{glue:text\}`([^`]+)`", note)):
            note = note.replace(f"{{glue:text}}`{name}`", _text(values.get(name, (None, "–"))[1]))
        title = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
        parts.append(f"### Chapter {_link(notebook.stem, number(notebook.stem))}: {title}\n{note}")
    return "\n\n".join(parts)


def _seconds(record, name):
    found = record.came_out["timings"].get(name)
    return "–" if found is None else f"{found:.0f} s"


def runs_page(root):
    """Return the Markdown of the runs that the book renders: what, when, how long, from what, on what."""
    records = [Record.read(path) for name in find_notebooks(root) if (path := _record_path(root, name)).exists()]
    rows = [
        [
            _link(record.asked["notebook"]),
            _text(record.asked["tier"]),
            _text(record.asked["seed"]),
            *(_seconds(record, name) for name in ("seconds", "processor_seconds")),
            f"{record.came_out['peak_memory_mb']:.0f} MB",
            _text(record.came_from["started"]).replace("T", " ").removesuffix("+00:00") + " UTC",
            _commit(record),
        ]
        for record in records
    ]
    head = ["notebook", "tier", "seed", "run time", "processor time", "peak memory", "started", "commit"]
    return "\n\n".join([_pipe_table(head, rows), *_machines(records)])


def _table(table, found):
    columns = table["columns"]
    lines = [f"### {_text(table['source'])}", _text(table["caption"])]
    if table["notebook"] is None:
        lines.append(f"{_badge('not attempted')} {_text(table['reason'])}")
        head = ["", *(_column(column) for column in columns.values())]
        rows = [
            [_text(row["label"]), *(_text(row["values"].get(column, "–")) for column in columns)]
            for row in table["rows"].values()
        ]
        return "\n\n".join([*lines, _folded(f"The {len(found)} reported numbers", _pipe_table(head, rows))])
    runs = dict.fromkeys(_speaks(item) for item in found if item.record)
    rows = [
        [
            _text(item.row) if item.row != above else "",
            _column(columns[item.column]),
            _text(item.printed),
            _decimals(item.ours, item.printed) + _spread(item),
            _decimals(item.difference, item.printed, sign="+"),
            f"{_badge(item.verdict)} {_text(item.reason)}",
            *([_run(item.record)] if len(runs) > 1 else []),
        ]
        for above, item in zip([None, *(item.row for item in found)], found, strict=False)
    ]
    head = ["", "quantity", "reported", "ours", "difference", "verdict", *(["run"] if len(runs) > 1 else [])]
    speaks = "".join(f" Ours: {each}." for each in runs)
    return "\n\n".join([*lines, f"Judged by *{table['agreement']}*.{speaks}", _pipe_table(head, rows)])


def _speaks(item):
    """Say which run speaks, of what kind it is, and what was smaller in it than in the paper."""
    smaller = f"; smaller: {_text(item.smaller)}" if item.smaller else ""
    return f"{_text(item.evidence)} ({_run(item.record)}){smaller}"


def _evidence(root, claim, item):
    """Return a link to the section of the notebook that records the claim, and what speaks; "–" where nothing does."""
    if item.evidence == ARITHMETIC:
        return "arithmetic on the [printed numbers](reported_and_reproduced.md)"
    if item.record is None:
        return "–"
    (path,) = find_notebooks(root, [claim["notebook"]])
    heading = found = None
    for cell in json.loads(Path(path).read_bytes())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = (re.findall(r"^##+ (.+)$", source, re.MULTILINE) or [heading])[-1]
        elif (
            claim.get("glued", claim["id"].rpartition(".")[2]) in source
        ):  # where it is named last, the verdict is given
            found = heading
    anchor = f"#{slugify(found)}" if found else ""
    return f"[{_text(found or claim['notebook'])}](../notebooks/{claim['notebook']}.ipynb{anchor}); {_speaks(item)}"


def _machines(records):
    """Return one sentence per machine and set of versions that the runs used."""
    seen = {}
    for record in records:
        hardware, versions = record.came_from["hardware"], record.came_from["versions"]
        packages = ", ".join(f"{name} {version}" for name, version in versions.items())
        text = (
            f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB of memory, "
            f"{hardware['gpu'] or 'no GPU'}; {packages}."
        )
        seen.setdefault(text, []).append(record.asked["notebook"])
    return [f"**{_text(', '.join(names))}** ran on: {_text(text)}" for text, names in seen.items()]


def _counted(items, what):
    counts = Counter(item.verdict for item in items)
    numbers = ", ".join(f"{_badge(verdict)} {counts[verdict]}" for verdict in VERDICTS)
    return f"{what} on this page: {numbers}."


def _run(record):
    if record is None:
        return "–"
    asked = record.asked
    link = _link(asked["notebook"], number(asked["notebook"]))
    return f"{link}, {_text(asked['tier'])}, seed {_text(asked['seed'])}, {_commit(record)}"


def _commit(record):
    commit = record.came_from["commit"]
    if commit is None:
        return "not committed"
    return (f"`{commit[:7]}`" if re.fullmatch("[0-9a-f]+", commit) else _text(commit)) + (
        " with changes" if record.came_from["dirty"] else ""
    )


def _link(notebook, text=None):
    return f"[{_text(text or notebook)}](../notebooks/{quote(notebook)}.ipynb)"


def _record_path(root, notebook):
    return staged(root, Path(notebook).stem).with_suffix(".json")


def _decimals(value, printed, sign=""):
    """Return `value` with one decimal more than what was printed, so that a reader sees how close it is."""
    if value is None:
        return "–"
    places = len(re.sub(r"[^\d.]", "", printed.split("±")[0]).partition(".")[2])
    return format_value(value, f"{sign}.{places + 1}f").replace("-", "−")


def _spread(item):
    return "" if item.spread is None else f"\u00a0±\u00a0{_decimals(item.spread, item.printed)}"


def _column(column):
    unit = column.get("unit")
    return _text(column["label"] + (f" ({unit})" if unit else ""))


def _badge(verdict):
    return f"{{bdg-{COLOURS[verdict]}}}`{verdict}`"


def _text(text):
    """Return `text`, whoever wrote it, as one line that Markdown shows as it is in a table's cell."""
    return re.sub(r"([|*_`$\[\]<>\\{}&])", r"\\\1", " ".join(str(text).split()))


def _pipe_table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _folded(title, content):
    return f":::{{dropdown}} {title}\n{content}\n:::"


MADE = {
    "reported-and-reproduced": reported_page,
    "claims": claims_page,
    "fidelity-notes": fidelity_page,
    "runs": runs_page,
}
_DIRECTIVE = re.compile(rf"^```\{{({'|'.join(MADE)})\}} *(.*)\n```$", re.MULTILINE)


def fill(app, docname, source):
    """Put what `MADE` makes in the place of its empty directive, before the page is parsed."""

    def made(match):
        app.env.note_reread()  # records change without the page's source changing
        try:
            return MADE[match[1]](Path(app.srcdir), *filter(None, [match[2].strip()]))
        except InputError as error:
            raise ExtensionError(str(error)) from None

    source[0] = _DIRECTIVE.sub(made, source[0])


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("source-read", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
