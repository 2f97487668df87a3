"""Unlearning tasks on synthetic faces, after the data sets of the papers: age groups, attributes, features, targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mulib.data.augment import CropFlip
from mulib.data.faces.cache import drawn
from mulib.data.sets import DECADES, ImageSet, Task
from mulib.errors import InputError
from mulib.faces.people import AGE_GROUPS, Faces, column
from mulib.faces.sampling import sample

MEAN, STD = (0.54, 0.49, 0.46), (0.19, 0.18, 0.18)  # of the pixels, in [0, 1], rounded


@dataclass(frozen=True)
class FaceTask(Task):
    """A task whose pictures can be drawn again: with masks, or with something toggled.

    Attributes:
        cast: everybody in every picture of the task.
    """

    cast: Faces

    def faces(self, images: ImageSet) -> Faces:
        """What the pictures of any set of this task show, in the order of the set.

        >>> mouth = masks(task.faces(task.unseen))["mouth"]

        Raises:
            InputError: images of something else.
        """
        pictures = int(self.cast.picture.max()) + 1
        try:
            if images.names is None:
                raise ValueError("they have no names")
            identity, picture = np.array([name.split("/") for name in images.names], np.int64).reshape(-1, 2).T
            return self.cast[identity * pictures + picture]
        except (TypeError, ValueError, IndexError) as error:
            raise InputError("these images are not of this task: pass one of its sets, or a subset of one.") from error


def age(
    seed: int = 0,
    *,
    people: int = 300,
    pictures: int = 10,
    forget: int = 45,
    val: int = 50,
    test: int = 100,
    unseen: int = 100,
    size: int = 64,
    labels: Literal["groups", "years", "decades"] = "groups",
    copies: bool = False,
    augment: bool = False,
) -> FaceTask:
    """Age groups, like MUFAC: the eight classes of `AGE_GROUPS`, all pictures of some people to be forgotten.

    A person's pictures show about the same age, so a network can learn it by heart; the cues are ambiguous, so for
    other people it cannot know. Every part holds people of its own; in train, the forgotten ones come first.

    Args:
        seed: the people, their pictures and who is in which part.
        people, forget, val, test, unseen: how many people train, are forgotten of them, and are in the other parts.
        pictures: of each person.
        size: pixels, 32 … 224.
        labels: the groups; or "years", (N,) float ages, and "decades", the ten classes of `DECADES`, like AgeDB.
        copies: plant some, as MUFAC has them: every tenth forget picture is once more in the retain set, and as many
            retain pictures in the unseen set, each under another name.
        augment: whether training crops and flips.

    Raises:
        InputError: a number out of range, or unknown labels.
    """
    counts = _counts(people, forget, val, test, unseen)
    if labels not in ("groups", "years", "decades"):
        raise InputError(f"labels is {labels!r}: expected 'groups', 'years' or 'decades'.")
    cast = sample(sum(counts.values()), pictures, seed=seed, ages="all")
    if labels != "groups":
        task = _by_people("faces-age", cast, torch.from_numpy(cast.age).float(), (), counts, forget, size)
        task = task if labels == "years" else task.binned(DECADES)
    else:
        classes = tuple(f"{low}-{high}" for low, high in AGE_GROUPS)
        task = _by_people("faces-age", cast, torch.from_numpy(cast.age_group), classes, counts, forget, size)
    task = _with_copies(task) if copies else task
    return replace(task, train=replace(task.train, augment=CropFlip())) if augment else task


def attributes(
    seed: int = 0,
    *,
    attributes: tuple[str, ...] = ("Male", "Smiling", "Young"),
    people: int = 600,
    pictures: int = 5,
    forget: int = 120,
    val: int = 50,
    test: int = 150,
    unseen: int = 150,
    size: int = 64,
    frequencies: Mapping[str, float] | None = None,
    correlations: Mapping[tuple[str, str], float] | None = None,
) -> FaceTask:
    """Several attributes at once, like MUCAC: labels (N, A) float 0/1, all pictures of some people to be forgotten.

    Args:
        attributes: the labels, in this order: any of `ATTRIBUTES`.
        frequencies, correlations: as for `sample`.
        The others are as for `age`.

    Raises:
        InputError: an unknown attribute, a number out of range, an impossible correlation.
    """
    counts = _counts(people, forget, val, test, unseen)
    cast = sample(sum(counts.values()), pictures, seed=seed, frequencies=frequencies, correlations=correlations)
    return _by_people("faces-attributes", cast, _labels(cast, attributes), tuple(attributes), counts, forget, size)


def features(
    seed: int = 0,
    *,
    attributes: tuple[str, ...] = ("Bald", "Mouth_Slightly_Open", "Pointy_Nose"),
    forget: tuple[str, ...] = ("Mouth_Slightly_Open",),
    people: int = 1200,
    val: int = 300,
    test: int = 600,
    unseen: int = 800,
    size: int = 64,
    frequencies: Mapping[str, float] | None = None,
    correlations: Mapping[tuple[str, str], float] | None = None,
    posed: bool = False,
) -> FaceTask:
    """A feature to be forgotten inside the pictures, like CelebA: Bald is the task, an open mouth must not matter.

    Labels (N, A) float 0/1. The forget set is the training pictures with all of `forget`; unseen has only such
    pictures too. Everybody has one picture. Correlate a feature with the task to make a model take a shortcut:
    ``features(correlations={("Mouth_Slightly_Open", "Bald"): 0.3})``.

    Args:
        attributes: the labels, in this order: any of `ATTRIBUTES`; the task first.
        forget: the features.
        people, val, test, unseen: pictures in each part; of unseen, those with the features remain.
        frequencies, correlations, posed: as for `sample`.
        seed, size: as for `age`.

    Raises:
        InputError: an unknown attribute, a number out of range, an impossible correlation, nothing to forget.
    """
    return _by_attribute(
        "faces-features", seed, attributes, forget, (people, val, test, unseen), size, frequencies, correlations, posed
    )


def targets(
    seed: int = 0,
    *,
    attributes: tuple[str, ...] = ("Mouth_Slightly_Open", "No_Beard", "Eyeglasses"),
    forget: tuple[str, ...] = ("Eyeglasses",),
    people: int = 1500,
    val: int = 300,
    test: int = 600,
    unseen: int = 1000,
    size: int = 64,
    frequencies: Mapping[str, float] | None = None,
    correlations: Mapping[tuple[str, str], float] | None = None,
) -> FaceTask:
    """Several targets in one picture, one of them to be forgotten, like CelebA in the essential graph's settings.

    Labels, sets, arguments and errors are those of `features`; `forget` names targets.
    """
    return _by_attribute(
        "faces-targets", seed, attributes, forget, (people, val, test, unseen), size, frequencies, correlations
    )


def _counts(people: int, forget: int, val: int, test: int, unseen: int) -> dict[str, int]:
    if not 0 < forget < people:
        raise InputError(f"forget is {forget} of {people} people: expected 1 … {people - 1}.")
    if min(val, test, unseen) < 1:
        raise InputError(f"val is {val}, test {test}, unseen {unseen}: expected at least one person in each.")
    return {"train": people, "val": val, "test": test, "unseen": unseen}


def _labels(cast: Faces, names: tuple[str, ...]) -> Tensor:
    if not names or isinstance(names, str):
        raise InputError(f"attributes is {names!r}: expected a tuple of at least one name.")
    return torch.from_numpy(cast.attributes[:, [column(name) for name in names]]).float()


def _with_copies(task: FaceTask) -> FaceTask:
    copies = task.forget.subset(torch.arange(0, len(task.forget), 10))
    n = len(copies)
    others = task.retain.subset(torch.arange(n) * (len(task.retain) // n))
    joined = {"train": task.train.joined(_renamed(copies)), "unseen": task.unseen.joined(_renamed(others))}
    return replace(task, **joined)


def _renamed(part: ImageSet) -> ImageSet:
    """The same pictures under other people's names."""
    people, names = part.identities, part.names
    assert people is not None, "drawn faces have identities"
    assert names is not None, "drawn faces have names"
    return replace(part, identities=people + 1_000_000, names=np.array([f"{name}/copy" for name in names]))


