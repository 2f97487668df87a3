"""Published layouts, read from small data sets made for the test."""

import pickle

import layouts
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from mulib import InputError, data
from mulib.data import catalogue
from mulib.data.readers.cifar import CLASSES
from mulib.files import cache_folder


@pytest.fixture(autouse=True)
def nothing_else(tmp_path, monkeypatch):
    """No real data and a cache of the test's own."""
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache" / "mulib"))
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))


def rows(images):
    """Every picture as (N, bytes), to compare sets of images by."""
    return [bytes(image) for image in images.numpy()]


def expected(seeds, size):
    return [layouts.picture(seed, size).transpose(2, 0, 1).tobytes() for seed in seeds]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_mufac_from_a_folder_a_zip_or_a_tar(tmp_path, kind):
    folder = layouts.mufac(tmp_path / "custom_korean_family_dataset_resolution_128")
    task = data.mufac(layouts.pack(folder, kind))
    assert {name: len(part) for name, part in task.sets.items()} == {"retain": 4, "forget": 4, "test": 4, "unseen": 4}
    assert len(task.val) == 0
    assert rows(task.train.images) == expected(range(1000, 1008), (16, 16))
    assert rows(task.test.images) == expected(range(2000, 2004), (16, 16))
    assert task.train.labels.tolist() == list(range(8))
    assert task.forget_index.tolist() == [0, 1, 2, 3]
    assert task.train.identities.unique().tolist() == task.train.identities[::2].sort().values.tolist()
    assert task.train.names[0] == "train_images/Ftrain_AGE_P0_0.jpg"


def test_mufac_is_found_where_mulib_data_says(tmp_path, monkeypatch):
    layouts.mufac(tmp_path / "deep" / "custom_korean_family_dataset_resolution_128")
    assert len(data.mufac().train) == 8
    monkeypatch.setenv("MULIB_DATA", str(tmp_path / "deep"))
    assert len(data.mufac().train) == 8


def test_mufac_trains_augmented_and_evaluates_plain(tmp_path):
    task = data.mufac(layouts.mufac(tmp_path / "set"))
    plain = torch.cat([x for x, _ in task.train.batches(3)])
    torch.testing.assert_close(plain, task.train.images.float() / 255)
    shuffled = next(task.train.batches(8, torch.Generator().manual_seed(0)))[0]
    assert not torch.isin(shuffled.flatten(1).sum(1), plain.flatten(1).sum(1)).any()
    assert task.test.augment is None


def test_held_out_people_leave_train_and_are_not_to_be_forgotten(tmp_path):
    folder = layouts.mufac(tmp_path / "set", train=40)
    whole, task = data.mufac(folder), data.mufac(folder, val=6, seed=1)
    assert len(task.val) == 6
    assert len(task.train) == 34
    assert rows(task.forget.images) == rows(whole.forget.images)
    assert sorted(rows(task.val.images) + rows(task.train.images)) == sorted(rows(whole.train.images))
    assert not torch.isin(task.val.identities, task.train.identities).any()
    with pytest.raises(InputError, match=r"val is 20: expected fewer than the 20 images of mufac's retain set"):
        data.mufac(folder, val=20)


def test_a_missing_column_is_named(tmp_path):
    folder = layouts.mufac(tmp_path / "set")
    layouts.write(folder / "custom_val_dataset.csv", "family_id,age_class,image_path\nF1,a,x.jpg\n")
    with pytest.raises(InputError, match=r"custom_val_dataset\.csv .* has no column person_id in .*: expected family_"):
        data.mufac(folder)


@pytest.mark.parametrize("age", ["i", "A", "ab"])
def test_an_age_class_outside_the_eight_is_named(tmp_path, age):
    folder = layouts.mufac(tmp_path / "set")
    table = (folder / "custom_train_dataset.csv").read_text().replace(",c,", f",{age},")
    layouts.write(folder / "custom_train_dataset.csv", table)
    with pytest.raises(InputError, match=rf"line 4 of custom_train_.* has the age class '{age}': expected a … h"):
        data.mufac(folder)


