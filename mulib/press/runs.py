"""papermill over notebooks × seeds of one tier: what to run, in parallel, and what the book shows of it.

notebooks/NAME.ipynb                          as committed, without outputs
_executed/runs/TIER/NAME.seed0.ipynb, .json   every run and its record
_executed/notebooks/NAME.ipynb, .json         the run that the book renders
"""

import ast
import difflib
import json
import os
import queue
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from sysconfig import get_default_scheme, get_path, get_preferred_scheme
from typing import Literal

import yaml

from mulib.errors import InputError, check_values, refusing
from mulib.files import LIBRARY, absolute, locked, replace, sweep
from mulib.press.record import ask, digest, read_notebook, stale

TIERS = ("smoke", "quick", "paper")


@dataclass
class Run:
    """One notebook, one tier, one seed: what to execute and where to put it. Its record lies beside `output`.

    `overrides` are the parameters that differ from the tier's; a run without any, of the first seed, is `shown`.
    """

    root: str
    notebook: str
    output: str
    tier: str
    seed: int
    parameters: dict = field(default_factory=dict)
    timeout: int = 0  # seconds a cell may take, 0 for as long as it wants
    overrides: dict = field(default_factory=dict)
    shown: bool = False

    @property
    def name(self):
        """The notebook's name without folder and ending."""
        return Path(self.notebook).stem

    @property
    def record(self):
        """The path of the run's record."""
        return Path(self.output).with_suffix(".json")

    @property
    def running(self):
        """Where what was executed so far lies while it runs; papermill marks the cell that runs."""
        return Path(self.root) / "_executed" / "running" / self.tier / Path(self.output).name

    @property
    def log(self):
        """Where what was executed lies after it failed."""
        return Path(self.root) / "_executed" / "failed" / self.tier / Path(self.output).name

    @property
    def at(self):
        """What runs now: "code cell 3 of 12 (its first line) since 14:05:01, last line of output"; "" if nothing."""
        try:
            cells = [c for c in json.loads(self.running.read_bytes())["cells"] if c["cell_type"] == "code"]
        except (OSError, ValueError, LookupError):
            return ""
        own = [c for c in cells if "injected-parameters" not in c["metadata"].get("tags", [])]
        begun = [(n, c) for n, c in enumerate(own, 1) if c["metadata"].get("papermill", {}).get("start_time")]
        for number, cell in begun[-1:]:
            started = datetime.fromisoformat(cell["metadata"]["papermill"]["start_time"]).astimezone()
            said = "".join("".join(output.get("text", "")) for output in cell["outputs"]).split("\n")
            line = next((line.strip() for line in reversed(said) if line.strip()), "")
            first = next(iter("".join(cell["source"]).split("\n")), "")
            where = f"code cell {number} of {len(own)} ({first[:50]}) since {started:%H:%M:%S}"
            return f"{where}, {line[:80]}" if line else where
        return ""

    @property
    def asked(self):
        """The record's first part."""
        return {"notebook": self.name, "tier": self.tier, "parameters": self.parameters, "seed": self.seed}

    def done(self):
        """Tell whether a whole run of just this, from the same sources, is already there."""
        return not self.why()

    def why(self):
        """Return why it would be executed, "" where it would not."""
        return stale(self.output, self.notebook, self.asked)


