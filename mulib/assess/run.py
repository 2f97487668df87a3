"""Train what is missing, one file per model; killed anywhere, the next call goes on where this one stopped."""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import warnings
from collections import Counter, defaultdict
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from mulib import audit, data, files, models, train, unlearn
from mulib.assess.plan import GROWS, Job, Plan
from mulib.assess.results import KEPT, Assessment, labels_file, model_file, score, seconds_of
from mulib.clock import clock
from mulib.data.sets import Task
from mulib.errors import DivergedError, InputError, refusing
from mulib.predict import has_bf16, penultimate, predict

START = 10  # seconds that a process of its own takes until it trains

SPEED = 5e10  # floating-point operations a second that a core is taken to do, before a model is finished


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
            More originals, models, rows or variants than it was begun with are added to it.
        device: "cpu" or "cuda".
        workers: models at a time, each in a process of its own; by default one per core, 4 on a GPU, or 1 where the
            first model shows that the others take no longer than processes to start. With 1 they are trained here.
        progress: a bar on standard error with an estimate of the time that is left.

    Raises:
        InputError: `folder` belongs to another plan, or the data is not on this machine.
        DivergedError: a loss that is not finite; the last good weights are kept, and their file is named.
    """
    folder, shelf = _places(plan, folder, device)
    most = _workers(workers, device)
    with files.locked(folder):
        _claim(plan, folder, device)
        for place in filter(None, (shelf, folder)):
            _clear(place)
        _share(plan, shelf, folder)
        for variant in plan.variants:
            if files.read_tensors(labels_file(folder, variant)) is None:
                labels = {name: _task(plan, variant, device).sets[name].labels for name in KEPT}
                files.replace(labels_file(folder, variant), files.sealed(labels))
        bar = _Bar(Outlook(plan, folder, most), progress)
        for wave in plan.jobs():
            missing = [job for job in wave if not model_file(folder, job).exists()]
            if not missing:
                continue
            arguments = (plan, folder, device)
            if workers is None:
                bar.finished(*_train_here(*arguments, missing.pop(0)))
                workers = most if bar.outlook.left > START else 1
            if workers == 1:
                done = (_train_here(*arguments, job) for job in missing)
            else:
                parallel: Any = joblib.Parallel(workers, return_as="generator_unordered", inner_max_num_threads=1)
                there = joblib.delayed(_train_there)
                done = parallel(there(os.getpid(), *arguments, job, _run_of(plan, job)) for job in missing)
            for job, seconds in done:
                bar.finished(job, seconds)
            _share(plan, folder, shelf)
        bar.close()
        results = Assessment(folder, plan)
        results.publish()
    return results


def outlook(
    plan: Plan, folder: Path | str | None = None, *, device: str = "cpu", workers: int | None = None
) -> Outlook:
    """What `run` with these arguments would find and have to train; nothing is trained or written."""
    folder, shelf = _places(plan, folder, device)
    return Outlook(plan, folder, _workers(workers, device), shelf)


def _places(plan: Plan, folder: Path | str | None, device: str) -> tuple[Path, Path | None]:
    """The folder of the models, and the one that plans share."""
    if folder is not None:
        place = Path(folder).resolve()
        if not str(folder) or not place.name:
            raise InputError(f"the folder of the experiment is {str(folder)!r}: expected one of its own.")
        return place, None
    cache = files.cache_folder("assess")
    return cache / f"{plan.name}-{plan.key(device)}", cache / f"scratch-{plan.scratch_key(device)}"


def _workers(workers: int | None, device: str) -> int:
    return workers or (4 if device.startswith("cuda") else os.cpu_count() or 1)


def _claim(plan: Plan, folder: Path, device: str) -> None:
    """Write the plan down, or see that it is the one that was begun here, and say whether by these sources."""
    note, asked = folder / "plan.json", plan.as_dict()
    today = {"sources": files.source(), "torch": metadata.version("torch"), "device": device.partition(":")[0]}
    made = []
    if note.exists():
        with refusing(str(note), "remove it to begin anew with the models that are there"):
            there = json.loads(note.read_text())
            _ = [there["plan"][part] for part in ("methods", "originals", "variants")]
        if different := _different(there["plan"], asked):
            raise InputError(
                f"{folder} holds another plan (it differs in {', '.join(different)}): choose another folder."
            )
        asked["methods"] = there["plan"]["methods"] | asked["methods"]
        asked["originals"] = max(there["plan"]["originals"], asked["originals"])
        asked["variants"] = list(dict.fromkeys([*there["plan"]["variants"], *asked["variants"]]))
        made = list(there.get("made", [{}]))
        if other := [name for name in today if any(each.get(name) != today[name] for each in made)]:
            warnings.warn(
                f"models in {folder} were made with other {' and '.join(other)} than today's and are kept as they are:"
                " choose another folder to make all anew.",
                stacklevel=3,
            )
    made += [] if today in made else [today]
    if not note.exists() or {"plan": asked, "made": made} != there:
        files.replace(note, json.dumps({"plan": asked, "made": made}, indent=1).encode())


def _different(there: dict, asked: dict) -> list[str]:
    """In what plans differ that cannot share a folder."""
    found = [name for name in asked if name not in GROWS and there.get(name) != asked[name]]
    rows = set(there["methods"]) & set(asked["methods"])
    return found + [f"the row {row}" for row in sorted(rows) if there["methods"][row] != asked["methods"][row]]


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
        if model_file(giver, job).exists():
            with contextlib.suppress(OSError):  # there already, or a disk without links
                model_file(taker, job).hardlink_to(model_file(giver, job))


def _run_of(plan: Plan, job: Job):
    """The method itself, so that one that was registered in a notebook reaches the other processes too."""
    return None if job.original is None else plan.method(job.kind).run


def _train_here(plan: Plan, folder: Path, device: str, job: Job) -> tuple[Job, float]:
    """The same as in a process of its own: with one thread, and the caller's setting restored."""
    threads = torch.get_num_threads()
    try:
        return _train(plan, folder, device, job, _run_of(plan, job))
    finally:
        torch.set_num_threads(threads)


