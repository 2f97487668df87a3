"""ImageNet (Deng et al., 2009; Russakovsky et al., 2015): pictures in a folder per class, named by its WordNet id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mulib.data.archive import IMAGES, Archive
from mulib.data.cache import decoded
from mulib.data.layout import Published
from mulib.data.sets import ImageSet
from mulib.errors import InputError, refusing

CLASSES = 1000
IMAGENET = Published(
    name="imagenet",
    marker="val/n01440764/",  # tench, the first class
    places=("imagenet", "imagenet_part", "imagenet-mini", "ILSVRC2012", "."),
    how="get it from https://image-net.org (non-commercial research only), as folders train/WNID and val/WNID",
)
NORMALISE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def imagenet(path: Path | str | None = None, *, part: str = "val", size: int = 224) -> ImageSet:
    """The labelled pictures of one part, in alphabetical order, with the labels 0 … 999 that pretrained networks have.

    As torchvision's `ImageFolder`: ``PART/WNID/picture.JPEG``, the classes in alphabetical order of their WordNet ids.
    With fewer than the 1,000 folders that order does not tell the labels: then ``wnids.csv`` beside the parts does
    (columns wnid, label). A part without folders has its labels in ``PART.csv`` (columns filename, label). The shorter
    side becomes size/0.875 pixels and the middle is cut out, as torchvision's pretrained networks are evaluated.

    Args:
        path: a folder, zip or tar; by default it is looked for in MULIB_DATA.
        size: of the square that is cut out, in pixels.

    Raises:
        InputError: no data, no such part, folders whose labels nothing tells, a table that says two things, a label
            outside 0 … 999, a bad picture.
    """
    from torchvision.models import ResNet18_Weights  # seconds to import: only who reads ImageNet pays

    archive = IMAGENET.open(path)
    names = [name for name in archive.files(part) if name.lower().endswith(IMAGES)]
    if not names:
        raise InputError(f"{archive.path} has no pictures in {part}/: expected a part such as val.")
    labels = _labels(archive, part, names)
    if not 0 <= min(labels) <= max(labels) < CLASSES:
        raise InputError(f"labels of {part} in {archive.path} are {min(labels)} … {max(labels)}: expected 0 … 999.")
    found = decoded(archive, names, size, crop=True)
    known = {"names": np.array(names), "digests": found.digests}
    categories = tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    return ImageSet(found.images, torch.tensor(labels), categories, **NORMALISE, **known)


def _labels(archive: Archive, part: str, names: list[str]) -> list[int]:
    """The label of every picture, from the table that tells it or from the order of the folders."""
    folders = [name.split("/")[-2] for name in names]
    if set(folders) == {part}:
        known, keys = _table(archive, f"{part}.csv", "filename"), [name.rpartition("/")[2] for name in names]
    elif "wnids.csv" in archive:
        known, keys = _table(archive, "wnids.csv", "wnid"), folders
    elif len(wnids := sorted(set(folders))) == CLASSES:
        known, keys = {wnid: label for label, wnid in enumerate(wnids)}, folders
    else:
        found = f"{part}/ in {archive.path} has {len(wnids)} folders"
        raise InputError(f"{found}: expected all {CLASSES} classes, or wnids.csv with the columns wnid and label.")
    if missing := [key for key in keys if key not in known]:
        raise InputError(f"no table in {archive.path} has a label for {missing[0]}: complete it.")
    return [known[key] for key in keys]


def _table(archive: Archive, name: str, key: str) -> dict[str, int]:
    known = {}
    for row in archive.rows(name, (key, "label")):
        if row[key] in known:
            raise InputError(f"{row['line']} has {row[key]} again: expected each once, correct the file.")
        with refusing(f"the label in {row['line']}", "expected a whole number, correct the file"):
            known[row[key]] = int(row["label"])
    return known