def find_root(start="."):
    """Return the project's folder: `start` or the first above it that holds notebooks/params."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks" / "params").is_dir():
            return folder
    raise InputError(f"no folder notebooks/params in {start} or above it; run this inside the book's project")


def find_evidence(start="."):
    """Return the folder with book/reported and book/results: the project's around `start`, else the library's own."""
    start = Path(start).resolve()
    places = (get_path("data", scheme) for scheme in (get_default_scheme(), get_preferred_scheme("user")))
    for folder in (start, *start.parents, LIBRARY.parent, *(Path(place) / "share" / "mulib" for place in places)):
        if (folder / "book" / "reported").is_dir():
            return folder
    raise InputError(f"no folder book/reported in {start} or above it, nor beside mulib; install mulib anew")


def find_notebooks(root, names=()):
    """Return the paths of the notebooks `names` (stem, unique beginning such as "13", or path), all without names.

    Raises InputError for a name that fits none or several, with the nearest names.
    """
    every = {path.stem: path for path in sorted((Path(root) / "notebooks").glob("*.ipynb"))}
    if not every:
        raise InputError(f"there is no notebook in {Path(root) / 'notebooks'}")
    return [_find(every, name) for name in names] or list(every.values())


def parameters_of(notebook):
    """Return {name: value} of the cell tagged `parameters`, what is no constant as None; None without such a cell.

    Raises InputError for a file that is no notebook, or where that cell holds more than Python.
    """
    statements = _parameters_cell(notebook)
    if statements is None:
        return None
    stored = {}
    for node in statements:
        names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        value = getattr(node, "value", None)
        stored |= dict.fromkeys(names, value.value if isinstance(value, ast.Constant) else None)
    return stored


def declared_in(notebook):
    """Return {name: what it may be} of the parameters that a notebook declares, as `errors.check_values` takes it."""
    with refusing(f"a declaration in {notebook}", "expected choices, range(…), a type or a condition"):
        return {
            node.target.id: eval(ast.unparse(node.annotation), {"__builtins__": _DECLARING})  # the project's own code
            for node in _parameters_cell(notebook) or []
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }


_DECLARING = {"range": range, "Literal": Literal}


def _parameters_cell(notebook):
    """Return the statements of the cell tagged `parameters`, None without one."""
    for cell in read_notebook(notebook)["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            with refusing(f"the parameters cell of {notebook}", "expected names and values in plain Python"):
                return ast.parse("".join(cell["source"])).body
    return None


def tier_parameters(root, tier):
    """Return the values of notebooks/params/TIER.yml, which every notebook of that tier gets."""
    path = Path(root) / "notebooks" / "params" / f"{tier}.yml"
    if not path.is_file():
        raise InputError(f"{path} is missing; it holds the values of the tier {tier}")
    with refusing(str(path), "expected YAML with names and values"):
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def parse_overrides(pairs):
    """Return {name: value} of (name, text) pairs: a value is a Python literal, else the text itself."""
    values = {}
    for name, text in pairs:
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            values[name] = text
        except (MemoryError, RecursionError):
            raise InputError(f"the value of {name} is nested too deeply: expected a flat list at most") from None
    return values


def plan(root, notebooks, tier, seeds, overrides=None, timeout=0):
    """Return one Run per notebook and seed; raise InputError for a parameter that a notebook does not have."""
    shared = tier_parameters(root, tier)
    runs = []
    if bad := [seed for seed in seeds if type(seed) is not int or not 0 <= seed < 2**32]:
        raise InputError(f"the seed is {bad[0]!r}: expected whole numbers, 0 … {2**32 - 1}")
    for name, value in (overrides or {}).items():
        if name in ("seed", "tier"):
            raise InputError(f"{name} is no parameter to set: use --{name}, in a grid its own line")
        if not isinstance(name, str) or not _survives(value):
            expected = "a finite number, a text, True, False, None, or a [list] of them"
            raise InputError(f"{name} is {repr(value)[:80]}: expected {expected}")
    for notebook in notebooks:
        known, declared = parameters_of(notebook), declared_in(notebook)
        for name in overrides or {}:
            if name not in (known or []):
                names = ", ".join(known or []) or "none"
                raise InputError(f"{Path(notebook).name} has no parameter {name!r}; it has: {names}")
        for seed in seeds:
            values = {**shared, "seed": seed, **(overrides or {})}
            values = {name: value for name, value in values.items() if name in (known or [])}
            check_values(declared, values, Path(notebook).name)
            output = _output(root, notebook, tier, seed, overrides)
            shown = not overrides and seed == seeds[0]  # the book shows the first seed of the tier as it is
            paths = str(root), str(notebook), str(output)
            runs.append(Run(*paths, tier, seed, values, timeout, dict(overrides or {}), shown))
    return runs


def _survives(value):
    """Tell whether a value is the same after it has been in a record."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return repr(json.loads(text)) == repr(value)