def _train_there(parent: int, *arguments) -> tuple[Job, float]:
    """`_train` in a process that ends with `parent`."""
    files.end_with(parent)
    return _train(*arguments)


def _train(plan: Plan, folder: Path, device: str, job: Job, method) -> tuple[Job, float]:
    """Train or unlearn one model, ask it for its logits, write its file; the seconds are those of the training.

    They are those of `clock`: on the CPU, of one core.
    """
    torch.set_num_threads(1)
    task, seed, start = _task(plan, job.variant, device), plan.seed_of(job), clock(device)
    quiet = {"seed": seed, "progress": False}
    try:
        if job.original is None:
            model = _network(plan, task, device, seed)
            train.fit(model, task.train if job.kind == "original" else task.retain, plan.training, **quiet)
        else:
            so_far = Assessment(folder, plan)
            model = _network(plan, task, device, 0)
            model.load_state_dict(so_far.weights(job.original, job.variant))
            options = plan.options(job.kind, so_far.chosen[job.kind] if job.factor is None else job.factor)
            if word := options.get("select"):
                options["select"] = _select(word, plan, task)
            model = method(model, task.request, **options, **quiet)
    except DivergedError as error:
        if job.factor is not None:  # a rate that is too high is not chosen
            scores = dict.fromkeys(("validation", "careless", "reported"), -math.inf)
            files.replace(model_file(folder, job), files.sealed({}, scores=json.dumps(scores), seconds=0.0))
            return job, 0.0
        path = model_file(folder, job).with_suffix(".last-good.safetensors")
        files.replace(path, files.sealed(error.model.state_dict()))
        raise DivergedError(f"{job.name}: {error} Its weights are in {path}.", error.step, error.epoch) from None
    seconds = clock(device) - start
    write = _write if job.factor is None else _write_trial
    write(model_file(folder, job), model, plan, task, seconds, job)
    return job, seconds


def _select(word: str, plan: Plan, task: Task):
    """The score that a row chooses its batch by."""
    if word == "validation":
        return unlearn.validation_score
    return lambda model, request: _reported(model, plan, task)


def _reported(model: nn.Module, plan: Plan, task: Task) -> float:
    """The final score on the data that is reported."""
    sets = {name: task.sets[name] for name in KEPT}
    z = predict(model, sets, precision=plan.training.precision)
    return audit.scores(z, {name: part.labels for name, part in sets.items()}, balanced=plan.balanced).final_score


def _network(plan: Plan, task: Task, device: str, seed: int) -> nn.Module:
    model = models.resnet18(task.train.outputs, seed=seed, **plan.network).to(device)
    fast = plan.training.precision == "bf16" and has_bf16(torch.device(device).type)  # wants the channels last
    return model.to(memory_format=torch.channels_last) if fast else model


def _write(path: Path, model: nn.Module, plan: Plan, task: Task, seconds: float, job: Job) -> None:
    """One model's file: logits on the kept sets, its score on each set, and its weights where others start from it."""
    logits = predict(model, task.sets, precision=plan.training.precision)
    scores = {name: score(z, task.sets[name].labels.cpu()) for name, z in logits.items()}
    scores |= _memory(model, task) if plan.audits else {}
    tensors = {f"logits.{name}": logits[name] for name in KEPT}
    if job.kind == "original":
        tensors |= {f"weights.{k}": v for k, v in model.state_dict().items()}
    files.replace(path, files.sealed(tensors, scores=json.dumps(scores), seconds=seconds))


def _memory(model: nn.Module, task: Task) -> dict[str, float]:
    """What a model still knows of the forget set, by audits that need its weights."""
    seen = {name: penultimate(model, task.sets[name]) for name in ("retain", "forget", "unseen")}
    labels = task.retain.labels, task.forget.labels
    return {
        "recovered": audit.recover(model, task.retain, task.forget).most,
        "label probe": audit.label_probe(seen["retain"], labels[0], seen["forget"], labels[1]).point,
        "membership probe": audit.membership_probe(seen["forget"], seen["unseen"]).point,
    }


