"""A grid of runs from one YAML file: what is in it, on which machines it runs, and one table of what came out.

The project's folder must be seen by every machine at the same path. There is no other state than the runs in it: a
batch that was stopped, wherever it ran, is taken up by giving the same command again.
"""

import base64
import io
import itertools
import json
import logging
import math
import re
from pathlib import Path
from typing import Any

import nbformat
import yaml
from bs4 import BeautifulSoup
from PIL import Image

from mulib.errors import InputError, refusing
from mulib.files import replace
from mulib.press.record import Record, digest, found, sources
from mulib.press.runs import TIERS, execute_one, find_notebooks, plan

MOST = 10_000  # runs of a block
KEYS = ("notebooks", "tier", "seeds", "datasets", "parameters")


def read_grid(root, path, timeout=0):
    """Return the runs of a YAML file: one mapping, or a list of them, each the product of its lists.

    notebooks: names as `mulib run` takes them, all without; tier: quick by default; seeds: 0 by default;
    datasets: values of the parameter `dataset`; parameters: {name: value or list of values}.

    Raises:
        InputError: no such file, no YAML, an unknown key, an empty list, or a parameter that a notebook does not have.
    """
    with refusing(str(path), f"expected a grid, YAML with {', '.join(KEYS)}"):
        text = Path(path).read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
            raise ValueError("it has aliases, which can stand for anything")
        content = yaml.load(text, _Loader)
    blocks = content if isinstance(content, list) else [content]
    runs = [run for block in blocks for run in _block(root, path, block, timeout)]
    return list({run.output: run for run in runs}.values())  # what two blocks ask for is run once


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-2 is a number, as in JSON and in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _block(root, path, block, timeout):
    if not isinstance(block, dict) or (unknown := set(block) - set(KEYS)):
        what = ", ".join(sorted(map(str, unknown))) if isinstance(block, dict) else repr(block)
        raise InputError(f"{path} has {what}: expected a mapping of {', '.join(KEYS)}.")
    tier = block.get("tier", "quick")
    if tier not in TIERS:
        raise InputError(f"{path} has tier {tier!r}: expected one of {', '.join(TIERS)}.")
    if not isinstance(varied := block.get("parameters") or {}, dict):
        raise InputError(f"{path} has parameters: {varied!r}, expected names with a value or a list of values each.")
    varied = dict(varied)
    if "datasets" in block:
        varied["dataset"] = block["datasets"]
    lists = {name: values if isinstance(values, list) else [values] for name, values in varied.items()}
    names, seeds = block.get("notebooks", []), block.get("seeds", [0])
    for what, values in {"notebooks": names, "seeds": seeds, **lists}.items():
        if not isinstance(values, list) or (not values and what != "notebooks"):
            raise InputError(f"{path} has {what}: {values!r}, expected a list of at least one.")
    notebooks = find_notebooks(root, [_name(name) for name in names])
    if (size := math.prod(map(len, [notebooks, seeds, *lists.values()]))) > MOST:
        raise InputError(f"{path} asks for {size:,} runs: expected {MOST:,} at most.")
    for values in itertools.product(*lists.values()):
        yield from plan(root, notebooks, tier, seeds, dict(zip(lists, values, strict=True)), timeout)


def _name(name):
    """YAML reads 08 as text but 7 and 07 as the number seven."""
    return f"{name:02d}" if isinstance(name, int) else str(name)


def execute_on_dask(runs, scheduler, force=False, retries=0, timeout=20):
    """Execute `runs` on the Dask cluster at `scheduler` ("tcp://…"); yield (run, result) like `runs.execute`.

    A run whose worker dies goes to another one, as often as Dask's `allowed-failures` permits. `timeout` are the
    seconds that the scheduler has to answer.
    """
    from distributed import Client, as_completed

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler is said once per run, below
    try:
        client = Client(scheduler, timeout=timeout)
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates
        raise InputError(
            f"no Dask scheduler answers at {scheduler} ({error}): start one, and give its address."
        ) from None
    with client:
        threads: Any = client.nthreads()  # {worker: how many runs it takes at a time}
        if not threads:
            raise InputError(f"the scheduler at {scheduler} has no worker: start one with `dask worker {scheduler}`.")
        root, asked = runs[0].root if runs else ".", sorted({run.notebook for run in runs})
        mine = machine(root, asked)
        try:
            others: dict[str, Any] = dict(client.run(machine, root, asked))  # type: ignore[arg-type]
        except Exception as error:  # such as a worker without mulib
            raise InputError(f"a worker cannot say what it has ({error}): install this mulib on all of them.") from None
        for worker, theirs in others.items():
            if other := [what for what in mine if theirs[what] != mine[what]]:
                raise InputError(
                    f"the worker {worker} has other {' and '.join(other)} than this machine: make them the"
                    " same; nothing was started."
                )
        share = max(threads.values())
        futures = {
            client.submit(execute_one, run, share, force, retries, key=_key(run, force), pure=False): run
            for run in runs
        }
        left, lost = dict(futures), None
        try:
            for future in as_completed(futures):
                if error := future.exception():
                    result = {"error": f"its worker was lost ({type(error).__name__})", "details": str(error)}
                else:
                    result = future.result()
                yield left.pop(future), result
        except Exception as error:  # whatever distributed raises when nobody answers any more
            lost = error
        failed = {"error": f"the scheduler was lost ({type(lost).__name__})", "details": ""}
        for run in left.values():  # a run that a worker finished meanwhile has its record
            yield run, {"skipped": True} if run.done() else failed


