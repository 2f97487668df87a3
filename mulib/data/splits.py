"""Seeded splits that keep a person's images together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mulib.data.sets import ImageSet, Task
from mulib.errors import InputError


def by_people(identities: Tensor, shares: Sequence[float], seed: int) -> list[Tensor]:
    """Split images into parts that share no person.

    Args:
        identities: (N,) int64, who is on each image; `torch.arange(N)` splits image by image.
        shares: what part of the images each part gets, up to one person's images more or less; they sum to 1.

    Returns:
        One (n,) int64 tensor of ascending positions per share.
    """
    _, person, images = identities.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    before = images[order].cumsum(0) - images[order]  # images of the people drawn earlier
    bounds = (torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1] * len(identities)).round()
    part = torch.empty_like(order)
    part[order] = torch.bucketize(before.double(), bounds, right=True)
    part = part[person]
    return [(part == k).nonzero()[:, 0] for k in range(len(shares))]


def who_or_what(data: ImageSet) -> Tensor:
    """(N,) int64, a number for each person, or for each image where people are not known: those who share a copy of
    one file have one number, so that no split parts it."""
    who = torch.arange(len(data)) if data.identities is None else data.identities
    if data.digests is None:
        return who
    people, person = np.unique(who.numpy(), return_inverse=True)
    files, file = np.unique(data.digests.numpy(), axis=0, return_inverse=True)
    size = len(people) + len(files)
    pairs = coo_array((np.ones(len(who)), (person, len(people) + file.reshape(-1))), (size, size))
    group = connected_components(pairs, directed=False)[1][: len(people)]
    first = np.unique(group, return_index=True)[1]  # people are in ascending order: the lowest number of each group
    return torch.from_numpy(people[first[np.unique(group, return_inverse=True)[1]]][person])


def warn_of_copies(task: Task) -> None:
    """Warn where sets that others drew share a file."""
    sets = {name: part.digests for name, part in {**task.sets, "val": task.val}.items() if part.digests is not None}
    each = {name: {bytes(row) for row in digests.numpy()} for name, digests in sets.items()}
    for one, other in combinations(each, 2):
        if both := len(each[one] & each[other]):
            where = f"{task.name} has {both} files in {one} and in {other}"
            warnings.warn(f"{where}: look at leaks.check(task), and use leaks.deduplicated(task).", stacklevel=3)


def hold_out(task: Task, images: int, seed: int) -> Task:
    """The task with about `images` of its retain set moved into `val`, whole people that are not to be forgotten.

    The papers' splits have no validation set, so this is no longer the paper's split: its train set is smaller.

    Raises:
        InputError: as many images as the retain set has, or more.
    """
    if images == 0:
        return task
    size = len(task.train) - len(task.forget_index)
    if not 0 < images < size:
        raise InputError(f"val is {images}: expected fewer than the {size} images of {task.name}'s retain set.")
    train = task.train
    who = who_or_what(train)
    free = (~torch.isin(who, who[task.forget_index])).nonzero()[:, 0]
    if images >= len(free):
        people = f"{len(free)} images of people who are not to be forgotten"
        raise InputError(f"val is {images}, but {task.name} has only {people}: expected fewer.")
    chosen = free[by_people(who[free], (images / len(free), 1 - images / len(free)), seed)[0]]
    stays = torch.ones(len(train), dtype=torch.bool)
    stays[chosen] = False
    moved = stays.long().cumsum(0) - 1
    held = replace(train.subset(chosen), augment=None)
    return replace(task, train=train.subset(stays), forget_index=moved[task.forget_index], val=held)


def by_coin(task: Task, seed: int) -> Task:
    """The task with its members drawn anew: of the forget set and as many unseen images, a fair coin says for each
    whether it is in train, and so to be forgotten, or unseen.

    Then nobody chose, and one model can bound ε (`audit.one_run`). The coins decide how many are forgotten.

    Raises:
        InputError: coins that fall all on one side.
    """
    n = min(len(task.forget_index), len(task.unseen))
    candidates = task.forget.subset(torch.arange(n)).joined(task.unseen.subset(torch.arange(n)))
    heads = torch.rand(2 * n, generator=torch.Generator().manual_seed(seed)) < 0.5
    if not 0 < int(heads.sum()) < 2 * n:
        raise InputError(f"all {2 * n} coins fell on one side: draw them with another seed.")
    retain = task.retain
    train = retain.joined(candidates.subset(heads))
    forget_index = torch.arange(len(retain), len(train))
    return replace(task, train=train, forget_index=forget_index, unseen=candidates.subset(~heads))
