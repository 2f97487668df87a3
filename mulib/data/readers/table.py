"""A data set of one's own: a folder of images, and a CSV that says what is on them and which set each belongs to."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mulib.data.archive import Archive, refuse_to_climb
from mulib.data.augment import FACES
from mulib.data.cache import decoded
from mulib.data.sets import ImageSet, Task
from mulib.data.splits import hold_out
from mulib.errors import InputError

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
            that is no number, `val` beside rows of val, a missing or damaged image.
    """
    archive = Archive(path, csv_name)
    rows = _rows(archive, csv_name)
    where = {name: torch.tensor([i for i, row in enumerate(rows) if row["set"] == name]).long() for name in SETS}
    for name in ("retain", "forget", "test", "unseen"):
        if not len(where[name]):
            raise InputError(f"{csv_name} in {archive.path} has no row of set {name}: expected at least one.")
    if val and len(where["val"]):
        raise InputError(f"val is {val}, but {csv_name} has {len(where['val'])} rows of val: give one of the two.")
    found = decoded(archive, [row["file"] for row in rows], size)
    classes, numbers = _labels(rows, labels, archive, csv_name)
    people = [row["person"] for row in rows] if "person" in rows[0] else None
    whole = ImageSet(
        found.images,
        numbers,
        classes,
        None if people is None else torch.from_numpy(np.unique(people, return_inverse=True)[1]),
        names=np.array([row["file"] for row in rows]),
        digests=found.digests,
        augment=FACES if augment else None,
    )
    train = whole.subset(torch.cat([where["retain"], where["forget"]]))
    forget = len(where["retain"]) + torch.arange(len(where["forget"]))
    task = Task(Path(path).stem, train, forget, *(whole.subset(where[name]) for name in ("val", "test", "unseen")))
    return hold_out(task, val, seed)


def _rows(archive: Archive, name: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(archive.text(name)))
    known = reader.fieldnames or ()
    if missing := [column for column in COLUMNS if column not in known]:
        raise InputError(f"{name} in {archive.path} has no column {missing[0]}: expected {', '.join(COLUMNS)}.")
    rows = list(reader)
    for number, row in enumerate(rows, 2):
        line = f"line {number} of {name} in {archive.path}"
        if any(not row[column] for column in known):
            raise InputError(f"{line} has an empty cell: correct the file.")
        if row["set"] not in SETS:
            raise InputError(f"{line} has the set {row['set']!r}: expected {', '.join(SETS)}.")
        refuse_to_climb(row["file"], line)
    return rows


def _labels(rows, labels, archive, name) -> tuple[tuple[str, ...], torch.Tensor]:
    texts = [row["label"] for row in rows]
    if labels == "classes":
        classes, numbers = np.unique(texts, return_inverse=True)
        return tuple(map(str, classes)), torch.from_numpy(numbers)
    if labels != "values":
        raise InputError(f"labels is {labels!r}: expected 'classes' or 'values'.")
    try:
        return (), torch.tensor([float(text) for text in texts])
    except ValueError as error:
        raise InputError(
            f"{name} in {archive.path} has a label that is no number ({error}): correct the file."
        ) from None
