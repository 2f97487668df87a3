"""AgeDB (Moschoglou et al., 2017) and UTKFace (Zhang et al., 2017): the labels are in the file names."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mulib.data.archive import Archive
from mulib.data.augment import CropFlip
from mulib.data.cache import decoded
from mulib.data.layout import Published
from mulib.data.sets import DECADES, ImageSet, Task
from mulib.data.splits import by_people, who_or_what
from mulib.errors import InputError
from mulib.text import printable

AGEDB = Published(
    name="agedb",
    marker="",
    places=("AgeDB", "agedb"),
    how="request it from its authors at https://ibug.doc.ic.ac.uk/resources/agedb (non-commercial research only)",
)
UTKFACE = Published(
    name="utkface",
    marker="",
    places=("UTKFace", "utkface"),
    how="get the aligned and cropped faces from https://susanqq.github.io/UTKFace (non-commercial research only)",
)
OLDEST = 120  # years; an age above is a malformed name
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
SHARES = {"forget": 0.02, "retain": 0.68, "val": 0.1, "test": 0.1, "unseen": 0.1}
AGEDB_NAME = re.compile(r"\d+_(?P<person>.+)_(?P<age>\d+)_[mf]\.(jpe?g|png|webp|bmp)", re.IGNORECASE)
UTKFACE_NAME = re.compile(
    r"(?P<age>\d+)_[01]_[0-4]_\d+\.(jpe?g|png|webp|bmp)(\.chip\.(jpe?g|png|webp|bmp))?", re.IGNORECASE
)


def agedb(
    path: Path | str | None = None,
    *,
    size: int | None = 128,
    labels: Literal["years", "decades"] = "years",
    seed: int = 0,
) -> Task:
    """AgeDB: ages, of files with names such as 0_MariaCallas_35_f.jpg (number, person, age, gender).

    People are split: 2 % of the images are to be forgotten, 68 % retained, 10 % each for val, test and unseen, and no
    person is in two of them, as in *Forget with Precision* (which does not publish who). Normalised as ImageNet is.

    Args:
        path: a folder, zip or tar; by default it is looked for in MULIB_DATA.
        size: resize to (size, size); the files differ in size, so None works on an aligned copy only.
        labels: "years", (N,) float, or "decades", the ten classes of `DECADES`.
        seed: draws who is in which part.

    Raises:
        InputError: no data, no file with such a name, a damaged image. Malformed names are skipped with a warning.
    """
    return _ages(AGEDB, AGEDB_NAME, path, size, labels, seed)


def utkface(
    path: Path | str | None = None,
    *,
    size: int | None = None,
    labels: Literal["years", "decades"] = "years",
    seed: int = 0,
) -> Task:
    """UTKFace: ages, of files with names such as 35_1_0_20170109.jpg.chip.jpg (age, gender, race, date).

    It names no people, so images are split at random: 2 % forget, 68 % retain, 10 % each for val, test and unseen.
    Arguments, normalisation and errors as for `agedb`; the published images have 200×200 pixels.
    """
    return _ages(UTKFACE, UTKFACE_NAME, path, size, labels, seed)


def _ages(source: Published, pattern: re.Pattern, path, size: int | None, labels: str, seed: int) -> Task:
    if labels not in ("years", "decades"):
        raise InputError(f"labels is {labels!r}: expected 'years' or 'decades'.")
    archive = source.open(path)
    found = _parse(archive, source.name, pattern)
    pictures = decoded(archive, list(found), size)
    people = None
    if "person" in pattern.groupindex:
        people = torch.from_numpy(np.unique([match["person"] for match in found.values()], return_inverse=True)[1])
    ages = torch.tensor([float(match["age"]) for match in found.values()])
    names = np.array(list(found))
    whole = ImageSet(pictures.images, ages, (), people, MEAN, STD, names, digests=pictures.digests)
    parts = dict(zip(SHARES, by_people(who_or_what(whole), tuple(SHARES.values()), seed), strict=True))
    train = replace(whole.subset(torch.cat([parts["forget"], parts["retain"]])), augment=CropFlip(4))
    held = {name: whole.subset(parts[name]) for name in ("val", "test", "unseen")}
    task = Task(source.name, train, torch.arange(len(parts["forget"])), **held)
    return task if labels == "years" else task.binned(DECADES)


def _parse(archive: Archive, name: str, pattern: re.Pattern) -> dict[str, re.Match]:
    """The well-formed file names, in alphabetical order; the others are counted in one warning."""
    files = archive.files()
    matches = {file: pattern.fullmatch(file.rpartition("/")[2]) for file in files}
    good = {file: match for file, match in matches.items() if match and int(match["age"]) <= OLDEST}
    if not good:
        raise InputError(f"{archive.path} holds no image with {name}'s file names: expected the published layout.")
    bad = [file for file in files if file not in good]
    if bad:
        some = printable(", ".join(bad[:3])) + (", …" if len(bad) > 3 else "")
        counts = f"{len(bad):,} of {len(files):,} files"
        warnings.warn(f"{name}: skipped {counts} with malformed names: {some}", stacklevel=4)
    return good
