"""Execute one Run with papermill, in a process of its own, and check the page before it is put in place.

`mulib run` starts it as `python -m mulib.press.worker`, with the run as JSON on standard input; its last line on
standard output is the result as JSON. The process ends when its parent does, and the kernel with it.
"""

import asyncio
import json
import logging
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError, strip_color
from traitlets import default

from mulib.errors import InputError
from mulib.files import end_with, remove, replace
from mulib.press import faults
from mulib.press.record import Record, digest, provenance
from mulib.press.runs import Run
from mulib.press.tidy import tidy
from mulib.show.glue import glued

KIB = 2**20 if sys.platform == "darwin" else 2**10  # of what the system counts memory in, per MB


class Failure(Exception):
    """A notebook that did not come through: its message is one line, `details` is the traceback."""

    def __init__(self, message, details=""):
        super().__init__(message)
        self.details = details


class ThisPython(AsyncKernelManager):
    """Starts kernels with this interpreter, whatever `python3` is registered on the machine."""

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self):
        return KernelSpecManager(kernel_dirs=[])  # nothing registered: the native kernel, sys.executable, is left


class Watched(NBClientEngine):
    """papermill's engine, whose copy shows each output soon, the last one before a long silence too.

    papermill saves when a message comes, and not soon after a save: what came last then waits for the next message,
    which a cell that hangs never sends. Here a save is put off instead, to a quarter of the time at most.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options):
        pending, took = False, 0.0

        def save():
            nonlocal pending, took
            began = time.monotonic()
            nb_man.save()
            pending, took = False, time.monotonic() - began

        def save_soon():
            nonlocal pending
            if not pending:
                pending = True
                asyncio.get_running_loop().call_later(3 * took, save)

        nb_man.autosave_cell = save_soon
        return super().execute_managed_notebook(nb_man, kernel_name, **options)


papermill_engines.register("watched", Watched)


def perform(run):
    """Execute `run`, tidy and check the notebook, put it and then its record in place; return the record.

    Raises Failure, and leaves what was there untouched, when a cell raises or the page is not fit to be shown: what was
    executed then lies at `run.log`, which the message names.
    """
    started, began = provenance(run.root, run.notebook), time.monotonic()
    run.log.parent.mkdir(parents=True, exist_ok=True)
    run.running.parent.mkdir(parents=True, exist_ok=True)
    remove(run.log)
    try:
        notebook = _papermill(run, gpu=started["hardware"]["gpu"])
        seconds, gpu_mb = round(time.monotonic() - began, 2), _gpu_peak_mb(notebook)
        tidy(notebook)
        if findings := faults.check_executed(notebook):
            raise Failure(findings[0], "\n".join(findings[1:]))
    except Failure as failure:
        with suppress(FileNotFoundError):
            run.running.replace(run.log)
        raise Failure(f"{failure} [see {run.log}]", failure.details) from None
    values = {name: value for name, (value, _) in glued(notebook).items()}
    content = nbformat.writes(notebook).encode()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the kernel and what it started; it has ended by now
    came_out = {
        "metrics": {name: value for name, value in values.items() if not name.startswith("data.")},
        "timings": {"seconds": seconds, "processor_seconds": round(spent.ru_utime + spent.ru_stime, 2)},
        "peak_memory_mb": round(spent.ru_maxrss / KIB, 1),
        "peak_gpu_mb": gpu_mb,
        "notebook": digest(content),
    }
    data = {name.removeprefix("data."): v for name, v in values.items() if name.startswith("data.")}
    record = Record(run.asked, came_out, {**started, "data": data})
    replace(run.output, content)
    record.write(run.record)  # last: it is the commit mark
    remove(run.running)
    return record


def _papermill(run, gpu):
    """Return the executed notebook; raise Failure with the cell's number, first line and exception.

    After each cell, and while it prints, what was executed so far is written to `run.running`.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what matters is in the Failure
    source = nbformat.read(run.notebook, 4)
    if gpu:
        source.cells.append(nbformat.v4.new_code_cell(_GPU_PEAK, metadata={"tags": ["remove-cell"]}))
    try:
        return papermill.execute_notebook(
            source,
            str(run.running),
            parameters=run.parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            engine_name="watched",
            cwd=str(Path(run.notebook).parent),
            execution_timeout=run.timeout or None,
            iopub_timeout=600,  # a cell's last outputs come late where the machine is busy: hours of work hang on them
            kernel_manager_class=ThisPython,
        )
    except PapermillExecutionError as error:
        where = _place(run.notebook, error.source)
        raised = f"{error.ename}: {faults.first_line(error.evalue)}"
        raise Failure(f"{where}: {raised}", strip_color("\n".join(error.traceback))) from None
    except CellTimeoutError as error:
        why = f"took longer than {run.timeout} s; allow more with --timeout"
        raise Failure(f"{run.at or 'a cell'} {why}", str(error)) from None
    except DeadKernelError:
        raise Failure(f"the kernel died, killed or out of memory, in {run.at or 'no cell'}") from None


_GPU_PEAK = """import sys
torch = sys.modules.get("torch")
torch.cuda.max_memory_allocated() / 2**20 if torch is not None and torch.cuda.is_initialized() else 0.0"""


def _gpu_peak_mb(notebook):
    """Return the most that the kernel had on its GPU in MB, by the cell that was added to ask; None without a GPU."""
    if notebook.cells[-1].source != _GPU_PEAK:
        return None
    return round(float(notebook.cells.pop().outputs[-1].data["text/plain"]), 1)


def _place(notebook, source):
    """Return "cell N (first line)" for a cell of the clean notebook, counted from 1."""
    cells = nbformat.read(notebook, 4).cells
    number = next((n for n, cell in enumerate(cells, start=1) if cell.source == source), "?")
    return f"cell {number} ({faults.first_line(source)})"


def main():
    """Read a run, execute it and print its result: {"seconds", "kib"} or {"error", "details"}."""
    asked = json.load(sys.stdin)
    end_with(asked.pop("parent"))
    run = Run(**asked)
    try:
        record = perform(run)
    except Failure as failure:
        result = {"error": str(failure), "details": failure.details}
    except (InputError, OSError) as error:  # such as a full disk
        result = {"error": f"{type(error).__name__}: {error}", "details": ""}
    else:
        size = Path(run.output).stat().st_size
        result = {"seconds": record.came_out["timings"]["seconds"], "kib": round(size / 1024)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
