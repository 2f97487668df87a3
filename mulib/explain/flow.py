"""What flows along the edges of an essential graph: from one convolution's channels into the next one's."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, fx, nn

from mulib.kernels.channels import contributions, tap_means
from mulib.models.wiring import Branch, Wiring


class Flow(fx.Interpreter):
    """A run of the traced model that keeps, per target, the mean input of each layer and the size of what joins there.

    Args:
        layers: convolutions between which edges are wanted.
    """

    def __init__(self, wiring: Wiring, layers: Sequence[str]):
        super().__init__(wiring.traced)
        self.wiring = wiring
        self.branches: dict[tuple[str, str], list[Branch]] = {}
        for sink in layers:
            for branch in wiring.branches(sink):
                if branch.source in layers:
                    self.branches.setdefault((branch.source, sink), []).append(branch)
        self._inputs = {wiring.nodes[sink].all_input_nodes[0] for _, sink in self.branches}
        steps = [join for branches in self.branches.values() for branch in branches for join in branch.joins]
        self._operands = {operand for operands, _ in steps for operand in operands}
        self._maps: dict[fx.Node, Tensor] = {}
        self._sizes: dict[fx.Node, Tensor] = {}

    def forward(self, x: Tensor, has: Tensor) -> Tensor:
        """The model's outputs for a batch, whose (n, T) targets say which images count for which target."""
        self._has = has.to(x.dtype)
        self._count = has.sum(0) + getattr(self, "_count", 0)
        return self.run(x)

    def run_node(self, n: fx.Node):
        result = super().run_node(n)
        if n in self._inputs:
            seen = torch.einsum("nt,nchw->tchw", self._has, result.detach())
            self._maps[n] = seen + self._maps.get(n, 0)
        if n in self._operands:
            self._sizes[n] = self._has.T @ result.detach().abs().mean((2, 3)) + self._sizes.get(n, 0)
        return result

    def edges(self, source: str, sink: str, important: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Edges between channels that are important for the same target: which target, from, to (E,), weight (E,)."""
        conv = cast(nn.Conv2d, self.wiring.traced.get_submodule(sink))
        node = self.wiring.nodes[sink].all_input_nodes[0]
        means = tap_means(self._maps[node] / self._count.view(-1, 1, 1, 1), conv)
        shares = (self._share(branch) for branch in self.branches[source, sink])
        means = means * sum(shares, start=torch.zeros(()))[..., None]
        found = []
        for target in range(len(means)):
            ours, theirs = (important[layer][target].nonzero()[:, 0].to(means.device) for layer in (source, sink))
            weight, connected = contributions(conv, means[target], ours, theirs)
            i, j = connected.nonzero(as_tuple=True)
            found.append((torch.full_like(i, target), ours[i], theirs[j], weight[i, j]))
        targets, sources, sinks, weights = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
        return targets, sources, sinks, weights

    def _share(self, branch: Branch) -> Tensor:
        """The part of each channel's signal that comes this way: (T, C), all ways into a layer together 1.

        Where several operands join, each has the share of its mean absolute value in theirs.
        """
        one = torch.ones(len(self._count), 1, device=self._count.device)
        return prod((self._part(operands, operand) for operands, operand in branch.joins), start=one)

    def _part(self, operands: Sequence[fx.Node], operand: fx.Node) -> Tensor:
        total = sum((self._sizes[other] for other in operands), start=torch.zeros(()))
        return torch.where(total > 0, self._sizes[operand] / total, 1 / len(operands))