def test_a_row_with_too_few_cells_is_named(tmp_path):
    folder = layouts.mufac(tmp_path / "set")
    with (folder / "custom_test_dataset.csv").open("a") as table:
        table.write("F1,P1,a\n")
    with pytest.raises(InputError, match=r"line 6 of custom_test_dataset\.csv in .* has 3 cells, the head 4"):
        data.mufac(folder)


def test_a_row_that_climbs_out_is_refused(tmp_path):
    folder = layouts.mufac(tmp_path / "set")
    with (folder / "custom_test_dataset.csv").open("a") as table:
        table.write("F1,P1,a,../../secret.jpg\n")
    with pytest.raises(InputError, match=r"line 6 of custom_test_dataset\.csv in .* leads out of it"):
        data.mufac(folder)


def test_a_missing_image_is_named(tmp_path):
    folder = layouts.mufac(tmp_path / "set")
    (folder / "val_images" / "Fval_AGE_P0_1.jpg").unlink()
    with pytest.raises(InputError, match=r"lacks val_images/Fval_AGE_P0_1\.jpg \(1 missing\): fetch"):
        data.mufac(folder)


@pytest.mark.parametrize("reader", [data.mufac, data.mucac, data.celeba, data.cifar10, data.agedb, data.utkface])
def test_missing_data_is_one_sentence_with_what_to_do(tmp_path, reader):
    with pytest.raises(InputError, match=r"is not on this machine \(searched: .*\): .*https://.*set MULIB_DATA to"):
        reader()
    with pytest.raises(InputError, match="nowhere does not exist"):
        reader(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_celeba_splits_people_where_there_is_no_official_test_part(tmp_path, kind):
    path = layouts.pack(layouts.celeba(tmp_path / "celeba"), kind)
    task = data.celeba(path, attributes=("Male", "Bald"), forget=("Male",), size=None)
    parts = (task.train, task.val, task.test, task.unseen)
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            assert not torch.isin(a.identities, b.identities).any()
    assert len(task.train) == 28
    for part in parts:
        number = torch.tensor([int(name[:6]) - 1 for name in part.names])
        assert rows(part.images) == expected(number.tolist(), (20, 16))
        assert part.labels.tolist() == [[float(i % 2 == 0), 1.0] for i in number]
        assert torch.equal(part.identities, number // 2)
    assert (task.forget.labels[:, 0] == 1).all()
    assert (task.retain.labels[:, 0] == 0).all()
    assert (task.unseen.labels[:, 0] == 1).all()


def test_celeba_uses_the_official_partition_where_it_is_whole(tmp_path):
    folder = layouts.celeba(tmp_path / "celeba", partition=(0, 0, 1, 2))
    task = data.celeba(folder, attributes=("Bald",), forget=("Male",))
    number = [[int(name[:6]) - 1 for name in part.names] for part in (task.train, task.val, task.test, task.unseen)]
    assert number[0] == list(range(20))
    assert number[1] == list(range(20, 30))
    assert set(number[2]) < set(range(30, 40))
    assert set(number[3]) < set(range(30, 40)) - set(number[2])


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("partition", [(0,), (0, 0, 1, 2)])
def test_celeba_with_kaggles_lists_is_the_same_but_for_the_people(tmp_path, monkeypatch, partition, kind):
    asked = {"attributes": ("Bald", "Male"), "forget": ("Male",), "seed": 3}
    ours = data.celeba(layouts.celeba(tmp_path / "far" / "far" / "away", partition=partition), **asked)
    made = layouts.pack(layouts.celeba_of_kaggle(tmp_path / "celeba", partition=partition), kind)
    kaggles = data.celeba(made, **asked)
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    assert list(data.celeba(**asked).test.names) == list(kaggles.test.names)
    labels = {
        n: row.tolist() for p in (ours.train, ours.val, ours.test) for n, row in zip(p.names, p.labels, strict=True)
    }
    for part in (kaggles.train, kaggles.val, kaggles.test):
        assert part.identities is None
        common = [(n, row.tolist()) for n, row in zip(part.names, part.labels, strict=True) if n in labels]
        assert common
        assert all(labels[n] == row for n, row in common)
        assert rows(part.images) == expected([int(n[:6]) - 1 for n in part.names], (20, 16))
    if len(partition) > 1:
        assert list(kaggles.train.names) == list(ours.train.names)
        assert list(kaggles.val.names) == list(ours.val.names)
    assert sum(map(len, (kaggles.train, kaggles.val, kaggles.test))) + len(kaggles.unseen) <= 40


def test_celeba_with_kaggles_lists_keeps_people_apart_where_it_is_told_of_them(tmp_path):
    folder = layouts.celeba_of_kaggle(tmp_path / "celeba", partition=(0, 0, 1, 2))
    layouts.write(folder / "identity_CelebA.txt", "".join(f"{i + 1:06}.jpg {i // 2}\n" for i in range(40)))
    asked = {"attributes": ("Bald",), "forget": ("Male",)}
    ours = data.celeba(layouts.celeba(tmp_path / "ours", partition=(0, 0, 1, 2)), **asked)
    for name, part in data.celeba(folder, **asked).sets.items():
        assert list(part.names) == list(ours.sets[name].names)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "list_attr_celeba.csv",
            "000003.jpg,1,1",
            "000003.jpg,1,2",
            r"Male of 000003\.jpg in list_attr_celeba\.csv .* '2'",
        ),
        (
            "list_attr_celeba.csv",
            "000003.jpg,1,1",
            "000003.jpg,1",
            r"list_attr_celeba\.csv in .* is no table of a name and 40",
        ),
        ("list_eval_partition.csv", "000003.jpg,0\n", "", r"list_eval_partition\.csv in .* has no line for 000003"),
        (
            "list_eval_partition.csv",
            "000003.jpg,0",
            "000003.jpg,train",
            r"list_eval_partition\.csv in .* cannot be read",
        ),
    ],
)
def test_celeba_says_what_is_wrong_with_kaggles_lists(tmp_path, name, old, new, message):
    folder = layouts.celeba_of_kaggle(tmp_path / "celeba")
    text = (folder / name).read_text()
    assert old in text
    layouts.write(folder / name, text.replace(old, new))
    with pytest.raises(InputError, match=message):
        data.celeba(folder, attributes=("Bald",), forget=("Male",))


