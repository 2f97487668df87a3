"""papermill over notebooks × seeds of one tier: what to run, in parallel, and what the book shows of it.

notebooks/NAME.ipynb                          as committed, without outputs
_executed/runs/TIER/NAME.seed0.ipynb, .json   every run and its record
_executed/notebooks/NAME.ipynb, .json         the run that the book renders
"""

import ast
import difflib
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml

from mulib.errors import InputError
from mulib.files import LIBRARY, absolute, locked, replace, sweep

TIERS = ("smoke", "quick", "paper")


def find_root(start="."):
    """Return the project's folder: `start` or the first above it that holds notebooks/params."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks" / "params").is_dir():
            return folder
    raise InputError(f"no folder notebooks/params in {start} or above it; run this inside the book's project")


def find_notebooks(root, names=()):
    """Return the paths of the notebooks `names` (stem, unique beginning such as "13", or path), all without names.

    Raises InputError for a name that fits none or several, with the nearest names.
    """
    every = {path.stem: path for path in sorted((Path(root) / "notebooks").glob("*.ipynb"))}
    if not every:
        raise InputError(f"there is no notebook in {Path(root) / 'notebooks'}")
    return [_find(every, name) for name in names] or list(every.values())


def parameters_of(notebook):
    """Return the names that the cell tagged `parameters` assigns, None when there is no such cell."""
    for cell in json.loads(Path(notebook).read_bytes())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            targets = [ast.walk(node) for node in ast.parse("".join(cell["source"])).body]
            stored = (n for nodes in targets for n in nodes if isinstance(n, ast.Name))
            return [n.id for n in stored if isinstance(n.ctx, ast.Store)]
    return None


def tier_parameters(root, tier):
    """Return the values of notebooks/params/TIER.yml, which every notebook of that tier gets."""
    path = Path(root) / "notebooks" / "params" / f"{tier}.yml"
    if not path.is_file():
        raise InputError(f"{path} is missing; it holds the values of the tier {tier}")
    return yaml.safe_load(path.read_text())


def parse_overrides(pairs):
    """Return {name: value} of (name, text) pairs: a value is a Python literal, else the text itself."""
    values = {}
    for name, text in pairs:
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def plan(root, notebooks, tier, seeds, overrides=None, timeout=0):
    """Return one Job per notebook and seed; raise InputError for a parameter that a notebook does not have."""
    from mulib.press.worker import Job

    shared = tier_parameters(root, tier)
    jobs = []
    for notebook in notebooks:
        known = parameters_of(notebook)
        for name in overrides or {}:
            if name not in (known or []):
                names = ", ".join(known or []) or "none"
                raise InputError(f"{Path(notebook).name} has no parameter {name!r}; it has: {names}")
        for seed in seeds:
            values = {**shared, "seed": seed, **(overrides or {})}
            values = {name: value for name, value in values.items() if name in (known or [])}
            output = _output(root, notebook, tier, seed, overrides)
            shown = not overrides and seed == seeds[0]  # the book shows the first seed of the tier as it is
            paths = str(root), str(notebook), str(output)
            jobs.append(Job(*paths, tier, seed, values, timeout, dict(overrides or {}), shown))
    return jobs


def run(jobs, workers=1, force=False, retries=0):
    """Execute `jobs`, `workers` at a time; yield (job, result of `run_one`) as they finish."""
    for root in {job.root for job in jobs}:
        sweep(Path(root) / "_executed")
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(run_one, job, workers, force, retries): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def stage(job):
    """Make a finished run the one that the book renders; the record, which is the commit mark, comes last."""
    target = staged(job.root, job.name)
    for source, copy in ((Path(job.output), target), (job.record, target.with_suffix(".json"))):
        content = source.read_bytes()
        if not copy.exists() or copy.read_bytes() != content:
            replace(copy, content)


def staged(root, name):
    """Return the path of the executed notebook that the book renders for notebook `name`."""
    return Path(root) / "_executed" / "notebooks" / f"{name}.ipynb"


def run_one(job, workers=1, force=False, retries=0):
    """Execute one job in a process of its own, one of `workers` that share the machine, again when it fails.

    Returns {"seconds", "kib"}, {"skipped": True} when a record already holds the run, or {"error", "details"}. Whoever
    else executes the same job on this folder, on whatever machine, is waited for: nothing is run twice.
    """
    with locked(Path(job.output)):
        if not force and job.done():
            return {"skipped": True}
        for _ in range(retries + 1):
            result = _execute(job, workers)
            if "error" not in result:
                break
        return result


def _execute(job, workers):
    from mulib.press.worker import to_json

    ended = subprocess.run(
        [sys.executable, "-m", "mulib.press.worker"],
        input=to_json(job),
        capture_output=True,
        text=True,
        env=_environment(workers),
        cwd=job.root,
        check=False,
    )
    try:
        return json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": f"its process ended with code {ended.returncode}", "details": ended.stderr}


def _environment(workers):
    """Return the environment of a job: this library, its share of the cores, nothing that varies from run to run."""
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
        name += "." + hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:8]
    return Path(root) / "_executed" / "runs" / tier / f"{name}.ipynb"


def _find(every, name):
    stem = Path(name).stem if name.endswith(".ipynb") else name
    fits = [stem] if stem in every else [known for known in every if known.startswith(stem)]
    if len(fits) == 1:
        return every[fits[0]]
    near = fits or difflib.get_close_matches(stem, every, n=3, cutoff=0.3) or list(every)
    problem = "fits several notebooks" if fits else "is not a notebook"
    raise InputError(f"{name!r} {problem}; did you mean {' or '.join(near)}?")
