"""A method of one's own, judged: its contract, and its row beside finetuning and retraining, as text and as a card."""

from __future__ import annotations

import html
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from mulib import files, unlearn
from mulib.assess.measures import Results, beyond
from mulib.assess.plan import Plan, recipes
from mulib.assess.run import run
from mulib.errors import InputError
from mulib.recipe import Recipe
from mulib.text import aligned
from mulib.unlearn import contract

COLUMNS = {
    "retain": ("retain", ".2f"),
    "forget": ("forget", ".2f"),
    "test": ("test", ".2f"),
    "forgetting score": ("forgetting score", ".2f"),
    "recovered": ("recovered", ".2f"),
    "label probe": ("label probe", ".2f"),
    "membership probe": ("membership probe", ".2f"),
    "cost": ("cost", ".2f"),
}
ASKED = ("forget", "test", "recovered", "label probe", "membership probe")  # each against the retrained models
NOTE = (
    "Digits, a part of them with wrong labels, which are to be forgotten; two originals, each method at its own default"
    " recipe; mean ± standard deviation over originals."
)


@dataclass(frozen=True)
class Judgement:
    """What came out for one method.

    Attributes:
        broken: {promise: what was found}, of `contract.PROMISES`; empty where the contract holds.
        results: the small experiment; None where the contract does not hold.
    """

    method: unlearn.Method
    broken: dict[str, str]
    results: Results | None

    @property
    def apart(self) -> list[str]:
        """The measures by which the method is told from retraining: means that differ by more than two spreads."""
        if self.results is None:
            return []
        pairs = {name: [self.results.column(row, name) for row in (self.method.name, "retrained")] for name in ASKED}
        return [name for name, sides in pairs.items() if beyond(*sides)[1]]

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.broken:
            return f"{self.method.title} breaks {len(self.broken)} of {len(contract.PROMISES)} promises."
        told = f"is told from retraining by {', '.join(self.apart)}" if self.apart else "is not told from retraining"
        return f"{self.method.title} keeps all {len(contract.PROMISES)} promises, and {told}."

    def __str__(self) -> str:
        lines = [("✗" if name in self.broken else "✓", name) for name in contract.PROMISES]
        text = aligned(lines) + "".join(f"\n\n{name}:\n    {found}" for name, found in self.broken.items())
        return text + (f"\n\n{self.results.table(COLUMNS)}\n{NOTE}" if self.results else "") + f"\n\n{self.verdict}"

    def card(self) -> str:
        """A page of HTML that stands alone."""
        say = html.escape
        promises = "".join(
            f"<li>{'✗' if name in self.broken else '✓'} {say(name)}"
            f"{': ' + say(self.broken[name]) if name in self.broken else ''}</li>"
            for name in contract.PROMISES
        )
        table = f"{self.results.table(COLUMNS)._repr_html_()}<p>{say(NOTE)}</p>" if self.results else ""
        return CARD.format(title=say(self.method.title), verdict=say(self.verdict), promises=promises, table=table)


CARD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem .6rem; text-align: left; border-bottom: 1px solid #8888 }}
li {{ list-style: none }}
</style>
<h1>{title}</h1><p><strong>{verdict}</strong></p><ul>{promises}</ul>{table}
</html>
"""


def judge(method: unlearn.Method, *, progress: bool = True) -> Judgement:
    """Look whether `method` keeps the contract and, if it does, what it forgets on a small task.

    The originals and retrained networks are kept in the cache; a second method is judged in a fraction of the time.
    """
    broken = contract.broken(method)
    results = None if broken else run(_plan(method), workers=1, progress=progress)
    return Judgement(method, broken, results)


def from_file(path: Path | str) -> list[unlearn.Method]:
    """Run a Python file, and return the methods that it registers.

    Raises:
        InputError: no such file, one that fails, or one that registers no method.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file: expected one that registers a method with @unlearn.method.")
    before, module = set(unlearn.methods()), importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where `inspect` finds the source, which belongs to the key of an experiment
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # a reader's code may fail in any way
        raise InputError(f"{path} fails when it is run: {type(error).__name__}: {error}.") from error
    found = [method for name, method in unlearn.methods().items() if name not in before]
    if not found:
        raise InputError(f"{path} registers no method: expected a function under @unlearn.method(name, …).")
    return found


def write_card(judgement: Judgement, path: Path | str) -> Path:
    """Write the card, whole or not at all."""
    files.replace(Path(path), judgement.card().encode())
    return Path(path)


def _plan(method: unlearn.Method) -> Plan:
    """Half of the digits and a narrow network: half a minute on one core, most of it for networks that are kept."""
    return Plan(
        name="judge",
        task="digits",
        task_options={"images": 500, "forget": 60},
        network={"width": 8, "in_channels": 1, "stem": "face"},
        training=Recipe(epochs=20, lr=0.1, batch_size=50, schedule="onecycle"),
        methods=recipes(["finetune"], lambda recipe: recipe.but(batch_size=50)) | {method.name: {}},
        audits=True,
        originals=2,
        models=1,
        own=False,
    )