def machine(root, notebooks):
    """Return what must be the same where a run is executed: the sources of mulib, the notebooks and the data."""
    there = {path: digest(Path(path).read_bytes()) if Path(path).is_file() else None for path in notebooks}
    return {"sources of mulib": sources(), "notebooks": there, "data": found()}


def _key(run, force):
    what = json.dumps([run.output, run.parameters, force], sort_keys=True)
    return f"{Path(run.output).stem}-{digest(what.encode())[:16]}"


def table(runs):
    """Return a pandas.DataFrame with one row for each metric of each finished one of `runs`.

    Columns: notebook, tier, seed; the parameters in which the runs differ; metric, value (float, NaN for words) and
    text (None for numbers); seconds, peak_memory_mb, commit, dirty, gpu, started.
    """
    import pandas

    records = [Record.read(run.record) for run in runs if run.done()]
    every = {name for record in records for name in record.asked["parameters"]} - {"tier", "seed"}
    seen = {name: {str(record.asked["parameters"].get(name)) for record in records} for name in every}
    varied = sorted(name for name, values in seen.items() if len(values) > 1)
    columns = ["notebook", "tier", "seed", *varied, "metric", "value", "text", "seconds", "peak_memory_mb"]
    rows = [row for record in records for row in _rows(record, varied)]
    frame = pandas.DataFrame(rows, columns=[*columns, "commit", "dirty", "gpu", "started"])
    for name in varied:  # a column of Parquet has one type
        if len({type(value) for value in frame[name]}) > 1:
            frame[name] = frame[name].map(str)
    return frame


def _rows(record, varied):
    came_out, came_from = record.came_out, record.came_from
    head = {name: record.asked[name] for name in ("notebook", "tier", "seed")}
    head |= {name: record.asked["parameters"].get(name) for name in varied}
    tail = {"seconds": came_out["timings"]["seconds"], "peak_memory_mb": came_out["peak_memory_mb"]}
    tail |= {name: came_from[name] for name in ("commit", "dirty", "started")} | {"gpu": came_from["hardware"]["gpu"]}
    for metric, content in sorted(record.metrics.items()):
        try:
            value, text = float(content), None
        except ValueError:
            value, text = math.nan, content
        yield head | {"metric": metric, "value": value, "text": text} | tail


def write_table(runs, path):
    """Write `table(runs)` as `path` with the endings .parquet and .csv, each in one step; return the two paths."""
    frame, parquet = table(runs), io.BytesIO()
    frame.to_parquet(parquet, index=False)
    path = Path(path)
    replace(path.with_suffix(".parquet"), parquet.getvalue())
    words = frame.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" else cell)
    replace(path.with_suffix(".csv"), words.to_csv(index=False).encode())  # a spreadsheet would run such words
    return path.with_suffix(".parquet"), path.with_suffix(".csv")


def track(run):
    """Write a finished run to Weights & Biases: parameters, metrics, provenance, the figures and tables of its page.

    WANDB_MODE=offline keeps it here. A run is named by its record, so that one that is sent twice stands there once.

    Raises:
        InputError: the package wandb is not installed, or nobody is logged in.
    """
    try:
        import wandb
        from wandb.errors import UsageError
    except ImportError:
        raise InputError("--track wandb needs the package wandb: run `pip install wandb`.") from None
    record, folder = Record.read(run.record), Path(run.root) / "_executed" / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    config = {"notebook": run.name, **record.asked["parameters"], "tier": run.tier, "seed": run.seed}
    try:
        sent = wandb.init(
            project="machine-unlearning-executed",
            group=run.name,
            name=Path(run.output).stem,
            id=digest(json.dumps([record.came_from, run.output], sort_keys=True).encode())[:16],
            resume="allow",
            dir=folder,
            config=config | {"came_from": record.came_from},
            settings=wandb.Settings(silent=True, console="off"),
        )
    except UsageError as error:
        raise InputError(f"wandb refuses ({error}): run `wandb login`, or set WANDB_MODE=offline.") from None
    sent.summary.update(
        {**record.metrics, **record.came_out["timings"], "peak_memory_mb": record.came_out["peak_memory_mb"]}
    )
    sent.log(_shown(nbformat.read(run.output, 4)))
    sent.finish()


def _shown(notebook):
    """The figures and tables that a reader of the page sees, numbered in its order, as wandb takes them."""
    import wandb

    cells = [c for c in notebook.cells if c.cell_type == "code" and "remove-cell" not in c.metadata.get("tags", [])]
    figures, tables = [], []
    for data in (output.get("data", {}) for cell in cells for output in cell.outputs):
        if "image/png" in data:
            figures.append(wandb.Image(Image.open(io.BytesIO(base64.b64decode(data["image/png"])))))
        elif table := BeautifulSoup(data.get("text/html", ""), "html.parser").table:
            head, *rows = ([cell.get_text(" ", strip=True) for cell in row(["th", "td"])] for row in table("tr"))
            tables.append(wandb.Table(columns=[*head], data=[[*row, *[""] * len(head)][: len(head)] for row in rows]))
    named = {"figure": figures, "table": tables}
    return {f"{kind} {n:02}": each for kind, found in named.items() for n, each in enumerate(found, 1)}
