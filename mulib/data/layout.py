"""Where a published data set is looked for, and what to say where it is not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mulib.data.archive import SUFFIXES, Archive, LayoutError
from mulib.errors import InputError
from mulib.files import roots


@dataclass(frozen=True)
class Published:
    """A data set by its published layout.

    Attributes:
        marker: a file or folder/ of the layout by which it is recognised, at most two folders deep.
        places: the names it goes by in a root: folders, or archives without their suffix; "." is the root itself.
        how: where to get it, and on what terms.
    """

    name: str
    marker: str
    places: tuple[str, ...]
    how: str

    def find(self) -> Path | None:
        """The first folder or archive on this machine that goes by one of its names; nothing is unpacked to look."""
        for root in roots():
            for place in self.places:
                folder = root / place
                if folder.is_dir() and Archive.prefix_in(folder, self.marker) is not None:
                    return folder
                for suffix in SUFFIXES:
                    if place != "." and (root / f"{place}{suffix}").is_file():
                        return root / f"{place}{suffix}"
        return None

    def open(self, path: Path | str | None = None) -> Archive:
        """The data at `path`, or where it is found.

        Raises:
            InputError: it is nowhere, or not in its published layout.
        """
        if path is None and (path := self.find()) is None:
            searched = ", ".join(str(root) for root in roots())
            raise InputError(
                f"{self.name} is not on this machine (searched: {searched}): {self.how}; then set MULIB_DATA to the"
                f" folder that holds {self.places[0]}, as a folder or a zip."
            )
        return Archive(path, self.marker)


def open_any(layouts: tuple[Published, ...], path: Path | str | None = None) -> Archive:
    """The data at `path`, or where it is found, in the first of several layouts of one data set that fits.

    Raises:
        InputError: it is nowhere, or in none of these layouts.
    """
    if path is None and (path := next(filter(None, (layout.find() for layout in layouts)), None)) is None:
        return layouts[0].open()
    for layout in layouts:
        with suppress(LayoutError):
            return layout.open(path)
    markers = " nor ".join(layout.marker for layout in layouts)
    raise LayoutError(f"{path} holds neither {markers}: name a folder or archive in the published layout.")
