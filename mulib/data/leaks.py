"""The leak check: the same picture twice, within a set or across sets, under two labels, or the same person.

Two images are **copies** where their files (SHA-256) or their decoded pixels are equal, and **near copies** where their
perceptual hashes differ in at most `NEAR` of 64 bits and they are no copies. The hash (Zauner, 2010) is the sign of
the 8×8 lowest frequencies of a 32×32 grey picture's cosine transform, against their median.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mulib.data.pictures import near_pairs, numbered, perceptual_hashes, pixel_hashes
from mulib.data.sets import ImageSet, Task
from mulib.text import aligned, printable

# Half of the 64 bits are set, so distances are even. On MUFAC all 229 pairs of other pictures within 2 bits correlate
# above 0.98, and none of the 33 pairs at 4 bits above 0.95: those are two people in one pose.
NEAR = 2
SETS = ("forget", "retain", "val", "test", "unseen")  # also who keeps a picture that several sets have


@dataclass(frozen=True)
class Count:
    """What a set holds, or what two sets share.

    Attributes:
        images: how many there are, or images of the first set with a copy in the second.
        files, pictures: how many distinct ones (of files 0 where it is not made of files), or that are in both.
        near: distinct pictures with a near copy in the same, or in the second, set.
        people: how many there are, or who are in both (0 where they are not known).
    """

    images: int
    files: int
    pictures: int
    near: int
    people: int


@dataclass(frozen=True)
class Conflict:
    """Copies of one picture that carry different labels: the number of images and some of their names."""

    images: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Leaks:
    """What the leak check found in a task: `sets` by name, `pairs` by "first/second"."""

    task: str
    near_bits: int
    sets: dict[str, Count]
    pairs: dict[str, Count]
    conflicts: tuple[Conflict, ...]

    @property
    def clean(self) -> bool:
        """No copy and no near copy anywhere, and no conflict; people may still straddle sets."""
        alone = all(count.images == count.pictures and not count.near for count in self.sets.values())
        return alone and not self.conflicts and not any(pair.images or pair.near for pair in self.pairs.values())

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return {**asdict(self), "clean": self.clean}

    def __str__(self) -> str:
        rows = [("set", "images", "distinct files", "distinct pictures", "near copies", "people")]
        rows += [(name, *_cells(count)) for name, count in self.sets.items()]
        across = [("first/second", "images of the first", "files", "pictures", "near copies", "people")]
        across += [(name, *_cells(overlap)) for name, overlap in self.pairs.items()]
        lines = [printable(self.task), "", aligned(rows), "", aligned(across), ""]
        lines.append(f"near copies differ in at most {self.near_bits} of 64 bits of their perceptual hash")
        lines.append(f"pictures under different labels: {len(self.conflicts)}")
        lines += [f"  {conflict.images} images: {printable(', '.join(conflict.names))}" for conflict in self.conflicts]
        return "\n".join(lines)


def check(task: Task) -> Leaks:
    """Compare every image of a task with every other one.

    Cost: each image is hashed once, and only pairs whose perceptual hashes share a third of their bits are compared.
    """
    found = _Pictures(task)
    members = {**found.sets, "train": found.sets["forget"] | found.sets["retain"]}
    names = ["train", *(name for name in SETS if found.sets[name].any())]
    counts = {name: found.count(members[name]) for name in names}
    held = [name for name in names if name in ("val", "test", "unseen")]
    pairs = [*(("train", name) for name in held), *combinations(names[1:], 2)]
    overlaps = {f"{a}/{b}": found.overlap(members[a], members[b]) for a, b in pairs}
    return Leaks(task.name, NEAR, counts, overlaps, found.conflicts())


def deduplicated(task: Task) -> Task:
    """The same task without copies: of images that are equal or near copies, one remains, across all sets.

    The one that remains is the first in the order forget, retain, val, test, unseen, so the request is kept and what is
    held out stays held out. Copies of one picture that carry different labels are all removed. What counts as a near
    copy is `NEAR`; people who appear in several sets remain.

    Raises:
        InputError: nothing would be left of the forget or of the retain set.
    """
    found = _Pictures(task)
    group = found.groups[found.picture]  # the group of copies and near copies of every image
    first = np.zeros(len(group), bool)
    first[np.unique(group, return_index=True)[1]] = True
    first &= ~np.isin(found.picture, found.conflicting)
    kept = {name: torch.from_numpy(first[member].nonzero()[0]) for name, member in found.sets.items()}
    retained = torch.ones(len(task.train), dtype=torch.bool)
    retained[task.forget_index] = False
    forget = task.forget_index[kept["forget"]]
    train = torch.cat([forget, retained.nonzero()[:, 0][kept["retain"]]]).sort().values
    held_out = {name: getattr(task, name).subset(kept[name]) for name in ("val", "test", "unseen")}
    index = torch.searchsorted(train, forget)
    return replace(task, train=task.train.subset(train), forget_index=index, **held_out)


class _Pictures:
    """All images of a task, in the order of `SETS`: which picture each shows, and what other pictures are near it.

    Attributes:
        sets: per set, (N,) bool, the images that belong to it.
        file, picture, person: (N,) int64, equal for equal files, pixels, people; −1 where there is none.
        pairs: (P, 2) int64, pictures that are near copies of each other.
        groups: (pictures,) int64, equal for pictures that a chain of near copies links.
        conflicting: the pictures whose copies have different labels.
    """

    def __init__(self, task: Task):
        parts = [getattr(task, name) for name in SETS]
        owner = np.repeat(SETS, [len(part) for part in parts])
        self.sets = {name: owner == name for name in SETS}
        self.names = np.concatenate([_names(part, name) for part, name in zip(parts, SETS, strict=True)])
        self.picture, first = numbered(np.concatenate([pixel_hashes(part) for part in parts]))
        self.file = _known([part.digests for part in parts], len(owner))
        self.person = _known([part.identities for part in parts], len(owner))
        self.known = {"files": self.file, "pictures": self.picture, "people": self.person}
        hashes = np.concatenate([perceptual_hashes(part) for part in parts])[first]
        self.pairs = near_pairs(hashes, NEAR)
        edges = coo_array((np.ones(len(self.pairs)), self.pairs.T), shape=(len(first), len(first)))
        self.groups = connected_components(edges, directed=False)[1]
        labels = np.concatenate([part.labels.cpu().numpy() for part in parts])
        self.label = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
        told = np.unique(np.stack([self.picture, self.label]), axis=1)[0]  # a picture once per label it has
        self.conflicting = np.flatnonzero(np.bincount(told, minlength=len(first)) > 1)

    def count(self, member: np.ndarray) -> Count:
        own = {what: len(_distinct(ids, member)) for what, ids in self.known.items()}
        return Count(int(member.sum()), **own, near=self.near(member, member))

    def overlap(self, a: np.ndarray, b: np.ndarray) -> Count:
        shared = {what: np.intersect1d(_distinct(ids, a), _distinct(ids, b)) for what, ids in self.known.items()}
        images = int(np.isin(self.picture[a], shared["pictures"]).sum())
        return Count(images=images, **{what: len(ids) for what, ids in shared.items()}, near=self.near(a, b))

    def near(self, a: np.ndarray, b: np.ndarray) -> int:
        """How many pictures of `a` have a near copy in `b`."""
        in_a, in_b = (np.isin(self.pairs, self.picture[member]) for member in (a, b))
        return len(np.union1d(self.pairs[in_a[:, 0] & in_b[:, 1], 0], self.pairs[in_a[:, 1] & in_b[:, 0], 1]))

    def conflicts(self) -> tuple[Conflict, ...]:
        members = [np.flatnonzero(self.picture == picture) for picture in self.conflicting]
        return tuple(Conflict(len(m), tuple(self.names[m[:8]].tolist())) for m in members)


def _known(parts: list[torch.Tensor | None], total: int) -> np.ndarray:
    """Numbers for values that all parts have; −1 for all where one of the parts lacks them."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return np.full(total, -1)
    values = torch.cat(known).numpy()
    return numbered(values.reshape(len(values), -1))[0]


def _distinct(ids: np.ndarray, member: np.ndarray) -> np.ndarray:
    found = np.unique(ids[member])
    return found[found >= 0]


def _names(data: ImageSet, name: str) -> np.ndarray:
    return np.array([f"{name}[{i}]" for i in range(len(data))], dtype=str) if data.names is None else data.names


def _cells(row: Count) -> Iterable[str]:
    return (f"{value:,}" for value in asdict(row).values())
