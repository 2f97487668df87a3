"""The house stands: rooms import only downwards, nothing below the press needs the book, and its picture is true."""

import subprocess
import sys

import networkx as nx
import pytest
from projects import ROOT

from mulib import InputError
from mulib.press import house

GRAPH = house.imports()
ROOMS = house.rooms(GRAPH)
ABSENT = """
import sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name in {"papermill", "nbformat", "nbclient", "IPython", "ipywidgets", "jupyter_client", "sphinx"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent)
"""


def test_a_room_imports_only_from_the_floors_below_or_one_way_along_its_own():
    up = [(a, b) for a, b in ROOMS.edges if house.floor(b) > house.floor(a)]
    both = [(a, b) for a, b in ROOMS.edges if ROOMS.has_edge(b, a)]
    assert (up, both) == ([], [])


@pytest.mark.parametrize("graph", [GRAPH, ROOMS], ids=["files", "rooms"])
def test_nothing_imports_in_a_circle(graph):
    assert [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_nothing_below_imports_the_press():
    assert set(ROOMS.predecessors("press")) == {"__main__"}


def test_the_imports_are_found():
    """Of a package, of a file, of a name in a file, and inside a function."""
    assert {"mulib.press.runs", "mulib.text", "mulib.assess", "mulib"} <= set(GRAPH.successors("mulib.__main__"))
    assert GRAPH.number_of_edges() > len(house.modules()) > 80


def test_a_room_without_a_floor_is_one_sentence():
    with pytest.raises(InputError, match="mulib/attic stands on no floor"):
        house.floor("attic")


def test_every_room_below_the_press_needs_nothing_of_the_book():
    below = [name for name in house.modules() if house.room(name) not in ("press", "__main__")]
    subprocess.run([sys.executable, "-c", ABSENT + f"import {', '.join(below)}"], check=True)


def test_the_about_page_shows_the_house_as_it_is():
    page = (ROOT / house.PAGE).read_text(encoding="utf-8")
    assert page == house.drawn(page), "the house changed: run `make map`"


def test_every_file_says_in_its_first_line_what_it_holds():
    assert [str(path) for path in house.modules().values() if not house.summary(path)] == []


def test_a_page_without_markers_is_one_sentence():
    with pytest.raises(InputError, match="has no markers"):
        house.drawn("# About")
