"""Drawn once: pictures as memory-mapped bytes in a cache, keyed by the generator's version and by what is drawn."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mulib import files
from mulib.faces.people import Faces
from mulib.faces.render import VERSION, check, chunks, draw, render

SERIAL = 1024  # so few 64×64 pictures are drawn sooner than a pool of processes is up


def drawn(faces: Faces, size: int = 64, *, workers: int | None = None) -> Tensor:
    """What `render` gives, (N, 3, size, size) uint8, drawn on the first call and memory-mapped on every later one.

    Before an entry of the cache is used, its checksum is taken, and its first, middle and last picture are drawn again
    and compared: a damaged or foreign one is replaced. Writing to the tensor changes neither the file nor what others
    see.

    Args:
        size: pixels, 32 … 224.
        workers: processes that draw; None takes one per core where the system can fork, else draws in this one.

    Raises:
        InputError: a size out of range, no faces, or a cache folder that cannot be written.
    """
    check(faces, size)
    path = files.cache_folder("faces") / f"{_key(faces, size)}.npy"
    return files.once(path, lambda part: _draw_to(part, faces, size, workers), lambda path: _open(path, faces, size))


def _key(faces: Faces, size: int) -> str:
    """A name for exactly these pictures: any other face, size or version of the renderer has another."""
    posed = " posed" * faces.posed
    digest = hashlib.sha256(f"{VERSION} {size} {faces.seed} {len(faces)}{posed}".encode())
    for column in (faces.identity, faces.picture, faces.attributes, faces.age):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:32]


def _open(path: Path, faces: Faces, size: int) -> Tensor | None:
    """The entry, or None where there is none or where it does not hold what it should."""
    try:
        images = np.load(path, mmap_mode="c")
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            whole = file.read() == _checksum(images)
    except (OSError, ValueError, EOFError):  # none, or cut short
        return None
    if not whole or images.shape != (len(faces), 3, size, size) or images.dtype != np.uint8:
        return None
    spots = sorted({0, len(faces) // 2, len(faces) - 1})
    return torch.from_numpy(images) if np.array_equal(images[spots], render(faces[spots], size).numpy()) else None


def _draw_to(path: Path, faces: Faces, size: int, workers: int | None) -> None:
    """Draw into a new file, and put the checksum behind the pictures."""
    files.allocate(np.lib.format.open_memmap(path, "w+", np.uint8, (len(faces), 3, size, size)), path)
    with tqdm(total=len(faces), desc="drawing faces", unit="face", leave=False, delay=1.0) as bar:
        for part in _drawing(path, faces, size, chunks(len(faces), size), workers):
            bar.update(part.stop - part.start)
    with path.open("ab") as file:
        file.write(_checksum(np.load(path, mmap_mode="r")))


def _checksum(images: np.ndarray) -> bytes:
    return zlib.crc32(images.data).to_bytes(4, "little")


def _drawing(path: Path, faces: Faces, size: int, parts: list[slice], workers: int | None):
    """Draw the parts, in this process or in forked ones, and yield each when it is done."""
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        workers = cores if len(faces) * size * size >= SERIAL * 64 * 64 else 1
    if workers <= 1 or "fork" not in multiprocessing.get_all_start_methods():
        for part in parts:
            yield _part(path, faces[part], size, part)
        return
    fork = multiprocessing.get_context("fork")  # the others import all of torch first, which takes longer than to draw
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # stops OpenCV's threads: a child would wait for ever for those that it did not inherit
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about forking with threads: they idle
            with ProcessPoolExecutor(workers, fork, files.end_with, (os.getpid(),)) as pool:
                jobs = [pool.submit(_part, path, faces[part], size, part) for part in parts]
                for job in as_completed(jobs):
                    yield job.result()
    finally:
        cv2.setNumThreads(threads)


def _part(path: Path, faces: Faces, size: int, part: slice) -> slice:
    """Draw one part of the file."""
    images = np.load(path, mmap_mode="r+")
    draw(faces, size, images[part])
    images.flush()
    return part
