"""A data set of one's own: a folder of images, and a CSV that says what is on them and which set each belongs to."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mulib.data.archive import Archive, refuse_to_climb
from mulib.data.augment import FACES
from mulib.data.cache import decoded
from mulib.data.sets import ImageSet, Task
from mulib.data.splits import hold_out, warn_of_copies
from mulib.errors import InputError, refusing

SETS = ("retain", "forget", "val", "test", "unseen")
COLUMNS = ("file", "label", "set")


def table(
    path: Path | str,
    *,
    csv_name: str = "table.csv",
    labels: Literal["classes", "values"] = "classes",
    size: int | None = None,
    augment: bool = False,
    val: int = 0,
    seed: int = 0,
) -> Task:
    """The task that a CSV describes: one row per image, with its `file`, its `label`, and the `set` it belongs to.

    `file` is relative to the folder of the CSV; `set` is retain, forget, val, test or unseen (train is retain and
    forget together); a column `person`, where there is one, says who is on it. Images are read as RGB.

    Args:
        path: the folder, zip or tar that holds the CSV and the images.
        labels: "classes", whose names are sorted, or "values" such as ages.
        size: resize to so many pixels; None keeps the files' own size, the same for all.
        augment: whether training flips, shears, scales and changes colours, as the papers do with faces.
        val: where the CSV has no row of val: images of the retain set to hold out for it.
        seed: draws the held-out people.

    Raises:
        InputError: no CSV, a missing column, a row with an unknown set or an empty cell, a set without images, a value
            that is no finite number, a class that is nearly another ("Cat" and "cat", 1 and 1.0) or NaN, a file that
            is listed twice, `val` beside rows of val, a missing or damaged image.

    The same file under two names in two sets is warned of.
    """
    archive = Archive(path, csv_name)
    rows = _rows(archive, csv_name)
    where = {name: torch.tensor([i for i, row in enumerate(rows) if row["set"] == name]).long() for name in SETS}
    for name in ("retain", "forget", "test", "unseen"):
        if not len(where[name]):
            raise InputError(f"{csv_name} in {archive.path} has no row of set {name}: expected at least one.")
    if val and len(where["val"]):
        raise InputError(f"val is {val}, but {csv_name} has {len(where['val'])} rows of val: give one of the two.")
    files = archive.images(row["file"] for row in rows)
    found = decoded(archive, files, size)
    classes, numbers = _labels(rows, labels, archive, csv_name)
    people = [row["person"] for row in rows] if "person" in rows[0] else None
    whole = ImageSet(
        found.images,
        numbers,
        classes,
        None if people is None else torch.from_numpy(np.unique(people, return_inverse=True)[1]),
        names=np.array(files),
        digests=found.digests,
        augment=FACES if augment else None,
    )
    train = whole.subset(torch.cat([where["retain"], where["forget"]]))
    forget = len(where["retain"]) + torch.arange(len(where["forget"]))
    task = Task(Path(path).stem, train, forget, *(whole.subset(where[name]) for name in ("val", "test", "unseen")))
    warn_of_copies(task)
    return hold_out(task, val, seed)


def _rows(archive: Archive, name: str) -> list[dict[str, str]]:
    rows = archive.rows(name, COLUMNS)
    for row in rows:
        if row["set"] not in SETS:
            raise InputError(f"{row['line']} has the set {row['set']!r}: expected {', '.join(SETS)}.")
        refuse_to_climb(row["file"], row["line"])
    file, times = Counter(os.path.normpath(row["file"]) for row in rows).most_common(1)[0]
    if times > 1:
        raise InputError(f"{name} in {archive.path} lists {file} {times} times: expected each image once, in one set.")
    return rows


def _labels(rows, labels, archive, name) -> tuple[tuple[str, ...], torch.Tensor]:
    texts, where = [row["label"] for row in rows], f"{name} in {archive.path}"
    if labels == "classes":
        classes, numbers = np.unique(texts, return_inverse=True)
        meant = {}
        for text in map(str, classes):
            other = meant.setdefault(_meant(text), text)
            if other != text or _meant(text) in ("nan", "none", "null", "na", "n/a"):
                found = f"labels {other!r} and {text!r}" if other != text else f"label {text!r}"
                raise InputError(f"{where} has the {found}: expected classes with names, each written in one way.")
        return tuple(map(str, classes)), torch.from_numpy(numbers)
    if labels != "values":
        raise InputError(f"labels is {labels!r}: expected 'classes' or 'values'.")
    with refusing(f"a label of {where}", "expected numbers, correct the file"):
        values = torch.tensor([float(text) for text in texts])
    if not values.isfinite().all():
        raise InputError(f"{where} has a label that is not finite: expected numbers below 1e38, correct the file.")
    return (), values


def _meant(text: str) -> str:
    """What a class is called, however it is written: in small letters, numbers as numbers."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return " ".join(text.casefold().split())