def test_a_folder_in_neither_of_a_sets_layouts_is_one_sentence(tmp_path):
    for reader, markers in (
        (data.celeba, "list_attr_celeba.txt nor list_attr_celeba.csv"),
        (data.cifar10, "data_batch_1 nor"),
    ):
        with pytest.raises(InputError, match=f"holds neither {markers}"):
            reader(tmp_path)


def test_celeba_forgets_images_that_have_all_the_attributes(tmp_path):
    task = data.celeba(layouts.celeba(tmp_path / "celeba"), attributes=("Bald",), forget=("Male", "Smiling"))
    assert all((int(name[:6]) - 1) % 6 == 0 for name in task.forget.names)


def test_celeba_reads_any_part_of_the_images_and_torchvisions_zip(tmp_path):
    folder = layouts.celeba(tmp_path / "celeba")
    for i in range(31, 41):
        (folder / "img_align_celeba" / f"{i:06}.jpg").unlink()
    apart = data.celeba(folder, attributes=("Bald",), forget=("Male",))
    layouts.pack(folder / "img_align_celeba", "zip")
    packed = data.celeba(folder, attributes=("Bald",), forget=("Male",))
    assert len(apart.train) == len(packed.train) == 22
    assert torch.equal(apart.train.images, packed.train.images)


