"""Guided loss-increasing: its kernel, its loop against the released procedure, and how it selects."""

import copy
import math
import weakref
from dataclasses import replace

import oracles
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulib import InputError, models
from mulib.data import ImageSet, Request
from mulib.kernels.perturb import ascend
from mulib.recipe import Recipe
from mulib.train import fit, loss_of
from mulib.unlearn import gli, validation_score
from mulib.unlearn.pairs import Companion, black_and_white

MEAN, STD = (0.5, 0.4, 0.3), (0.3, 0.2, 0.25)
BLACK, WHITE = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)


def images(n, seed, mean=MEAN, std=STD):
    """Noise in all its values, a tenth of the pixels black and a tenth white, as augmentation leaves them."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(-25, 281, (n, 3, 8, 8), generator=generator).clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, torch.randint(0, 3, (n,), generator=generator), ("a", "b", "c"), mean=mean, std=std)


def request_of(retain=22, forget=6, val=10, **normalisation):
    return Request(*(images(n, seed, **normalisation) for seed, n in enumerate((retain, forget, val))))


def network(seed=7):
    """Two convolutions with batch norm, one with a running mean that forgets and one with a plain average."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        norms = nn.BatchNorm2d(4), nn.BatchNorm2d(6, momentum=None)
        first, second = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 6, 3)
        return nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU(), nn.Flatten(), nn.Linear(6, 3))


PLAIN = Recipe(epochs=1, lr=0.05, batch_size=8, momentum=0.0, weight_decay=0.0)


def run(model, request, recipe=PLAIN, **options):
    return gli(model, request, recipe, **{"weight": (2.0, 6.0), "progress": False} | options)


def batches_of(request, seed=0, batch_size=8):
    """The (x, y, x') that `gli` meets, in pixels."""
    plain = {"mean": (0.0,), "std": (1.0,)}
    retain, forget = replace(request.retain, **plain), Companion(replace(request.forget, **plain), seed)
    return [(x, y, forget.take(len(x))[0]) for x, y in retain.batches(batch_size, torch.Generator().manual_seed(seed))]


def normalise(pixels, mean=MEAN, std=STD):
    mean, std = (torch.tensor(v, dtype=pixels.dtype).view(-1, 1, 1) for v in (mean, std))
    return (pixels - mean) / std


# The kernel -----------------------------------------------------------------------------------------------------------


def test_ascend_raises_the_objective():
    net, x, y = network().double(), torch.rand(6, 3, 8, 8).double(), torch.arange(6) % 3

    def loss(v):
        return F.cross_entropy(net(v), y)

    assert loss(ascend(loss, x, steps=3, size=0.01, low=BLACK, high=WHITE)) > loss(x)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_pixel_moves_one_size_per_step(steps):
    x = torch.full((1, 1, 2, 2), 0.5)
    sign = torch.tensor([[1.0, -1.0], [1.0, 0.0]])
    moved = ascend(lambda v: (sign * v).sum(), x, steps=steps, size=0.01, low=BLACK, high=WHITE)
    torch.testing.assert_close(moved, x + steps * 0.01 * sign)


def test_pixels_stay_within_the_bounds_and_do_not_return():
    """The slope turns after the first step: whoever has left the range has no slope any more."""
    slopes = iter([1.0, -1.0])
    x = torch.tensor([[[[0.995, 0.5, 1.0, 0.0]]]])
    moved = ascend(lambda v: next(slopes) * v.sum(), x, steps=2, size=0.01, low=BLACK, high=WHITE)
    torch.testing.assert_close(moved, torch.tensor([[[[1.0, 0.5, 1.0, 0.0]]]]))


def test_black_and_white_pixels_move():
    x = torch.tensor([[[[0.0, 1.0]]]])
    assert torch.equal(
        ascend(lambda v: (v * torch.tensor([1.0, -1.0])).sum(), x, steps=1, size=0.25, low=BLACK, high=WHITE),
        torch.tensor([[[[0.25, 0.75]]]]),
    )


def test_ascend_leaves_images_and_parameters_alone():
    net, x = network(), torch.rand(4, 3, 8, 8)
    before = x.clone()
    ascend(lambda v: net(v).sum(), x, steps=2, size=0.01, low=BLACK, high=WHITE)
    assert torch.equal(x, before)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_ascend_works_where_gradients_are_off():
    with torch.no_grad():
        moved = ascend(lambda v: v.sum(), torch.zeros(1, 1, 1, 1), steps=1, size=0.1, low=BLACK, high=WHITE)
    torch.testing.assert_close(moved, torch.full((1, 1, 1, 1), 0.1))


