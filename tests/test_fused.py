"""The Triton kernels against float64 and the definitions: natively on a card (-m gpu), here under the interpreter.

`test_under_the_interpreter` runs all others in a process of its own, on the CPU.
"""

import importlib
import os
import subprocess
import sys

import oracles
import oracles_features
import pytest
import torch

from mulib import InputError
from mulib.data.augment import FACES, Chain, ColourJitter, CropFlip, drawn
from mulib.kernels import augment, dispatch, epsilon, masking, perturb, similarity

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"


@pytest.fixture
def generator():
    if not (INTERPRETED or torch.cuda.is_available()):
        pytest.skip("no GPU here; the same test runs under Triton's interpreter")
    return torch.Generator().manual_seed(0)


@pytest.fixture
def triton(monkeypatch, generator):
    """A function that calls the Triton kernel of a definition, every new tensor being full of NaN (255 of bytes)."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True, warn_only=True)

    def call(kernel, *args):
        file = importlib.import_module(f"mulib.kernels.fused.{kernel.__module__.rpartition('.')[2]}")
        assert getattr(file, f"{kernel.__name__}_refused")(*args) == ""
        return getattr(file, kernel.__name__)(*args)

    yield call
    torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
def test_new_tensors_are_full_of_nan(triton):
    assert bool(torch.empty(3, device=DEVICE).isnan().all())


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("examples", "u", "r", "classes", "statistic", "tied", "dtype"),
    [
        (3, 7, 13, 3, "hinge", False, torch.float32),
        (1, 2, 2, 2, "hinge", True, torch.float32),
        (2, 6, 5, 17, "hinge", True, torch.bfloat16),
        (2, 5, 6, 17, "loss", False, torch.float32),
        (2, 9, 8, 1, "residual", True, torch.float32),
    ],
)
def test_epsilon(triton, generator, examples, u, r, classes, statistic, tied, dtype):
    logits = (3 * torch.randn(examples, m, classes, generator=generator) for m in (u, r))
    unlearned, retrained = ((x.round() if tied else x).to(DEVICE, dtype) for x in logits)
    labels = torch.randint(classes, (examples,), generator=generator).to(DEVICE)
    labels = labels.double() + 0.5 if statistic == "residual" else labels
    arguments = unlearned, retrained, labels, 0.05, statistic
    for ours, expected in zip(triton(epsilon.attack, *arguments), epsilon.attack.definition(*arguments), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.gpu
def test_epsilon_equals_the_plain_loop(triton, generator):
    unlearned, retrained = (torch.randn(2, 5, 4, generator=generator) for _ in "ur")
    labels = torch.tensor([1, 3])
    expected = oracles.epsilon(unlearned.numpy(), retrained.numpy(), labels.numpy(), 0.05)
    point, _, _ = triton(epsilon.attack, *(x.to(DEVICE) for x in (unlearned, retrained, labels)), 0.05, "hinge")
    torch.testing.assert_close(point.cpu(), torch.as_tensor(expected), equal_nan=True)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 7, 5, 3), [0, 1, 0, 2, 2, 2, 2]), ((1, 1, 3, 1), [0]), ((1, 3, 1, 2), [1, 0, 1])]
)
def test_group_loss_and_its_gradient(triton, generator, dtype, shape, groups):
    maps = torch.randn(shape, generator=generator).to(DEVICE, dtype, memory_format=torch.channels_last)
    mean, groups = torch.rand(shape[1:], generator=generator).to(DEVICE, dtype), torch.tensor(groups, device=DEVICE)
    wide = maps.double().flatten(2).requires_grad_()
    expected = oracles_features.group_loss(wide, groups, mean.double().flatten(1))
    (slope,) = torch.autograd.grad(expected, wide)
    ours = triton(similarity.group_loss, maps.requires_grad_(), groups, mean)
    (gradient,) = torch.autograd.grad(3 * ours, maps)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 0.02, "atol": 0.01}
    torch.testing.assert_close(ours.double(), expected, **tolerance)
    torch.testing.assert_close(gradient.double().flatten(2), 3 * slope, **tolerance)
    assert gradient.dtype is dtype


@pytest.mark.gpu
def test_group_loss_of_a_map_that_is_its_mean(triton, generator):
    maps = torch.rand(2, 3, 2, 2, generator=generator).to(DEVICE)
    mean = maps[0].clone()
    (gradient,) = torch.autograd.grad(
        triton(similarity.group_loss, maps.requires_grad_(), torch.tensor([0, 0, 1], device=DEVICE), mean), maps
    )
    assert not bool(gradient[0].any())
    assert bool(gradient[1].isfinite().all())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("shape", "small"), [((2, 3, 19, 131), (7, 5)), ((1, 1, 1, 3), (1, 1))])
def test_blanking(triton, generator, dtype, shape, small):
    images = torch.randint(1, 256, shape, generator=generator).to(DEVICE, dtype)
    maps = torch.rand(shape[0], *small, generator=generator).to(DEVICE)
    expected = masking.mask_where_active.definition(images, maps, 0.5)
    assert torch.equal(triton(masking.mask_where_active, images, maps, 0.5), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("steps", "channels"), [(FACES, 3), (CropFlip(2), 1), (None, 3), (Chain((CropFlip(1), ColourJitter(0.4))), 3)]
)
def test_augmentation(triton, generator, steps, channels, dtype):
    images = torch.randint(0, 256, (5, channels, 13, 11), generator=generator, dtype=torch.uint8).to(DEVICE)
    index, draws = torch.tensor([4, 0], device=DEVICE), drawn(steps, torch.Size([2, channels, 13, 11]), generator)
    arguments = images, index, draws, (0.5,) * channels, (0.25,) * channels, dtype
    ours, expected = triton(augment.augmented, *arguments), augment.augmented.definition(*arguments)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    step = 4 / 255 * (1.01 if dtype is torch.float32 else 2)  # one grey level, as the colours are rounded
    away = (ours.float() - expected.float()).abs()
    assert float(away.max()) <= step
    last = 1e-5 if dtype is torch.float32 else 2**-7 * 2  # of bf16's digits the last, at values below 2
    assert float((away > last).float().mean()) < 0.02


@pytest.mark.gpu
def test_the_step_of_the_ascent(triton, generator):
    moved = 1.2 * torch.rand(2, 3, 5, 7, generator=generator).to(DEVICE)
    gradient = torch.randn(2, 3, 5, 7, generator=generator).round().to(DEVICE)  # a fifth of them zero
    moved[0, 0, 0], moved[0, 0, 1] = 0.0, 1.0
    size, low, high = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.zeros(()), torch.ones(3, 1, 1)
    bounds = [x.to(DEVICE) for x in (size, low, high)]
    expected = moved.clone()
    shown = perturb.step.definition(expected, gradient, *bounds)
    assert torch.equal(triton(perturb.step, moved, gradient, *bounds), shown)
    assert torch.equal(moved, expected)


@pytest.mark.gpu
def test_the_kernel_is_chosen_and_a_refusal_is_logged(generator, monkeypatch, caplog):
    monkeypatch.setenv("MULIB_KERNELS", "triton")
    dispatch._say.cache_clear()
    maps, groups = torch.rand(1, 2, 5000, generator=generator).to(DEVICE), torch.tensor([0, 1], device=DEVICE)
    with caplog.at_level("INFO", logger="mulib.kernels.dispatch"):
        refused = similarity.group_loss(maps, groups, torch.zeros(2, 5000, device=DEVICE))
        taken = similarity.group_loss(maps[:, :, :9], groups, torch.zeros(2, 9, device=DEVICE))
    assert bool(refused.isfinite() & taken.isfinite())
    assert [record.message for record in caplog.records] == [
        "group_loss runs in torch: maps of 5000 positions are larger than 4096"
    ]


def test_an_unknown_choice_is_one_sentence(monkeypatch):
    monkeypatch.setenv("MULIB_KERNELS", "cuda")
    with pytest.raises(InputError, match="MULIB_KERNELS is 'cuda': expected one of auto, torch, triton"):
        masking.mask_where_active(torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2))


def test_on_the_cpu_the_definition_runs_and_triton_is_not_imported():
    code = "import sys, torch, mulib; from mulib.kernels.masking import mask_where_active as m; "
    code += "m(torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2)); sys.exit('mulib.kernels.fused.masking' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(INTERPRETED, reason="this is the process of its own")
def test_under_the_interpreter():
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
