"""Channel importance: Grad-CAM's weights for all layers and targets at once, and a model that stays as it was."""

import oracles_graph as oracles
import pytest
import torch
from torch import nn

from mulib import InputError, explain, models
from mulib.data import ImageSet
from mulib.explain.importance import probed

NAMES = ("mouth", "beard", "glasses")


def images(n=12, size=32, classes=NAMES, attributes=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    if attributes:
        labels = (torch.rand(n, len(classes), generator=generator) > 0.5).float()
    else:
        labels = torch.arange(n) % len(classes)
    return ImageSet(pixels, labels, classes)


def build():
    return models.resnet18(3, width=4, stem="face", seed=1)


LAYERS = ("layer3.1.conv2", "layer4.0.conv1", "layer4.1.conv2")


@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_values_are_the_mean_over_each_targets_images(attributes, batch_size):
    shown, model = images(attributes=attributes), build()
    found = explain.channel_importance(model, shown, NAMES, LAYERS, batch_size=batch_size)
    for target in range(3):
        has = shown.labels[:, target] > 0 if attributes else shown.labels == target
        assert found.counts[target] == int(has.sum())
        for layer in LAYERS:
            slow = oracles.mean_channel_weights(build, model.state_dict(), shown.pixels(has), target, layer)
            torch.testing.assert_close(found.values[layer][target], slow, atol=1e-6, rtol=1e-5)


TORCHVISION = {
    "alexnet": ("features.3", "features.10"),
    "vgg11": ("features.13", "features.18"),
    "mobilenet_v2": ("features.17.conv.1.0", "features.18.0"),
    "mobilenet_v3_small": ("features.11.block.2.fc2", "features.12.0"),
    "resnet50": ("layer4.1.conv3", "layer4.2.conv2"),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_one_image_gives_what_the_released_procedure_gives(name):
    def network():
        return oracles.network(name)

    shown, model = images(1, 64, attributes=False), network()
    found = explain.channel_importance(model, shown, ["mouth"], TORCHVISION[name])
    for layer in TORCHVISION[name]:
        slow = oracles.channel_weights(network, model.state_dict(), shown.pixels(slice(None))[0], 0, layer)
        torch.testing.assert_close(found.values[layer][0], slow, atol=1e-6, rtol=0)


def test_an_absence_is_the_negative_logit_of_the_images_without():
    shown, model = images(), build()
    found = explain.channel_importance(model, shown, ["beard"], LAYERS, absent=["beard"])
    pixels = shown.pixels(shown.labels[:, 1] == 0)
    slow = oracles.mean_channel_weights(build, model.state_dict(), pixels, 1, LAYERS[0])
    torch.testing.assert_close(found.values[LAYERS[0]][0], -slow, atol=1e-6, rtol=1e-5)


def test_one_name_need_not_be_a_list():
    found = explain.channel_importance(build(), images(), "beard", "layer4.1.conv2", absent="beard")
    assert (found.targets, list(found.rows)) == (("beard",), ["layer4.1.conv2"])


def test_rows_are_in_the_order_of_the_images():
    shown = images()
    found = explain.channel_importance(build(), shown, NAMES, LAYERS, batch_size=5)
    assert torch.equal(torch.stack([found.image, found.target], 1), shown.labels.nonzero())
    alone = explain.channel_importance(build(), shown.subset(found.image[:1]), [int(found.target[0])], LAYERS)
    torch.testing.assert_close(alone.rows[LAYERS[0]][0], found.rows[LAYERS[0]][0], atol=1e-6, rtol=1e-5)


def state(model):
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    wanted = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    return modes, hooks, wanted, [value.clone() for value in model.state_dict().values()]


def same(a, b):
    return a[:3] == b[:3] and all(torch.equal(x, y) for x, y in zip(a[3], b[3], strict=True))


class BrokenError(Exception):
    pass


def breaks():
    raise BrokenError


@pytest.mark.parametrize("broken", [False, True])
def test_the_model_is_left_as_it_came_whatever_happens(broken):
    model = build().train()
    model.layer1.eval()
    model.conv1.requires_grad_(False)
    before = state(model)
    if broken:
        with pytest.raises(BrokenError), probed(model, LAYERS):
            breaks()
    else:
        with torch.inference_mode():
            explain.channel_importance(model, images(), NAMES, LAYERS)
    assert same(before, state(model))


class Aside(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.aside, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        self.aside(x)
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ["hat"]}, "there is no target 'hat': expected one of mouth, beard, glasses"),
        ({"targets": [3]}, "there is no target 3"),
        ({"targets": []}, "expected different classes or attributes, at least one"),
        ({"targets": ["beard", 1]}, "expected different classes or attributes"),
        ({"targets": ["beard"], "absent": ["mouth"]}, "absent is"),
        ({"images": images(4, attributes=False), "absent": ["mouth"]}, "absent is"),
        ({"images": images(2, attributes=False)}, "none of the 2 images has the target 'glasses'"),
        ({"layers": ["layer9"]}, "there is no layer 'layer9'"),
        ({"layers": []}, "no layer is named"),
        ({"layers": ["fc"]}, "fc gives no maps"),
        ({"layers": ["layer4.1.relu"]}, "runs more than once"),
        ({"model": Aside(), "layers": ["aside"]}, "aside plays no part in the outputs"),
        ({"model": models.resnet18(2, width=2)}, r"the model gives outputs \(\d+, 2\)"),
    ],
)
def test_bad_input(change, message):
    options = {"model": build(), "images": images(), "targets": list(NAMES), "layers": ["conv1"]} | change
    with pytest.raises(InputError, match=message):
        explain.channel_importance(**options)
