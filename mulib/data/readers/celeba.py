"""CelebA as torchvision or Kaggle lays it out (Liu et al., 2015), and MUCAC, CelebA-HQ with identities (Choi, Na)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from mulib.data.archive import IMAGES, Archive
from mulib.data.augment import FACES
from mulib.data.cache import decoded
from mulib.data.layout import Published, open_any
from mulib.data.sets import ImageSet, Task
from mulib.data.splits import by_people, hold_out, warn_of_copies, who_or_what
from mulib.errors import InputError, refusing

CELEBA = Published(
    name="celeba",
    marker="list_attr_celeba.txt",
    places=("celeba", "celeba_10k", "."),
    how="get it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (non-commercial research only)",
)
KAGGLE = replace(CELEBA, marker="list_attr_celeba.csv")  # the lists with commas; it names no people
MUCAC = Published(
    name="mucac",
    marker="CelebA-HQ-identity.txt",
    places=("CelebAMask-HQ", "mucac", "."),
    how="follow https://github.com/ndb796/CelebA-HQ-Face-Identity-and-Attributes-Recognition-PyTorch (non-commercial"
    " research only)",
)
SHARES = {"train": 0.7, "val": 0.1, "test": 0.1, "unseen": 0.1}


def celeba(
    path: Path | str | None = None,
    *,
    attributes: tuple[str, ...] = ("Bald", "Mouth_Slightly_Open"),
    forget: tuple[str, ...] = ("Mouth_Slightly_Open",),
    size: int | None = None,
    seed: int = 0,
) -> Task:
    """CelebA with the labels `attributes`, (N, A) float 0/1; to be forgotten: the training images with all of `forget`.

    Any part of the images may be there. Where the official partition has all three parts, they are train, val and,
    halved by people, test and unseen; else people are split at random, 70 % / 10 % / 10 % / 10 %. Kaggle's copy names
    no people: what is split by people above is split image by image there, unless identity_CelebA.txt lies beside its
    lists. Unseen keeps, as the forget set does, only images that have all of `forget`. Pixels in [0, 1], not
    normalised, not augmented.

    Args:
        path: a folder, zip or tar; by default it is looked for in MULIB_DATA.
        size: resize to (size, size), whatever the aspect; None keeps the files' own size.
        seed: draws who is in which part.

    Raises:
        InputError: no data, an unknown attribute, a value that is not ±1, a missing or damaged image.
    """
    archive = open_any((CELEBA, KAGGLE), path)
    kind = ".txt" if CELEBA.marker in archive else ".csv"
    known, names, values = _attributes(archive, f"list_attr_celeba{kind}")
    for name in (*attributes, *forget):
        if name not in known:
            raise InputError(f"CelebA has no attribute {name!r}: expected some of {', '.join(known)}.")
    pictures, present = _celeba_pictures(archive)
    here = np.array([Path(name).stem in present for name in names])
    names, values = names[here], values[here]
    found = decoded(pictures, [present[Path(name).stem] for name in names], size)
    people, partition = "identity_CelebA.txt", f"list_eval_partition{kind}"
    whole = ImageSet(
        found.images,
        torch.from_numpy(values[:, [known.index(a) for a in attributes]]).float(),
        tuple(attributes),
        _column(archive, people, names) if kind == ".txt" or people in archive else None,
        names=names,
        digests=found.digests,
    )
    who = who_or_what(whole)
    parts = dict(zip(SHARES, by_people(who, tuple(SHARES.values()), seed), strict=True))
    official = _column(archive, partition, names) if partition in archive else None
    if official is not None and official.unique().tolist() == [0, 1, 2]:
        held = (official == 2).nonzero()[:, 0]
        halves = (held[half] for half in by_people(who[held], (0.5, 0.5), seed))
        train, val = ((official == part).nonzero()[:, 0] for part in (0, 1))
        parts = dict(zip(SHARES, (train, val, *halves), strict=True))
    marked = torch.from_numpy(values[:, [known.index(a) for a in forget]].all(1))
    parts["unseen"] = parts["unseen"][marked[parts["unseen"]]]
    forget_index = marked[parts["train"]].nonzero()[:, 0]
    task = Task("celeba", forget_index=forget_index, **{name: whole.subset(index) for name, index in parts.items()})
    warn_of_copies(task)
    return task


def mucac(path: Path | str | None = None, *, size: int = 128, val: int = 0, seed: int = 0) -> Task:
    """MUCAC as the papers split its 30,000 images, by identity: labels Male, Smiling, Young, (N, 3) float 0/1.

    Test is identity < 190, retain 190 … 1969, forget 1970 … 4854, unseen ≥ 4855. In train the forget set comes first;
    within each part images are in the order of their numbers. Pixels in [0, 1]; augmented as MUFAC is.

    Args:
        path, val, seed: as for `mufac`.
        size: resize to so many pixels; the published images have 1024, the papers use 128.

    Raises:
        InputError: no data, a value that is not ±1, an image without identity or attributes, a damaged image.

    The same file under two names in two sets is warned of.
    """
    archive = MUCAC.open(path)
    known, names, values = _attributes(archive, "CelebA-HQ-attribute.txt")
    absent = [name for name in ("Male", "Smiling", "Young") if name not in known]
    if absent:
        raise InputError(f"CelebA-HQ-attribute.txt in {archive.path} has no attribute {absent[0]}: fetch it again.")
    identities = _column(archive, MUCAC.marker, names)
    part = torch.bucketize(identities, torch.tensor([190, 1970, 4855]), right=True)  # test, retain, forget, unseen
    rank = torch.tensor([2, 1, 0, 3])[part]
    number = torch.tensor([int(stem) if (stem := Path(name).stem).isdigit() else 0 for name in names])
    order = torch.from_numpy(np.lexsort((names, number, rank)))
    found = decoded(archive, archive.images(f"CelebA-HQ-img/{names[i]}" for i in order), size)
    labels = torch.from_numpy(values[:, [known.index(a) for a in ("Male", "Smiling", "Young")]]).float()[order]
    whole = ImageSet(
        found.images, labels, ("Male", "Smiling", "Young"), identities[order], names=names[order], digests=found.digests
    )
    sizes = torch.bincount(rank, minlength=4)
    ends = [0, *torch.stack([sizes[0] + sizes[1], sizes[2], sizes[3]]).cumsum(0).tolist()]
    train, test, unseen = (whole.subset(torch.arange(a, b)) for a, b in pairwise(ends))
    nothing = whole.subset(torch.arange(0))
    task = Task("mucac", replace(train, augment=FACES), torch.arange(int(sizes[0])), nothing, test, unseen)
    task = hold_out(task, val, seed)
    warn_of_copies(task)
    return task


def _attributes(archive: Archive, name: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """CelebA's attribute table: the attributes, the images (N,) str, and who has what, (N, A) bool."""
    text = archive.text(name)
    if name.endswith(".csv"):  # the same without the first line, the number of images
        text = f"\n{text.replace(',', ' ').removeprefix('image_id ')}"
    lines = text.split("\n", 2)
    known = tuple(lines[1].split()) if len(lines) == 3 else ()
    cells, width = lines[-1].split(), len(known) + 1
    if not known or not cells or len(cells) % width:
        raise InputError(f"{name} in {archive.path} is no table of a name and {len(known)} values: fetch it again.")
    yes, no = (np.fromiter(map(sign.__eq__, cells), bool, len(cells)).reshape(-1, width)[:, 1:] for sign in ("1", "-1"))
    if not (yes | no).all():
        row, column = np.argwhere(~(yes | no))[0]
        image, value = cells[row * width], cells[row * width + column + 1]
        where = f"{known[column]} of {image} in {name} of {archive.path}"
        raise InputError(f"{where} is {value!r}: expected 1 or -1, correct the file.")
    return known, np.array(cells[::width]), yes