def test_ascend_gives_the_released_images():
    net, generator = network().double(), torch.Generator().manual_seed(0)
    x, other = (torch.rand(16, 3, 8, 8, generator=generator).double() for _ in "xf")
    x = (1.4 * x - 0.2).clamp(0, 1)
    y, target = torch.arange(16) % 3, net(other).detach()

    def push(v):
        logits = net(v)
        return F.mse_loss(logits, target) - 2.0 * F.cross_entropy(logits, y)

    bounds = {"low": BLACK.double(), "high": WHITE.double()}
    ours = ascend(push, x, steps=5, size=0.01, **bounds)
    (theirs,) = oracles.guided_loss_increasing(
        copy.deepcopy(net), [(x, y, other)], steps=5, size=0.01, weights=[2.0], lr=0.1
    )
    torch.testing.assert_close(ours, theirs)
    assert (ours - x).abs().max() > 0.049


# The loop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen_after", [None, 1])
@pytest.mark.parametrize(("mean", "std"), [((0.0,) * 3, (1.0,) * 3), (MEAN, STD)], ids=["pixels", "normalised"])
def test_gli_gives_the_released_weights_and_running_statistics(mean, std, frozen_after):
    request, model = request_of(mean=mean, std=std), network()
    plain, pairs = copy.deepcopy(model), batches_of(request)
    assert len(pairs) == 3
    weights = [2.0 + 4.0 * i / 3 for i in range(3)]
    oracles.guided_loss_increasing(
        plain,
        pairs,
        steps=3,
        size=0.01,
        weights=weights,
        lr=0.05,
        normalise=lambda pixels: normalise(pixels, mean, std),
        after=None if frozen_after is None else lambda net: net.eval(),
    )
    unlearned = run(model, request, steps=3, frozen_after=frozen_after)
    expected = plain.state_dict()
    for name, value in unlearned.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_zero_steps_are_plain_training():
    request, model = request_of(), network()
    plain = copy.deepcopy(model)
    fit(plain, request.retain, PLAIN, progress=False)
    unlearned = run(model, request, steps=0)
    for a, b in zip(unlearned.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_black_of_the_bounds_is_black_of_the_batches():
    data = replace(images(2, 0), images=torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).repeat(1, 3, 8, 8))
    black, white = black_and_white(data, torch.device("cpu"))
    pixels = data.pixels(slice(None))
    assert torch.equal(pixels[0], black.expand(3, 8, 8))
    assert torch.equal(pixels[1], white.expand(3, 8, 8))


@pytest.mark.parametrize(("retain", "forget"), [(22, 3), (5, 30), (8, 8), (10, 2)])
def test_all_sizes_of_the_two_sets_work(retain, forget):
    steps = []
    run(network(), request_of(retain, forget), on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(1, math.ceil(retain / 8) + 1))


def test_a_companion_shows_all_images_before_any_again():
    companion = Companion(replace(images(5, 0), labels=torch.arange(5), classes=()), seed=0)
    shown = torch.zeros(5, dtype=torch.int64)
    for n in (2, 4, 1, 11, 7):
        shown += companion.take(n)[1].bincount(minlength=5)
        assert shown.max() - shown.min() <= 1
    assert shown.tolist() == [5] * 5


def test_attributes_can_be_guided():
    request = request_of()
    labels = {k: (getattr(request, k).labels[:, None] == torch.arange(3)).float() for k in ("retain", "forget", "val")}
    request = Request(**{k: replace(getattr(request, k), labels=v) for k, v in labels.items()})
    assert 0 <= validation_score(run(network(), request, select=validation_score), request) <= 1


def test_the_loop_keeps_no_more_than_twice_what_a_training_step_keeps():
    request, model = request_of(64, 64), models.resnet18(3, width=4, stem="face", seed=0)
    whole = PLAIN.but(batch_size=64)
    one_step = _peak(lambda: fit(copy.deepcopy(model), request.retain, whole, progress=False))
    guided = _peak(lambda: run(model, request, whole, steps=5))
    assert one_step < guided + 1  # both were seen
    assert guided <= 2 * one_step


