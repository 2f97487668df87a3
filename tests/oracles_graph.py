"""Slow, obvious reference implementations for the essential graph."""

import copy

import torch
import torchvision
from torch import nn

from mulib import models


def channel_weights(build, state, image, output, layer):
    """Grad-CAM's weights as the released procedure gets them: load the model, one image, one backward."""
    model = build()
    model.load_state_dict(copy.deepcopy(state))
    model.eval()
    kept = {}

    def keep(module, inputs, result):
        kept["map"] = result.clone()
        kept["map"].retain_grad()
        return kept["map"].clone()

    model.get_submodule(layer).register_forward_hook(keep)
    model(image[None])[0, output].backward()
    return kept["map"].grad[0].mean((1, 2))


def mean_channel_weights(build, state, images, output, layer):
    """The mean over images of what `channel_weights` gives for each: images (N, channels, height, width)."""
    return torch.stack([channel_weights(build, state, image, output, layer) for image in images]).mean(0)


def network(name):
    """One of torchvision's networks with three outputs and random weights, the big linear layers left out."""
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(num_classes=3)
        if name.startswith(("vgg", "alexnet")):
            model.classifier = nn.Linear(512 * 7 * 7 if name.startswith("vgg") else 256 * 6 * 6, 3)
    return models.reinitialise(model.to_empty(device="cpu"), seed=0)


@torch.no_grad()
def felt(model, x, after, candidates):
    """Which of some convolutions `after` sees a change of, while the outputs of all others are held fixed."""
    model = copy.deepcopy(model).eval()
    convs = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    held, seen = {}, []
    for name, conv in convs.items():
        conv.register_forward_hook(lambda module, inputs, result, name=name: held.setdefault(name, result).clone())
    convs[after].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    model(x)
    found = set()
    for name in candidates:
        original = held[name]
        held[name] = original + 1
        model(x)
        held[name] = original
        if not torch.equal(seen[0], seen[-1]):
            found.add(name)
    return found


@torch.no_grad()
def mean_outputs(conv, x):
    """The mean of each output channel over images and positions."""
    return conv(x).mean((0, 2, 3))


@torch.no_grad()
def contribution(conv, x, source, sink):
    """How much the mean of the channel `sink` falls when the channel `source` of the input is blanked."""
    blanked = x.clone()
    blanked[:, source] = 0
    return float((mean_outputs(conv, x) - mean_outputs(conv, blanked))[sink])


def essential(values, target, proportion):
    """The channels in the top `proportion` for `target` and in that of no other: values (targets, channels)."""

    def top(row):
        ranked = sorted(range(len(row)), key=lambda channel: -row[channel])
        return set(ranked[: max(1, round(proportion * len(row)))])

    mine = top(values[target].tolist())
    for other, row in enumerate(values.tolist()):
        if other != target:
            mine -= top(row)
    return sorted(mine)
