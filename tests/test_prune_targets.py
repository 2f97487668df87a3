"""Target unlearning: the essential channels are zero, and nothing else has changed."""

import pytest
import torch
from test_importance import build, images

from mulib import InputError, explain, models, unlearn


@pytest.fixture(scope="module")
def graph():
    return explain.essential_graph(build(), images(20), "beard", proportion=0.25)


def changed(before, after):
    """By name of a tensor, the positions along its first axis whose bits differ."""
    pairs = ((name, value, after.state_dict()[name]) for name, value in before.state_dict().items())
    rows = {name: (a != b).view(len(a), -1).any(1).nonzero()[:, 0] for name, a, b in pairs if a.ndim}
    return {name: index.tolist() for name, index in rows.items() if len(index)}


def trained():
    """A model whose batch norms have learned something everywhere."""
    model, generator = build(), torch.Generator().manual_seed(2)
    for name, value in model.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5) if value.ndim else None
    return model


def expected(pruned, layer):
    norm = layer.replace("conv", "bn") if "conv" in layer else layer.replace(".0", ".1").replace("layer4.1", "layer4.0")
    names = [f"{layer}.weight", *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean"))]
    return {name: pruned[layer].tolist() for name in names if len(pruned[layer])}


def test_nothing_but_the_essential_channels_changes(graph):
    model = trained()
    found = changed(model, unlearn.prune_targets(model, graph))
    assert found == {k: v for layer in graph.layers for k, v in expected(graph.pruned, layer).items()}


def test_what_changes_is_zero_and_the_argument_is_untouched(graph):
    model, before = trained(), trained()
    pruned = unlearn.prune_targets(model, graph)
    assert changed(before, model) == {}
    for name, rows in changed(model, pruned).items():
        assert not pruned.state_dict()[name][rows].any()


def test_one_layer_alone(graph):
    model = trained()
    found = changed(model, unlearn.prune_targets(model, graph, layers="layer4.1.conv1"))
    assert found == expected(graph.pruned, "layer4.1.conv1")


@pytest.mark.parametrize("choose", ["random", "least"])
def test_ablations_take_as_many_channels(graph, choose):
    model = trained()
    found = changed(model, unlearn.prune_targets(model, graph, choose=choose))
    assert {layer: len(found.get(f"{layer}.weight", [])) for layer in graph.layers} == {
        layer: len(index) for layer, index in graph.pruned.items()
    }


def test_the_least_important_are_those_with_the_lowest_values(graph):
    model = trained()
    found = changed(model, unlearn.prune_targets(model, graph, choose="least"))
    for layer, index in graph.pruned.items():
        lowest = graph.values[layer][1].argsort()[: len(index)]
        assert found.get(f"{layer}.weight", []) == sorted(lowest.tolist())


def test_a_seed_draws_the_random_channels(graph):
    model = trained()
    one, same, other = (changed(model, unlearn.prune_targets(model, graph, choose="random", seed=s)) for s in (1, 1, 2))
    assert one == same != other


def test_without_its_head_a_target_has_the_logit_zero(graph):
    model = trained().eval()
    unlearned = unlearn.prune_targets(model, graph, head=True)
    outputs = unlearned(images(4).pixels(slice(None)))
    assert not outputs[:, 1].any()
    assert outputs[:, [0, 2]].any()
    assert changed(unlearn.prune_targets(model, graph), unlearned) == {"fc.weight": [1], "fc.bias": [1]}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept(graph, training):
    model = trained().train(training)
    assert unlearn.prune_targets(model, graph).training is model.training is training


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (models.resnet18(3, width=2), {}, "the model has no layer4.0.conv1 of 32 channels"),
        (None, {"layers": ["conv1"]}, "conv1 is not in the graph"),
        (None, {"choose": "worst"}, "choose is 'worst'"),
    ],
)
def test_bad_input(graph, model, options, message):
    with pytest.raises(InputError, match=message):
        unlearn.prune_targets(model or build(), graph, **options)


def test_a_model_without_a_head():
    from torch import nn

    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    shown = images()
    graph = explain.essential_graph(model, shown, "beard", layers=1, proportion=0.5)
    with pytest.raises(InputError, match="no linear layer"):
        unlearn.prune_targets(model, graph, head=True)
