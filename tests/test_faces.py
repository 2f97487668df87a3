"""Synthetic faces: what a mask holds, what a counterfactual leaves alone, the same faces are the same bytes."""

import errno
import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import left_after_the_death_of

from mulib import InputError, explain
from mulib.data import faces
from mulib.data.faces import cache
from mulib.faces import dice
from mulib.faces.sampling import OF_THE_PICTURE
from mulib.models import resnet18
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.train import fit, loss_of

GOLDEN = {  # SHA-256 of `golden(size)`: no machine, no thread count and no library may change it (VERSION may)
    64: "c4653c0cb285396c8c0c4bbf09a098cf19d2c5786ab6fd6cc3868802564857c9",
    101: "3126cb6be151a3b4efad2565e795c7aef40160b1a5cd74bd3168aceb2c1d76e0",
}
seeds = st.integers(0, 2**40)
attributes = st.sampled_from(faces.ATTRIBUTES)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "faces"


def golden(size):
    return faces.render(faces.sample(20, 2, seed=5, ages="all"), size).numpy().tobytes()


@settings(max_examples=60, deadline=None)
@given(seeds, attributes, st.sampled_from([32, 47, 64, 96]), st.sampled_from(["adults", "all"]))
def test_a_counterfactual_changes_only_the_region_of_its_attribute(seed, attribute, size, ages):
    shown = faces.sample(8, seed=seed, ages=ages)
    other = faces.counterfactual(shown, attribute)
    changed = (faces.render(shown, size) != faces.render(other, size)).any(1)
    region = faces.REGION_OF[attribute]
    allowed = faces.masks(shown, size)[region] | faces.masks(other, size)[region]
    assert not (changed & ~allowed).any()


@pytest.mark.parametrize("size", [128, 224])
def test_so_it_is_at_large_sizes(size):
    shown = faces.sample(4, seed=3)
    before, where = faces.render(shown, size), faces.masks(shown, size)
    for attribute, region in faces.REGION_OF.items():
        other = faces.counterfactual(shown, attribute)
        changed = (faces.render(other, size) != before).any(1)
        assert not (changed & ~(where[region] | faces.masks(other, size)[region])).any(), attribute


@pytest.mark.parametrize("attribute", faces.ATTRIBUTES)
def test_every_attribute_can_be_seen(attribute):
    shown = faces.counterfactual(faces.sample(60, seed=1), "Wearing_Hat", False)
    if attribute == "Bangs":
        shown = faces.counterfactual(shown, "Bald", False)
    on, off = (faces.render(faces.counterfactual(shown, attribute, value)).int() for value in (True, False))
    difference = (on - off).abs().amax(1).flatten(1).amax(1)
    assert difference.min() >= 10  # grey levels, in every picture, blurred or noisy


@given(seeds, attributes)
@settings(max_examples=30, deadline=None)
def test_toggling_twice_brings_the_picture_back(seed, attribute):
    shown = faces.sample(4, seed=seed)
    again = faces.counterfactual(faces.counterfactual(shown, attribute), attribute)
    assert np.array_equal(again.attributes, shown.attributes)
    np.testing.assert_allclose(again.age, shown.age, atol=1e-9)


def test_the_young_of_any_age_are_young_when_toggled():
    shown = faces.sample(2000, seed=2, ages="all")
    other = faces.counterfactual(shown, "Young")
    assert np.array_equal(other.has("Young"), other.age < 46)
    assert (abs(other.age - shown.age) >= 28).all()


def test_a_counterfactual_toggles_one_attribute_and_young_moves_the_age():
    shown = faces.sample(50, seed=2)
    for k, attribute in enumerate(faces.ATTRIBUTES):
        other = faces.counterfactual(shown, attribute)
        assert (other.attributes != shown.attributes).sum(0).tolist() == [50 * (j == k) for j in range(11)]
        assert np.array_equal(other.age, shown.age) == (attribute != "Young")
        assert np.array_equal(other.has("Young"), other.age < 46)


def test_to_set_an_attribute_that_is_already_there_changes_nothing():
    shown = faces.sample(20, seed=2)
    smiling = shown[shown.has("Smiling")]
    assert torch.equal(faces.render(faces.counterfactual(smiling, "Smiling", True)), faces.render(smiling))


