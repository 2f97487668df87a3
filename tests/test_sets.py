"""Image sets, tasks and requests."""

import dataclasses

import pytest
import torch

from mulib import InputError, data
from mulib.data import ImageSet, Request, Task


def make(n=10, classes=("a", "b", "c")):
    images = torch.arange(n * 4, dtype=torch.uint8).view(n, 1, 2, 2)
    return ImageSet(images, torch.arange(n) % len(classes), classes, identities=torch.arange(n))


def test_sets_requests_and_tasks_are_compared_without_an_error():
    images = make(4)
    task = Task("t", images, torch.tensor([1]), images, images, images)
    for one, other in ((images, make(4)), (task, task.to("cpu")), (task.request, task.request)):
        assert one == one
        assert one != other
        assert len({one, other}) == 2


def test_an_empty_set_without_classes_does_not_know_its_outputs():
    empty = dataclasses.replace(make(4), classes=()).subset(torch.arange(0))
    with pytest.raises(InputError, match=r"^an empty set without classes .* name its classes\.$"):
        _ = empty.outputs
    assert make(4).subset(torch.arange(0)).outputs == 3


def test_a_task_moves_with_all_its_sets():
    sets = [dataclasses.replace(make(n), classes=()) for n in (6, 2, 2, 2)]  # "meta" has no values to hold to classes
    task = Task("t", sets[0], torch.tensor([4, 1]), *sets[1:]).to("meta")
    every = (task.train, task.val, task.request.forget, *task.sets.values())
    assert {part.images.device.type for part in every} == {"meta"}
    assert task.forget_index.tolist() == [4, 1]


def test_batches_cover_the_set_once_and_keep_pairs():
    images = make(10)
    generator = torch.Generator().manual_seed(0)
    seen = [(x, y) for x, y in images.batches(4, generator)]
    assert [len(y) for _, y in seen] == [4, 4, 2]
    first = torch.cat([x for x, _ in seen])[:, 0, 0, 0].mul(255).round().long() // 4
    assert sorted(first.tolist()) == list(range(10))
    assert torch.equal(first % 3, torch.cat([y for _, y in seen]))


def test_order_comes_from_the_generator():
    images = make(10)
    orders = [torch.cat([y for _, y in images.batches(3, torch.Generator().manual_seed(s))]) for s in (1, 1, 2)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_pixels_are_normalised_by_channel():
    images = dataclasses.replace(make(3), mean=(0.5,), std=(0.25,))
    expected = (images.images[:2].float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(images.pixels(slice(0, 2)), expected)


def test_task_splits_train_into_forget_and_retain():
    train = make(10)
    task = Task("t", train, torch.tensor([7, 2]), make(2), make(2), make(2))
    assert task.forget.identities.tolist() == [7, 2]
    assert task.retain.identities.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([1, 2, 1]), "names an example twice"),
        (torch.tensor([0.0, 1.0]), "expected int64 positions"),
        (torch.arange(10) < 3, "expected int64 positions"),
    ],
)
def test_malformed_forget_sets(index, message):
    with pytest.raises(InputError, match=message):
        Task("t", make(10), index, make(2), make(2), make(2))


def test_request_holds_no_test_set():
    names = {field.name for field in dataclasses.fields(Request)}
    assert names == {"retain", "forget", "val"}


@pytest.mark.parametrize("index", [[], [10], [-1], list(range(10))])
def test_impossible_forget_sets(index):
    with pytest.raises(InputError, match="forget set"):
        Task("t", make(10), torch.tensor(index, dtype=torch.long), make(2), make(2), make(2))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 3])),
    ],
)
def test_malformed_sets_are_one_sentence(images, labels):
    with pytest.raises(InputError, match="expected"):
        ImageSet(images, labels, ("a", "b"))


def test_digits_splits_are_disjoint_and_seeded():
    task, again, other = data.digits(0), data.digits(0), data.digits(1)
    assert [len(s) for s in (task.train, task.val, task.test, task.unseen)] == [1000, 200, 397, 200]
    assert torch.equal(task.train.images, again.train.images)
    assert not torch.equal(task.train.images, other.train.images)


def test_mislabelling_a_set_changes_every_label_and_nothing_else():
    val = data.digits().val
    wrong = data.mislabelled(val, seed=3)
    assert (wrong.labels != val.labels).all()
    assert (wrong.labels >= 0).all()
    assert (wrong.labels < 10).all()
    assert torch.equal(wrong.images, val.images)
    assert torch.equal(wrong.labels, data.mislabelled(val, seed=3).labels)
    assert not torch.equal(wrong.labels, data.mislabelled(val, seed=4).labels)
    with pytest.raises(InputError, match="expected int64 of at least 2"):
        data.mislabelled(dataclasses.replace(val, labels=val.labels.float()))


def test_mislabelled_digits_carry_only_wrong_labels():
    wrong, right = data.digits(0), data.digits(0, mislabelled=False)
    assert torch.equal(wrong.forget.images, right.forget.images)
    assert bool((wrong.forget.labels != right.forget.labels).all())
    assert bool((wrong.unseen.labels != right.unseen.labels).all())
    assert torch.equal(wrong.retain.labels, right.retain.labels)


def test_digits_refuse_an_empty_forget_set():
    with pytest.raises(InputError, match=r"forget 0: expected .* 1 … 999 of them"):
        data.digits(forget=0)


@pytest.mark.parametrize(
    ("n", "size", "expected"), [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1])]
)
def test_no_image_is_left_alone_in_a_shuffled_batch(n, size, expected):
    data = ImageSet(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.arange(n))
    batches = list(data.batches(size, torch.Generator().manual_seed(0)))
    assert [len(y) for _, y in batches] == expected
    assert data.steps(size) == len(expected)
    assert torch.cat([y for _, y in batches]).sort().values.tolist() == list(range(n))