def execute(runs, workers=1, force=False, retries=0):
    """Execute `runs`, `workers` at a time; yield (run, result of `execute_one`) as they finish."""
    for root in {run.root for run in runs}:
        sweep(Path(root) / "_executed")
    pool, gpus = ThreadPoolExecutor(workers), gpus_here()
    free = queue.SimpleQueue()
    for slot in range(workers):
        free.put(gpus[slot % len(gpus)] if gpus else None)

    def work(run):
        gpu = free.get()
        try:
            return execute_one(run, workers, force, retries, gpu)
        finally:
            free.put(gpu)

    futures = {pool.submit(work, run): run for run in runs}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def gpus_here():
    """Return the names of this machine's GPUs, of those that CUDA_VISIBLE_DEVICES leaves: each worker has one."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    return [str(i) for i in range(len(ask("nvidia-smi", "-L").splitlines()))]


def stage(run):
    """Make a finished run the one that the book renders; the record, which is the commit mark, comes last."""
    target = staged(run.root, run.name)
    for source, copy in ((Path(run.output), target), (run.record, target.with_suffix(".json"))):
        content = source.read_bytes()
        if not copy.exists() or copy.read_bytes() != content:
            replace(copy, content)


def staged(root, name):
    """Return the path of the executed notebook that the book renders for notebook `name`."""
    return Path(root) / "_executed" / "notebooks" / f"{name}.ipynb"


def execute_one(run, workers=1, force=False, retries=0, gpu=None):
    """Execute one run in a process of its own, one of `workers` that share the machine, again when it fails.

    Returns {"seconds", "kib"}, {"skipped": True} when a record already holds the run, or {"error", "details"}. Whoever
    else executes the same run on this folder, on whatever machine, is waited for: nothing is run twice.
    """
    name = Path(run.output).relative_to(run.root).as_posix().replace("/", ".")
    with locked(Path(run.root) / "_executed" / "locks" / name):
        if not force and run.done():
            return {"skipped": True}
        for _ in range(retries + 1):
            result = _work(run, workers, gpu)
            if "error" not in result:
                break
        return result


def _work(run, workers, gpu):
    """Let mulib.press.worker execute `run` in a process of its own; return the result that it printed last."""
    ended = subprocess.run(
        [sys.executable, "-m", "mulib.press.worker"],
        input=json.dumps({**asdict(run), "parent": os.getpid()}),
        capture_output=True,
        text=True,
        env=_environment(workers) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),
        cwd=run.root,
        check=False,
    )
    try:
        return json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": f"its process ended with code {ended.returncode}", "details": ended.stderr}


def _environment(workers):
    """Return the environment of a run: this library, its share of the cores, nothing that varies from run to run."""
    path = [str(LIBRARY.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **absolute(),
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers)),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve whatever else runs on the machine
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning would stand in the page
    }


def _output(root, notebook, tier, seed, overrides):
    name = f"{Path(notebook).stem}.seed{seed}"
    if overrides:
        name += "." + digest(json.dumps(overrides, sort_keys=True).encode())[:8]
    return Path(root) / "_executed" / "runs" / tier / f"{name}.ipynb"


def _find(every, name):
    stem = Path(name).stem if name.endswith(".ipynb") else name
    whole = [known for known in every if known == stem or known.startswith(f"{stem}_")]  # 08 is not 08b
    fits = whole or [known for known in every if known.startswith(stem)]
    if len(fits) == 1:
        return every[fits[0]]
    near = fits or difflib.get_close_matches(stem, every, n=3, cutoff=0.3) or list(every)
    problem = "fits several notebooks" if fits else "is not a notebook"
    raise InputError(f"{name!r} {problem}; did you mean {' or '.join(near)}?")
