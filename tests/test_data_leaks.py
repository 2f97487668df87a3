"""The leak check finds what was planted, and nothing else."""

import json
from dataclasses import replace

import layouts
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mulib import InputError
from mulib.__main__ import main
from mulib.data import ImageSet, Task, digits, leaks, pictures


def noise(n, seed=0):
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def make_set(images, first=0):
    n = len(images)
    return ImageSet(images, torch.zeros(n).long(), ("a", "b"), identities=torch.arange(first, first + n))


@pytest.fixture
def parts():
    """Clean sets of a task: 20 train images of which 6 are to be forgotten, 5 val, 6 test, 7 unseen."""
    images = noise(38).split([20, 5, 6, 7])
    return [make_set(part, 100 * i) for i, part in enumerate(images)]


def make_task(parts):
    train, val, test, unseen = parts
    return Task("planted", train, torch.tensor([1, 3, 5, 7, 9, 11]), val, test, unseen)


def blurred(image):
    """A near copy: the same picture, a little brighter."""
    return (image.float() * 0.98 + 3).to(torch.uint8)


def test_a_clean_task_is_clean(parts):
    found = leaks.check(make_task(parts))
    assert found.clean
    assert found.sets["train"] == leaks.Count(images=20, files=0, pictures=20, near=0, people=20)
    assert set(found.pairs) >= {"train/test", "forget/retain", "test/unseen"}


def test_copies_across_sets_are_counted_by_set(parts):
    train, _, test, unseen = parts
    train.images[0] = train.images[1]  # retain holds a copy of forget's first image
    unseen.images[2] = unseen.images[3] = train.images[3]  # twice in unseen, once in forget
    test.images[4] = unseen.images[6]
    found = leaks.check(make_task(parts))
    assert found.pairs["forget/retain"] == leaks.Count(images=1, files=0, pictures=1, near=0, people=0)
    assert found.pairs["forget/unseen"] == leaks.Count(images=1, files=0, pictures=1, near=0, people=0)
    assert found.pairs["train/unseen"].images == 1
    assert found.pairs["test/unseen"].images == 1
    assert found.pairs["retain/unseen"].images == found.pairs["train/test"].images == 0
    assert found.sets["unseen"].pictures == 6
    assert found.sets["train"].pictures == 19
    assert not found.clean


def test_near_copies_are_found_and_are_no_copies(parts):
    train, _, test, _ = parts
    test.images[0] = blurred(train.images[1])
    test.images[1] = blurred(test.images[2])
    found = leaks.check(make_task(parts))
    assert found.pairs["forget/test"] == leaks.Count(images=0, files=0, pictures=0, near=1, people=0)
    assert found.sets["test"].near == 2
    assert found.pairs["retain/test"].near == 0
    assert found.sets["test"].pictures == 6


@pytest.mark.parametrize(("bits", "near"), [(0, 1), (2, 1), (4, 0), (6, 0)])
def test_pictures_that_differ_in_four_bits_are_two_people_in_one_pose(parts, monkeypatch, bits, near):
    hashes = np.arange(38, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hashes[20] = hashes[25] ^ np.uint64((1 << bits) - 1)
    sizes = iter(np.split(hashes, [6, 20, 25, 31]))  # forget, retain, val, test, unseen
    monkeypatch.setattr(leaks, "perceptual_hashes", lambda data: next(sizes))
    assert leaks.check(make_task(parts)).pairs["val/test"].near == near


def test_a_picture_under_two_labels_is_a_conflict(parts):
    train, _, test, _ = parts
    test.images[0] = train.images[2]
    test.labels[0] = 1
    (conflict,) = leaks.check(make_task(parts)).conflicts
    assert conflict == leaks.Conflict(2, ("retain[1]", "test[0]"))


def test_names_are_shown_and_not_obeyed(parts):
    names = ["x\x1b[31m\n.jpg", "caf\udce9.jpg", "café.jpg"]
    train, _, test, _ = parts
    test.images[:3], test.labels[:3] = train.images[2:3], 1
    parts[2] = replace(test, names=np.array([*names, *"abc"]))
    shown = str(leaks.check(make_task(parts)))
    assert r"4 images: retain[1], x\x1b[31m\n.jpg, caf\udce9.jpg, café.jpg" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


def test_conflicts_of_attributes_are_found_too(parts):
    parts = [ImageSet(p.images, torch.zeros(len(p), 3), identities=p.identities) for p in parts]
    parts[2].images[0] = parts[0].images[2]
    assert leaks.check(make_task(parts)).conflicts == ()
    parts[2].labels[0, 1] = 1
    assert len(leaks.check(make_task(parts)).conflicts) == 1


def test_people_in_several_sets_are_counted(parts):
    train, _, test, unseen = parts
    train.identities[0] = train.identities[1]
    test.identities[:2] = train.identities[3]
    unseen.identities[0] = test.identities[5]
    found = leaks.check(make_task(parts))
    people = {name: pair.people for name, pair in found.pairs.items() if pair.people}
    assert people == {"forget/retain": 1, "forget/test": 1, "train/test": 1, "test/unseen": 1}
    assert found.clean  # no picture is there twice


def test_equal_files_are_told_from_equal_pixels(parts):
    parts = [ImageSet(p.images, p.labels, digests=noise(len(p), i)[:, 0, 0]) for i, p in enumerate(parts)]
    train, _, test, _ = parts
    test.images[:2] = train.images[1:4:2]
    test.digests[0] = train.digests[1]
    found = leaks.check(make_task(parts)).pairs["forget/test"]
    assert (found.pictures, found.files) == (2, 1)


def test_deduplication_keeps_the_request_and_leaves_nothing_to_find(parts):
    train, val, test, unseen = parts
    train.images[0] = train.images[1]
    train.images[7] = train.images[5]  # twice in forget
    val.images[0] = train.images[2]
    test.images[0] = blurred(train.images[4])
    unseen.images[0] = test.images[3]
    unseen.images[1] = train.images[6]
    unseen.labels[1] = 1  # a conflict: both go
    before = make_task(parts)
    after = leaks.deduplicated(before)
    assert leaks.check(after).clean
    sizes = {"retain": 12, "forget": 5, "test": 5, "unseen": 5}
    assert {name: len(part) for name, part in after.sets.items()} == sizes
    assert len(after.val) == 4
    assert torch.equal(after.forget.images, before.train.images[[1, 3, 5, 9, 11]])
    assert torch.equal(after.test.images, test.images[1:])
    assert torch.equal(after.unseen.images, unseen.images[2:])
    kept = [i for i in range(20) if i not in (0, 6, 7)]
    assert torch.equal(after.train.images, train.images[kept])
    assert after.name == before.name


def test_a_clean_task_stays_as_it_is(parts):
    task = make_task(parts)
    after = leaks.deduplicated(task)
    assert torch.equal(after.train.images, task.train.images)
    assert torch.equal(after.forget_index, task.forget_index)


def test_a_task_of_one_picture_cannot_be_deduplicated(parts):
    parts[0].images[:] = parts[0].images[0]
    with pytest.raises(InputError, match="all of train: nothing is left to retain"):
        leaks.deduplicated(make_task(parts))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=30),
    st.lists(st.tuples(st.integers(0, 100), st.sets(st.integers(0, 63), max_size=5)), max_size=30),
    st.integers(0, 4),
)
def test_near_pairs_are_all_pairs_within_the_distance(base, flips, bits):
    hashes = [*base, *(base[i % len(base)] ^ sum(1 << b for b in where) for i, where in flips if base)]
    expected = [[i, j] for j in range(len(hashes)) for i in range(j) if (hashes[i] ^ hashes[j]).bit_count() <= bits]
    found = pictures.near_pairs(np.array(hashes, dtype=np.uint64), bits)
    assert found.tolist() == sorted(expected)