def test_celeba_says_what_is_wrong(tmp_path):
    folder = layouts.celeba(tmp_path / "celeba")
    with pytest.raises(InputError, match="CelebA has no attribute 'Hat': expected some of Bald, Male"):
        data.celeba(folder, attributes=("Hat",), forget=("Male",))
    table = (folder / "list_attr_celeba.txt").read_text()
    layouts.write(folder / "list_attr_celeba.txt", table.replace("000003.jpg 1 1", "000003.jpg 1 2"))
    with pytest.raises(InputError, match=r"Male of 000003\.jpg in list_attr_.* is '2': expected 1 or -1"):
        data.celeba(folder)
    layouts.write(folder / "list_attr_celeba.txt", table[:-5])
    with pytest.raises(InputError, match="is no table of a name and 40 values"):
        data.celeba(folder)
    layouts.write(folder / "list_attr_celeba.txt", table)
    layouts.write(folder / "identity_CelebA.txt", "000001.jpg 1\n")
    with pytest.raises(InputError, match=r"identity_CelebA\.txt in .* has no line for 000002\.jpg"):
        data.celeba(folder, attributes=("Bald",), forget=("Male",))
    layouts.write(folder / "identity_CelebA.txt", "000001.jpg one\n")
    with pytest.raises(InputError, match=r"cannot be read .*: expected lines"):
        data.celeba(folder, attributes=("Bald",), forget=("Male",))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_mucac_splits_by_identity(tmp_path, kind):
    task = data.mucac(layouts.pack(layouts.mucac(tmp_path / "CelebAMask-HQ"), kind), size=32)
    numbers = {name: [int(n.split(".")[0]) for n in part.names] for name, part in task.sets.items()}
    assert numbers == {"test": [0, 1], "retain": [2, 3], "forget": [4, 5], "unseen": [6, 7]}
    assert task.forget_index.tolist() == [0, 1]
    assert rows(task.unseen.images) == expected([6, 7], (32, 32))
    assert task.retain.labels.tolist() == [[0, 0, 0], [1, 1, 0]]
    assert task.train.classes == ("Male", "Smiling", "Young")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_cifar_in_torchvisions_layout(tmp_path, kind):
    images, labels = layouts.cifar_batches(tmp_path / "cifar-10-batches-py")
    path = layouts.pack(tmp_path / "cifar-10-batches-py", kind)
    task = data.cifar10(path, unseen=5)
    assert np.array_equal(task.train.images.numpy(), images[:100])
    assert torch.equal(task.train.labels, labels[:100])
    assert len(task.forget_index) == 2
    assert sorted(rows(task.test.images) + rows(task.unseen.images)) == sorted(bytes(i) for i in images[100:])
    assert len(task.unseen) == 5
    assert torch.equal(data.cifar10(path, unseen=0).test.labels, labels[100:])


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_cifar_as_a_folder_per_class(tmp_path, kind):
    task = data.cifar10(layouts.pack(layouts.cifar_folders(tmp_path / "cifar10", CLASSES), kind), unseen=10)
    assert rows(task.train.images) == expected([1000 * k + i for k in range(10) for i in range(4)], (32, 32))
    assert task.train.labels.tolist() == [k for k in range(10) for _ in range(4)]
    assert len(task.test) == 30


def test_cifar_is_found_by_either_layout(tmp_path):
    layouts.cifar_folders(tmp_path / "cifar10", CLASSES)
    assert len(data.cifar10(unseen=10).train) == 40
    layouts.cifar_batches(tmp_path / "cifar-10-batches-py")
    assert len(data.cifar10(unseen=10).train) == 100


def test_a_smaller_cifar_is_drawn_by_the_seed(tmp_path):
    layouts.cifar_batches(tmp_path / "cifar-10-batches-py", each=100)
    whole = data.cifar10(unseen=0)
    task, again, other = (data.cifar10(images=50, unseen=2, seed=seed) for seed in (0, 0, 1))
    assert (len(task.train), len(task.forget_index), len(task.test), len(task.unseen)) == (50, 1, 8, 2)
    assert task.train.names.tolist() == again.train.names.tolist() != other.train.names.tolist()
    place = {name: i for i, name in enumerate(whole.train.names)}
    rows = [place[name] for name in task.train.names]
    assert torch.equal(task.train.images, whole.train.images[rows])
    assert torch.equal(task.train.labels, whole.train.labels[rows])
    for images in (4, 501):  # a fifth of four is no test image
        with pytest.raises(InputError, match=f"images is {images}: expected 5 … 500 of the training images"):
            data.cifar10(images=images)
    assert len(data.cifar10(images=5, unseen=0).test) == 1


