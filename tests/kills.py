"""Run a small experiment once undisturbed and once killed as often as is asked; print what differs, as JSON.

A driver of its own, started by test_assess.py: it forks, which is safe only before PyTorch has started threads.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import test_assess
import torch

from mulib import assess
from mulib.data import catalogue


def child(folder):
    """Start the run in a process that shares what is imported."""
    if pid := os.fork():
        return pid
    torch.set_num_threads(1)
    assess.run(test_assess.plan(models=6), folder, workers=1, progress=False)
    os._exit(0)


def finished(pid):
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def main(tmp, asked):
    catalogue.BUILT_IN["tiny"] = test_assess.tiny
    start = time.perf_counter()
    _, status = os.waitpid(child(tmp / "calm"), 0)
    assert status == 0
    whole = time.perf_counter() - start

    draw, kills, repeated, seen = random.Random(0), 0, [], {}
    while True:
        pid, wait = child(tmp / "killed"), draw.uniform(0, 2 * whole / asked) if kills < asked else 10 * whole + 60
        end = time.perf_counter() + wait
        while not (over := finished(pid)) and time.perf_counter() < end:
            time.sleep(0.002)
        if not over:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            kills += 1
        models = tmp / "killed" / "models"
        now = {p.name: p.stat().st_mtime_ns for p in models.glob("[!.]*.safetensors")} if models.exists() else {}
        repeated += [name for name in seen if now.get(name) != seen[name]]
        seen = now
        if over:
            break
    files = sorted(p.relative_to(tmp / "calm") for p in (tmp / "calm").glob("original-*/**/*") if p.is_file())
    different = [str(f) for f in files if (tmp / "calm" / f).read_bytes() != (tmp / "killed" / f).read_bytes()]
    print(json.dumps({"kills": kills, "repeated": repeated, "files": len(files), "different": different}))


main(Path(sys.argv[1]), int(sys.argv[2]))
