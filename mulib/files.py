"""Where things lie on this machine, how they are written (whole, or not at all), and the only cache of results.

The cache has a folder per kind (``networks``, ``assess``, ``faces``, ``images``, ``downloads``), and an entry is a file
or folder in it. What is being written has a name of its own, with this machine and process in it, and is renamed last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, TypeVar

import pooch
from filelock import FileLock, Timeout

from mulib.errors import InputError

LIBRARY = Path(__file__).resolve().parent
HOST = socket.gethostname() or "localhost"
SMALL = 2**26  # bytes: what is larger is not forced to the disk, because whoever reads it checks it

# What the weights of a network depend on, beside its recipe.
SOURCES = ("kernels", "faces", "models", "data", "recipe.py", "predict.py", "train.py", "unlearn", "assess")

Found = TypeVar("Found")


def roots() -> list[Path]:
    """The folders that are searched for data, first match wins: those of `MULIB_DATA` (separated as PATH is), then the
    downloads in the cache.

    Raises:
        InputError: a `MULIB_DATA` that names no folder.
    """
    named = [Path(root) for root in absolute().get("MULIB_DATA", "").split(os.pathsep) if root]
    for root in named:
        if not root.is_dir():
            raise InputError(f"MULIB_DATA names {root}, which is no folder: correct it, or unset it.")
    return [*named, cache_folder("downloads")]


def cache_folder(kind: str = "") -> Path:
    """Where what was fetched, decoded, drawn or trained is kept: in `MULIB_CACHE`, or the user's cache folder."""
    return Path(absolute().get("MULIB_CACHE") or pooch.os_cache("mulib")) / kind


def absolute() -> dict[str, str]:
    """`MULIB_DATA` and `MULIB_CACHE` as they are set, with absolute paths: for processes that start elsewhere."""
    given = {name: os.environ.get(name, "").split(os.pathsep) for name in ("MULIB_DATA", "MULIB_CACHE")}
    paths = {name: [os.path.abspath(os.path.expanduser(p)) for p in each if p] for name, each in given.items()}
    return {name: os.pathsep.join(each) for name, each in paths.items() if each}


def once(path: Path, make: Callable[[Path], object], read: Callable[[Path], Found | None]) -> Found:
    """What `read` gives for `path`; where that is None, `make` first writes the file or folder at the path it is given.

    Whoever asks for the same path meanwhile, in this or another process, waits and gets the same. What an error or a
    kill interrupts is not there; what killed processes left in the folder is removed.

    Args:
        read: returns None for what is missing, cut or damaged.

    Raises:
        InputError: the folder cannot be written.
    """
    with usable(path.parent):
        if (found := read(path)) is None:
            with locked(path):
                sweep(path.parent)
                if (found := read(path)) is None:
                    with writing(path) as part:
                        make(part)
                    if (found := read(path)) is None:
                        raise InputError(f"{path} does not hold what was just written: look at the disk it is on.")
        used(path)
    return found


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Say in one sentence that a folder of the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"the cache {folder} cannot be used ({error}): make room, or set MULIB_CACHE.") from error


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of `path`, a file beside it; the system drops it when the process dies.

    Args:
        timeout: seconds to wait for who holds it, then `filelock.Timeout`; −1 waits for ever.
    """
    file = path.with_name(f".{path.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()  # says at once what FileLock would wait for: a folder that takes no file
    with FileLock(file, timeout):
        try:
            yield
        finally:
            file.unlink(missing_ok=True)  # who waits for this one notices, and makes another


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Where to write what shall be at `path`, a file or a folder: it is put there in one step, and only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{HOST}.{os.getpid()}.part{path.suffix}")
    remove(part)
    try:
        yield part
        _settle(part)
        if path.is_dir():
            remove(path)
        os.replace(part, path)
    finally:
        remove(part)


def end_with(parent: int) -> None:
    """End this process within a second once `parent` is no longer its parent; what Ctrl-C means, the parent decides."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if parent not in _WATCHED:
        _WATCHED.append(parent)
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=watch, daemon=True).start()


_WATCHED: list[int] = []


def replace(path: Path | str, content: bytes) -> None:
    """Put `content` at `path` in one step: a reader sees the old file or the new one."""
    with writing(Path(path)) as part:
        part.write_bytes(content)