def test_the_seed_draws_cifars_forget_set(tmp_path):
    layouts.cifar_batches(tmp_path / "cifar-10-batches-py", each=100)
    first, again, other = (data.cifar10(unseen=10, seed=seed).forget_index.tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 10


def test_the_published_forget_set_is_used_in_torchvisions_order_only(tmp_path):
    _, labels = layouts.cifar_batches(tmp_path / "cifar-10-batches-py")
    index = [99, 3, 41, 7]
    artefact = tmp_path / "forget_with_precision"
    layouts.write(artefact / "forget_set.txt", ",".join(map(str, index)))
    np.save(artefact / "logits_retain.npy", np.eye(10, dtype=np.float32)[labels[index]][:, None].repeat(3, 1))
    assert data.cifar10(unseen=5).forget_index.tolist() == index
    assert len(data.cifar10(layouts.cifar_folders(tmp_path / "cifar10", CLASSES, each=10), unseen=5).forget_index) == 2
    np.save(artefact / "logits_retain.npy", np.eye(10, dtype=np.float32)[[0, 0, 0, 0]][:, None].repeat(3, 1))
    with pytest.raises(InputError, match=r"forget_set\.txt in .* does not fit CIFAR-10's labels"):
        data.cifar10(unseen=5)
    for text in ("1,b", "1.5", "9" * 20, "-1000", "caf\xe9".encode("latin1")):
        layouts.write(artefact / "forget_set.txt", text)
        with pytest.raises(InputError, match=r"forget_set\.txt in .* cannot be read \(.*\): "):
            data.cifar10(tmp_path / "cifar-10-batches-py", unseen=5)


class Evil:
    def __reduce__(self):
        return eval, ("open('evil', 'w')",)


def batch(labels, images=3, protocol=2):
    """A pickle as published, of black images."""
    content = {"labels": labels, "data": np.zeros((images, 3072), np.uint8), "filenames": ["a"] * len(labels)}
    return pickle.dumps(content, protocol)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (pickle.dumps(Evil()), r"data_batch_2 in .* asks for builtins\.eval"),
        (batch([10, 1, 2]), r"data_batch_2 in .* has labels in 1 … 10: expected 0 … 9"),
        (batch([1, 2]), "has 3 images and 2 labels"),
        (batch([], 0, protocol=4), "has 0 images and 0 labels"),
        (pickle.dumps({"labels": [1]}), "expected a batch of CIFAR-10, fetch it again"),
        (b"\x80\x02}q", "expected a batch of CIFAR-10, fetch it again"),
    ],
    ids=["a call", "a label", "a missing label", "no image", "a missing field", "a truncated file"],
)
def test_a_bad_cifar_batch_is_one_sentence_and_runs_nothing(tmp_path, monkeypatch, content, sentence):
    layouts.cifar_batches(tmp_path / "cifar-10-batches-py")
    layouts.write(tmp_path / "cifar-10-batches-py" / "data_batch_2", content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        data.cifar10()
    assert not (tmp_path / "evil").exists()


def test_a_stray_cifar_image_is_named(tmp_path):
    layouts.write(layouts.cifar_folders(tmp_path / "cifar10", CLASSES) / "train" / "cow" / "1.jpg", b"")
    with pytest.raises(InputError, match=r"train/cow/1\.jpg in .* lies in no class folder"):
        data.cifar10()


def test_cifars_download_without_a_network_says_what_to_do(monkeypatch):
    from mulib.data.readers import cifar

    monkeypatch.setattr(cifar, "URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(InputError, match=r"could not be downloaded .*set MULIB_DATA to that folder"):
        data.cifar10(download=True)
    assert not list(cache_folder("downloads").iterdir())


AGEDB_FILES = [f"{i}_Person{i // 4}_{20 + i}_{'mf'[i % 2]}.jpg" for i in range(80)]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_agedb_reads_names_and_keeps_people_apart(tmp_path, kind):
    for i, name in enumerate(AGEDB_FILES):
        layouts.write(tmp_path / "AgeDB" / name, layouts.image_bytes(i))
    task = data.agedb(layouts.pack(tmp_path / "AgeDB", kind), size=16)
    parts = (task.forget, task.retain, task.val, task.test, task.unseen)
    assert sum(map(len, parts)) == 80
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            assert not torch.isin(a.identities, b.identities).any()
        number = [int(name.rpartition("/")[2].split("_")[0]) for name in a.names]
        assert a.labels.tolist() == [20.0 + n for n in number]
        assert rows(a.images) == expected(number, (16, 16))


def test_malformed_names_are_counted_and_skipped(tmp_path):
    good = [f"{20 + i}_{i % 2}_{i % 5}_2017010{i % 10}.jpg.chip.jpg" for i in range(60)]
    bad = ["61_1_20170109150557335.jpg.chip.jpg", "130_0_1_2017.jpg", "20_2_1_2017.jpg", "20_0_5_2017.jpg", "notes.txt"]
    for i, name in enumerate([*good, *bad]):
        layouts.write(tmp_path / "UTKFace" / name, layouts.image_bytes(i))
    with pytest.warns(UserWarning, match=r"utkface: skipped 5 of 65 files with malformed names: .*, …"):
        task = data.utkface()
    assert sum(len(part) for part in (task.train, task.val, task.test, task.unseen)) == 60
    assert task.train.identities is None
    assert sorted(task.train.labels.tolist())[0] >= 20


def test_a_folder_without_such_names_is_refused(tmp_path):
    layouts.write(tmp_path / "AgeDB" / "a.jpg", layouts.image_bytes(1))
    with pytest.raises(InputError, match=r"AgeDB holds no image with agedb's file names"):
        data.agedb()


def own(folder, text="", people=True):
    """A folder of twelve pictures and its table.csv."""
    sets = ["retain"] * 5 + ["forget"] * 2 + ["val", "test", "test", "unseen", "unseen"]
    lines = ["file,label,set" + ",person" * people]
    for i, name in enumerate(sets):
        layouts.write(folder / "images" / f"{i}.png", layouts.image_bytes(i, (16, 16)))
        lines.append(f"images/{i}.png,{'cat' if i % 2 else 'dog'},{name}" + f",p{i // 2}" * people)
    layouts.write(folder / "table.csv", "\n".join([*lines, *([text] if text else [])]) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_table_of_ones_own(tmp_path, kind):
    path = layouts.pack(own(tmp_path / "pets"), kind)
    task = data.table(path)
    assert {name: len(part) for name, part in task.sets.items()} == {"retain": 5, "forget": 2, "test": 2, "unseen": 2}
    assert task.name == "pets"
    assert task.train.classes == ("cat", "dog")
    assert task.forget.labels.tolist() == [0 if i % 2 else 1 for i in (5, 6)]
    assert rows(task.forget.images) == expected([5, 6], (16, 16))
    assert task.val.names.tolist() == ["images/7.png"]
    assert task.forget.identities.tolist() == [2, 3]
    assert data.table(path, size=8).train.images.shape[2:] == (8, 8)
    assert catalogue.load("table", path=str(path)).train.identities is not None


def test_a_tables_labels_can_be_values(tmp_path):
    folder = own(tmp_path / "pets", people=False)
    path = folder / "table.csv"
    path.write_text(path.read_text().replace("cat", "3").replace("dog", "2.5"))
    task = data.table(folder, labels="values")
    assert task.train.labels.tolist() == [2.5, 3, 2.5, 3, 2.5, 3, 2.5]
    assert task.train.identities is None


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("images/0.png,cat,train,p0", {}, "line 14 of table.csv .* has the set 'train': expected retain, forget"),
        ("images/0.png,,test,p0", {}, "line 14 .* has an empty cell"),
        ("../0.png,cat,test,p0", {}, "line 14"),
        ("images/99.png,cat,test,p0", {}, "99.png"),
        ("", {"labels": "values"}, "a label of table.csv in .* cannot be read"),
        ("", {"labels": "ages"}, "labels is 'ages'"),
        ("", {"val": 2}, "table.csv has 1 rows of val: give one of the two"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path, text, options, message):
    with pytest.raises(InputError, match=message):
        data.table(own(tmp_path / "pets", text), **options)


def test_a_table_lacks_a_column_or_a_set(tmp_path):
    path = own(tmp_path / "pets") / "table.csv"
    whole = path.read_text()
    path.write_text(whole.replace("unseen", "test"))
    with pytest.raises(InputError, match="has no row of set unseen"):
        data.table(path.parent)
    path.write_text(whole.replace("set", "part"))
    with pytest.raises(InputError, match=r"has no column set in .*: expected file, label, set"):
        data.table(path.parent)


def test_imagenet_by_folder_with_the_labels_that_networks_have(tmp_path):
    folder = layouts.imagenet(tmp_path / "imagenet")
    layouts.write(folder / "wnids.csv", b"wnid,label\nn01440764,0\nn02102040,217\n")
    pictures = data.imagenet(size=28)
    assert pictures.labels.tolist() == [0, 0, 0, 217, 217, 217]
    assert [pictures.classes[i] for i in (0, 217)] == ["tench", "English springer"]
    assert pictures.images.shape == (6, 3, 28, 28)
    spread = data.imagenet(part="spread", size=28)
    assert spread.labels.tolist() == [999, 5]


@pytest.mark.parametrize("kind", ["webp", "bmp", "tiff"])
def test_imagenet_leaves_no_picture_out(tmp_path, kind):
    folder = layouts.imagenet(tmp_path / "imagenet")
    layouts.write(folder / "wnids.csv", b"wnid,label\rn01440764,0\rn02102040,217\r")
    layouts.write(folder / "val" / "n01440764" / f"other.{kind}", layouts.image_bytes(77, (40, 60), kind))
    assert data.imagenet(size=28).labels.tolist() == [0, 0, 0, 0, 217, 217, 217]


def test_imagenet_is_cut_from_the_middle_as_torchvision_evaluates(tmp_path):
    folder = layouts.imagenet(tmp_path / "imagenet")
    layouts.write(folder / "wnids.csv", b"wnid,label\nn01440764,0\nn02102040,217\n")
    found = data.imagenet(folder, size=28).images[0]
    picture = Image.open(folder / "val" / "n01440764" / "n01440764_0.JPEG").convert("RGB")
    cut = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28), transforms.PILToTensor()])(picture)
    assert (found.int() - cut.int()).abs().max() <= 1


