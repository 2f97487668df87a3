"""Published files where they lie: a folder, a zip, or a tar, read in place. Nothing is ever unpacked next to them."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from functools import cached_property
from pathlib import Path

from mulib.errors import InputError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")


class LayoutError(InputError):
    """The place is there, but the data set's layout is not in it."""


class Archive:
    """The files of one data set under a common `prefix`, by their names relative to it.

    Args:
        path: a folder, a .zip or a .tar (.gz, .xz).
        marker: a file of the published layout, such as "custom_train_dataset.csv" or "train/"; the first place that
            holds it becomes the prefix, so that a data set is found however deep its archive nests it.

    Raises:
        InputError: no such path, no marker in it, a damaged archive, or a name that climbs out (`../`).

    A zip is read at random; a compressed tar is decompressed once into an unnamed temporary file, when it is first
    read. All methods may be called from several threads.
    """

    def __init__(self, path: Path | str, marker: str):
        self.path = Path(path).expanduser()
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist: expected a folder, a .zip or a .tar that holds {marker}.")
        if not self.path.is_dir() and not self.path.name.lower().endswith(SUFFIXES):
            raise InputError(f"{self.path} is neither a folder nor one of {', '.join(SUFFIXES)}: name one that is.")
        self._lock = threading.Lock()
        self.prefix = self._find(marker)

    def __contains__(self, name: str) -> bool:
        if self.path.is_dir():
            return (self.path / self.prefix / name).exists()
        return self.prefix + name in self._index

    def files(self, folder: str = "") -> list[str]:
        """The names of all files below `folder`, recursively, in alphabetical order."""
        if not self.path.is_dir():
            head = self.prefix + (f"{folder}/" if folder else "")
            return sorted(name.removeprefix(self.prefix) for name in self._index if name.startswith(head))
        top, found = os.path.join(self.path, self.prefix), []
        for base, _, names in os.walk(os.path.join(top, folder)):
            head = os.path.relpath(base, top).replace(os.sep, "/") + "/"
            found += [(head + name).removeprefix("./") for name in names]
        return sorted(found)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        refuse_to_climb(name, self.path)
        try:
            return self._read(name)
        except (KeyError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError(f"{self.path} lacks {self.prefix}{name}: fetch the data again, complete.") from error
        except (zipfile.BadZipFile, OSError, RuntimeError) as error:  # RuntimeError: an encrypted zip
            raise InputError(f"{self.prefix}{name} in {self.path} cannot be read ({error}): fetch it again.") from error

    def text(self, name: str) -> str:
        """One file as text."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.prefix}{name} in {self.path} is no UTF-8 text: fetch it again.") from error

    def stamp(self, names: list[str]) -> str:
        """What changes when a file is replaced: sizes and modification times, read without opening any image."""
        stat = self.path.stat()
        lines = [str(self.path.resolve()), self.prefix]
        if not self.path.is_dir():
            return "\n".join([*lines, f"{stat.st_size} {stat.st_mtime_ns}", *names])
        top, known = str(self.path / self.prefix), {}
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            head = f"{folder}/" if folder else ""
            try:
                with os.scandir(os.path.join(top, folder)) as entries:
                    for entry in entries:
                        stat = entry.stat()
                        known[head + entry.name] = f"{stat.st_size} {stat.st_mtime_ns}"
            except OSError as error:
                raise InputError(f"{top}/{folder} is missing: fetch the data again, complete.") from error
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(f"{top} lacks {missing[0]} ({len(missing)} missing): fetch the data again, complete.")
        return "\n".join([*lines, *(f"{name} {known[name]}" for name in names)])

    def _read(self, name: str) -> bytes:
        if self.path.is_dir():
            return (self.path / self.prefix / name).read_bytes()
        entry = self._index[self.prefix + name]
        if isinstance(entry, zipfile.ZipInfo):
            return self._zip.read(entry)
        start, size = entry
        with self._lock:
            self._tar.seek(start)
            return self._tar.read(size)

    @staticmethod
    def prefix_in(folder: Path, marker: str) -> str | None:
        """Below which prefix a folder holds `marker`, at most two levels deep, or None."""
        for pattern in ("", "*/", "*/*/"):
            for place in sorted(folder.glob(pattern + marker) if marker else [folder]):
                return place.relative_to(folder).as_posix().removesuffix(marker.rstrip("/") or ".")
        return None

    def _find(self, marker: str) -> str:
        """The shortest prefix below which `marker` lies."""
        if self.path.is_dir():
            prefix = self.prefix_in(self.path, marker)
        else:
            parts = (f"/{name}".partition(f"/{marker}") for name in self._index)
            heads = {f"{head}/"[1:] for head, hit, tail in parts if hit and (marker.endswith("/") or not tail)}
            prefix = min(heads, key=lambda head: (head.count("/"), head), default=None) if marker else ""
        if prefix is None:
            raise LayoutError(f"{self.path} holds no {marker}: name a folder or archive in the published layout.")
        return prefix

    @cached_property
    def _index(self) -> dict:
        """Every file of the archive: name → where it lies."""
        try:
            if self.path.name.lower().endswith(".zip"):
                index = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
            else:
                with tarfile.open(fileobj=self._tar) as tar:
                    index = {m.name.removeprefix("./"): (m.offset_data, m.size) for m in tar if m.isfile()}
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
            raise InputError(f"{self.path} is damaged ({error}): fetch it again.") from error
        for name in index:
            refuse_to_climb(name, self.path)
        return index

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    @cached_property
    def _tar(self):
        """The open tar; a compressed one as an unnamed temporary file."""
        opener = {".xz": lzma.open, ".gz": gzip.open, ".tgz": gzip.open}.get(self.path.suffix.lower())
        if opener is None:
            return self.path.open("rb")
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - it lives, unnamed, as long as the archive
        try:
            with opener(self.path) as packed:
                shutil.copyfileobj(packed, spool, 1 << 20)
        except (EOFError, OSError, lzma.LZMAError) as error:
            raise InputError(f"{self.path} is damaged ({error}): fetch it again.") from error
        spool.seek(0)
        return spool


def refuse_to_climb(name: str, source: Path | str) -> None:
    """InputError for a file name that leaves its folder: absolute, or with `..` in it."""
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        raise InputError(f"{source} names {name!r}, which leads out of it: do not use this file.")
