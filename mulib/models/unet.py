"""The remover: a U-Net that dims the parts of an image that show a feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulib.errors import InputError
from mulib.models.weights import reinitialise

HALVINGS = 5  # four on the way down, and the inner one
OPEN = 3.0  # the last bias: σ(3) = 0.95, so that the mask starts open


class Remover(nn.Module):
    """g(x) = m(x) · x with a mask m(x) in (0, 1), one channel for all colours.

    A U-Net: five halvings by 4×4 convolutions with stride 2, and back by bilinear doubling, one pixel of reflected
    border and a 3×3 convolution; what was seen on the way down is laid beside it at each size.
    Input (N, in_channels, height, width), height and width multiples of 32; output the same. On normalised images
    a mask of 0 leaves the mean colour.

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the settings with annotation.
    """

    def __init__(self, width: int, in_channels: int):
        super().__init__()
        sizes = [in_channels, *(width * min(2**i, 8) for i in range(HALVINGS))]
        self.down = nn.ModuleList(_down(i, *sizes[i : i + 2]) for i in range(HALVINGS))
        self.up = nn.ModuleList(
            _up(sizes[i + 1] * (1 if i == HALVINGS - 1 else 2), sizes[i]) for i in range(HALVINGS - 1, 0, -1)
        )
        self.last = nn.Sequential(nn.ReLU(), *_doubling(2 * sizes[1], 1, bias=True))

    def init_weights(self) -> None:
        """Small normal weights, as is usual for this network, and a mask that starts open."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
        *_, bias = self.last.parameters()
        nn.init.constant_(bias, OPEN)

    def mask(self, x: Tensor) -> Tensor:
        """m(x), (N, 1, height, width) in (0, 1): 1 where the image stays as it is.

        Raises:
            InputError: an image size that cannot be halved five times.
        """
        least, (height, width) = 2**HALVINGS, x.shape[-2:]
        if height % least or width % least or not height * width:
            sizes = f"images of {height}×{width} pixels cannot be halved {HALVINGS} times"
            raise InputError(f"{sizes}: the remover needs multiples of {least}, at least {least}×{least}.")
        seen = []
        for down in self.down:
            x = down(x)
            seen.append(x)
        x = seen.pop()
        for up in self.up:
            x = torch.cat([up(x), seen.pop()], 1)
        return self.last(x).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.mask(x) * x


def _down(depth: int, inputs: int, outputs: int) -> nn.Sequential:
    """Halve; the first sees pixels, and the innermost may be a single one: neither is normalised."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)]
    if depth:
        layers.insert(0, nn.LeakyReLU(0.2))
    if 0 < depth < HALVINGS - 1:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), *_doubling(inputs, outputs, bias=False), nn.BatchNorm2d(outputs))


def _doubling(inputs: int, outputs: int, bias: bool) -> tuple[nn.Module, ...]:
    doubled = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return doubled, nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3, bias=bias)


def remover(*, width: int = 64, in_channels: int = 3, seed: int = 0) -> Remover:
    """A freshly initialised remover; the same seed gives the same weights.

    Args:
        width: channels after the first halving (64 in the paper; 8 to 16 train on a laptop).

    Raises:
        InputError: a size below 1.

    >>> remover(width=8).mask(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1, 64, 64])
    """
    if min(width, in_channels) < 1:
        raise InputError(f"width {width}, in_channels {in_channels}: each must be at least 1.")
    with torch.random.fork_rng(devices=[]):
        model = Remover(width, in_channels)
    return reinitialise(model, seed)
