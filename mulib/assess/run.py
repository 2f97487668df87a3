"""Train what is missing, one file per model; killed anywhere, the next call goes on where this one stopped."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import warnings
from collections import Counter, defaultdict
from importlib import metadata
from pathlib import Path

import joblib
import torch
from torch import nn
from tqdm import tqdm

from mulib import files, models, train, unlearn
from mulib.assess.plan import Job, Plan
from mulib.assess.results import KEPT, Assessment, score, seconds_of
from mulib.clock import clock
from mulib.data.sets import Task
from mulib.errors import DivergedError, InputError
from mulib.predict import has_bf16, predict


START = 10  # seconds that a process of its own takes until it trains


def run(
    plan: Plan,
    folder: Path | str | None = None,
    *,
    device: str = "cpu",
    workers: int | None = None,
    progress: bool = True,
) -> Assessment:
    """Train, unlearn and predict what `plan` asks for and `folder` does not hold yet, and open the results.

    Every finished model is a safetensors file that is never trained again; in the cache, other plans with the same
    data, network and training find the originals and retrained models there. On the CPU each worker has one thread, so
    the numbers do not depend on how many workers there are. A second call on the same folder waits for the first.

    Args:
        folder: where the models go; by default a folder of the cache that belongs to this plan, these sources and this
            kind of device. In one that is named, models that other sources made are kept, and a warning says so.
        device: "cpu" or "cuda".
        workers: models at a time, each in a process of its own; by default one per core, 4 on a GPU, or 1 where the
            first model shows that the others take no longer than processes to start. With 1 they are trained here.
        progress: a bar on standard error with an estimate of the time that is left.

    Raises:
        InputError: `folder` belongs to another plan, or the data is not on this machine.
        DivergedError: a loss that is not finite; the last good weights are kept, and their file is named.
    """
    cache = files.cache_folder("assess")
    shelf = cache / f"scratch-{plan.scratch_key(device)}" if folder is None else None
    folder = Path(folder) if folder is not None else cache / f"{plan.name}-{plan.key(device)}"
    most = workers or (4 if device.startswith("cuda") else os.cpu_count() or 1)
    with files.locked(folder):
        _claim(plan, folder, device)
        for place in filter(None, (shelf, folder)):
            _clear(place)
        _share(plan, shelf, folder)
        bar = _Bar(plan, folder, most, progress)
        for wave in plan.jobs():
            missing = [job for job in wave if not _file(folder, job).exists()]
            if not missing:
                continue
            arguments = (plan, folder, device)
            if workers is None:
                bar.finished(*_train_here(*arguments, missing.pop(0)))
                workers = most if bar.estimate() > START else 1
            if workers == 1:
                done = (_train_here(*arguments, job) for job in missing)
            else:
                parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", inner_max_num_threads=1)
                done = parallel(joblib.delayed(_train)(*arguments, job, _run_of(job)) for job in missing)
            for job, seconds in done:
                bar.finished(job, seconds)
            _share(plan, folder, shelf)
        bar.close()
        results = Assessment(folder, plan)
        results.publish()
    return results


def _claim(plan: Plan, folder: Path, device: str) -> None:
    """Write the plan down, or see that it is the one that was begun here, and say whether by these sources."""
    note, asked = folder / "plan.json", plan.as_dict()
    today = {"sources": files.source(), "torch": metadata.version("torch"), "device": device.partition(":")[0]}
    made = []
    if note.exists():
        there = json.loads(note.read_text())
        if different := [name for name in asked if there["plan"].get(name) != asked[name]]:
            raise InputError(
                f"{folder} holds another plan (it differs in {', '.join(different)}): choose another folder."
            )
        made = there.get("made", [{}])
        if other := [name for name in today if any(each.get(name) != today[name] for each in made)]:
            warnings.warn(
                f"models in {folder} were made with other {' and '.join(other)} than today's and are kept as they are:"
                " choose another folder to make all anew.",
                stacklevel=3,
            )
    if today not in made:
        files.replace(note, json.dumps({"plan": asked, "made": [*made, today]}, indent=1).encode())


def _clear(folder: Path) -> None:
    """Remove what killed runs left, and models that are not as they were written: they are made anew."""
    files.used(folder)
    files.sweep(folder)
    for file in (folder / "models").glob("[!.]*.safetensors"):
        if files.read_tensors(file) is None:
            file.unlink()


def _share(plan: Plan, giver: Path | None, taker: Path | None) -> None:
    """Give the models that start from nothing to `taker` too, as links to the same files."""
    if giver is None or taker is None:
        return
    (taker / "models").mkdir(parents=True, exist_ok=True)
    for job in plan.jobs()[0]:
        if _file(giver, job).exists():
            with contextlib.suppress(OSError):  # there already, or a disk without links
                _file(taker, job).hardlink_to(_file(giver, job))


def _file(folder: Path, job: Job) -> Path:
    return folder / "models" / f"{job.name}.safetensors"


def _run_of(job: Job):
    """The method itself, so that one that was registered in a notebook reaches the other processes too."""
    return None if job.original is None else unlearn.get(job.kind).run


def _train_here(plan: Plan, folder: Path, device: str, job: Job) -> tuple[Job, float]:
    """The same as in a process of its own: with one thread, and the caller's setting restored."""
    threads = torch.get_num_threads()
    try:
        return _train(plan, folder, device, job, _run_of(job))
    finally:
        torch.set_num_threads(threads)


