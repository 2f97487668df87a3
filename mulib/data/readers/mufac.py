"""MUFAC: Korean families, ages in eight groups (Choi and Na, 2023), as its authors publish it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mulib.data.archive import Archive, refuse_to_climb
from mulib.data.augment import FACES
from mulib.data.cache import decoded
from mulib.data.layout import Published
from mulib.data.sets import ImageSet, Task
from mulib.data.splits import hold_out
from mulib.errors import InputError

MUFAC = Published(
    name="mufac",
    marker="custom_train_dataset.csv",
    places=("custom_korean_family_dataset_resolution_128", "mufac", "."),
    how="request it from its authors at https://github.com/ndb796/korean_family_dataset (non-commercial research only)",
)
CLASSES = ("0-6", "7-12", "13-19", "20-30", "31-45", "46-55", "56-66", "67-80")  # years; the files say a … h
COLUMNS = ("family_id", "person_id", "age_class", "image_path")
FORGET = 1500  # the first rows of the train table


def mufac(path: Path | str | None = None, *, size: int | None = None, val: int = 0, seed: int = 0) -> Task:
    """MUFAC as the papers split it: 10,025 train (the first 1,500 are to be forgotten), 1,539 test, 1,504 unseen.

    Test is the published val table and unseen the published test table; no family is in two tables. Pixels in [0, 1],
    not normalised; training is augmented as in the papers (flip, shear, scale, colour jitter). An identity is a family
    and a role in it; the same files appear under several, in several sets. The published sets are taken as they are,
    without a warning: `mulib data check mufac` counts the copies, and `leaks.deduplicated` leaves them out.

    Args:
        path: a folder, zip or tar; by default it is looked for in MULIB_DATA.
        size: resize to so many pixels; None keeps the published 128.
        val: images of the retain set to hold out for validation. The papers have none: with 0, `val` is empty.
        seed: draws the held-out people.

    Raises:
        InputError: no data, a table without one of its columns, an unknown age class, a missing or damaged image.
    """
    archive = MUFAC.open(path)
    tables = {split: _table(archive, split) for split in ("train", "val", "test")}
    rows = [row for table in tables.values() for row in table]
    names = [f"{split}_images/{row['image_path']}" for split, table in tables.items() for row in table]
    names = archive.images(names)
    pictures = decoded(archive, names, size)
    people = np.unique([f"{row['family_id']} {row['person_id']}" for row in rows], return_inverse=True)[1]
    whole = ImageSet(
        pictures.images,
        torch.tensor([row["label"] for row in rows]),
        CLASSES,
        torch.from_numpy(people),
        names=np.array(names),
        digests=pictures.digests,
    )
    ends = np.cumsum([0, *map(len, tables.values())])
    train, test, unseen = (whole.subset(torch.arange(a, b)) for a, b in pairwise(ends))
    nothing = whole.subset(torch.arange(0))
    forget = torch.arange(min(FORGET, len(train) // 2))  # a cut-out of the data keeps something to retain
    task = Task("mufac", replace(train, augment=FACES), forget, nothing, test, unseen)
    return hold_out(task, val, seed)


def _table(archive: Archive, split: str) -> list[dict[str, Any]]:
    """The rows of one table, with "label" 0 … 7 added."""
    name = f"custom_{split}_dataset.csv"
    rows: list[dict[str, Any]] = [*archive.rows(name, COLUMNS)]
    for row in rows:
        if row["age_class"] not in tuple("abcdefgh"):
            found = f"the age class {row['age_class']!r}"
            raise InputError(f"{row['line']} has {found}: expected a … h, correct the file.")
        refuse_to_climb(row["image_path"], row["line"])
        row["label"] = ord(row["age_class"]) - ord("a")
    return rows