def test_masks_are_empty_without_the_thing_and_not_with_it():
    shown = faces.counterfactual(faces.counterfactual(faces.sample(80, seed=4), "Mustache", False), "Bald", False)
    for attribute, region, value in (
        ("Eyeglasses", "glasses", True),
        ("Wearing_Hat", "hat", True),
        ("No_Beard", "beard", False),
    ):
        there, gone = (faces.masks(faces.counterfactual(shown, attribute, v))[region] for v in (value, not value))
        assert there.flatten(1).any(1).all()
        assert not gone.any()


def test_masks_lie_where_a_face_has_them():
    shown = faces.counterfactual(faces.sample(60, seed=6), "Wearing_Hat", False)
    where = faces.masks(shown)
    rows = torch.arange(64.0)[:, None]
    middle = {k: (m * rows).sum((1, 2)) / m.sum((1, 2)) for k, m in where.items() if k in ("eyes", "nose", "mouth")}
    assert (middle["eyes"] < middle["nose"]).all()
    assert (middle["nose"] < middle["mouth"]).all()
    for region, mask in where.items():
        assert not (mask & ~where["figure"]).any(), region
    share = {region: float(mask.float().mean()) for region, mask in where.items()}
    assert 0.01 < share["nose"] < share["mouth"] < 0.06
    assert share["eyes"] < share["hair"] < share["figure"] < 0.8


def test_what_a_hat_covers_is_hair_no_longer():
    shown = faces.counterfactual(faces.sample(40, seed=8), "Bald", False)
    bare, covered = (faces.masks(faces.counterfactual(shown, "Wearing_Hat", v))["hair"].sum() for v in (False, True))
    assert covered < 0.75 * bare


def test_a_mean_mask_does_not_find_the_mouth():
    mouth = faces.masks(faces.sample(300, seed=9))["mouth"].float()
    mean = mouth[:150].mean(0)
    best = 0.0
    for threshold in np.arange(0.1, 0.9, 0.1):
        guess = (mean > threshold).float()
        best = max(best, ((mouth[150:] * guess).sum((1, 2)) / (mouth[150:] + guess).gt(0).sum((1, 2))).mean().item())
    assert best < 0.5


@pytest.mark.parametrize("size", GOLDEN)
def test_the_bytes_are_the_stored_ones(size):
    assert hashlib.sha256(golden(size)).hexdigest() == GOLDEN[size]


def test_another_process_with_other_threads_draws_the_same_bytes():
    code = (
        "import cv2, hashlib, torch; cv2.setNumThreads(1); torch.set_num_threads(1)\n"
        "from mulib.data import faces\n"
        "shown = faces.sample(20, 2, seed=5, ages='all')\n"
        "print(hashlib.sha256(faces.render(shown, 64).numpy().tobytes()).hexdigest())"
    )
    env = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="7")
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == hashlib.sha256(golden(64)).hexdigest()


@settings(max_examples=10, deadline=None)
@given(seeds, st.permutations(range(12)))
def test_a_face_is_the_same_alone_and_in_any_company(seed, order):
    shown = faces.sample(6, 2, seed=seed, ages="all")
    together = faces.render(shown, 40)
    assert torch.equal(faces.render(shown[order], 40), together[list(order)])
    assert torch.equal(faces.render(shown[order[0]], 40)[0], together[order[0]])


def test_more_faces_than_fit_one_part_are_the_same_as_few():
    shown = faces.sample(300, seed=1)
    assert torch.equal(faces.render(shown)[250:], faces.render(shown[250:]))
    whole = faces.masks(shown)["mouth"]
    assert torch.equal(whole[250:], faces.masks(shown[250:])["mouth"])


def test_seeds_people_and_pictures_differ():
    shown = faces.sample(3, 2, seed=0)
    images = torch.cat([faces.render(shown), faces.render(faces.sample(3, 2, seed=1))])
    assert len({image.numpy().tobytes() for image in images}) == 12


