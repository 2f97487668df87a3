"""The essential graph: what is important for whom alone, what the edges weigh, and a round trip without loss."""

import json

import networkx as nx
import oracles_graph as oracles
import pytest
import torch
from test_importance import build, images
from torch import nn

from mulib import InputError, explain, models
from mulib.kernels.channels import balance
from mulib.models.wiring import convolutions


@pytest.fixture(scope="module")
def graph():
    return explain.essential_graph(build(), images(20), "beard", proportion=0.25)


def test_pruned_is_what_the_target_needs_and_no_other(graph):
    for layer in graph.layers:
        assert graph.pruned[layer].tolist() == oracles.essential(graph.values[layer], 1, 0.25)


def test_without_balance_all_that_is_important_goes(graph):
    bare = graph.at(balanced=False)
    for layer in graph.layers:
        assert torch.equal(bare.pruned[layer], bare.important[layer][1].nonzero()[:, 0])


def test_balance_counts_the_targets(graph):
    important, balance = graph.important["layer4.1.conv1"], graph.balance["layer4.1.conv1"]
    expected = 3 * important[1].long() - important[0].long() - important[2].long()
    assert torch.equal(balance, expected)


def test_two_targets_may_be_forgotten():
    both = explain.essential_graph(build(), images(20), ["beard", "glasses"], proportion=0.25)
    for layer, important in both.important.items():
        expected = (important[1] | important[2]) & ~important[0]
        assert both.pruned[layer].tolist() == expected.nonzero()[:, 0].tolist()


def test_equal_values_are_each_counted_once():
    from mulib.kernels.channels import top_channels

    assert top_channels(torch.tensor([0.0, 1, 1, 1, 0, 0]), 0.34).nonzero()[:, 0].tolist() == [1, 2]


def test_reading_a_graph_anew_is_building_it_anew(graph):
    fresh = explain.essential_graph(build(), images(20), "mouth", proportion=0.1, balanced=False)
    read = graph.at(proportion=0.1, forget="mouth", balanced=False)
    assert nx.utils.graphs_equal(explain.to_networkx(read), explain.to_networkx(fresh))


def seen_by(model, layer, x):
    """What a layer sees of the images x in evaluation mode."""
    seen = []
    handle = model.get_submodule(layer).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        model.eval()(x)
    handle.remove()
    return seen[0]


def chain(groups=1):
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=groups, bias=False)
    first, second = (nn.Sequential(c, nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2)) for c in convs)
    return nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_an_edge_is_what_blanking_the_source_takes_from_the_sink(groups):
    model, shown = chain(groups), images(9)
    edges = explain.essential_graph(model, shown, "beard", layers=2, proportion=1).edges["0.0", "1.0"]
    assert len(edges.weight) == 3 * 64 // groups
    x, conv = seen_by(model, "1.0", shown.pixels(shown.labels[:, 1] > 0)), model[1][0]
    rows = [row[1:] for row in zip(*(values.tolist() for values in edges), strict=True) if row[0] == 1]
    for source, sink, weight in rows:
        assert weight == pytest.approx(oracles.contribution(conv, x, source, sink), abs=1e-5)


@pytest.mark.parametrize("layer", ["layer4.1.conv1", "layer4.1.conv2"])
def test_all_edges_into_a_channel_add_up_to_its_mean_output(layer):
    model, shown = build(), images(9)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    graph = explain.essential_graph(model, shown, "beard", proportion=1)
    total = torch.zeros(32)
    for (_, sink), edges in graph.edges.items():
        if sink == layer:
            beard = edges.target == 1
            total.index_add_(0, edges.sink[beard], edges.weight[beard])
    x = seen_by(model, layer, shown.pixels(shown.labels[:, 1] > 0))
    torch.testing.assert_close(total, oracles.mean_outputs(model.get_submodule(layer), x), atol=1e-4, rtol=1e-4)


def test_edges_follow_the_residual_connection(graph):
    assert set(graph.edges) == {
        ("layer4.0.conv1", "layer4.0.conv2"),
        ("layer4.0.conv2", "layer4.1.conv1"),
        ("layer4.0.downsample.0", "layer4.1.conv1"),
        ("layer4.1.conv1", "layer4.1.conv2"),
    }


