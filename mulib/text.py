"""Text tables: what the command line prints and what a table looks like without a browser."""

import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"(nan|[+−-]?(∞|inf|[\d,]*\.?\d+)([eE][+-]?\d+)?)( ?%| ± .*)?|–?")


def printable(text: str) -> str:
    r"""`text` with escapes for what a terminal would not show but obey, and for names that are not UTF-8.

    >>> print(printable("a\x1b[31m.jpg"))
    a\x1b[31m.jpg
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return `rows`, the first of which is the head, as lines of aligned columns: numbers to the right, words left.

    >>> print(aligned([("set", "images"), ("forget", "60"), ("retain", "1,437")]))
    set     images
    forget      60
    retain   1,437
    """
    columns: list[Sequence[str]] = list(zip(*rows, strict=True))
    for i, column in enumerate(columns):
        right = i > 0 and all(_NUMBER.fullmatch(cell) for cell in column[1:])
        width = max(map(len, column))
        columns[i] = [cell.rjust(width) if right else cell.ljust(width) for cell in column]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))
