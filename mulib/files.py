"""Where things lie on this machine, and how they are written: whole, or not at all."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import pooch

from mulib.errors import InputError

LIBRARY = Path(__file__).resolve().parent

# What the weights of a network depend on, beside its recipe.
SOURCES = ("kernels", "faces", "models", "data", "recipe.py", "predict.py", "train.py", "unlearn", "assess")


def roots() -> list[Path]:
    """The folders that are searched, first match wins: those of `MULIB_DATA` (separated as PATH is), `cache_folder`."""
    named = [Path(p).expanduser() for p in os.environ.get("MULIB_DATA", "").split(os.pathsep) if p]
    return [*named, cache_folder()]


def cache_folder() -> Path:
    """Where what was fetched, decoded or drawn is kept: `MULIB_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MULIB_CACHE") or pooch.os_cache("mulib")).expanduser()


def folders() -> list[Path]:
    """The roots that are to be searched.

    Raises:
        InputError: a `MULIB_DATA` that names no folder.
    """
    *named, last = roots()
    for root in named:
        if not root.is_dir():
            raise InputError(f"MULIB_DATA names {root}, which is no folder: correct it, or unset it.")
    return [*named, last]


def replace(path, content):
    """Put `content` (bytes) at `path` in one step, through a temporary file beside it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_name(path)
    part.write_bytes(content)
    os.replace(part, path)


def part_name(path):
    """Return the temporary name for `path`. It carries this process's id, so that leftovers can be told."""
    path = Path(path)
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@cache
def source():
    """Return the hash of the library's part that trains: networks that were kept under another one are made anew."""
    digest = hashlib.sha256()
    for room in SOURCES:
        place = LIBRARY / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(Path(file).relative_to(LIBRARY).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
