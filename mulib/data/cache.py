"""Decode once: images as memory-mapped bytes, in a cache keyed by what the files contain and by their size.

One entry is a folder ``images/KEY``: ``images.npy`` (N, 3, H, W) uint8, ``digests.npy`` (N, 32) uint8, and
``state.json``, which holds a checksum for every `CHUNK` rows. An interrupted build resumes after its last good chunk;
an entry that was touched since it was sealed is verified, and its bad chunks are decoded again: one mechanism.
Builders of the same entry wait for each other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from mulib import files
from mulib.data.archive import Archive
from mulib.errors import InputError, refusing

CHUNK = 512  # rows per checksum: what an interruption costs at most, and what a flipped bit makes us decode again
VERSION = "2"  # part of every key: raise it when decoding or resizing changes


@dataclass(frozen=True)
class Decoded:
    """images: (N, 3, H, W) uint8, memory-mapped; digests: (N, 32) uint8, the SHA-256 of each file's bytes."""

    images: Tensor
    digests: Tensor


def decoded(archive: Archive, names: list[str], size: int | None = None, *, crop: bool = False) -> Decoded:
    """The named images of an archive as RGB, in that order; decoded on the first call, mapped on every later one.

    Args:
        size: resize to (size, size), bilinear and antialiased as torchvision's `Resize` does with Pillow's images;
            None keeps the files' own size, which must then be the same for all.
        crop: keep the proportions: the shorter side becomes size/0.875 pixels, and the middle (size, size) is cut out.

    The decoding runs on all cores. An entry whose files were modified after they were written is verified, checksum
    by checksum, and what is damaged is decoded again; two processes that ask for the same images build them once.

    Raises:
        InputError: a file that is missing, truncated, no image, or (without `size`) of another size than the first.
    """
    if not names:
        raise InputError(f"{archive.path} has no images to read: fetch the data again, complete.")
    if size is not None and size < 1:
        raise InputError(f"size is {size}: expected a number of pixels ≥ 1, or None for the files' own size.")
    form = f"{VERSION} {size} crop" if crop else f"{VERSION} {size}"
    facts = f"{form} {archive.stamp(names)}".encode("utf-8", "surrogateescape")  # file names in any coding
    stamp = hashlib.sha256(facts).hexdigest()
    folder = files.cache_folder("images")
    shortcut = folder / "stamps" / stamp
    with files.usable(folder):
        found = _Entry(folder / shortcut.read_text()).open() if shortcut.exists() else None
        if found is None:
            digests = _digests(archive, names)
            key = hashlib.sha256(f"{form} ".encode() + digests.tobytes()).hexdigest()[:32]
            with files.locked(folder / key):
                files.sweep(folder)
                entry = _Entry(folder / key)
                found = entry.open() or entry.build(archive, names, size, crop, digests)
                files.replace(shortcut, key.encode())
        files.used(folder / shortcut.read_text())
        files.used(shortcut)
        return found


