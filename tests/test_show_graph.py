"""The essential graph's picture: columns, sides and widths are what the graph says, and so are its words."""

from itertools import pairwise

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from test_importance import build, images

from mulib import InputError, explain, show
from mulib.show.graph import strongest


@pytest.fixture(scope="module")
def graph():
    return explain.essential_graph(build(), images(20), "beard", proportion=0.25)


@pytest.fixture
def axis(graph):
    with plt.rc_context():
        show.use()
        yield show.essential_graph(graph, edges=12)
        plt.close("all")


def test_the_figure_fits_the_page(axis):
    assert axis.figure.get_figwidth() == show.WIDTH


def test_pruned_channels_stand_above_and_spared_ones_below(axis, graph):
    points = [c for c in axis.collections if isinstance(c, PathCollection)]
    above, below = points[::2], points[1::2]
    for column, layer in enumerate(graph.layers):
        assert len(above[column].get_offsets()) == len(graph.pruned[layer])
        assert len(below[column].get_offsets()) == int(graph.important[layer][1].sum()) - len(graph.pruned[layer])
        assert all(x == column and y > 0 for x, y in above[column].get_offsets())
        assert all(x == column and y < 0 for x, y in below[column].get_offsets())


def test_edges_are_as_wide_as_their_weight_and_cut_ones_have_the_colour_of_what_goes(axis, graph):
    drawn = [c for c in axis.collections if isinstance(c, LineCollection)]
    for lines, (pair, (source, sink, weight)) in zip(drawn, strongest(graph, 12).items(), strict=True):
        widths = torch.tensor(lines.get_linewidths())
        torch.testing.assert_close(widths, (0.2 + 2.2 * weight / weight.max()).double(), check_dtype=False)
        cut = torch.isin(source, graph.pruned[pair[0]]) | torch.isin(sink, graph.pruned[pair[1]])
        colours = [to_hex(colour) for colour in lines.get_colors()]
        assert colours == [show.COLOURS["unlearned" if lost else "original"].lower() for lost in cut]


def test_the_strongest_edges_are_the_forgotten_targets_largest(graph):
    for pair, (_, _, weight) in strongest(graph, 3).items():
        edges = graph.edges[pair]
        assert torch.equal(weight, edges.weight[edges.target == 1].abs().topk(3).values)


def test_words_stay_inside_the_figure(axis):
    axis.figure.canvas.draw()
    box, renderer = axis.figure.bbox, axis.figure.canvas.get_renderer()
    for text in [*axis.texts, *axis.get_xticklabels()]:
        extent = text.get_window_extent(renderer)
        assert box.x0 <= extent.x0 < extent.x1 <= box.x1
    names = [text.get_window_extent(renderer) for text in axis.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(names))


def test_the_words_tell_what_is_pruned_where(graph):
    text = show.essential_graph_alt(graph)
    pruned = sum(len(index) for index in graph.pruned.values())
    assert text.startswith("The essential graph of beard: 5 columns, one per layer. Marked as pruned are ")
    assert f"are {pruned} of the {8 * 5} channels" in text
    assert "because mouth or glasses needs them too" in text
    assert f"layer4.1.conv2 {len(graph.pruned['layer4.1.conv2'])} of 8" in text
    assert text.endswith(("and is cut.", "and stays."))


def test_the_words_without_balance_and_with_one_layer(graph):
    assert "Nothing is spared for other targets." in show.essential_graph_alt(graph.at(balanced=False))
    alone = explain.essential_graph(build(), images(20), ["beard", "mouth", "glasses"], layers=1)
    text = show.essential_graph_alt(alone)
    assert text.startswith("The essential graph of beard, mouth and glasses: one column, for one layer.")
    assert "There is no other target" in text
    plt.close(show.essential_graph(alone).figure)


def test_a_negative_number_of_edges(graph):
    with pytest.raises(InputError, match="edges is -1"):
        show.essential_graph(graph, edges=-1)
