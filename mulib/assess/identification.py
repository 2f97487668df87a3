"""Identification networks that come with the library: trained once by a plan, kept as weights, loaded or made anew.

A file holds several networks in bfloat16, each before and after the second stage, and in its notes the plan, where it
was made, and what each network does on the plan's validation set: numbers of the rounded weights, as they are loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mulib import audit, explain, files, models, train
from mulib.clock import clock
from mulib.data import faces
from mulib.data.augment import CropFlip
from mulib.data.faces import FaceTask
from mulib.errors import InputError
from mulib.predict import feature_maps, predict
from mulib.recipe import Recipe
from mulib.show.filters import THRESHOLDS

KEPT = files.LIBRARY / "assess" / "identification.safetensors"
LAYER = "layer3"
MOUTH = "Mouth_Slightly_Open"


@dataclass(frozen=True)
class Identification:
    """Identification networks on posed faces, trained in two stages as the paper does.

    Attributes:
        task_options: arguments of `faces.features`; all attributes are labels.
        width: of the networks, whose maps at the end of the third stage are a quarter as wide as the images.
        first, second: recipes of the plain stage, and of the stage with the group loss.
        k: groups; as many as the first, outside trial had, before anything was trained here.
        every: after how many epochs of the second stage the groups are found anew.
        networks: how many.
        seed: of the first network; each has its own.
    """

    task_options: Mapping[str, Any]
    width: int
    first: Recipe
    second: Recipe
    k: int = 8
    every: int = 1
    networks: int = 3
    seed: int = 0

    @classmethod
    def of(cls, plain: Mapping) -> Identification:
        """The plan that JSON holds."""
        recipes = {name: Recipe(**plain[name]) for name in ("first", "second")}
        attributes = tuple(plain["task_options"]["attributes"])
        options = {"task_options": dict(plain["task_options"], attributes=attributes)}
        values: dict[str, Any] = {**plain, **recipes, **options}
        return cls(**values)

    def load(self) -> FaceTask:
        """The faces; training crops and flips them."""
        task = faces.features(**self.task_options)
        return replace(task, train=replace(task.train, augment=CropFlip()))

    def check(self) -> FaceTask:
        """Other faces of the same kind, in a world of their own: `val` to choose by, `test` to report on."""
        few = 40 if self.task_options["people"] < 1000 else 400
        others = {"seed": self.task_options["seed"] + 1, "people": 20, "val": few, "test": few, "unseen": 20}
        return faces.features(**{**self.task_options, **others})

    def network(self, index: int) -> nn.Module:
        """A network before training."""
        outputs = len(self.task_options["attributes"])
        return models.identifier(outputs, width=self.width, stem="face", fine=True, seed=self.seed + index)


class Identified(NamedTuple):
    """One network of a file: plain, with the group loss, and its groups (C,) of each: found after, trained with."""

    plain: nn.Module
    grouped: nn.Module
    plain_groups: Tensor
    groups: Tensor


def plan_of(tier: str) -> Identification:
    """The plan of a tier; the kept file is that of "quick"."""
    small, paper = tier == "smoke", tier == "paper"
    half = dict.fromkeys(("Male", "Mouth_Slightly_Open", "No_Beard", "Pointy_Nose", "Smiling", "Young"), 0.5)
    rare = {"Bald": 0.3, "Bangs": 0.4, "Eyeglasses": 0.4, "Mustache": 0.3, "Wearing_Hat": 0.25}
    first = Recipe(1 if small else 7, lr=0.05, batch_size=64, schedule="onecycle")
    return Identification(
        task_options={
            "seed": 7,  # a world of its own: nobody in a chapter's faces was seen in training
            "attributes": faces.ATTRIBUTES,
            "people": {"smoke": 160, "quick": 8_000, "paper": 100_000}[tier],
            "val": 40 if small else 600,
            "test": 40 if small else 800,
            "unseen": 20,
            "frequencies": half | rare,
            "posed": True,
        },
        width={"smoke": 4, "quick": 12, "paper": 64}[tier],
        first=first.but(epochs=20) if paper else first,
        second=Recipe(20 if paper else 1 if small else 2, lr=5e-4, batch_size=64, weight_decay=0.0, optimiser="adam"),
        networks=2 if small else 3,
    )


def make(plan: Identification, folder: Path | str, device: str = "cpu", progress: bool = True) -> bytes:
    """Train what `folder` does not hold yet, a file per network and stage, and return the kept file of them all."""
    task, check = plan.load(), plan.check()
    tensors, numbers, seconds = {}, [], 0.0
    for index in range(plan.networks):
        before = plan.network(index).to(device)
        plain, cost = _stage(Path(folder) / f"{index}-plain.safetensors", plan, task, before, index, progress)
        after, more = _stage(Path(folder) / f"{index}-grouped.safetensors", plan, task, plain, index, progress)
        seconds += cost + more
        for stage, network in (("plain", plain), ("grouped", after)):
            rounded = {name: _rounded(value) for name, value in network.state_dict().items()}
            tensors |= {f"{index}.{stage}.{name}": value for name, value in rounded.items()}
            network.load_state_dict(rounded)
            found = explain.groups(network, check.val, LAYER, k=min(plan.k, 4 * plan.width), seed=plan.seed + index)
            tensors[f"{index}.{stage}.groups"] = found.labels
        numbers.append({name: measured(net, check) for name, net in (("plain", plain), ("grouped", after))})
    made = {"sources": files.source(), "torch": metadata.version("torch"), "seconds": round(seconds)}
    notes = {"plan": asdict(plan), "made": made, "numbers": numbers}
    return files.sealed(tensors, **{name: json.dumps(value) for name, value in notes.items()})


def networks(tier: str = "quick", retrain: bool = False, device: str = "cpu"):
    """What `load` gives: of the kept file; in the paper's tier, or where asked, of one that is trained now, once."""
    if tier != "paper" and not retrain:
        return load()
    plan = plan_of(tier)
    path = files.cache_folder("networks") / f"identification-{files.key(asdict(plan), device=device)}.safetensors"
    folder = path.with_suffix("")
    files.once(path, lambda part: part.write_bytes(make(plan, folder, device)), files.read_tensors)
    return load(path)