class _Entry:
    """One folder of the cache."""

    def __init__(self, folder: Path):
        self.folder, self.data = folder, folder / "images.npy"
        try:
            state = json.loads((folder / "state.json").read_text())
            self.state = {name: state[name] for name in ("chunks", "sealed", "digests")}  # raises if it is damaged
        except (OSError, ValueError, KeyError, TypeError):
            self.state = {"chunks": {}, "sealed": None, "digests": None}

    def open(self) -> Decoded | None:
        """The sealed entry, or None where there is none, or where a file was touched or damaged since."""
        try:
            if self.state["sealed"] is None or self.state["sealed"] != self._touched():
                return None
            images, digests = np.load(self.data, mmap_mode="c"), np.load(self.folder / "digests.npy")
        except (OSError, ValueError, EOFError):
            return None
        if zlib.crc32(digests) != self.state["digests"]:
            return None
        return Decoded(torch.from_numpy(images), torch.from_numpy(digests))

    def build(self, archive: Archive, names: list[str], size: int | None, crop: bool, digests) -> Decoded:
        """Decode the chunks that are missing or damaged, then seal. The caller holds the lock."""

        def load(name: str) -> np.ndarray:
            return decode(archive.read(name), size, f"{archive.prefix}{name} in {archive.path}", crop=crop)

        first = load(names[0])
        shape = (len(names), *first.shape)
        self.folder.mkdir(exist_ok=True)
        rows = self._rows(shape)
        self._strike(rows)
        todo = [c for c in range(_chunks(rows)) if str(c) not in self.state["chunks"]]
        with (
            _pool() as pool,
            tqdm(total=len(names), desc=f"decoding {archive.path.name}", unit="image", leave=False, delay=1.0) as bar,
        ):
            bar.update(len(names) - sum(len(rows[_part(c)]) for c in todo))
            for c in todo:
                part = _part(c)
                for row, name, image in zip(rows[part], names[part], pool.map(load, names[part]), strict=True):
                    _check_size(image, first, f"{archive.prefix}{name} in {archive.path}")
                    row[:] = image
                rows.flush()
                self.state["chunks"][str(c)] = zlib.crc32(rows[part].data)
                self._save(sealed=None)
                bar.update(len(names[part]))
        np.save(self.folder / "digests.npy", digests)
        self.state["digests"] = zlib.crc32(digests.data)
        del rows
        self._save(sealed=self._touched())
        return Decoded(torch.from_numpy(np.load(self.data, mmap_mode="c")), torch.from_numpy(digests))

    def _rows(self, shape: tuple[int, ...]) -> np.memmap:
        """The writable rows: those of an interrupted build where they fit, else new ones."""
        try:
            rows = np.load(self.data, mmap_mode="r+")
        except (OSError, ValueError, EOFError):
            rows = None
        if rows is None or rows.shape != shape or rows.dtype != np.uint8:
            self.state["chunks"] = {}
            self.data.unlink(missing_ok=True)
            rows = np.lib.format.open_memmap(self.data, "w+", np.uint8, shape)
        return files.allocate(rows, self.data)  # a file that a full disk interrupted has its size, but not its place

    def _strike(self, rows: np.ndarray) -> None:
        """Forget every chunk whose rows no longer have their checksum."""
        chunks = {c: crc for c, crc in self.state["chunks"].items() if int(c) < _chunks(rows)}
        self.state["chunks"] = {c: crc for c, crc in chunks.items() if zlib.crc32(rows[_part(int(c))].data) == crc}

    def _touched(self) -> list[int]:
        stat = self.data.stat()
        return [stat.st_size, stat.st_mtime_ns]

    def _save(self, sealed: list[int] | None) -> None:
        self.state["sealed"] = sealed
        files.replace(self.folder / "state.json", json.dumps(self.state).encode())


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def decode(data: bytes, size: int | None, where: str, *, crop: bool = False) -> np.ndarray:
    """One image file as RGB, (3, H, W) uint8, as it is shown: turned as its EXIF says, on white where it is
    transparent, 16-bit grey cut to 8 bits. `where` names it in the error message."""
    with refusing(where, "expected one of JPEG, PNG, WebP, BMP, GIF and TIFF; fetch it again, or remove it"):
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a telephone's JPEG has a preview behind it
            raise ValueError("it has several frames")
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):
            values = np.asarray(image)
            if values.dtype.kind == "f" or not 0 <= values.min() <= values.max() < 2**16:
                raise ValueError(f"its pixels are {values.dtype} in {values.min()} … {values.max()}")
            seen = values != image.info.get("transparency", -1)
            image = Image.fromarray((values >> 8).astype(np.uint8))
            image.putalpha(Image.fromarray(seen))
        if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if size is not None and crop:
        scale = size / 0.875 / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    elif size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _check_size(image: np.ndarray, first: np.ndarray, where: str) -> None:
    if image.shape != first.shape:
        found, usual = (f"{width}×{height} pixels" for _, height, width in (image.shape, first.shape))
        raise InputError(f"{where} has {found}, the first image {usual}: pass a size to resize all to.")


def _digests(archive: Archive, names: list[str]) -> np.ndarray:
    """The SHA-256 of every file, (N, 32) uint8."""
    with _pool() as pool:
        each = pool.map(lambda name: hashlib.sha256(archive.read(name)).digest(), names)
        each = tqdm(each, desc=f"reading {archive.path.name}", total=len(names), unit="file", leave=False, delay=1.0)
        return np.frombuffer(b"".join(each), np.uint8).reshape(-1, 32).copy()


def _pool() -> ThreadPoolExecutor:
    """A thread per core: reading, hashing, decoding and resizing all release the interpreter's lock."""
    return ThreadPoolExecutor(getattr(os, "process_cpu_count", os.cpu_count)() or 1)


def _chunks(rows: np.ndarray) -> int:
    return -(-len(rows) // CHUNK)


def _part(chunk: int) -> slice:
    return slice(chunk * CHUNK, (chunk + 1) * CHUNK)
