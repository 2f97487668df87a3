"""Batched augmentation against torchvision, image by image."""

import inspect
import math
import re

import pytest
import torch
from torchvision.transforms import AutoAugmentPolicy, v2
from torchvision.transforms.v2 import functional

from mulib import InputError
from mulib.data import ImageSet, augment
from mulib.data.augment import (
    FACES,
    Affine,
    AutoAugment,
    Chain,
    ColourJitter,
    CropFlip,
)

N, SIZE = 64, 16
ALL = [CropFlip(4), CropFlip(), Affine(10, (0.8, 1.2)), ColourJitter(0.2), AutoAugment(), FACES]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.randint(0, 256, (N, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize("change", ALL, ids=repr)
def test_the_seed_decides_and_the_input_stays(images, change):
    before = images.clone()
    first, again, other = (change(images, generator(seed)) for seed in (1, 1, 2))
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: draws are the CPU's, so results are the same")
@pytest.mark.parametrize("change", ALL, ids=repr)
def test_a_gpu_gives_what_the_cpu_gives(images, change):
    on_cpu, on_gpu = change(images, generator(1)), change(images.cuda(), generator(1)).cpu()
    assert ((on_cpu.int() - on_gpu.int()).abs() > 1).float().mean() < 0.01


@pytest.mark.parametrize("padding", [0, 4])
def test_every_crop_is_one_that_torchvision_could_make(images, padding):
    padded = functional.pad(images, [padding] * 4, padding_mode="reflect")
    found, shifts, mirrored = CropFlip(padding)(images, generator()), set(), 0
    for i in range(N):
        matches = [
            (top, left, flip)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for flip in (False, True)
            if torch.equal(found[i], _crop(padded[i], top, left, flip))
        ]
        assert len(matches) == 1
        shifts.add(matches[0][:2])
        mirrored += matches[0][2]
    assert 0.3 * N < mirrored < 0.7 * N
    assert len(shifts) > 0.3 * min(N, (2 * padding + 1) ** 2)


def _crop(padded, top, left, flip):
    """RandomCrop with given offsets, then RandomHorizontalFlip or not."""
    crop = functional.crop(padded, top, left, SIZE, SIZE)
    return functional.horizontal_flip(crop) if flip else crop


@pytest.mark.parametrize(("shear", "scale"), [(10, (1.0, 1.0)), (0, (0.8, 0.8)), (0, (1.2, 1.2)), (10, (0.8, 0.8))])
def test_affine_is_torchvisions(shear, scale):
    images = torch.randint(1, 256, (8, 3, 20, 32), dtype=torch.uint8, generator=generator(3))
    found = Affine(shear, scale)(images, generator(5))
    drawn = (2 * torch.rand(8, generator=generator(5)) - 1) * shear
    for image, result, angle in zip(images, found, drawn.tolist(), strict=True):
        expected = functional.affine(image, angle=0, translate=[0, 0], scale=scale[0], shear=[angle, 0.0])
        assert (expected != result).float().mean() < 0.02  # a coordinate that falls between two pixels


def test_affine_scale_stays_in_its_range():
    """A white image shrinks to scale² of its area, or fills the frame."""
    images = torch.full((200, 1, 64, 64), 255, dtype=torch.uint8)
    share = Affine(0, (0.5, 1.0))(images, generator()).float().mean((1, 2, 3)) / 255
    assert 0.5**2 - 0.03 < share.min() < 0.3
    assert 0.9 < share.max() <= 1
    assert share.sqrt().mean().item() == pytest.approx(0.75, abs=0.03)


def test_colour_jitter_is_torchvisions_with_the_same_factors(images):
    strength, draws = 0.2, generator(7)
    order = torch.randperm(3, generator=draws).tolist()
    adjust = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    expected = list(images.float() / 255)
    for step in order:
        factors = (1 + strength * (2 * torch.rand(N, generator=draws) - 1)).tolist()
        expected = [adjust[step](image, factor) for image, factor in zip(expected, factors, strict=True)]
    found = ColourJitter(strength)(images, generator(7))
    assert (found.float() - torch.stack(expected) * 255).abs().max() <= 1


def test_jitter_needs_three_channels():
    with pytest.raises(InputError, match="colour jitter on 1 channels: expected 3"):
        ColourJitter(0.2)(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), generator())


def test_a_crop_needs_a_larger_image():
    with pytest.raises(InputError, match="padding is 4: expected less than the image's 4×4"):
        CropFlip(4)(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), generator())


def test_autoaugment_is_torchvisions_image_by_image(images, monkeypatch):
    """The oracle is torchvision's, one image at a time, with its draws replaced by ours; it draws a sign for some."""
    unsigned = {"Posterize", "Solarize", "AutoContrast", "Equalize", "Invert"}
    images = images.repeat(8, 1, 1, 1)
    found, draws = AutoAugment()(images, generator(9)), generator(9)
    which = torch.randint(25, (len(images),), generator=draws)
    chance, sign = (torch.rand(len(images), 2, generator=draws) for _ in range(2))
    policy = v2.AutoAugment(AutoAugmentPolicy.CIFAR10)
    for i, image in enumerate(images):
        queue = []
        for stage, (name, probability, _) in enumerate(augment._POLICIES[which[i]]):
            queue += [chance[i, stage], sign[i, stage]] if name not in unsigned else [chance[i, stage]]
            if chance[i, stage] > probability and name not in unsigned:
                queue.pop()
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda *_, i=i, **__: which[i])
            patch.setattr(torch, "rand", lambda *_, queue=queue, **__: queue.pop(0))
            expected = policy(image)
        assert not queue
        assert torch.equal(found[i], expected)


def test_no_private_name_of_torchvision_is_used():
    text = inspect.getsource(augment)
    assert not re.findall(r"(?:policy|functional|v2|transforms)\._\w+", text)


def test_a_chain_is_its_steps_in_order(images):
    draws = generator(2)
    expected = ColourJitter(0.3)(CropFlip(2)(images, draws), draws)
    assert torch.equal(Chain((CropFlip(2), ColourJitter(0.3)))(images, generator(2)), expected)


def test_only_shuffled_batches_are_augmented(images):
    data = ImageSet(images, torch.zeros(N).long(), mean=(0.5,) * 3, std=(0.25,) * 3, augment=CropFlip(4))
    plain = torch.cat([x for x, _ in data.batches(10)])
    torch.testing.assert_close(plain, (images.float() / 255 - 0.5) / 0.25)
    shuffled = torch.cat([x for x, _ in data.batches(10, generator())])
    again = torch.cat([x for x, _ in data.batches(10, generator())])
    assert torch.equal(shuffled, again)
    assert not math.isclose(shuffled.sum().item(), plain.sum().item(), rel_tol=1e-6)
    assert data.subset(torch.arange(3)).augment == CropFlip(4)