def _column(archive: Archive, name: str, images: np.ndarray) -> torch.Tensor:
    """One whole number per image, (N,) int64, from a file of lines "image number", or "image,number" below a head."""
    text, where = archive.text(name), f"{name} in {archive.path}"
    cells = text.replace(",", " ").split()[2:] if name.endswith(".csv") else text.split()
    with refusing(where, "expected lines “image number”, fetch it again"):
        number = dict(zip(cells[::2], map(int, cells[1::2]), strict=True))
        if absent := [image for image in images if image not in number]:
            raise InputError(f"{where} has no line for {absent[0]}: fetch it again.")
        return torch.tensor([number[image] for image in images], dtype=torch.int64)


def _celeba_pictures(archive: Archive) -> tuple[Archive, dict[str, str]]:
    """The archive that holds the images, and their files by name without ending, which differs between copies;
    torchvision's zip is read in place."""
    inner = archive.path / archive.prefix / "img_align_celeba.zip"
    files = archive.files("img_align_celeba")
    if not files and inner.is_file():
        archive = Archive(inner, "")
        files = archive.files()
    images = [file for file in files if file.lower().endswith(IMAGES)]
    present = {Path(file).stem: file for file in images}
    if len(present) < len(images):
        raise InputError(f"{archive.path} holds some images twice, as of two formats: expected each once.")
    if not present:
        raise InputError(f"{archive.path} holds no img_align_celeba with images: expected torchvision's layout.")
    return archive, present
