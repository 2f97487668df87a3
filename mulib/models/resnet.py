"""ResNet-18 of any width, and with replicated borders as the identification network."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mulib.errors import InputError
from mulib.models.weights import reinitialise


class ResNet18(nn.Module):
    """The 18-layer residual network: a stem, four stages of two basic blocks, global average pooling, one linear layer.

    At width 64 with the "imagenet" stem its parameters have torchvision's names and shapes.
    Input (N, in_channels, height, width), output logits (N, classes).

    Source: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016; CIFAR form as in section 4.2.
    """

    def __init__(self, classes: int, width: int, stem: str, in_channels: int, fine: bool = False):
        super().__init__()
        if stem == "cifar":
            self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        elif stem == "face":
            self.conv1 = nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=1 if fine else 2)
        self.layer4 = nn.Identity() if fine else _stage(4 * width, 8 * width, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear((4 if fine else 8) * width, classes)

    channels_last = True  # it runs a third faster that way, and no part of it minds

    def init_weights(self) -> None:
        """He initialisation of the convolutions, as torchvision's."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """What the linear layer sees: (N, 8·width), or 4·width of a fine one."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


# Below so many channels a shortcut is not channels-last: torch 2.15's backward pass of a 1×1 convolution of stride 2 in
# float32 on the CPU writes beyond its memory there (a crash in the allocator, sooner or later), with 1 to 4 input
# channels tried; with 8 and 16, stride 1 or a 3×3 kernel it does not. `tests/test_models.py` holds the condition.
NARROW = 8


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, each with its batch norm, around which a shortcut carries the input.

    As torchvision's, parameter for parameter; torchvision itself takes seconds to import.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            x = self.downsample(x.contiguous() if self.conv1.in_channels < NARROW else x)
        out += x
        return self.relu(out)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two basic blocks; the first changes resolution and width, its shortcut by a 1×1 convolution."""
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))


def resnet18(
    classes: int,
    *,
    width: int = 64,
    stem: Literal["cifar", "face", "imagenet"] = "cifar",
    in_channels: int = 3,
    seed: int = 0,
) -> ResNet18:
    """A freshly initialised ResNet-18; the same seed gives the same weights.

    Args:
        classes: size of the output, ≥ 1.
        width: channels of the first stage (64 in the paper; 8 to 16 train on a laptop).
        stem: "cifar" (3×3, stride 1, no pooling; 8 to 64 pixels), "face" (3×3, stride 2, no pooling; 32 to 128 pixels,
            a quarter of the cost) or "imagenet" (7×7, stride 2, max-pool).

    Raises:
        InputError: a size below 1 or an unknown stem.
    """
    return _fresh(classes, width, stem, in_channels, seed)


def _fresh(classes: int, width: int, stem: str, in_channels: int, seed: int, fine: bool = False) -> ResNet18:
    """A checked and freshly initialised network."""
    if min(classes, width, in_channels) < 1:
        raise InputError(f"classes {classes}, width {width}, in_channels {in_channels}: each must be at least 1.")
    if stem not in ("cifar", "face", "imagenet"):
        raise InputError(f"unknown stem {stem!r}: expected 'cifar', 'face' or 'imagenet'.")
    with torch.random.fork_rng(devices=[]):  # building draws weights too: leave the caller's generator alone
        model = ResNet18(classes, width, stem, in_channels, fine)
    return reinitialise(model, seed)


def identifier(
    attributes: int,
    *,
    width: int = 64,
    stem: Literal["cifar", "face", "imagenet"] = "imagenet",
    in_channels: int = 3,
    fine: bool = False,
    seed: int = 0,
) -> ResNet18:
    """The identification network: a ResNet-18 whose convolutions repeat the border instead of padding with zeros.

    Zeros outside the image would mark its border in every channel. One logit per attribute stands for the published
    two-way softmax: of two logits only the difference counts. Its filters are separated by `explain.identify`.

    Args:
        attributes: how many, ≥ 1 (40 in the paper); the others are as for `resnet18`.
        fine: the third stage keeps the resolution of the second, and its average is the last: on small images its maps
            are as fine as the paper's (16×16 for 64 pixels and the stem "face"; 14×14 there, for 224 pixels).

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation.

    >>> identifier(3, width=16, stem="face")(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 3])
    """
    model = _fresh(attributes, width, stem, in_channels, seed, fine)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.padding != (0, 0):
            module.padding_mode = "replicate"
    return model
