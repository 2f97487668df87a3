"""The record of a run: one JSON file that says what was asked, what came out, and where it came from."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from mulib.errors import InputError, refusing
from mulib.files import LIBRARY, replace

PACKAGES = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "matplotlib", "opencv-python-headless"),
    *("opencv-python", "papermill", "jupyter-book"),
)


@dataclass(frozen=True)
class Record:
    """What one run of one notebook was asked, what came out, and where that came from.

    asked: notebook, tier, parameters, seed.
    came_out: metrics {name: number or text}, timings {name: seconds} on the wall and of processors, peak_memory_mb of
        the kernel, peak_gpu_mb of what it had on the GPU (None without one), and notebook, the SHA-256 of the executed
        notebook that belongs to it.
    came_from: commit, dirty, lock, source, files {file: hash} of mulib, found (names of data sets), data {name: hash},
        hardware, versions, started (UTC, ISO 8601).
    A number that is infinite or undefined stands as "inf", "-inf" or "nan", because JSON has neither.
    """

    asked: dict
    came_out: dict
    came_from: dict

    @property
    def metrics(self):
        """The run's metrics, {name: number or text}."""
        return self.came_out["metrics"]

    def write(self, path):
        """Write the record to `path` in one step: a reader sees the old file or the new one, never a part."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        replace(path, (text + "\n").encode())

    @classmethod
    def read(cls, path):
        """Return the record at `path`; raise InputError when it is not one."""
        try:
            return cls(**json.loads(Path(path).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} is not a record of a run ({error}); delete it and run again") from None


def provenance(root, notebook, data=None):
    """Return `came_from` for a run of the notebook file `notebook`, started now, in the project at `root`."""
    lock = Path(root) / "requirements.lock"
    return {
        **commit(root),
        "lock": digest(lock.read_bytes()) if lock.is_file() else None,
        "source": fingerprint(notebook),
        "files": sources(),
        "found": found(),
        "data": data or {},
        "hardware": hardware(),
        "versions": versions(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def found():
    """Return the names of the published data sets that are on this machine: with others, a run comes out otherwise."""
    from mulib.data.catalogue import BUILT_IN, listing

    return [entry.name for entry in listing() if entry.available and entry.name not in BUILT_IN]


@cache
def sources():
    """Return {file: eight digits of its SHA-256} of the library."""
    return {f.relative_to(LIBRARY).as_posix(): digest(f.read_bytes())[:8] for f in sorted(LIBRARY.rglob("*.py"))}


def fingerprint(notebook):
    """Return the hash of a notebook's code cells and of the library: an edit of either makes a run stale."""
    digest = hashlib.sha256()
    for code in code_cells(read_notebook(notebook)):
        digest.update(code.encode() + b"\0")
    for file in sorted(LIBRARY.rglob("*.py")):
        digest.update(file.relative_to(LIBRARY).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def read_notebook(path):
    """Return the notebook file at `path` as JSON has it; raise InputError for what is none of nbformat 4."""
    with refusing(str(path), "expected a notebook of nbformat 4, see `git status`"):
        notebook = json.loads(Path(path).read_bytes())
        if notebook["nbformat"] != 4:
            raise ValueError(f"it is of nbformat {notebook['nbformat']}")
        [(cell["cell_type"], cell["source"], cell["metadata"].get("tags")) for cell in notebook["cells"]]
        return notebook


def code_cells(notebook):
    """Return the sources of a notebook's own code cells, without those that papermill added."""
    added = {"injected-parameters", "papermill-error-cell-tag"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(c["source"]) for c in cells if not added & set(c["metadata"].get("tags", []))]


def stale(executed, notebook, asked=None):
    """Return why the executed notebook at `executed` does not stand for `notebook` as it is now, "" when it does.

    It is whole (the one of its record, which is written last), from the same code and the same mulib, and, where
    `asked` says what (`Record.asked`), of this request.
    """
    if not Path(executed).exists():
        return "it has not been executed"
    try:
        record = Record.read(Path(executed).with_suffix(".json"))
    except InputError:
        return "its execution has no record"
    content, source = Path(executed).read_bytes(), read_notebook(notebook)
    if record.came_out["notebook"] != digest(content):
        return "what was executed is not what its record belongs to"
    if code_cells(json.loads(content)) != code_cells(source):
        return "its code changed since it was executed"
    if record.came_from["source"] != fingerprint(notebook):
        there, now = (
            {f"mulib/{name}": of for name, of in each.items()}
            for each in (record.came_from.get("files", {}), sources())
        )
        return f"{_changed(there, now)} changed since it was executed"
    if asked not in (None, record.asked):
        there, wanted = ({**each, **each["parameters"]} for each in (record.asked, asked))
        return f"it was executed with other parameters: {_changed(there, wanted)}"
    if asked is not None and (then := record.came_from.get("found", found())) != found():
        return f"the data on this machine changed: {', '.join(sorted(set(then) ^ set(found())))}"
    return ""


def _changed(there, now):
    """Return the first names of what two mappings do not share, "mulib" where nothing is known of one."""
    names = [name for name in sorted(there.keys() | now.keys()) if there.get(name) != now.get(name)]
    return ", ".join([*names[:3], *["…"] * (len(names) > 3)]) if there else "mulib"


def digest(content):
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def commit(root):
    """Return {"commit", "dirty"} of the git work tree at `root`; both None where there is no commit."""
    head = ask("git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return {"commit": None, "dirty": None}
    changed = ask("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"commit": head, "dirty": bool(changed)}


def hardware():
    """Return the machine's cpu model, cores, memory (GiB) and gpu (None without one)."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    gpu = ask("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1) or None,
        "gpu": gpu.splitlines()[0] if gpu else None,
    }


def versions():
    """Return {"python": …, package: version} of what is installed among the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def ask(*command):
    """Return what a command prints, "" when it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