def test_a_person_keeps_what_is_theirs():
    shown = faces.sample(40, 5, seed=3)
    per_person = shown.attributes.reshape(40, 5, 11)
    for k, attribute in enumerate(faces.ATTRIBUTES):
        same = (per_person[:, :, k] == per_person[:, :1, k]).all()
        assert same == (attribute not in OF_THE_PICTURE)
    assert (np.ptp(shown.age.reshape(40, 5), 1) == 0).all()


def test_frequencies_are_the_ones_asked_for():
    shown = faces.sample(20_000, seed=0)
    for attribute, p in faces.FREQUENCIES.items():
        p = p - 0.015 if attribute == "Bangs" else p  # the bald have none
        assert abs(shown.has(attribute).mean() - p) < 0.015, attribute
    often = faces.sample(5_000, seed=0, frequencies={"Wearing_Hat": 0.7, "Smiling": 0.0, "Male": 1.0})
    assert abs(often.has("Wearing_Hat").mean() - 0.7) < 0.02
    assert not often.has("Smiling").any()
    assert often.has("Male").all()


def test_the_default_correlations_are_there():
    shown = faces.sample(20_000, seed=0)
    for (cause, effect), phi in faces.CORRELATIONS.items():
        assert abs(np.corrcoef(shown.has(cause), shown.has(effect))[0, 1] - phi) < 0.04, (cause, effect)


@settings(max_examples=30, deadline=None)
@given(attributes, attributes, st.floats(-0.9, 0.9))
def test_a_correlation_is_kept_with_the_frequencies_or_refused(cause, effect, phi):
    def draw():
        return faces.sample(8000, seed=1, frequencies={cause: 0.4, effect: 0.3}, correlations={(cause, effect): phi})

    both = 0.12 + phi * (0.4 * 0.6 * 0.3 * 0.7) ** 0.5
    if cause == effect or not 0 <= both <= 0.3:
        with pytest.raises(InputError):
            draw()
        return
    shown = draw()
    if "Bangs" in (cause, effect):  # the bald have none, whatever is asked for
        shown = shown[~shown.has("Bald")]
        return
    assert abs(shown.has(cause).mean() - 0.4) < 0.03
    assert abs(shown.has(effect).mean() - 0.3) < 0.03
    assert abs(np.corrcoef(shown.has(cause), shown.has(effect))[0, 1] - phi) < 0.05


def test_ages_of_all_fill_the_groups_and_agree_with_young():
    shown = faces.sample(4000, 3, seed=0, ages="all")
    share = np.bincount(shown.age_group, minlength=8) / len(shown)
    assert abs(share - 1 / 8).max() < 0.02
    assert np.array_equal(shown.has("Young"), shown.age < 46)
    assert (np.ptp(shown.age.reshape(-1, 3), 1) <= 4).all()
    assert (np.ptp(shown.age_group.reshape(-1, 3), 1) == 0).all()
    children = shown[shown.age < 17]
    assert children.has("No_Beard").all()
    assert not (children.has("Mustache") | children.has("Bald")).any()


@pytest.mark.parametrize(("years", "group"), [(0, 0), (6.9, 0), (7, 1), (13, 2), (20, 3), (45.5, 4), (46, 5), (80, 7)])
def test_age_groups_are_mufacs(years, group):
    assert faces.at_age(faces.sample(1), years).age_group.tolist() == [group]


def test_ageing_changes_only_the_figure():
    shown = faces.sample(10, seed=3)
    young, old = faces.at_age(shown, 8), faces.at_age(shown, 75)
    changed = (faces.render(young) != faces.render(old)).any(1)
    allowed = faces.masks(young)["figure"] | faces.masks(old)["figure"]
    assert changed.flatten(1).any(1).all()
    assert not (changed & ~allowed).any()


def test_the_dice_are_splitmix64():
    d = dice.Dice(0)
    d._state = np.array([1234567], np.uint64)
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423)  # of the reference implementation
    for value in published:
        assert d.flat()[0] == (value >> 11) * 2.0**-53


def test_the_dice_are_fair():
    d = dice.Dice(3, np.arange(100_000))
    flat, bell, pick = d.flat(2, 4), d.bell(2.0), d.pick((0.5, 0.2, 0.3))
    assert abs(flat.mean() - 3) < 0.01
    assert abs(bell.mean()) < 0.02
    assert abs(bell.std() - 2) < 0.02
    np.testing.assert_allclose(np.bincount(pick) / 100_000, (0.5, 0.2, 0.3), atol=0.01)
    assert abs(np.corrcoef(flat, bell)[0, 1]) < 0.01


