"""The kernels of feature unlearning against their plain definitions."""

import weakref

import numpy as np
import oracles_features as oracles
import pytest
import torch
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from mulib import InputError
from mulib.kernels.masking import enlarge, mask_where_active
from mulib.kernels.reversal import reverse_gradient
from mulib.kernels.similarity import channel_similarity, group_loss
from mulib.kernels.spectral import eigengap, eigengaps, laplacian, spectral_groups


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def maps(generator):
    """(20, 7, 4, 5): images, channels, height, width; far from 0, as sums would cancel there."""
    return torch.randn(20, 7, 4, 5, generator=generator) + 30 * torch.rand(7, 4, 5, generator=generator)


def planted(generator, sizes=(5, 8, 3, 6), noise=0.1):
    """Maps whose channels follow one pattern per group, and the groups, shuffled."""
    groups = torch.cat([torch.full((size,), k) for k, size in enumerate(sizes)])
    groups = groups[torch.randperm(len(groups), generator=generator)]
    patterns = torch.randn(200, len(sizes), 4, 4, generator=generator)
    return patterns[:, groups] + noise * torch.randn(200, len(groups), 4, 4, generator=generator), groups


def test_similarity_equals_the_loop(maps):
    expected = torch.from_numpy(oracles.channel_similarity(maps.flatten(2).double().numpy()))
    torch.testing.assert_close(channel_similarity(maps.split(6)).double(), expected, rtol=1e-5, atol=1e-5)


def test_similarity_at_once_is_the_same_oracle(maps):
    x = maps.flatten(2).double().numpy()
    np.testing.assert_allclose(oracles.channel_similarity_at_once(x), oracles.channel_similarity(x))


def test_similarity_does_not_depend_on_the_batches(maps):
    whole, single = channel_similarity([maps.double()]), channel_similarity(maps.double().split(1))
    torch.testing.assert_close(whole, single)


def test_similarity_keeps_no_batch_so_memory_does_not_grow_with_the_images(generator):
    alive, most = weakref.WeakSet(), []

    def batches():
        for _ in range(20):
            maps = torch.rand(4, 5, 3, 3, generator=generator)
            alive.add(maps)
            most.append(len(alive))
            yield maps

    channel_similarity(batches())
    assert len(most) == 20
    assert max(most) <= 2


def test_similarity_is_symmetric_within_bounds_and_2_on_the_diagonal(generator):
    s = channel_similarity(torch.randn(9, 130, 3, 3, generator=generator).split(4))  # more than one block of channels
    assert torch.equal(s, s.T)
    assert float(s.min()) >= -1e-5
    torch.testing.assert_close(s.diagonal(), torch.full((130,), 2.0))


@pytest.mark.parametrize("value", [0.0, 0.1, 1234.567])
def test_a_constant_map_is_similar_to_nothing(maps, value):
    maps[:, 2] = value
    s = channel_similarity(maps.split(6))
    assert torch.equal(s[2], torch.ones(7))
    assert bool(s.isfinite().all())


def test_similarity_of_nothing():
    with pytest.raises(InputError, match="at least one batch"):
        channel_similarity([])


@pytest.mark.parametrize("oracle", [oracles.group_loss, oracles.group_loss_by_masks])
def test_group_loss_and_its_gradient_equal_the_oracles(generator, oracle):
    maps = torch.randn(4, 12, 9, generator=generator, requires_grad=True)
    mean, groups = torch.rand(12, 9, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2, 3, 3, 3, 0, 0, 0])
    ours, theirs = group_loss(maps, groups, mean), oracle(maps.double(), groups, mean.double())
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=0)
    (gradient,), (expected,) = torch.autograd.grad(ours, maps), torch.autograd.grad(theirs, maps)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


def test_group_loss_gradcheck(generator):
    maps = torch.randn(3, 6, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    mean, groups = torch.rand(6, 2, 3, generator=generator, dtype=torch.float64), torch.tensor([0, 0, 1, 2, 2, 2])
    assert torch.autograd.gradcheck(lambda x: 3 * group_loss(x, groups, mean), maps)


def test_group_loss_is_lowest_for_the_true_groups(generator):
    maps, groups = planted(generator)
    wrong = groups[torch.randperm(len(groups), generator=generator)]
    assert group_loss(maps, groups, maps.mean(0)) < group_loss(maps, wrong, maps.mean(0))


def test_group_loss_of_a_dead_channel_is_finite(generator):
    maps = torch.rand(4, 6, 3, 3, generator=generator)
    maps[:, 1] = 0
    mean = maps.mean(0)
    loss = group_loss(maps.requires_grad_(), torch.tensor([0, 0, 1, 1, 2, 2]), mean)
    (gradient,) = torch.autograd.grad(loss, maps)
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())
    assert not bool(gradient[:, 1].any())