def _train(plan: Plan, folder: Path, device: str, job: Job, method) -> tuple[Job, float]:
    """Train or unlearn one model, ask it for its logits, write its file; the seconds are those of the training.

    They are those of `clock`: on the CPU, of one core.
    """
    torch.set_num_threads(1)
    task, seed, start = _task(plan, device), plan.seed_of(job), clock(device)
    quiet = {"seed": seed, "progress": False}
    try:
        if job.kind == "original":
            model = _network(plan, task, device, seed)
            train.fit(model, task.train, plan.training, **quiet)
        elif job.kind == "retrained":
            model = _network(plan, task, device, seed)
            train.fit(model, task.retain, plan.training, **quiet)
        else:
            model = _network(plan, task, device, 0)
            model.load_state_dict(Assessment(folder, plan).weights(job.original))
            model = method(model, task.request, **plan.methods[job.kind], **quiet)
    except DivergedError as error:
        path = _file(folder, job).with_suffix(".last-good.safetensors")
        files.replace(path, files.sealed(error.model.state_dict()))
        raise DivergedError(f"{job.name}: {error} Its weights are in {path}.", error.step, error.epoch) from None
    seconds = clock(device) - start
    _write(_file(folder, job), model, plan, task, seconds, weights=job.kind == "original")
    return job, seconds


def _network(plan: Plan, task: Task, device: str, seed: int) -> nn.Module:
    model = models.resnet18(task.train.outputs, seed=seed, **plan.network).to(device)
    fast = plan.training.precision == "bf16" and has_bf16(torch.device(device).type)  # wants the channels last
    return model.to(memory_format=torch.channels_last) if fast else model


def _write(path: Path, model: nn.Module, plan: Plan, task: Task, seconds: float, weights: bool) -> None:
    """One model's file: logits on the kept sets, its score on each set, and its weights where others start from it."""
    logits = predict(model, task.sets, precision=plan.training.precision)
    scores = {name: score(z, task.sets[name].labels.cpu()) for name, z in logits.items()}
    tensors = {f"logits.{name}": logits[name] for name in KEPT}
    if weights:
        tensors |= {f"weights.{k}": v for k, v in model.state_dict().items()}
    files.replace(path, files.sealed(tensors, scores=json.dumps(scores), seconds=seconds))


_TASKS: dict[tuple[str, str, str], Task] = {}  # the last one that this process used


def _task(plan: Plan, device: str) -> Task:
    """The task on the device, loaded once per process."""
    key = plan.task, json.dumps(plan.as_dict()["task_options"], sort_keys=True), device
    if key not in _TASKS:
        _TASKS.clear()
        _TASKS[key] = plan.load().to(device)
    return _TASKS[key]


class _Bar:
    """One bar over all models. What is left is estimated from what each kind has taken so far."""

    def __init__(self, plan: Plan, folder: Path, workers: int, progress: bool):
        self.seconds, self.left, self.plan, self.workers = defaultdict(list), Counter(), plan, workers
        jobs = [job for wave in plan.jobs() for job in wave]
        for job in jobs:
            if _file(folder, job).exists():
                self.seconds[job.kind].append(seconds_of(_file(folder, job)))
            else:
                self.left[job.kind] += 1
        quiet = {} if progress else {"disable": True}
        there = len(jobs) - self.left.total()
        self.bar = tqdm(total=len(jobs), initial=there, desc=plan.name, unit="model", delay=1.0, leave=False, **quiet)
        self.bar.bar_format = "{desc}: {n_fmt}/{total_fmt} models |{bar}| {elapsed}{postfix}"

    def finished(self, job: Job, seconds: float) -> None:
        """Count a model, and estimate anew."""
        self.seconds[job.kind].append(seconds)
        self.left[job.kind] -= 1
        self.bar.set_postfix_str(f"about {tqdm.format_interval(self.estimate())} left", refresh=False)
        self.bar.update()

    def estimate(self) -> float:
        """Seconds that are left. A method that has not begun counts as those that have; before any has, its epochs
        count as those of training."""
        mean = {kind: statistics.fmean(values) for kind, values in self.seconds.items() if values}
        begun = [mean[kind] for kind in self.plan.methods if kind in mean]
        scratch = max(mean.get("original", 0.0), mean.get("retrained", 0.0))
        guess = {kind: statistics.fmean(begun) if begun else scratch * self._share(kind) for kind in self.plan.methods}
        guess |= {"original": scratch, "retrained": scratch} | mean
        return sum(n * guess[kind] for kind, n in self.left.items()) / self.workers

    def _share(self, method: str) -> float:
        """The epochs of a method over those of training."""
        recipe = {**unlearn.get(method).recipes, **self.plan.methods[method]}["recipe"]
        return recipe.epochs / self.plan.training.epochs

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()