BAD = [
    (lambda: faces.sample(0), "at least one"),
    (lambda: faces.sample(5, 0), "at least one"),
    (lambda: faces.sample(5, ages="old"), "'adults' or 'all'"),
    (lambda: faces.sample(5, frequencies={"Beard": 0.5}), "unknown attribute 'Beard'"),
    (lambda: faces.sample(5, frequencies={"Male": 1.5}), "0 … 1"),
    (lambda: faces.sample(5, frequencies={"Male": float("nan")}), "0 … 1"),
    (lambda: faces.sample(5, correlations={("Male", "Beard"): 0.5}), "unknown attribute 'Beard'"),
    (lambda: faces.sample(5, correlations={("Male", "Bald"): -2}), "-1 … 1"),
    (lambda: faces.sample(5, correlations={("Male", "Bald"): 0.9}), "impossible"),
    (lambda: faces.sample(5, frequencies={"Male": 1}, correlations={("Male", "Bald"): 0.1}), "impossible"),
    (lambda: faces.sample(5, correlations={("Male", "Bald"): 0.1, ("Young", "Bald"): 0.1}), "two causes"),
    (lambda: replace(faces.sample(5), age=np.zeros(4)), "5 identities"),
    (lambda: replace(faces.sample(5), age=np.full(5, 99.0)), "99.0"),
    (lambda: faces.sample(5, correlations={("Male", "Bald"): 0.1, ("Bald", "Male"): 0.1}), "cause each other"),
    (lambda: faces.sample(5, ages="all", frequencies={"Young": 0.5}), "Young cannot be set"),
    (lambda: faces.render(faces.sample(1), 31), "32 … 224"),
    (lambda: faces.masks(faces.sample(1), 225), "32 … 224"),
    (lambda: faces.drawn(faces.sample(1), 0), "32 … 224"),
    (lambda: faces.render(faces.sample(1)[:0]), "no faces"),
    (lambda: faces.counterfactual(faces.sample(1), "smiling"), "unknown attribute 'smiling'"),
    (lambda: faces.at_age(faces.sample(1), 81), "0 … 80"),
    (lambda: faces.sample(1).has("Chubby"), "unknown attribute 'Chubby'"),
    (lambda: faces.age(forget=300), "forget is 300"),
    (lambda: faces.age(test=0), "at least one person"),
    (lambda: faces.attributes(attributes=()), "at least one name"),
    (lambda: faces.attributes(attributes="Male"), "a tuple"),
    (lambda: faces.features(forget=("Nose",)), "unknown attribute 'Nose'"),
    (lambda: faces.targets(people=0), "people is 0"),
]


@pytest.mark.parametrize(("call", "says"), BAD, ids=[says for _, says in BAD])
def test_bad_input_is_one_sentence(call, says):
    with pytest.raises(InputError, match=says) as error:
        call()
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(".")


def test_drawn_is_what_render_gives_and_is_drawn_once(own_cache, monkeypatch):
    shown = faces.sample(150, seed=1)
    expected = faces.render(shown, 32)
    assert torch.equal(faces.drawn(shown, 32), expected)
    monkeypatch.setattr(cache, "_draw_to", None)  # a second drawing would fail
    again = faces.drawn(shown, 32)
    assert torch.equal(again, expected)
    again.zero_()
    assert torch.equal(faces.drawn(shown, 32), expected)
    assert [path.suffix for path in own_cache.iterdir()] == [".npy"]


def test_other_faces_and_sizes_have_entries_of_their_own(own_cache):
    shown = faces.sample(3, seed=1)
    for case in (shown, faces.counterfactual(shown, "Male"), faces.at_age(shown, 30), replace(shown, seed=2)):
        for size in (32, 40):
            assert torch.equal(faces.drawn(case, size), faces.render(case, size))
    assert len(list(own_cache.glob("*.npy"))) == 8