def test_a_thousand_folders_tell_their_labels(tmp_path):
    wnids = [f"n{i:08d}" for i in range(999)] + ["n01440764"]
    layouts.imagenet(tmp_path / "imagenet", wnids, each=1)
    pictures = data.imagenet(size=8)
    assert pictures.labels.tolist() == list(range(1000))


@pytest.mark.parametrize(
    ("table", "part", "message"),
    [
        (None, "val", "has 2 folders: expected all 1000 classes, or wnids.csv"),
        (b"wnid,label\nn01440764,0\n", "val", "has a label for n02102040"),
        (b"wnid,label\nn01440764,0\nn02102040,1000\n", "val", "are 0 … 1000: expected 0 … 999"),
        (b"wnid,class\nn01440764,0\n", "val", "no column label in wnid, class"),
        (b"wnid,label\nn01440764,tench\n", "val", "the label in line 2 of wnids.csv .* cannot be read"),
        (b"wnid,label\nn01440764,0\nn01440764,0\n", "val", "line 3 of wnids.csv .* has n01440764 again"),
        (b"wnid,label\nn01440764," + b"0" * 200_000 + b"\n", "val", "cannot be read .*field larger"),
        ("wnid,label\nn01440764,0\n".encode("utf-16"), "val", "cannot be read"),
        (None, "train", "no pictures in train/"),
    ],
)
def test_imagenet_whose_labels_nothing_tells(tmp_path, table, part, message):
    folder = layouts.imagenet(tmp_path / "imagenet")
    if table:
        layouts.write(folder / "wnids.csv", table)
    with pytest.raises(InputError, match=message):
        data.imagenet(part=part)
