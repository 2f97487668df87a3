"""Where data is found, and how what is public is fetched: `MULIB_DATA` first, then the cache of earlier fetches."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch

from mulib.data.logits import Logits
from mulib.errors import InputError
from mulib.files import cache_folder, folders


@dataclass(frozen=True)
class Source:
    """A public artefact: its files with their SHA-256, where they are published, and the names it goes by on disk."""

    base_url: str
    sha256: Mapping[str, str]
    places: tuple[str, ...]
    licence: str


SOURCES = {
    "forget-with-precision": Source(
        # Krähenmann et al., 2023: the logits and metrics behind the paper's tables, at a fixed commit.
        base_url="https://raw.githubusercontent.com/vstrozzi/assessing-machine-unlearning-approaches/"
        "20ef81c15201906840def8aa0e88132af420b9fd/data/",
        sha256={
            "activation_reset/logits_unlearn.npy": "fea1b137a6a443cc228483fa9f98bc2da6bbb23f6239ea2af064ca536fafd033",
            "activation_reset/metrics.csv": "a9185b96a836513aa787c764774f7cd8d82d9b588987d35d2e3a0e18dd75fcd5",
            "baseline/logits_unlearn.npy": "051b349e3083310e9179173ca3e06957840b2a0d5f3194436613e0832db1a26a",
            "baseline/metrics.csv": "bae34519906418f71f532113cc8b2faaebcbfaf12366afe5403364f163b16a49",
            "finetune/logits_unlearn.npy": "b2e25b5ee86a8cab63543115757ab9b5e61dd069a210a7cbd6d6209ab927de34",
            "finetune/metrics.csv": "2573e4296377b7b73be03b533bbb9689c50e5a9b9f1f2f2716ae2c852f06ed06",
            "hybrid/logits_unlearn.npy": "aaf55a77a3a40cd1e683ce26bc519e3911103385d00f40cf38a4b1de900ab6db",
            "hybrid/metrics.csv": "c8600577b3d292cf45c5ab40e0f5673daf305c6e70963c998f0b810eba334f9b",
            "logits_retain.npy": "051b349e3083310e9179173ca3e06957840b2a0d5f3194436613e0832db1a26a",
            "metrics.csv": "bae34519906418f71f532113cc8b2faaebcbfaf12366afe5403364f163b16a49",
            "poison/logits_unlearn.npy": "2daf47c6b468109278c8c4ed42b4700bc0787ffa110c91829223504e686ab5df",
            "poison/metrics.csv": "d244fd0eef9a4197d487f1b565b1aafca01e9546479b9878d2fc839fcf15e021",
            "poison_full/logits_unlearn.npy": "694f325bc0d268052793f1e4d40351f940a4b6e3839de5e38a4f72b0546dd1c3",
            "poison_full/metrics.csv": "ea78e1537efa8f3a8cab992103fc64ed926933e0cf197bb85d271f48823ec045",
            "prune/logits_unlearn.npy": "3561c79d362998286ad080cb92543987b73cf195221c45546b9cc0b03b9b78ef",
            "prune/metrics.csv": "6d6132ab40f2fdc0b7450f0f7712b54dce65921af8faecb48e0ed65289a3e276",
            "prune_complex/logits_unlearn.npy": "b4b17ad3ef8df7ae83d21a08581046774d19d77800d0bc8fd3ef249b6da28d7b",
            "prune_complex/metrics.csv": "28f1f4f71cec49aec61dd75a1673601de1fbcfef6a880b86e4b1b031dd6412c0",
            "prune_last_layer/logits_unlearn.npy": "6de748e9d0bc3d97f03b548a0a7bcc7347bebc14c670f55c815e886dd552a9b0",
            "prune_last_layer/metrics.csv": "b775ceb55641f180677a9af27ec01ffe819fcf505ae1043c7b27bcd811d3c67a",
        },
        places=(
            "forget_with_precision",
            "forget_with_precision_logits.zip",
            "forget_with_precision.zip",
            ".",
        ),
        licence="published without a licence statement: use and cite, do not redistribute",
    )
}


def find(name: str) -> Logits | None:
    """The artefact where it lies on this machine, or None. Nothing is downloaded.

    Raises:
        InputError: an unknown name, or a `MULIB_DATA` that names no folder.
    """
    source = _source(name)
    for root in folders():
        for place in source.places:
            path = root / place
            if path.is_file() or (path / "logits_retain.npy").is_file():
                return Logits(path)
    return None


def fetch(name: str, *, progress: bool = False) -> Logits:
    """The artefact, verified file by file against its published SHA-256; downloaded into the cache where missing.

    Raises:
        InputError: an unknown name, a wrong checksum, or no network; nothing half-written is left behind.
    """
    source = _source(name)
    if (found := find(name)) is not None:
        verify(found, source)
        return found
    folder = cache_folder() / source.places[0]
    with tempfile.TemporaryDirectory() as staging:  # the cache is touched only once all files are verified
        for file, digest in source.sha256.items():
            _retrieve(name, file, source.base_url, digest, Path(staging), progress)
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        shutil.copytree(staging, part)
        try:
            part.rename(folder)
        except OSError:  # another process was faster: its copy is as good
            shutil.rmtree(part)
    return Logits(folder)


def _retrieve(name: str, file: str, base_url: str, digest: str, folder: Path, progress: bool) -> None:
    """Download one file into `folder` and verify it."""
    pooch.get_logger().setLevel("WARNING")
    target = folder / file
    try:
        pooch.retrieve(base_url + file, f"sha256:{digest}", target.name, target.parent, progressbar=progress)
    except ValueError as error:
        raise InputError(f"{file} of {name} has a wrong checksum: what was downloaded is not kept.") from error
    except OSError as error:
        raise InputError(
            f"{file} of {name} could not be downloaded ({type(error).__name__}): connect to the network, or copy the"
            f" files of {base_url} into a folder forget_with_precision and set MULIB_DATA to the folder that holds it."
        ) from error


def verify(found: Logits, source: Source) -> None:
    """Compare every file with its published SHA-256."""
    for file, digest in source.sha256.items():
        try:
            actual = hashlib.sha256(found.read(file)).hexdigest()
        except (KeyError, FileNotFoundError) as error:
            raise InputError(f"{found.path} lacks {file}: remove it and fetch again.") from error
        if actual != digest:
            raise InputError(f"{file} in {found.path} has a wrong checksum: remove it and fetch again.")


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise InputError(f"unknown data {name!r}: expected one of {', '.join(SOURCES)}.")
    return SOURCES[name]
