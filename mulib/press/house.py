"""The picture of the house: which room of mulib imports which, drawn from the sources into the book's About page.

`make map` runs it; a test says when the page no longer shows the house as it is.
"""

import ast
from html import escape
from pathlib import Path

import networkx as nx

from mulib.errors import InputError
from mulib.files import LIBRARY, replace

PAGE = "book/about.md"
START, END = "<!-- drawn by `make map` -->", "<!-- end of what `make map` draws -->"
FLOORS = (  # the ground first: a room imports only from floors below its own, or one way along it
    ("the ground: files, errors and the hot loops", ("files", "text", "errors", "kernels", "faces")),
    ("networks and data", ("models", "data")),
    ("training", ("clock", "recipe", "predict", "train")),
    ("explain, unlearn, audit", ("unlearn", "explain", "audit")),
    ("experiments and figures", ("show", "assess")),
    ("the book's machinery", ("press", "__main__")),
)
WIDTH, BAND, BOX, HIGH, LABEL = 760, 84, 104, 34, 18  # of the picture, in its own units


def modules():
    """Return {module: path} of every file of the library, such as mulib.data.sets; a package is its `__init__`."""
    files = {".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts): path for path in LIBRARY.rglob("*.py")}
    return {name.removesuffix(".__init__"): files[name] for name in sorted(files)}


def imports():
    """Return the graph of who imports whom: a node per module, an edge to each module of the library it imports.

    Imports inside functions count as well. `from mulib.x import y` is an import of mulib.x.y where that is a file.
    """
    known, graph = modules(), nx.DiGraph()
    graph.add_nodes_from(known)
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" if f"{node.module}.{name}" in known else node.module for name in names]
            graph.add_edges_from((module, name) for name in names if name in known and name != module)
    return graph


def room(module):
    """Return the room that a module is in: mulib.data.sets is in data, the library's own `__init__` in mulib."""
    return module.split(".")[1] if "." in module else module


def rooms(graph):
    """Return the graph of rooms that a graph of modules makes, without the library's own `__init__`."""
    between = nx.DiGraph()
    between.add_nodes_from(room(module) for module in graph if module != "mulib")
    ends = ((room(a), room(b)) for a, b in graph.edges)
    between.add_edges_from((a, b) for a, b in ends if a != b and "mulib" not in (a, b))
    return between


def floor(name):
    """Return the number of a room's floor, the ground is 1.

    Raises:
        InputError: the room stands on no floor of `FLOORS`.
    """
    for number, (_, names) in enumerate(FLOORS, start=1):
        if name in names:
            return number
    raise InputError(f"mulib/{name} stands on no floor: add it to FLOORS in {Path(__file__).name}.")


def picture(graph):
    """Return the rooms as SVG: a band per floor, an arrow per import that no chain of other arrows already says."""
    places, parts, titles = {}, [], []
    for level, (title, names) in enumerate(FLOORS):
        top, here = (len(FLOORS) - 1 - level) * BAND, [name for name in names if name in graph]
        parts.append(f'<rect class="floor" x="0" y="{top}" width="{WIDTH}" height="{BAND - 6}" rx="6"/>')
        titles.append(f'<text class="title" x="10" y="{top + LABEL - 4}">{level + 1}  {escape(title)}</text>')
        step = WIDTH / len(here)
        places |= {name: (step * (i + 0.5), top + LABEL + 6, step) for i, name in enumerate(here)}
    for above, below in sorted(nx.transitive_reduction(graph).edges):
        parts.append(_arrow(places[above], places[below]))
    for name, (x, y, _) in places.items():
        parts.append(f'<rect class="room" x="{x - BOX / 2:g}" y="{y}" width="{BOX}" height="{HIGH}" rx="4"/>')
        parts.append(f'<text x="{x:g}" y="{y + HIGH / 2 + 4:g}" text-anchor="middle">{escape(name)}</text>')
    words = "The rooms of mulib on six floors; every arrow, an import, points downwards or along a floor."
    body = "\n".join(parts + titles)
    return (
        f'<svg class="mulib-house" role="img" aria-label="{words}" viewBox="0 0 {WIDTH} {len(FLOORS) * BAND}">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z"/></marker></defs>\n{body}\n</svg>'
    )


def _arrow(start, end):
    """A line from the foot of a box to the head of one below, or along a floor: in a bow under what is between."""
    (x, y, step), (u, v, _) = start, end
    if y == v and abs(u - x) < 1.5 * step:
        half = BOX / 2 if u > x else -BOX / 2
        return f'<path class="arrow" d="M{x + half:g} {y + HIGH / 2:g} L{u - half:g} {v + HIGH / 2:g}"/>'
    if y == v:
        return f'<path class="arrow" d="M{x:g} {y + HIGH} C{x:g} {y + 60} {u:g} {y + 60} {u:g} {y + HIGH}"/>'
    bend = (y + HIGH + v) / 2
    return f'<path class="arrow" d="M{x:g} {y + HIGH} C{x:g} {bend:g} {u:g} {bend:g} {u:g} {v}"/>'


def file_map():
    """Return the Markdown of a line for every file, by floor: its path and the first line of its docstring."""
    known, parts = modules(), []
    for level, (title, names) in reversed(list(enumerate(FLOORS, start=1))):
        here = [
            (names.index(room(m)), path.name != "__init__.py", path) for m, path in known.items() if room(m) in names
        ]
        rows = [f"| `{path.relative_to(LIBRARY.parent).as_posix()}` | {summary(path)} |" for *_, path in sorted(here)]
        head = f":::{{dropdown}} {level}  {title}", "| file | what it holds |", "| --- | --- |"
        parts.append("\n".join([*head, *rows, ":::"]))
    return "\n\n".join(parts)


def summary(path):
    """Return the first sentence of a file's docstring, as Markdown for a table."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(words.partition("\n\n")[0].split()).replace("|", "\\|")


def drawn(page):
    """Return the text of the page with the house and the file map between its two markers."""
    if START not in page or END not in page:
        raise InputError(f"{PAGE} has no markers: put {START} and {END} where the house belongs.")
    before, after = page.partition(START)[0], page.partition(END)[2]
    house = picture(rooms(imports()))
    return f"{before}{START}\n\n```{{raw}} html\n{house}\n```\n\n{file_map()}\n\n{END}{after}"


def main():
    """Draw the house of this library into its project's About page."""
    path = LIBRARY.parent / PAGE
    replace(path, drawn(path.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    main()