def _peak(train):
    """The most bytes that autograd kept for backward passes at any one time, each storage counted once."""
    now, most, owners = 0, 0, {}

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor

    def release(key, size):
        nonlocal now
        owners[key] -= 1
        now -= size if owners[key] == 0 else 0

    def keep(tensor):
        nonlocal now, most
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        owners[key] = owners.get(key, 0) + 1
        now += size if owners[key] == 1 else 0
        most = max(most, now)
        kept = Kept(tensor)
        weakref.finalize(kept, release, key, size)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        train()
    return most


# Selection ------------------------------------------------------------------------------------------------------------


def scripted(scores, states):
    """A score that follows a script, and notes the weights that it was asked about."""
    script = iter(scores)

    def select(model, request):
        states.append(copy.deepcopy(model.state_dict()))
        return next(script)

    return select


def test_the_best_batch_is_returned_and_patience_ends_the_epoch():
    states = []
    unlearned = run(network(), request_of(80), select=scripted([1, 3, 2, 3, 2.5, 9], states))
    assert len(states) == 5
    assert all(torch.equal(v, states[1][k]) for k, v in unlearned.state_dict().items())


def test_it_is_asked_every_so_many_batches_and_after_the_last():
    states, request = [], request_of(80)  # ten batches
    steps = []
    run(network(), request, select=scripted(range(9), states), every=4, on_step=lambda s, _: steps.append(s))
    assert len(states) == 3
    assert steps == list(range(1, 11))


def test_selection_does_not_change_the_training():
    request, model = request_of(), network()

    def select(model, request):
        model.eval()  # as a careless score would leave it
        return select.calls.append(1) or len(select.calls)

    select.calls = []
    plain, selected = run(model, request), run(model, request, select=select)
    assert all(torch.equal(value, selected.state_dict()[name]) for name, value in plain.state_dict().items())
    assert len(select.calls) == 3


def test_a_score_has_to_be_finite():
    with pytest.raises(InputError, match="the score of `select` is nan: expected a finite number"):
        run(network(), request_of(), select=lambda model, request: math.nan)


class Fixed(nn.Module):
    """Answers with the logits that the images' first pixels spell, (N, 2)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x[:, 0, 0, :2]


def confident(right, wrong):
    """So many examples with the loss near 0, and so many with a high one."""
    pixels = torch.zeros(right + wrong, 1, 1, 2, dtype=torch.uint8)
    pixels[:right, 0, 0, 0] = 255
    pixels[right:, 0, 0, 1] = 255
    return ImageSet(pixels, torch.zeros(right + wrong, dtype=torch.int64), std=(0.1,))


@pytest.mark.parametrize(
    ("forget", "val", "expected"), [((4, 4), (4, 4), 0.75), ((8, 0), (4, 4), 0.5), ((0, 8), (8, 0), 0.5)]
)
def test_the_validation_score_by_hand(forget, val, expected):
    request = Request(confident(1, 1), confident(*forget), confident(*val))
    assert validation_score(Fixed(), request) == pytest.approx(expected)


def test_the_validation_score_against_other_nonmembers():
    """A model that fails on the forget set, as it does on images like it, is as good as one that never saw them."""
    request = Request(confident(1, 1), confident(0, 8), confident(8, 0))
    assert validation_score(Fixed(), request, confident(0, 5)) == pytest.approx(1)
    assert validation_score(Fixed(), request, confident(5, 0)) == validation_score(Fixed(), request)
    with pytest.raises(InputError, match="there are no non-members"):
        validation_score(Fixed(), request, confident(0, 0))


def test_the_validation_score_is_kolmogorov_and_smirnovs():
    from scipy.stats import ks_2samp

    request, model = request_of(val=31, forget=17), network().eval()
    losses, right = {}, None
    for name in ("forget", "val"):
        data = getattr(request, name)
        with torch.no_grad():
            logits = model(data.pixels(slice(None)))
        losses[name], right = loss_of(logits, data.labels, "none"), (logits.argmax(1) == data.labels).double().mean()
    gap = ks_2samp(losses["forget"].numpy(), losses["val"].numpy()).statistic
    assert validation_score(model, request) == pytest.approx(float(right + 1 - gap) / 2)


def test_no_validation_set():
    request = request_of()
    request = replace(request, val=request.val.subset(torch.tensor([], dtype=torch.int64)))
    with pytest.raises(InputError, match="has no validation set: hold one out of train, or take select=None"):
        run(network(), request, select=validation_score)


@pytest.mark.parametrize(
    "bad", [{"steps": -1}, {"size": 0.0}, {"every": 0}, {"patience": 0}, {"frozen_after": -1}], ids=str
)
def test_bad_numbers(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}.*expected"):
        run(network(), request_of(), **bad)