def allocate(rows: Found, path: Path) -> Found:
    """The writable memory map of a file, with its place on the disk: a full disk is an OSError here, and no SIGBUS
    later, at the first write to a page that has no place. What the file holds stays as it is."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return rows


def sweep(folder: Path) -> None:
    """Remove, at any depth, what killed processes of this machine were writing, and locks that nobody holds.

    What another machine writes stays, because who is alive there cannot be seen from here.
    """
    part = re.compile(rf"\..*\.{re.escape(HOST)}\.(\d+)\.part(\.\w+)?")
    for base, folders, names in os.walk(folder):
        for path in (Path(base, name) for name in (*folders, *names) if name.startswith(".")):
            if found := part.fullmatch(path.name):
                if not _alive(int(found[1])):
                    remove(path)
            elif path.suffix == ".lock":
                with suppress(Timeout, OSError), FileLock(path, timeout=0):
                    path.unlink()


def remove(path: Path) -> None:
    """Delete a file or a folder, where there is one."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _settle(part: Path) -> None:
    """Give files the rights that the umask leaves (some writers give fewer), and force small ones to the disk."""
    umask = os.umask(0o077)
    os.umask(umask)
    for file in [part] if part.is_file() else (each for each in part.rglob("*") if each.is_file()):
        file.chmod(0o666 & ~umask)
        if file.stat().st_size <= SMALL:
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def sealed(tensors: Mapping, **notes: object) -> bytes:
    """Tensors as a safetensors file, whose metadata holds `notes` and a SHA-256 of the file: see `read_tensors`."""
    from safetensors.torch import save

    blank = "0" * 64  # stands where the digest of the file goes
    words = {name: str(value) for name, value in notes.items()} | {"sha256": blank}
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, words)
    return content.replace(blank.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def read_tensors(path: Path) -> tuple[dict, dict[str, str]] | None:
    """The tensors and notes of a `sealed` file; None where it is missing, cut, or not as it was written."""
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        notes = json.loads(content[8 : 8 + size])["__metadata__"]
        digest = notes.pop("sha256")
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if hashlib.sha256(content.replace(digest.encode(), b"0" * 64, 1)).hexdigest() != digest:
        return None
    return load(content), notes


def key(*facts: object, tensors: Mapping | None = None, device: object = "cpu") -> str:
    """A name of 16 digits for a result: any other facts (what `json` or `repr` says of them), tensors (names, shapes,
    values), sources of the library, version of torch or kind of device ("cpu", "cuda") have another."""
    kind = str(device).partition(":")[0]
    whole = (source(), metadata.version("torch"), kind, facts)
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True, default=repr).encode())
    for name, value in (tensors or {}).items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@cache
def source() -> str:
    """The hash of the library's part that trains: networks that were kept under another one are made anew."""
    digest = hashlib.sha256()
    for room in SOURCES:
        place = LIBRARY / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(Path(file).relative_to(LIBRARY).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


class Entry(NamedTuple):
    """Something that is kept: its kind, its bytes (what several entries share is divided among them), and the days
    since it was written or used."""

    path: Path
    kind: str
    size: float
    days: float


def kept() -> list[Entry]:
    """All entries of the cache, by kind."""
    entries = []
    for path in sorted(cache_folder().glob("[!.]*/[!.]*")):
        with suppress(FileNotFoundError):  # somebody else removes it
            files = [each.stat() for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file()]
            last = max([path.stat().st_mtime, *(max(stat.st_atime, stat.st_mtime) for stat in files)])
            size = sum(stat.st_size / stat.st_nlink for stat in files)
            entries.append(Entry(path, path.parent.name, size, (time.time() - last) / 86400))
    return entries


def prune(days: float) -> list[Entry]:
    """Remove what was neither written nor used for `days`, but for what somebody is making now; what was removed."""
    gone = []
    for entry in kept():
        if entry.days > days:
            with suppress(Timeout), locked(entry.path, timeout=0):
                remove(entry.path)
                gone.append(entry)
    return gone


def used(path: Path) -> None:
    """Note that an entry was used: a file's time of access, a folder's own time."""
    with suppress(OSError):
        now = time.time_ns()
        os.utime(path, ns=(now, now if path.is_dir() else path.stat().st_mtime_ns))