@pytest.mark.parametrize("harm", ["truncate", "empty", "zero", "other", "one bit", "no checksum"])
def test_a_damaged_entry_is_drawn_again(own_cache, harm):
    shown = faces.sample(20, seed=1)
    expected = faces.drawn(shown, 32).clone()
    (path,) = own_cache.glob("*.npy")
    data = path.read_bytes()
    if harm == "other":
        np.save(path, np.zeros((2, 2)))
    else:
        bit = bytearray(data)
        bit[len(data) // 3] ^= 1  # of a face that is neither the first nor the middle nor the last
        harmed = {"truncate": data[:-5000], "empty": b"", "zero": data[:2000] + bytes(len(data) - 2000)}
        path.write_bytes({**harmed, "one bit": bytes(bit), "no checksum": data[:-4]}[harm])
    assert torch.equal(faces.drawn(shown, 32), expected)
    assert torch.equal(cache._open(path, shown, 32), expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_sentence_at_every_call(own_cache, monkeypatch, workers):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shown = faces.sample(300, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for _ in range(2):
            with pytest.raises(InputError, match=r"the cache .* cannot be used .*No space left.*: make room"):
                faces.drawn(shown, 32, workers=workers)
    assert not list(own_cache.iterdir())
    assert torch.equal(faces.drawn(shown, 32, workers=workers), faces.render(shown, 32))


def test_several_workers_draw_the_same(own_cache):
    shown = faces.sample(300, seed=1)
    faces.render(shown[:130])  # this process's own threads are up before it forks
    assert torch.equal(faces.drawn(shown, workers=2), faces.render(shown))


def test_two_processes_at_once_draw_one_entry(own_cache):
    code = (
        "import hashlib\n"
        "from mulib.data import faces\n"
        "images = faces.drawn(faces.sample(600, seed=2), 32, workers=1)\n"
        "print(hashlib.sha256(images.numpy().tobytes()).hexdigest())"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    expected = faces.render(faces.sample(600, seed=2), 32).numpy().tobytes()
    assert said == {hashlib.sha256(expected).hexdigest()}
    assert [path.suffix for path in own_cache.iterdir()] == [".npy"]


def test_a_killed_drawing_leaves_no_process_and_the_next_one_sweeps_what_it_drew(own_cache):
    code = "from mulib.data import faces\nfaces.drawn(faces.sample(20_000, seed=2), 96, workers=2)"
    process = subprocess.Popen([sys.executable, "-c", code])

    def drawing():
        return any(own_cache.glob(".*.part.npy")) and len(psutil.Process(process.pid).children()) == 2

    assert left_after_the_death_of(process, drawing) == []
    assert [path.suffixes[-2:] for path in own_cache.glob(".*.npy")] == [[".part", ".npy"]]
    faces.drawn(faces.sample(1), 32)
    assert list(own_cache.glob(".*")) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="MULIB_CACHE"):
        faces.drawn(faces.sample(1), 32)


BY_PEOPLE = {"people": 12, "pictures": 3, "forget": 3, "val": 2, "test": 3, "unseen": 4, "size": 32}
BY_ATTRIBUTE = {"people": 60, "val": 5, "test": 10, "unseen": 40, "size": 32}
SMALL = {"age": BY_PEOPLE, "attributes": BY_PEOPLE, "features": BY_ATTRIBUTE, "targets": BY_ATTRIBUTE}


@pytest.mark.parametrize("kind", SMALL)
def test_a_task_holds_disjoint_people_and_labels_that_are_true(kind):
    task = getattr(faces, kind)(seed=3, **SMALL[kind])
    parts = {"train": task.train, "val": task.val, "test": task.test, "unseen": task.unseen}
    people = [set(part.identities.tolist()) for part in parts.values()]
    assert sum(map(len, people)) == len(set().union(*people))
    assert not set(task.forget.identities.tolist()) & set(task.retain.identities.tolist())
    for part in (*parts.values(), task.forget, task.retain):
        shown = task.faces(part)
        assert torch.equal(faces.render(shown, 32), part.images)
        if kind == "age":
            assert torch.equal(part.labels, torch.from_numpy(shown.age_group))
        else:
            assert torch.equal(part.labels, torch.from_numpy(np.stack([shown.has(a) for a in part.classes], 1)).float())


@pytest.mark.parametrize(("kind", "feature"), [("features", "Mouth_Slightly_Open"), ("targets", "Eyeglasses")])
def test_what_is_forgotten_is_what_has_the_feature(kind, feature):
    task = getattr(faces, kind)(seed=3, **SMALL[kind])
    assert task.faces(task.forget).has(feature).all()
    assert task.faces(task.unseen).has(feature).all()
    assert not task.faces(task.retain).has(feature).any()
    assert 0 < task.faces(task.test).has(feature).mean() < 1


def test_a_task_has_as_many_people_as_asked_for():
    task = faces.age(**SMALL["age"])
    assert {k: len(v) for k, v in task.sets.items()} == {"retain": 27, "forget": 9, "test": 9, "unseen": 12}
    assert len(task.val) == 6


def test_a_task_is_the_same_for_the_same_seed_only():
    first, same, other = (faces.age(seed, **SMALL["age"]) for seed in (1, 1, 2))
    assert torch.equal(first.train.images, same.train.images)
    assert not torch.equal(first.train.images, other.train.images)


def test_a_shortcut_can_be_built_in():
    small = SMALL["features"] | {"people": 600}
    task = faces.features(correlations={("Mouth_Slightly_Open", "Bald"): 0.3}, **small)
    assert np.corrcoef(task.train.labels.T)[0, 1] > 0.2


@pytest.mark.parametrize("names", [None, ["0.jpg"] * 9, ["900/1"] * 9])
def test_images_of_something_else_have_no_faces(names):
    task = faces.age(**SMALL["age"])
    with pytest.raises(InputError, match="not of this task"):
        task.faces(replace(task.test, names=None if names is None else np.array(names)))


def test_a_small_network_memorises_people_and_a_retrained_one_does_not_know_them():
    task = faces.age(people=80, pictures=6, forget=40, val=2, test=2, unseen=40, size=32)
    known = {}
    for name, data in (("original", task.train), ("retrained", task.retain)):
        model = resnet18(8, width=8, stem="face")
        fit(model, data, Recipe(epochs=12, lr=0.05, batch_size=32, schedule="onecycle"))
        logits = predict(model, {"forget": task.forget, "unseen": task.unseen})
        known[name] = {k: float(loss_of(v, getattr(task, k).labels)) for k, v in logits.items()}
    gap = {name: losses["unseen"] - losses["forget"] for name, losses in known.items()}
    assert known["original"]["forget"] < 0.5 * known["original"]["unseen"]
    assert abs(gap["retrained"]) < 0.5 * gap["original"]


# Pose


def test_posed_faces_are_the_same_people_elsewhere_in_the_frame():
    aligned, posed = (faces.sample(120, seed=6, posed=posed) for posed in (False, True))
    np.testing.assert_array_equal(aligned.attributes, posed.attributes)
    where = [faces.masks(cast)["mouth"] for cast in (aligned, posed)]
    assert all(bool(mask.flatten(1).any(1).all()) for mask in where)  # nobody's mouth left the frame
    nothing = torch.zeros(120, 1, 2, 2)
    one_mask = [explain.rank_filters(nothing, mask).baseline for mask in where]
    assert one_mask[1] < one_mask[0] / 2
    centres = [torch.stack([mask.nonzero().double().mean(0) for mask in masks]) for masks in where]
    assert centres[1].std(0).min() > 1.5 * centres[0].std(0).max()


def test_posed_faces_have_an_entry_of_their_own_in_the_cache(own_cache):
    for posed in (False, True, True):
        cast = faces.sample(3, posed=posed)
        assert torch.equal(faces.drawn(cast, 32), faces.render(cast, 32))
    assert len(list(own_cache.glob("*.npy"))) == 2


def test_a_toggled_mouth_changes_a_posed_face_only_there():
    shown = faces.sample(20, seed=2, posed=True)
    other = faces.counterfactual(shown, "Mouth_Slightly_Open")
    region = faces.masks(shown)["mouth"] | faces.masks(other)["mouth"]
    changed = (faces.render(shown) != faces.render(other)).any(1)
    assert changed.flatten(1).any(1).float().mean() > 0.8
    assert not (changed & ~region).any()
