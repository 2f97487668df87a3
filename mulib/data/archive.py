"""Published files where they lie: a folder, a zip, or a tar, read in place. Nothing is ever unpacked next to them."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import os
import posixpath
import stat
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from mulib.errors import InputError, refusing

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST = 10**6  # files of an archive with linked folders
RATIO, SMALL = 100, 2**28  # images hardly shrink: what unpacks to so many times its bytes, and above SMALL, is a bomb
LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")  # what systems put beside one's files, as are names with a dot first


class LayoutError(InputError):
    """The place is there, but the data set's layout is not in it."""


class Archive:
    """The files of one data set under a common `prefix`, by their names relative to it.

    Args:
        path: a folder, a .zip or a .tar (.gz, .xz).
        marker: a file of the published layout, such as "custom_train_dataset.csv" or "train/"; the first place that
            holds it becomes the prefix, so that a data set is found however deep its archive nests it.

    Raises:
        InputError: no such path, no marker in it, a damaged archive, a name or a link that leads out of it (`../`), or
            what unpacks to more than `RATIO` times its bytes and `SMALL` (a bomb).

    A zip is read at random; a compressed tar is decompressed once into an unnamed temporary file, when it is first
    read. Links are followed, in archives to files of the same archive only. Hidden files and `LITTER` are not there.
    All methods may be called from several threads.
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
        top, found, seen = os.path.join(self.path, self.prefix), [], set()
        for base, folders, names in os.walk(os.path.join(top, folder), followlinks=True):
            real = os.path.realpath(base)
            if real in seen:  # a link to a folder above it
                folders.clear()
                continue
            seen.add(real)
            head = os.path.relpath(base, top).replace(os.sep, "/") + "/"
            folders[:] = [each for each in folders if not _litter(each)]
            found += [(head + name).removeprefix("./") for name in names if not _litter(name)]
        return sorted(found)

    def images(self, names: Iterable[str]) -> list[str]:
        """The files of listed images: these names, or, where a copy has another format, the only file of that stem."""
        there, same = set(self.files()), {}
        for file in there:
            stem, ending = os.path.splitext(file)
            if ending.lower() in IMAGES:
                same.setdefault(stem, []).append(file)
        mates = {name: [name] if name in there else same.get(os.path.splitext(name)[0], []) for name in names}
        return [found[0] if len(found) == 1 else name for name, found in mates.items()]

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        refuse_to_climb(name, self.path)
        try:
            return self._read(name)
        except (KeyError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError(f"{self.path} lacks {self.prefix}{name}: fetch the data again, complete.") from error

    def text(self, name: str) -> str:
        """One file as text, in UTF-8."""
        with refusing(f"{self.prefix}{name} in {self.path}"):
            return self.read(name).decode("utf-8-sig")

    def rows(self, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
        """The rows of a CSV with a head that has `columns`, cells stripped; "line" is where each stands in the file.

        Raises:
            InputError: a column that is missing or there twice, a row with another number of cells, an empty cell or a
                control character in one, or no row.
        """
        where = f"{name} in {self.path}"
        with refusing(where, "correct the file"):
            reader = csv.reader(io.StringIO(self.text(name), newline=None), strict=True)
            head = [cell.strip() for cell in next(reader, [])]
            for column in (*columns, *head):
                if head.count(column) != 1:
                    found = f"{head.count(column) or 'no'} column{'s' * (column in head)} {column}"
                    raise InputError(f"{where} has {found} in {', '.join(head)[:200]}: expected {', '.join(columns)}.")
            rows = []
            for cells in reader:
                cells, line = [cell.strip() for cell in cells], f"line {reader.line_num} of {where}"
                if not any(cells):
                    continue
                if len(cells) != len(head):
                    counts = f"{len(cells)} cells, the head {len(head)}"
                    raise InputError(f"{line} has {counts}: quote a cell that holds a comma, or correct the file.")
                if not all(cells) or any(ord(c) < 32 or 127 <= ord(c) < 160 for cell in cells for c in cell):
                    raise InputError(f"{line} has an empty cell or a control character in one: correct the file.")
                rows.append(dict(zip(head, cells, strict=True)) | {"line": line})
        if not rows:
            raise InputError(f"{where} has no rows: expected one or more below its head.")
        return rows

    def stamp(self, names: list[str]) -> str:
        """What changes when a file is replaced: sizes and modification times, read without opening any image."""
        whole, lines = self.path.stat(), [str(self.path.resolve()), self.prefix]
        if not self.path.is_dir():
            return "\n".join([*lines, f"{whole.st_size} {whole.st_mtime_ns}", *names])
        top, known = str(self.path / self.prefix), {}
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            head = f"{folder}/" if folder else ""
            try:
                with os.scandir(os.path.join(top, folder)) as entries:
                    for entry in entries:
                        with suppress(OSError):  # a link to nothing is as good as missing, and so is no ordinary file
                            if stat.S_ISREG((found := entry.stat()).st_mode):
                                known[head + entry.name] = f"{found.st_size} {found.st_mtime_ns}"
            except OSError as error:
                raise InputError(f"{top}/{folder} is missing: fetch the data again, complete.") from error
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(f"{top} lacks {missing[0]} ({len(missing)} missing): fetch the data again, complete.")
        return "\n".join([*lines, *(f"{name} {known[name]}" for name in names)])

    def _read(self, name: str) -> bytes:
        if self.path.is_dir():
            path = self.path / self.prefix / name
            if not path.is_file():  # a pipe would be waited for
                raise FileNotFoundError
            with refusing(f"{self.prefix}{name} in {self.path}"):
                return path.read_bytes()
        entry = self._index[self.prefix + name]
        with refusing(f"{self.prefix}{name} in {self.path}"):
            if isinstance(entry, zipfile.ZipInfo):
                self._weigh(entry.file_size, entry.compress_size)
                return self._zip.read(entry)
            start, size = entry
            with self._lock:
                self._tar.seek(start)
                content = self._tar.read(size)
            if len(content) < size:
                raise EOFError("it is cut short")
            return content

    def _weigh(self, size: int, packed: int) -> None:
        if size > max(SMALL, RATIO * packed):
            most = f"{size:,} bytes from {packed:,}, more than {RATIO} times as many"
            raise InputError(f"{self.path} unpacks to {most}: do not use this file, or unpack it by hand.")

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
        """Every file of the archive: name → where it lies. A link lies where what it names does."""
        index, links = {}, {}
        with refusing(str(self.path)):
            if self.path.name.lower().endswith(".zip"):
                for info in self._zip.infolist():
                    name = info.filename.replace("\\", "/")
                    if stat.S_ISLNK(info.external_attr >> 16):
                        links[name] = posixpath.join(posixpath.dirname(name), self._zip.open(info).read(4096).decode())
                    elif not info.is_dir():
                        index[name] = info
            else:
                with tarfile.open(fileobj=self._tar) as tar:
                    for entry in tar:
                        name = entry.name.removeprefix("./")
                        if entry.issym():
                            links[name] = posixpath.join(posixpath.dirname(name), entry.linkname)
                        elif entry.islnk():
                            links[name] = entry.linkname.removeprefix("./")
                        elif entry.issparse():
                            raise InputError(f"{name} in {self.path} is a sparse file: pack it again without --sparse.")
                        elif entry.isfile():
                            index[name] = entry.offset_data, entry.size
                    self._tar.seek(tar.offset)  # where tarfile stopped, without a word about a damaged head
                    if any(self._tar.read(512)):
                        raise tarfile.ReadError("it is damaged in the middle")
        for name in (*index, *links):
            refuse_to_climb(name, self.path)
        for name, goal in _follow(index, {name: posixpath.normpath(goal) for name, goal in links.items()}).items():
            if not _litter(*name.split("/")):
                raise InputError(f"{name} in {self.path} is a link to {goal}, which cannot be followed: pack it again.")
        return {name: where for name, where in index.items() if not _litter(*name.split("/"))}

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    @cached_property
    def _tar(self):
        """The open tar; a compressed one as an unnamed temporary file."""
        opener = {".xz": lzma.open, ".gz": gzip.open, ".tgz": gzip.open}.get(self.path.suffix.lower())
        if opener is None:
            return self.path.open("rb")
        with refusing(f"a temporary copy of {self.path}", "set TMPDIR to a folder that can be written"):
            spool = tempfile.TemporaryFile()  # noqa: SIM115 - it lives, unnamed, as long as the archive
        with refusing(str(self.path)), opener(self.path) as packed:
            while piece := packed.read(1 << 20):
                self._weigh(spool.tell() + len(piece), self.path.stat().st_size)
                spool.write(piece)
            spool.seek(0)
        return spool


def _follow(index: dict, links: dict[str, str]) -> dict[str, str]:
    """Put what links name into `index`, a file or all below a folder, and return the links that name neither."""
    while done := [name for name, goal in links.items() if goal in index]:  # files first: folders may hold such links
        index |= {name: index[links.pop(name)] for name in done}
    for name, goal in [*links.items()]:
        found = [file for file in index if file.startswith(f"{goal}/")]
        if 0 < len(found) <= MOST - len(index):
            index |= {name + file.removeprefix(goal): index[file] for file in found}
            del links[name]
    return links


def _litter(*parts: str) -> bool:
    return any(part.startswith(".") or part in LITTER for part in parts)


def refuse_to_climb(name: str, source: Path | str) -> None:
    """InputError for a file name that leaves its folder: absolute, or with `..` in it."""
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        raise InputError(f"{source} names {name!r}, which leads out of it: do not use this file.")