def _by_people(
    name: str, cast: Faces, labels: Tensor, classes, counts: dict[str, int], forget: int, size: int
) -> FaceTask:
    """Parts of `counts` people each, one after another; the first `forget` of train are to be forgotten."""
    pictures = len(cast) // sum(counts.values())
    parts = _parts(cast, labels, classes, {part: n * pictures for part, n in counts.items()}, size)
    return FaceTask(name, forget_index=torch.arange(forget * pictures), cast=cast, **parts)


def _by_attribute(
    name: str, seed: int, attributes, forget, counts, size: int, frequencies, correlations, posed: bool = False
) -> FaceTask:
    """Parts of one picture per person; to be forgotten: those with all of some attributes."""
    if min(counts) < 1:
        raise InputError(f"people is {counts[0]}, val {counts[1]}, test {counts[2]}, unseen {counts[3]}: expected ≥ 1.")
    sizes: dict[str, int] = dict(zip(("train", "val", "test", "unseen"), counts, strict=True))
    cast = sample(sum(counts), seed=seed, frequencies=frequencies, correlations=correlations, posed=posed)
    labels, marked = _labels(cast, attributes), _labels(cast, forget).bool().all(1)
    parts = _parts(cast, labels, tuple(attributes), sizes, size)
    end = len(cast) - sizes["unseen"]
    parts["unseen"] = parts["unseen"].subset(marked[end:])
    return FaceTask(name, forget_index=marked[: sizes["train"]].nonzero()[:, 0], cast=cast, **parts)


def _parts(cast: Faces, labels: Tensor, classes, counts: dict[str, int], size: int) -> dict[str, ImageSet]:
    names = np.array([f"{who}/{which}" for who, which in zip(cast.identity, cast.picture, strict=True)])
    whole = ImageSet(drawn(cast, size), labels, classes, torch.from_numpy(cast.identity), MEAN, STD, names)
    order = torch.arange(len(cast)).split(list(counts.values()))
    return {part: whole.subset(index) for part, index in zip(counts, order, strict=True)}