def _write_trial(path: Path, model: nn.Module, plan: Plan, task: Task, seconds: float, job: Job) -> None:
    """One trial's file: its scores."""
    val = task.request.val
    scores = {"careless": unlearn.validation_score(model, task.request), "reported": _reported(model, plan, task)}
    scores["validation"] = scores["careless"]
    if plan.nonmembers == "mislabelled":
        others = data.mislabelled(val, plan.seed)
        scores["validation"] = unlearn.validation_score(model, task.request, others)
    files.replace(path, files.sealed({}, scores=json.dumps(scores), seconds=seconds))


_TASKS: dict[tuple[str, ...], Task] = {}  # the last task that this process used, in its variants


def _task(plan: Plan, variant: str, device: str) -> Task:
    """The task on the device, loaded once per process."""
    key = plan.task, json.dumps(plan.as_dict()["task_options"], sort_keys=True), device
    if any(there[:3] != key for there in _TASKS):
        _TASKS.clear()
    if (*key, variant) not in _TASKS:
        _TASKS[*key, variant] = plan.load(variant).to(device)
    return _TASKS[*key, variant]


def _seconds(file: Path) -> float | None:
    """What a model took, None where there is none, or a damaged one, which `run` makes anew."""
    try:
        return seconds_of(file) if file.exists() else None
    except InputError:
        return None


class Outlook:
    """Which models are there and which are missing, per kind, and how long those will take."""

    def __init__(self, plan: Plan, folder: Path, workers: int, shelf: Path | None = None):
        self.plan, self.workers = plan, workers
        self.there, self.missing, self.seconds = Counter(), Counter(), defaultdict(list)
        for job in (job for wave in plan.jobs() for job in wave):
            kind = job.kind if job.factor is None else f"{job.kind}, trials"
            places = [model_file(place, job) for place in (folder, shelf) if place is not None]
            taken = next((s for s in map(_seconds, places) if s is not None), None)
            (self.missing if taken is None else self.there)[kind] += 1
            if taken is not None:
                self.seconds[job.kind].append(taken)

    def finished(self, job: Job, seconds: float) -> None:
        """Count a model."""
        kind = job.kind if job.factor is None else f"{job.kind}, trials"
        self.there[kind] += 1
        self.missing[kind] -= 1
        self.seconds[job.kind].append(seconds)

    @property
    def kinds(self) -> list[str]:
        """The kinds of models, in the order in which they are made."""
        return list(dict.fromkeys([*self.there, *self.missing]))

    def each(self, kind: str) -> float:
        """Seconds of one model of a kind: those of finished ones, or those of other kinds by their epochs, or, before
        anything is finished, a guess from the images, the epochs and the network at `SPEED`."""
        row = kind.removesuffix(", trials")
        if found := self.seconds.get(row):
            return statistics.fmean(found)
        known = [statistics.fmean(v) / self._epochs(k) for k, v in self.seconds.items() if self._epochs(k)]
        return self._epochs(row) * (max(known) if known else self._epoch)

    @property
    def left(self) -> float:
        """Seconds that are left, with so many workers."""
        return sum(n * self.each(kind) for kind, n in self.missing.items()) / self.workers

    def rows(self) -> list[dict[str, str]]:
        """A line per kind and one for all, for a table."""
        lines = [
            {"kind": kind, "there": f"{self.there[kind]}", "missing": f"{self.missing[kind]}"}
            | {"each": tqdm.format_interval(self.each(kind))}
            | {"all": tqdm.format_interval(self.missing[kind] * self.each(kind))}
            for kind in self.kinds
        ]
        total = {"there": f"{self.there.total()}", "missing": f"{self.missing.total()}", "each": ""}
        workers = f"{self.workers} at a time" if self.workers > 1 else "one at a time"
        return [*lines, {"kind": workers, **total, "all": tqdm.format_interval(self.left)}]

    def _epochs(self, kind: str) -> float:
        """The epochs that a model of a kind trains."""
        if kind not in self.plan.methods:
            return self.plan.training.epochs
        options = self.plan.options(kind)
        return sum(options.get(k, r).epochs for k, r in self.plan.method(kind).recipes.items())

    @cached_property
    def _epoch(self) -> float:
        """Seconds of one epoch, by the network's multiplications."""
        task = self.plan.load()
        model = models.resnet18(task.train.outputs, **self.plan.network).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(next(task.train.batches(2))[0])
        return 3 * counter.get_total_flops() / 2 * len(task.train) / SPEED


class _Bar:
    """One bar over all models, with what is left."""

    def __init__(self, outlook: Outlook, progress: bool):
        self.outlook, there = outlook, outlook.there.total()
        options: dict[str, Any] = {} if progress else {"disable": True}
        options |= {"unit": "model", "delay": 1.0, "leave": False, "desc": outlook.plan.name, "initial": there}
        self.bar = tqdm(total=there + outlook.missing.total(), **options)
        self.bar.bar_format = "{desc}: {n_fmt}/{total_fmt} models |{bar}| {elapsed}{postfix}"

    def finished(self, job: Job, seconds: float) -> None:
        """Count a model, and estimate anew."""
        self.outlook.finished(job, seconds)
        self.bar.set_postfix_str(f"about {tqdm.format_interval(self.outlook.left)} left", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()