def test_edges_join_only_what_is_important_for_the_same_target(graph):
    for (before, after), edges in graph.edges.items():
        assert graph.important[before][edges.target, edges.source].all()
        assert graph.important[after][edges.target, edges.sink].all()


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg11_bn", "mobilenet_v2", "mobilenet_v3_small", "resnet50"])
def test_graphs_of_torchvisions_networks(name):
    model = oracles.network(name)
    graph = explain.essential_graph(model, images(6, 64, attributes=False), "beard", proportion=0.05)
    assert graph.layers == convolutions(model)[-5:]
    assert len(graph.edges) >= 4
    assert all(len(edges.weight) and edges.weight.isfinite().all() for edges in graph.edges.values())


def test_json_brings_back_every_bit(graph):
    back = explain.from_json(explain.to_json(graph))
    assert (back.layers, back.targets, back.outputs, back.forget) == (
        graph.layers,
        graph.targets,
        graph.outputs,
        graph.forget,
    )
    assert (back.proportion, back.balanced, back.counts) == (graph.proportion, graph.balanced, graph.counts)
    assert all(torch.equal(back.values[layer], graph.values[layer]) for layer in graph.layers)
    assert list(back.edges) == list(graph.edges)
    for pair, edges in graph.edges.items():
        for ours, theirs in zip(edges, back.edges[pair], strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


def test_json_is_networkx_node_link_form(graph):
    found = nx.node_link_graph(json.loads(explain.to_json(graph)), edges="edges")
    assert set(found) == {f"{layer}:{c}" for layer in graph.layers for c in range(graph.values[layer].shape[1])}


def test_nodes_say_their_state(graph):
    found = explain.to_networkx(graph)
    for layer in graph.layers:
        pruned = [n["channel"] for _, n in found.nodes(data=True) if (n["layer"], n["state"]) == (layer, "pruned")]
        assert pruned == graph.pruned[layer].tolist()
    kept = [node for _, node in found.nodes(data=True) if node["state"] == "kept"]
    assert kept
    assert all(node["important"] for node in kept)


@pytest.mark.parametrize("text", ["", "{}", '{"nodes": []}', "[1]"])
def test_other_text_is_refused(text):
    with pytest.raises(InputError, match="no essential graph"):
        explain.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forget": "hat"}, "there is no target 'hat'"),
        ({"forget": []}, "no target is to be forgotten"),
        ({"forget": "beard", "targets": ["mouth"]}, "no target 'beard' in the graph"),
        ({"images": images(2, attributes=False)}, "none of the 2 images has the target"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))}, "has no convolution"),
        ({"proportion": 0}, "proportion is 0: expected a share above 0 and up to 1"),
        ({"proportion": 1.1}, "proportion is 1.1"),
        ({"layers": ["layer4.0.conv1", "layer4.1.conv2"]}, "layer4.1.conv2 is not adjacent .* layer4.1.conv1"),
        ({"layers": ["layer4"]}, "'layer4' is not a convolution"),
        ({"layers": 99}, "layers is 99: expected 1 … 20"),
    ],
)
def test_bad_input(change, message):
    options = {"model": build(), "images": images(), "forget": "beard"} | change
    with pytest.raises(InputError, match=message) as raised:
        explain.essential_graph(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("setting", [{"proportion": 0.3}, {"proportion": 0}, {"forget": "hat"}])
def test_a_graph_cannot_be_read_as_what_it_does_not_hold(graph, setting):
    with pytest.raises(InputError, match="expected"):
        graph.at(**setting)


def test_one_layer_is_a_graph_without_edges():
    alone = explain.essential_graph(models.resnet18(3, width=2), images(), "beard", layers=["layer4.1.conv1"])
    assert alone.edges == {}
    assert alone.layers == ("layer4.1.conv1",)


def test_what_two_forgotten_targets_need_counts_twice_in_the_released_code():
    important = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 1, 1]]).bool()  # targets a, b, c; channels 0, 1, 2
    forget = torch.tensor([True, True, False])
    assert (balance(important, forget) > 2).tolist() == [False, False, False]
    assert (balance(important, forget, per_target=True) > 2).tolist() == [True, False, False]


def test_a_graph_is_read_by_either_rule(graph):
    forget = graph.targets[:2]
    ours, released = (graph.at(forget=forget, per_target=each).pruned for each in (False, True))
    for layer, important in graph.important.items():
        both = important[:2].all(0) & (important[2:].sum(0) < len(graph.targets))
        assert set(released[layer].tolist()) >= set(ours[layer].tolist())
        assert set(released[layer].tolist()) - set(ours[layer].tolist()) <= set(both.nonzero()[:, 0].tolist())
