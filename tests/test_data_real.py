"""The real data sets, where they are: MULIB_DATA, or ../shared/data. Counts only; no image is shown."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from mulib import data
from mulib.data import leaks, pictures
from mulib.data.catalogue import READERS

BESIDE = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def real():
    """Load a real data set by name, or skip the test."""
    place = os.environ.get("MULIB_DATA") or (str(BESIDE) if BESIDE.is_dir() else "")

    def load(name, **arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MULIB_DATA", place)
            reader, layouts = READERS[name]
            if all(layout.find() is None for layout in layouts):
                pytest.skip(f"{name} is not here: set MULIB_DATA to a folder that holds it")
            return reader(**arguments)

    return load


@pytest.fixture(scope="module")
def mufac(real):
    return real("mufac")


@pytest.fixture(scope="module")
def found(mufac):
    return leaks.check(mufac)


def test_mufac_has_the_papers_split(mufac):
    assert (len(mufac.train), len(mufac.test), len(mufac.unseen)) == (10_025, 1_539, 1_504)
    assert (len(mufac.forget), len(mufac.retain), len(mufac.val)) == (1_500, 8_525, 0)
    assert mufac.train.images.shape[1:] == (3, 128, 128)


def test_mufacs_distinct_files(found):
    assert [found.sets[name].images for name in ("train", "test", "unseen")] == [10_025, 1_539, 1_504]
    assert [found.sets[name].files for name in ("train", "test", "unseen")] == [6_790, 1_227, 1_145]


def test_mufacs_copies_across_sets(found):
    assert found.pairs["forget/retain"].images == 18
    assert found.pairs["train/unseen"].files == 27
    assert found.pairs["test/unseen"].files == 16
    assert found.pairs["train/test"].files == 0
    assert all(pair.files == pair.pictures for pair in found.pairs.values())


def test_mufacs_one_conflict(found):
    assert [conflict.images for conflict in found.conflicts] == [5]


def test_mufac_without_its_leaks(mufac):
    after = leaks.deduplicated(mufac)
    assert leaks.check(after).clean
    assert len(after.test) == 1_227  # its copies only; what unseen shares with it leaves unseen
    assert len(after.unseen) == 1_145 - 27 - 16


def test_mufacs_near_copies_are_one_picture_twice(mufac):
    """The threshold is not too wide: what the hash calls near correlates above 0.98 in 32×32 grey."""
    images = mufac.train.images
    hashes = pictures.perceptual_hashes(mufac.train)
    pairs = pictures.near_pairs(hashes, leaks.NEAR)
    assert len(pairs) > 100
    for pair in pairs[:: len(pairs) // 50]:
        a, b = (F.avg_pool2d(images[k].float().mean(0, keepdim=True), 4).flatten() for k in pair.tolist())
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.98


CELEBA_COUNTS = {
    "Bald": 246,
    "Mouth_Slightly_Open": 4_812,
    "Smiling": 4_822,
    "Pointy_Nose": 2_711,
    "Eyeglasses": 674,
    "No_Beard": 8_335,
    "Male": 4_217,
    "Young": 7_771,
}


@pytest.mark.parametrize(("attribute", "count"), CELEBA_COUNTS.items())
def test_celebas_counts_and_people(real, attribute, count):
    """Only images without the attribute are left out (of unseen), so that the sets together have all that have it."""
    task = real("celeba", attributes=(attribute,), forget=(attribute,))
    if len(task.train) > 7_100:
        pytest.skip("this is all of CelebA, not its first 10,000 images")
    parts = [task.train, task.val, task.test, task.unseen]
    assert sum(int(part.labels.sum()) for part in parts) == count
    assert len(task.forget) + sum(int(part.labels.sum()) for part in parts[1:]) == count
    assert len(task.train) == pytest.approx(7_000, abs=8)
    people = torch.cat([part.identities for part in parts]).unique(return_counts=True)[1]
    assert people.max() <= 8


def test_celebas_people(real):
    """5,429 people on 10,000 images: more than one set each of them is nowhere."""
    task = real("celeba")
    parts = [task.train, task.val, task.test]
    known = [part.identities.unique() for part in parts]
    assert sum(map(len, known)) == len(torch.cat(known).unique())


def test_cifar_has_all_its_images(real):
    task = real("cifar10", unseen=0)
    assert (len(task.train), len(task.test), len(task.forget)) == (50_000, 10_000, 1_000)
    assert task.train.labels.bincount().tolist() == [5_000] * 10
    assert task.test.labels.bincount().tolist() == [1_000] * 10
    assert task.train.images.shape[1:] == (3, 32, 32)


def test_the_library_lists_what_it_can_read():
    assert all(hasattr(data, name) for name in READERS)