def test_the_hash_is_the_published_one():
    """The oracle: one image, its cosine transform by the definition, bit by bit."""
    image = noise(1)
    grey = (image[0].double() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1).double()).sum(0).numpy()
    k, n = np.arange(8)[:, None], np.arange(32)[None]
    basis = np.cos(np.pi * k * (2 * n + 1) / 64)
    low = (basis @ grey @ basis.T).ravel()
    bits = [value > np.median(low) for value in low]
    expected = np.packbits(bits).view(np.uint64)[0]
    assert pictures.perceptual_hashes(make_set(image))[0] == expected


def test_the_command_lists_what_is_there(tmp_path, monkeypatch):
    layouts.mufac(tmp_path / "mufac")
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache" / "mulib"))
    result = CliRunner().invoke(main, ["data"])
    lines = {line.split()[1]: line for line in result.output.splitlines()}
    assert result.exit_code == 0
    assert lines["mufac"].startswith("✓")
    assert lines["mufac"].endswith(str(tmp_path / "mufac"))
    assert lines["digits"].endswith("built in")
    assert lines["celeba"].startswith("–")
    assert "https://" in lines["celeba"]


def test_the_check_command_prints_text_and_json(tmp_path, monkeypatch):
    folder = layouts.mufac(tmp_path / "mufac")
    layouts.write(folder / "test_images" / "Ftest_AGE_P0_1.jpg", layouts.image_bytes(1002))
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache" / "mulib"))
    text = CliRunner().invoke(main, ["data", "check", "mufac"])
    assert text.exit_code == 0
    assert "pictures under different labels: 1" in text.output
    report = json.loads(CliRunner().invoke(main, ["data", "check", "mufac", "--json"]).output)
    assert report["pairs"]["forget/unseen"] == {"images": 1, "files": 1, "pictures": 1, "near": 0, "people": 0}
    assert report["near_bits"] == leaks.NEAR
    assert report["clean"] is False


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_name_in_what_the_check_prints_is_obeyed_by_a_terminal(tmp_path, monkeypatch, options):
    for i in range(60):  # the first picture again at the end, at another age
        layouts.write(tmp_path / "AgeDB" / f"{i}_A\x9b31mB{i % 30}_{20 + i}_m.jpg", layouts.image_bytes(i % 59))
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache" / "mulib"))
    printed = CliRunner().invoke(main, ["data", "check", "agedb", *options]).output
    assert "\x9b" not in printed
    assert r"A\x9b31mB" in printed or r"A\u009b31mB" in printed


@pytest.mark.parametrize(("name", "sentence"), [("nope", "unknown data set 'nope'"), ("mucac", "mucac is not on this")])
def test_the_check_command_reports_bad_input_as_one_sentence(tmp_path, monkeypatch, name, sentence):
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache" / "mulib"))
    result = CliRunner().invoke(main, ["data", "check", name])
    assert result.exit_code == 2
    assert result.output.startswith("mulib: ")
    assert sentence in result.output
    assert result.output.count("\n") == 1


def test_built_in_data_needs_no_files():
    assert leaks.check(digits()).sets["test"].images == 397