def _stage(path: Path, plan: Identification, task: FaceTask, start: nn.Module, index: int, progress: bool):
    """One network after one stage, and what training took in seconds; from `path` where it is there."""
    seed = plan.seed + index

    def write(part: Path) -> None:
        begin = clock(models.device_of(start))
        if "plain" in path.stem:
            train.fit(network := start, task.train, plan.first, seed=seed, progress=progress)
        else:
            k = min(plan.k, 4 * plan.width)
            options = {"layer": LAYER, "k": k, "every": plan.every, "seed": seed, "progress": progress}
            network, _ = explain.identify(start, task.train, plan.second, **options)
        part.write_bytes(files.sealed(network.state_dict(), seconds=clock(models.device_of(start)) - begin))

    weights, notes = files.once(path, write, files.read_tensors)
    network = plan.network(index).to(models.device_of(start))
    network.load_state_dict(weights)
    return network.eval(), float(notes["seconds"])


def _rounded(value: Tensor) -> Tensor:
    return value.to(torch.bfloat16) if value.is_floating_point() else value


def measured(network: nn.Module, task: FaceTask) -> dict[str, float]:
    """What a network does on the validation faces: the mean AUC of all attributes, that of the mouth, the filter and
    the threshold that mark the mouth best, and how well (IoU), beside the constant mask."""
    logits, labels = predict(network, task.val), task.val.labels
    told = [audit.detection(logits[:, i], labels[:, i]).auc for i in range(labels.shape[1])]
    maps, region = feature_maps(network, task.val, LAYER), faces.masks(task.faces(task.val))["mouth"]
    fits, constant = explain.overlaps(maps, region, THRESHOLDS), explain.rank_filters(maps[:, :1], region).baseline
    at, best = divmod(int(fits.argmax()), fits.shape[1])
    scores = {"auc": sum(told) / len(told), "auc.mouth": told[task.val.classes.index(MOUTH)]}
    found = {"filter": best, "threshold": THRESHOLDS[at], "iou": float(fits.max()), "constant": constant}
    return scores | found


def better_stage(notes: Mapping) -> str:
    """ "plain" or "grouped": the stage whose best filters fit the mouth better in validation, on average."""
    fits = {name: sum(numbers[name]["iou"] for numbers in notes["numbers"]) for name in ("plain", "grouped")}
    return max(fits, key=lambda name: fits[name])


def best_network(notes: Mapping) -> int:
    """Which network has, in that stage, the filter that fits the mouth best in validation."""
    fits = [numbers[better_stage(notes)]["iou"] for numbers in notes["numbers"]]
    return fits.index(max(fits))


def load(path: Path | str = KEPT) -> tuple[Identification, list[Identified], dict]:
    """The plan, the networks, and the notes ("made", "numbers") of a kept file.

    Raises:
        InputError: a file that is missing, cut, or not as it was written.
    """
    if (found := files.read_tensors(Path(path))) is None:
        raise InputError(f"{path} is missing or damaged: get it again with the library, or make it anew.")
    tensors, notes = found[0], {name: json.loads(value) for name, value in found[1].items()}
    plan = Identification.of(notes.pop("plan"))
    kept = []
    for index in range(plan.networks):
        stages, labels = [], []
        for stage in ("plain", "grouped"):
            head = f"{index}.{stage}."
            weights = {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}
            labels.append(weights.pop("groups"))
            network = plan.network(index)
            network.load_state_dict(weights)
            stages.append(network.eval())
        kept.append(Identified(*stages, *labels))
    return plan, kept, notes
