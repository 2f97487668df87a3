"""Which convolution feeds which, found in the traced model, and channels switched off without a trace."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, fx, nn

from mulib.errors import InputError
from mulib.models.modes import evaluating

# Channel i of the output comes from channel i of the input, and of no other.
_SAME_CHANNEL = (
    nn.Identity,
    nn.BatchNorm2d,
    nn.ZeroPad2d,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus),
)
_POOLS = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "dropout", "dropout2d"}
_CURVES = {"relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid"}
_SAME_CHANNEL_NAMES = _POOLS | _CURVES | {"hardtanh", "sigmoid", "tanh", "contiguous", "stochastic_depth"}
# A sum (a residual connection) or a product (a gate): channel i comes from channel i of each operand.
_JOINS = {operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, "add", "add_", "mul", "mul_"}


@dataclass(frozen=True)
class Branch:
    """One way from a convolution into another that lies behind it.

    Attributes:
        source: the convolution where it starts.
        joins: the sums and products it passes, each as (the operands that meet there, the one it comes through).
    """

    source: str
    joins: tuple[tuple[tuple[fx.Node, ...], fx.Node], ...]


class Wiring:
    """The convolutions of a model in the order they run, and what leads from one to the next.

    Batch norm, activations, pooling and dropout are looked through; at a sum or a product every operand is followed,
    so a convolution behind a residual connection is fed by all that the connection carries to it.

    >>> Wiring(model).sources("layer4.1.conv1")
    ('layer4.0.conv2', 'layer4.0.downsample.0')

    Raises:
        InputError: a model that torch.fx cannot trace, has no convolution, or runs one convolution several times.
    """

    def __init__(self, model: nn.Module):
        try:
            with evaluating(model):  # without dropout
                self.traced = fx.symbolic_trace(model)
        except Exception as error:  # tracing runs the model's own code, which may fail in any way
            why = f"torch.fx cannot trace this {type(model).__name__} ({error})"
            raise InputError(f"{why}: expected a forward without branches on values; take another model.") from error
        self._modules = dict(self.traced.named_modules())
        nodes = [node for node in self.traced.graph.nodes if isinstance(self._module(node), nn.Conv2d)]
        self.nodes: dict[str, fx.Node] = {str(node.target): node for node in nodes}
        if not nodes:
            raise InputError(f"this {type(model).__name__} has no convolution: expected one; take another model.")
        if len(self.nodes) < len(nodes):
            raise InputError("a convolution runs more than once in this model: expected once; take another model.")

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the convolutions, in the order they run."""
        return tuple(self.nodes)

    def sources(self, layer: str) -> tuple[str, ...]:
        """The convolutions that feed `layer` with no other convolution between, in the order they run."""
        found = {branch.source for branch in self.branches(layer)}
        return tuple(name for name in self.nodes if name in found)

    def branches(self, layer: str) -> tuple[Branch, ...]:
        """Every way into `layer` from the convolutions before it.

        Raises:
            InputError: a step that mixes or reorders channels, such as a concatenation.
        """
        return tuple(self._behind(self.nodes[layer].all_input_nodes[0], ()))

    def norm(self, layer: str) -> str | None:
        """The batch norm right behind `layer`, if there is one."""
        users = list(self.nodes[layer].users)
        found = len(users) == 1 and isinstance(self._module(users[0]), nn.BatchNorm2d)
        return str(users[0].target) if found else None

    def check(self, layers: Iterable[str]) -> None:
        """Raise InputError unless `layers` names convolutions, at least one."""
        layers = tuple(layers)
        if not layers or (unknown := [name for name in layers if name not in self.nodes]):
            wrong = f"{unknown[0]!r} is not a convolution of this model" if layers else "no layer is named"
            raise InputError(f"{wrong}: expected some of {', '.join(self.layers)}.")

    def check_adjacent(self, layers: Sequence[str]) -> None:
        """Raise InputError where nothing connects some of `layers` to the others, but by way of more layers."""
        self.check(layers)
        joined = {layers[0]}
        behind = {name: set(self.sources(name)) & set(layers) for name in layers} if len(layers) > 1 else {}
        for _ in layers:
            for name, sources in behind.items():
                if name in joined or sources & joined:
                    joined |= {name, *sources}
        if apart := [name for name in layers if name not in joined]:
            before = ", ".join(self.sources(apart[0])) or "the images"
            raise InputError(f"{apart[0]} is not adjacent to the other layers: add what feeds it, {before}.")

    def _behind(self, node: fx.Node, joins: tuple):
        if node.target in self.nodes:
            yield Branch(str(node.target), joins)
            return
        inputs = tuple(node.all_input_nodes)
        if node.op == "placeholder":
            return
        if len(inputs) > 1 and node.target in _JOINS:
            for operand in inputs:
                if not self._is_gate(node, operand):
                    yield from self._behind(operand, (*joins, (inputs, operand)))
        elif len(inputs) == 1 and (self._keeps_channels(node) or node.target in _JOINS):
            yield from self._behind(inputs[0], joins)
        else:
            step = self._module(node)
            kind = type(step).__name__ if step is not None else getattr(node.target, "__name__", node.target)
            raise InputError(f"channels cannot be followed through {kind} ({node}): take one layer, or another model.")

    def _is_gate(self, node: fx.Node, operand: fx.Node) -> bool:
        """Whether `operand` scales the channels of a product by numbers that mix all of them, as squeeze-and-excitation
        does: behind it stand linear layers, with no convolution between."""
        if node.target in (operator.add, operator.iadd, torch.add, "add", "add_"):
            return False
        while operand.target not in self.nodes and operand.all_input_nodes:
            if isinstance(self._module(operand), nn.Linear):
                return True
            operand = operand.all_input_nodes[0]
        return False

    def _keeps_channels(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return isinstance(self._module(node), _SAME_CHANNEL)
        return getattr(node.target, "__name__", node.target) in _SAME_CHANNEL_NAMES

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._modules.get(str(node.target)) if node.op == "call_module" else None

    @cached_property
    def head(self) -> str | None:
        """The last linear layer, which gives the outputs."""
        linear = [n.target for n in self.traced.graph.nodes if isinstance(self._module(n), nn.Linear)]
        return linear[-1] if linear else None


def convolutions(model: nn.Module) -> tuple[str, ...]:
    """The names of a model's convolutions, in the order they run.

    >>> convolutions(model)[-2:]
    ('layer4.1.conv1', 'layer4.1.conv2')

    Raises:
        InputError: as for `Wiring`.
    """
    return Wiring(model).layers


@torch.no_grad()
def switch_off(model: nn.Module, channels: Mapping[str, Tensor], wiring: Wiring | None = None) -> nn.Module:
    """Zero output channels of convolutions in place: kernel, bias, and batch-norm scale, shift and running mean.

    What leaves a channel is then zero in training and in evaluation, and nothing that was learned about it is kept
    but the running variance, which divides zero. No other number of the model changes.

    Args:
        channels: by layer, the int64 positions of its channels.

    Raises:
        InputError: a layer or a channel that the model does not have.
    """
    wiring = wiring or Wiring(model)
    for layer, index in channels.items():
        wiring.check([layer])
        conv = cast(nn.Conv2d, model.get_submodule(layer))
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < conv.out_channels:
            found = f"{int(index.min())} … {int(index.max())}"
            raise InputError(f"{layer} has no channels {found}: expected 0 … {conv.out_channels - 1}.")
        norm = wiring.norm(layer)
        bn = model.get_submodule(norm) if norm else None
        parts = [conv.weight, conv.bias, *(getattr(bn, name, None) for name in ("weight", "bias", "running_mean"))]
        for part in parts:
            if part is not None:
                part[index.to(part.device)] = 0
    return model
