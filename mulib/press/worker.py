"""Execute one Run with papermill, in a process of its own, and check the page before it is put in place.

`mulib run` starts it as `python -m mulib.press.worker`, with the run as JSON on standard input; its last line on
standard output is the result as JSON. The process ends when its parent does, and the kernel with it.
"""

import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError, strip_color
from traitlets import default

from mulib.files import replace
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


def perform(run):
    """Execute `run`, tidy and check the notebook, put it and then its record in place; return the record.

    Raises Failure, and leaves what was there untouched, when a cell raises or the page is not fit to be shown.
    """
    started, began = provenance(run.root, run.notebook), time.monotonic()
    notebook = _papermill(run)
    seconds = round(time.monotonic() - began, 2)
    tidy(notebook)
    if findings := faults.check_executed(notebook):
        raise Failure(findings[0], "\n".join(findings[1:]))
    values = {name: value for name, (value, _) in glued(notebook).items()}
    content = nbformat.writes(notebook).encode()
    came_out = {
        "metrics": {name: value for name, value in values.items() if not name.startswith("data.")},
        "timings": {"seconds": seconds},
        # The largest resident memory of the kernel, this worker's only child, which has ended by now.
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KIB, 1),
        "notebook": digest(content),
    }
    data = {name.removeprefix("data."): v for name, v in values.items() if name.startswith("data.")}
    record = Record(run.asked, came_out, {**started, "data": data})
    replace(run.output, content)
    record.write(run.record)  # last: it is the commit mark
    return record


def _papermill(run):
    """Return the executed notebook; raise Failure with the cell's number, first line and exception."""
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what matters is in the Failure
    try:
        return papermill.execute_notebook(
            run.notebook,
            None,
            parameters=run.parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=str(Path(run.notebook).parent),
            execution_timeout=run.timeout or None,
            kernel_manager_class=ThisPython,
        )
    except PapermillExecutionError as error:
        where = _place(run.notebook, error.source)
        raised = f"{error.ename}: {faults.first_line(error.evalue)}"
        raise Failure(f"{where}: {raised}", strip_color("\n".join(error.traceback))) from None
    except CellTimeoutError as error:
        raise Failure(f"a cell took longer than {run.timeout} s; allow more with --timeout", str(error)) from None
    except DeadKernelError:
        raise Failure("the kernel died, killed or out of memory") from None


def _place(notebook, source):
    """Return "cell N (first line)" for a cell of the clean notebook, counted from 1."""
    cells = nbformat.read(notebook, 4).cells
    number = next((n for n, cell in enumerate(cells, start=1) if cell.source == source), "?")
    return f"cell {number} ({faults.first_line(source)})"


def _end_with(parent):
    """End this process once `parent` (a process id) is no longer its parent."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main():
    """Read a run, execute it and print its result: {"seconds", "kib"} or {"error", "details"}."""
    asked = json.load(sys.stdin)
    threading.Thread(target=_end_with, args=(asked.pop("parent"),), daemon=True).start()
    run = Run(**asked)
    try:
        record = perform(run)
    except Failure as failure:
        result = {"error": str(failure), "details": failure.details}
    else:
        size = Path(run.output).stat().st_size
        result = {"seconds": record.came_out["timings"]["seconds"], "kib": round(size / 1024)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