def test_group_loss_makes_nothing_larger_than_the_maps(generator):
    maps = torch.rand(16, 64, 8, 8, generator=generator, requires_grad=True)
    groups, mean, sizes = torch.arange(64) % 9, torch.zeros(64, 8, 8), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        group_loss(maps, groups, mean).backward()
    assert sizes
    assert max(sizes) <= maps.numel()


def test_enlarging_equals_opencv_in_two_steps(generator):
    maps = torch.rand(2, 14, 9, generator=generator)
    expected = np.stack([oracles.enlarge(x, 56, 64) for x in maps.numpy()])
    torch.testing.assert_close(enlarge(maps, 56, 64), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_masking_equals_the_loop(generator, dtype):
    images = torch.randint(1, 256, (3, 3, 28, 28), generator=generator).to(dtype)
    maps = torch.rand(3, 7, 7, generator=generator)
    expected = [oracles.mask_where_active(image, heat, 0.5) for image, heat in zip(images, maps, strict=True)]
    blanked = mask_where_active(images, maps, 0.5)
    assert blanked.dtype is dtype
    assert torch.equal(blanked, torch.stack(expected))
    assert torch.equal(
        blanked[0], torch.from_numpy(oracles.mask_where_active_in_numpy(images[0].numpy(), maps[0].numpy(), 0.5))
    )


def test_masking_makes_new_images(generator):
    images = torch.full((1, 3, 8, 8), 9, dtype=torch.uint8)
    mask_where_active(images, torch.ones(1, 2, 2))
    assert bool((images == 9).all())


@pytest.mark.parametrize("seed", range(3))
def test_groups_agree_with_scikit_learn(generator, seed):
    maps, truth = planted(generator, noise=2.0)
    s = channel_similarity(maps.split(50))
    ours, _ = spectral_groups(s, 4, seed)
    theirs = SpectralClustering(4, affinity="precomputed", random_state=seed).fit_predict(s.double().numpy())
    assert adjusted_rand_score(theirs, ours) == 1
    assert adjusted_rand_score(truth, ours) == 1


def test_the_eigengap_finds_the_number_of_groups(generator):
    maps, truth = planted(generator)
    groups, values = spectral_groups(channel_similarity([maps]))
    assert adjusted_rand_score(truth, groups) == 1
    assert eigengap(values) == 4


def test_candidates_for_the_number_of_groups_are_ranked_by_their_gap(generator):
    values = torch.rand(12, generator=generator, dtype=torch.float64).sort().values
    gap = {k: float(values[k] - values[k - 1]) for k in range(2, 12)}
    assert eigengaps(values).tolist() == sorted(gap, key=gap.get, reverse=True)
    assert eigengaps(values, 1).tolist()[:12] == sorted(
        gap | {1: float(values[1] - values[0])}, key=lambda k: values[k - 1] - values[k]
    )
    assert eigengap(values, 3, 5) == max((3, 4, 5), key=gap.get)
    with pytest.raises(InputError, match=r"sought at 2 … 12 groups of 12 channels"):
        eigengaps(values, most=12)


def test_unsorted_eigenvalues_give_another_number(generator):
    maps, _ = planted(generator)
    general = torch.linalg.eigvals(laplacian(channel_similarity([maps]))).real
    torch.testing.assert_close(general.sort().values, spectral_groups(channel_similarity([maps]))[1])
    assert eigengap(general.sort().values) == 4
    assert eigengap(general.flip(0)) != 4


def test_groups_are_decided_by_the_seed_and_leave_the_callers_generator(generator):
    s = channel_similarity([torch.randn(30, 40, 3, 3, generator=generator)])
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, again, other = (spectral_groups(s, 8, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_groups_are_numbered_by_appearance(generator):
    groups, _ = spectral_groups(channel_similarity([planted(generator)[0]]), 4)
    assert [int((groups == k).nonzero()[0]) for k in range(4)] == sorted(
        int((groups == k).nonzero()[0]) for k in range(4)
    )


@pytest.mark.parametrize("k", [1, 22])
def test_as_few_and_as_many_groups_as_can_be(generator, k):
    groups, _ = spectral_groups(channel_similarity([planted(generator)[0]]), k)
    assert len(groups.unique()) == k


@pytest.mark.parametrize("k", [0, 8])
def test_more_groups_than_channels(maps, k):
    with pytest.raises(InputError, match=f"{k} groups of 7 channels: expected 1 … 7"):
        spectral_groups(channel_similarity([maps]), k)


@pytest.mark.parametrize("bad", [torch.ones(3, 4), -torch.ones(3, 3), torch.full((3, 3), torch.nan)])
def test_similarities_that_are_none(bad):
    with pytest.raises(InputError, match="expected"):
        spectral_groups(bad, 2)


def test_gradients_are_reversed():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = reverse_gradient(x, 5.0)
    assert torch.equal(y, x)
    (y * torch.tensor([1.0, 3.0])).sum().backward()
    assert torch.equal(x.grad, torch.tensor([-5.0, -15.0]))
