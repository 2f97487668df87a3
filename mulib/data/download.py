"""How what is public is fetched: `MULIB_DATA` first, then the cache of earlier fetches, then the network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch

from mulib.data.archive import Archive
from mulib.data.layout import Published
from mulib.data.logits import Logits
from mulib.errors import InputError
from mulib.files import cache_folder, once


@dataclass(frozen=True)
class Source(Published):
    """A public artefact that can be fetched: where it is published, and its files with their SHA-256."""

    base_url: str
    sha256: Mapping[str, str]

    def wrong(self, path: Path) -> str | None:
        """The first file that the folder or archive at `path` lacks, or has otherwise than published."""
        if not path.exists():
            return self.marker
        archive = Archive(path, "")
        for name, digest in self.sha256.items():
            if name not in archive or hashlib.sha256(archive.read(name)).hexdigest() != digest:
                return name
        return None

    def download(self, folder: Path, progress: bool) -> None:
        """Fetch and verify all files."""
        registry = {name: f"sha256:{digest}" for name, digest in self.sha256.items()}
        files = pooch.create(folder, self.base_url, registry=registry)
        with fetching(self.base_url, f" {self.places[0]} in another"):
            for name in registry:
                files.fetch(name, progressbar=progress)


SOURCES = {
    "forget-with-precision": Source(
        # Krähenmann et al., 2023: the logits and metrics behind the paper's tables, at a fixed commit.
        name="forget-with-precision",
        marker="logits_retain.npy",
        places=("forget_with_precision", "forget_with_precision_logits"),
        how="run `mulib fetch forget-with-precision` (published without a licence statement: use and cite, do not"
        " redistribute)",
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
    )
}


def find(name: str) -> Logits | None:
    """The artefact where it lies on this machine, or None. Nothing is downloaded.

    Raises:
        InputError: an unknown name, or a `MULIB_DATA` that names no folder.
    """
    path = _source(name).find()
    return None if path is None else Logits(path)


def fetch(name: str, *, progress: bool = False) -> Logits:
    """The artefact, verified file by file against its published SHA-256; downloaded into the cache where missing.

    Raises:
        InputError: an unknown name, a wrong checksum, or no network; nothing half-written is left behind.
    """
    source = _source(name)
    path, kept = source.find(), cache_folder("downloads") / source.places[0]
    if path in (None, kept):
        once(kept, lambda part: source.download(part, progress), lambda path: None if source.wrong(path) else path)
    elif wrong := source.wrong(path):
        raise InputError(f"{path} lacks {wrong}, or has it with a wrong checksum: remove it and fetch again.")
    return Logits(path or kept)


@contextmanager
def fetching(url: str, folder: str = "") -> Iterator[None]:
    """Say in one sentence what went wrong in pooch's download of `url`, which can also be copied into a `folder`."""
    pooch.get_logger().setLevel("WARNING")
    try:
        yield
    except ValueError as error:
        raise InputError(f"{url} has a wrong checksum: what was downloaded is not kept, try again.") from error
    except OSError as error:
        raise InputError(
            f"{url} could not be downloaded ({type(error).__name__}): connect to the network, or copy what is there"
            f" into a folder{folder} and set MULIB_DATA to that folder."
        ) from error


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise InputError(f"unknown data {name!r}: expected one of {', '.join(SOURCES)}.")
    return SOURCES[name]
