"""Inputs as people bring them: read right, or refused in one sentence. Each test stands for a kind of fault."""

import io
import os
import pickle
import shutil
import tarfile
import zipfile

import layouts
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from mulib import InputError, data
from mulib.__main__ import main
from mulib.data import archive, catalogue, leaks
from mulib.data.archive import Archive
from mulib.data.cache import decode
from mulib.data.logits import Logits
from mulib.data.readers.cifar import CLASSES


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("MULIB_DATA", raising=False)


def encoded(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RAMP = (np.arange(4096).reshape(64, 64) * 16).astype(np.uint16)


def test_sixteen_bits_of_grey_become_the_upper_eight():
    for kind in ("png", "tiff"):
        assert np.array_equal(decode(encoded(Image.fromarray(RAMP), kind), None, "ramp")[0], RAMP >> 8)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    shape = decode(encoded(Image.new("RGB", (16, 8)), kind, exif=exif), None, "phone").shape
    assert shape == ((3, 8, 16) if turn < 5 else (3, 16, 8))


def test_what_is_transparent_is_white_and_what_is_half_is_between():
    red = np.zeros((1, 3, 4), np.uint8)
    red[..., 0], red[0, :, 3] = 255, (0, 128, 255)
    assert decode(encoded(Image.fromarray(red)), None, "a")[:, 0].T.tolist() == [
        [255] * 3,
        [255, 127, 127],
        [255, 0, 0],
    ]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    for kind in ("png", "gif"):
        pixels = decode(encoded(palette, kind, transparency=0), None, "a")
        assert pixels[:, 0].T.tolist() == [[255] * 3, [0, 0, 255]]
    one = decode(encoded(Image.new("L", (1, 1), 7), transparency=7), None, "a")
    assert one.ravel().tolist() == [255] * 3
    grey = Image.fromarray(np.array([[256, 257, 2**15]], np.uint16))
    assert decode(encoded(grey, transparency=256), None, "a")[:, 0].tolist() == [[255, 1, 128]] * 3


@pytest.mark.parametrize("kind", ["webp", "gif", "bmp", "tiff"])
def test_pictures_of_the_web_are_read(kind):
    assert decode(encoded(Image.new("RGB", (8, 8), (0, 0, 255)), kind), None, "a").shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_of_eight_bits_is_read(mode):
    kind = "tiff" if mode == "CMYK" else "png"
    assert decode(encoded(Image.new(mode, (4, 2)), kind), None, "a").shape == (3, 2, 4)


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "tiff"),
        encoded(Image.fromarray(np.full((2, 2), 2**20, np.int32)), "tiff"),
        *(
            encoded(Image.new("L", (8, 8)), kind, save_all=True, append_images=[Image.new("L", (8, 8), 200)])
            for kind in ("gif", "webp", "tiff", "png")
        ),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_a_picture_that_has_no_eight_bits_or_several_frames_is_refused(content):
    with pytest.raises(InputError, match=r"^a cannot be read \(.*\): expected one of JPEG"):
        decode(content, None, "a")


def folders(place, n=2):
    return layouts.cifar_folders(place, CLASSES, n)


@pytest.mark.parametrize("link", ["folder", "file", "hard"])
@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_links_are_followed_wherever_they_lie(tmp_path, link, kind):
    place = folders(tmp_path / "cifar10")
    if link == "folder":
        (place / "aside").mkdir()
        (place / "train" / "cat").rename(tmp_path / "cats" if kind == "folder" else place / "aside" / "cats")
        goal = tmp_path / "cats" if kind == "folder" else "../aside/cats"
        (place / "train" / "cat").symlink_to(goal)
    else:
        (picture := place / "train" / "cat" / "0001.jpg").unlink()
        picture.symlink_to("0000.jpg") if link == "file" else os.link(picture.with_name("0000.jpg"), picture)
    if kind == "tar":
        with tarfile.open(tmp_path / "c.tar", "w") as packed:
            packed.add(place, "cifar10")
        place = tmp_path / "c.tar"
    elif kind == "zip":
        with zipfile.ZipFile(tmp_path / "c.zip", "w") as packed:
            for file in sorted(place.rglob("*")):
                name = file.relative_to(tmp_path).as_posix()
                if file.is_symlink():
                    info = zipfile.ZipInfo(name)
                    info.external_attr = 0o120777 << 16
                    packed.writestr(info, os.readlink(file))
                elif file.is_file():
                    packed.write(file, name)
        place = tmp_path / "c.zip"
    assert data.cifar10(place, unseen=1).train.labels.bincount().tolist() == [2] * 10


def test_a_link_to_nothing_beside_the_data_is_none_of_our_business(tmp_path):
    place = folders(tmp_path / "cifar10")
    (place / "train" / "cat" / ".#0000.jpg").symlink_to("user@host.1234:99")
    (place / "train" / "loop").symlink_to(place / "train")
    (place / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    for beside in (place / "notes.txt", place / "more", tmp_path / "notes.txt"):
        beside.symlink_to("nowhere")
    assert len(data.cifar10(place, unseen=1).train) == 20
    (place / "train" / "cat" / "0000.jpg").unlink()
    (place / "train" / "cat" / "0000.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(InputError, match=r"lacks train/cat/0000\.jpg"):
        data.cifar10(place, unseen=1)


@pytest.mark.parametrize(("gone", "named"), [("train/cat", r"train/cat:"), ("test", "test/airplane, test/automobile")])
def test_a_folder_that_is_missing_is_named(tmp_path, gone, named):
    place = folders(tmp_path / "cifar10")
    shutil.rmtree(place / gone)
    with pytest.raises(InputError, match=f"has no images in {named}"):
        data.cifar10(place, unseen=1)


def test_faces_below_a_link_are_read_and_a_link_to_nothing_is_counted(tmp_path):
    for i in range(60):
        layouts.write(tmp_path / "elsewhere" / f"{20 + i}_0_1_{i:05}.jpg", layouts.image_bytes(i))
    (tmp_path / "UTKFace").mkdir()
    (tmp_path / "UTKFace" / "part1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "UTKFace" / "notes\x9b31m.txt").symlink_to("nowhere")
    with pytest.warns(UserWarning, match=r"skipped 1 of 61 files with malformed names: notes\\x9b31m\.txt"):
        task = data.utkface(tmp_path / "UTKFace")
    assert len(task.val) + sum(map(len, task.sets.values())) == 60


def test_names_that_are_not_utf_8_are_read_and_shown(tmp_path, monkeypatch):
    name = os.fsdecode(b"caf\xe9")
    place = folders(tmp_path / "cifar10")
    (place / "train" / "cat" / "0000.jpg").rename(place / "train" / "cat" / f"{name}.jpg")
    assert f"train/cat/{name}.jpg" in data.cifar10(place, unseen=1).train.names
    for i in range(60):
        layouts.write(tmp_path / "AgeDB" / f"{i}_{name}{i // 2}_{20 + i}_f.jpg", layouts.image_bytes(i // 2))
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    result = CliRunner().invoke(main, ["data", "check", "agedb"])
    assert result.exit_code == 0
    assert r"2 images: 0_caf\udce90_20_f.jpg, 1_caf\udce90_21_f.jpg" in result.output


def test_a_folder_that_links_to_itself_ends(tmp_path):
    layouts.write(tmp_path / "set" / "table.csv", b"a")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    assert Archive(tmp_path / "set", "table.csv").files() == ["table.csv"]


def test_a_pipe_is_not_waited_for(tmp_path):
    layouts.write(tmp_path / "set" / "table.csv", b"a")
    os.mkfifo(tmp_path / "set" / "a.png")
    with pytest.raises(InputError, match=r"lacks a\.png"):
        Archive(tmp_path / "set", "table.csv").read("a.png")


@pytest.mark.parametrize("goal", ["../outside.jpg", "/etc/passwd", "nothing.jpg", "a.jpg"])
def test_a_link_that_leads_out_of_an_archive_or_nowhere_is_refused(tmp_path, goal):
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, goal
        packed.addfile(info)
    with pytest.raises(InputError, match=r"a\.jpg in .* is a link to .*, which cannot be followed"):
        Archive(tmp_path / "a.tar", "").files()


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archive, "SMALL", 2**16)
    layouts.write(tmp_path / "a.csv", bytes(2**22))
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.write(tmp_path / "a.csv", "a.csv")
    else:
        with tarfile.open(tmp_path / f"b.{kind}", f"w:{kind[4:]}") as packed:
            packed.add(tmp_path / "a.csv", "a.csv")
    with pytest.raises(InputError, match="more than 100 times as many"):
        Archive(tmp_path / f"b.{kind}", "a.csv").read("a.csv")


def packed(tmp_path, names, content):
    """A zip of files, the first of which is broken."""
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    name = names[0]
    raw = bytearray((tmp_path / "z.zip").read_bytes())
    raw[30 + len(name) : 38 + len(name)] = b"\xff" * 8
    layouts.write(tmp_path / "z.zip", bytes(raw))
    return tmp_path / "z.zip"


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["table.csv"], data.table),
        (["custom_train_dataset.csv"], data.mufac),
        (["list_attr_celeba.txt"], data.celeba),
        (["CelebA-HQ-attribute.txt", "CelebA-HQ-identity.txt"], data.mucac),
        (["data_batch_1"], data.cifar10),
        (["0_A_35_f.jpg"], data.agedb),
        (["35_1_0_2017.jpg"], data.utkface),
        (["wnids.csv", "val/n01440764/a.JPEG"], data.imagenet),
        (["spread.csv", "spread/a.JPEG", "val/n01440764/a.JPEG"], lambda path: data.imagenet(path, part="spread")),
        (["logits_retain.npy"], lambda path: Logits(path).retrained),
    ],
)
def test_a_zip_with_broken_bytes_is_one_sentence_in_every_reader(tmp_path, names, read):
    path = packed(tmp_path, names, np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match=r"cannot be read \(.*\): "):
        read(path)


HEAD, TAIL = "file,label,set\n", "c.png,cat,test\nd.png,dog,unseen\n"


def own_table(tmp_path, text, **options):
    for i, name in enumerate("abcd"):
        layouts.write(tmp_path / "own" / f"{name}.png", layouts.image_bytes(i))
    layouts.write(tmp_path / "own" / "table.csv", text)
    return data.table(tmp_path / "own", **options)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "a.png,cat ,retain\nb.png, dog,forget\n" + TAIL,
        "file , label,set\na.png,cat,retain \nb.png,dog,forget\n\n" + TAIL,
        (HEAD + "a.png,cat,retain\nb.png,dog,forget\n" + TAIL).replace("\n", "\r"),
        (HEAD + "a.png,cat,retain\nb.png,dog,forget\n" + TAIL).replace("\n", "\r\n"),
        "\ufeff" + HEAD + '"a.png","cat",retain\nb.png,dog,forget\n' + TAIL,
        HEAD + "a.jpg,cat,retain\nb.webp,dog,forget\n" + TAIL,  # the copy has another format than the list
    ],
)
def test_an_own_table_is_read_as_meant(tmp_path, text):
    task = own_table(tmp_path, text)
    assert task.train.classes == ("cat", "dog")
    assert task.train.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD + "a.png,1,retain\nb.png,1.0,forget\n" + TAIL, "labels '1' and '1.0'"),
        (HEAD + "a.png,Cat,retain\nb.png,dog,forget\n" + TAIL, "labels 'Cat' and 'cat'"),
        *(
            (HEAD + f"a.png,{nan},retain\nb.png,cat,forget\n" + TAIL, f"label '{nan}'")
            for nan in ("nan", "NaN", "None")
        ),
        (HEAD + "a.png,cat,retain\na.png,cat,forget\n" + TAIL, r"lists a\.png 2 times"),
        (HEAD + "a.png,cat,retain\n./a.png,cat,forget\n" + TAIL, r"lists a\.png 2 times"),
        ("file,set,label\na.png,retain,cat, black\n", "line 2 of .* has 4 cells, the head 3"),
        (HEAD + "a.png,cat\n", "has 2 cells, the head 3"),
        (HEAD + "a.png,,retain\n", "an empty cell"),
        (HEAD + "a.png,\x1b[31mred,retain\n", "a control character"),
        (HEAD + f"a.png,{'x' * 200_000},retain\n", "cannot be read .*field larger"),
        (HEAD + 'a.png,"cat,retain\n', "cannot be read"),
        ("file,label,label,set\na.png,cat,cat,retain\n", "has 2 columns label"),
        ("file;label;set\na.png;cat;retain\n", "has no column file in file;label;set"),
        (HEAD, "has no rows"),
        ("", "has no column file"),
        ((HEAD + TAIL).encode("utf-16"), "cannot be read"),
    ],
)
def test_a_table_that_says_two_things_is_refused(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        own_table(tmp_path, text)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e39", "two", "1,5"])
def test_a_value_is_a_finite_number(tmp_path, value):
    rows = f'a.png,"{value}",retain\nb.png,3,forget\nc.png,4,test\nd.png,5,unseen\n'
    with pytest.raises(InputError, match="label"):
        own_table(tmp_path, HEAD + rows, labels="values")


def test_a_task_that_needs_a_path_says_so():
    with pytest.raises(InputError, match="table needs the option path"):
        catalogue.load("table")


def test_a_copy_of_a_file_never_lies_on_both_sides_of_a_split(tmp_path):
    for i in range(60):
        layouts.write(tmp_path / "UTKFace" / f"{20 + i}_0_1_{i:05}.jpg", layouts.image_bytes(i // 3, (16, 16)))
        layouts.write(tmp_path / "AgeDB" / f"{i}_P{i}_{20 + i}_f.jpg", layouts.image_bytes(i // 3, (16, 16)))
    for read in (data.utkface, data.agedb):
        task = read(tmp_path / {"utkface": "UTKFace", "agedb": "AgeDB"}[read.__name__], size=16)
        each = [{bytes(row) for row in part.digests.numpy()} for part in task.sets.values()]
        assert sum(map(len, each)) == len(set().union(*each))

    place = layouts.celeba(tmp_path / "celeba")  # no official partition
    for i in range(40):
        layouts.write(place / "img_align_celeba" / f"{i + 1:06}.jpg", layouts.image_bytes(i * 7 % 40 // 2, (16, 16)))
    with pytest.warns(UserWarning, match="celeba has 14 files in retain and in forget"):  # which attributes draw
        task = data.celeba(place, attributes=("Bald",), forget=("Smiling",))
    each = [{bytes(row) for row in part.digests.numpy()} for part in (task.train, task.val, task.test, task.unseen)]
    assert sum(map(len, each)) == len(set().union(*each))


COPIES = {  # a published layout, one of its files, another whose place the copy takes, and what is said
    "celeba": (
        lambda place: layouts.celeba(place, partition=(0, 0, 1, 2)),
        lambda place: data.celeba(place, attributes=("Bald",), forget=("Male",)),
        ("img_align_celeba/000001.jpg", "img_align_celeba/000025.jpg"),
        "celeba has 1 files in forget and in val",
    ),
    "mucac": (
        layouts.mucac,
        data.mucac,
        ("CelebA-HQ-img/0.jpg", "CelebA-HQ-img/4.jpg"),
        "mucac has 1 files in forget and in test",
    ),
    "cifar10": (
        lambda place: folders(place),
        lambda place: data.cifar10(place, unseen=1),
        ("train/cat/0000.jpg", "test/dog/0001.jpg"),
        "cifar10 has 1 files in (retain|forget) and in (test|unseen)",
    ),
}


@pytest.mark.filterwarnings("error")  # clean sets say nothing
@pytest.mark.parametrize(("make", "read", "copy", "says"), COPIES.values(), ids=COPIES.keys())
def test_a_copy_across_the_sets_that_others_drew_is_warned_of(tmp_path, make, read, copy, says):
    place = make(tmp_path / "set")
    read(place)
    shutil.copyfile(place / copy[0], place / copy[1])
    with pytest.warns(UserWarning, match=rf"{says}: look at leaks\.check"):
        read(place)


@pytest.mark.filterwarnings("error")
def test_mufacs_copies_are_published_and_are_found_by_who_asks(tmp_path):
    place = layouts.mufac(tmp_path / "set")
    for split, name in (("val", "Fval_AGE_P0_0.jpg"), ("test", "Ftest_AGE_P0_0.jpg")):
        shutil.copyfile(place / "train_images" / "Ftrain_AGE_P0_0.jpg", place / f"{split}_images" / name)
    pairs = leaks.check(data.mufac(place)).pairs
    assert [pairs[name].files for name in ("forget/test", "forget/unseen", "test/unseen")] == [1, 1, 1]


def test_a_copy_across_the_sets_of_an_own_table_is_warned_of(tmp_path):
    own_table(tmp_path, HEAD + "a.png,cat,retain\nb.png,dog,forget\n" + TAIL)
    layouts.write(tmp_path / "own" / "d.png", layouts.image_bytes(0))
    with pytest.warns(UserWarning, match=r"own has 1 files in retain and in unseen: look at leaks\.check"):
        data.table(tmp_path / "own")


def test_lists_whose_copy_has_another_format(tmp_path):
    place = layouts.celeba(tmp_path / "celeba")
    whole = data.celeba(place, forget=("Smiling",), attributes=("Male",))
    for file in (place / "img_align_celeba").iterdir():
        file.rename(file.with_suffix(".png"))
    again = data.celeba(place, forget=("Smiling",), attributes=("Male",))
    assert torch.equal(whole.train.images, again.train.images)
    mufac = layouts.mufac(tmp_path / "mufac")
    for file in mufac.glob("*_images/*"):
        file.rename(file.with_suffix(".png"))
    assert len(data.mufac(mufac).train) == 8
    mucac = layouts.mucac(tmp_path / "mucac")
    for i, file in enumerate(mucac.glob("CelebA-HQ-img/*")):
        file.rename(file.with_suffix(".png" if i % 2 else ".JPG"))
    assert len(data.mucac(mucac).train) == 4


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("metrics.csv", "seed,retain_accuracy,forget_accuracy,test_accuracy\n0,1,1,1\n", "has 1 rows for 2 models"),
        *(
            (
                "metrics.csv",
                f"seed,retain_accuracy,forget_accuracy,test_accuracy\n0,1,1,1\n1,{n},1,1\n",
                "expected shares",
            )
            for n in ("7", "-3", "nan", "inf")
        ),
        ("metrics.csv", "seed,retain_accuracy,forget_accuracy,test_accuracy\n0,1,1,1\n1,x,1,1\n", "cannot be read"),
        ("logits_retain.npy", np.zeros((3, 3, 2), "i4"), "is int32 of shape"),
        ("logits_retain.npy", np.zeros((3, 3, 2), "c8"), "is complex64 of shape"),
        ("logits_retain.npy", np.zeros((3, 3), "f4"), "of shape"),
        ("logits_retain.npy", np.zeros(3, "f4,i4"), "of shape"),
        ("logits_retain.npy", np.array([None]), "cannot be read"),
        (
            "logits_retain.npy",
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2**60,)}\n",
            "read",
        ),
    ],
)
def test_logits_and_accuracies_that_cannot_be_are_refused(tmp_path, name, content, sentence):
    logits = torch.randn(3, 2, 2)
    scores = dict.fromkeys(("retain", "forget", "test"), torch.ones(2))
    data.write_logits(tmp_path, "baseline", logits, torch.tensor([0, 1, 0]), scores)
    if isinstance(content, np.ndarray):
        np.save(tmp_path / name, content, allow_pickle=True)
    else:
        layouts.write(tmp_path / name, content)
    with pytest.raises(InputError, match=sentence):
        Logits(tmp_path).accuracy()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_logits_of_any_machine_are_read(tmp_path, dtype, order):
    logits = torch.randn(3, 2, 2)
    scores = dict.fromkeys(("retain", "forget", "test"), torch.ones(2))
    data.write_logits(tmp_path, "baseline", logits, torch.tensor([0, 1, 0]), scores)
    file = tmp_path / "logits_retain.npy"
    np.save(file, np.asarray(np.load(file), dtype, order=order))
    assert torch.allclose(Logits(tmp_path).retrained.float(), logits, atol=1e-2)


def dtype_that_is_steered():
    """A pickle of allowed names only, whose dtype claims to hold objects: numpy follows its bytes as pointers."""
    return (
        b"\x80\x02}(X\x04\x00\x00\x00datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89U\x08AAAAAAAAtbu."
    )


@pytest.mark.parametrize(
    "content",
    [
        dtype_that_is_steered(),
        pickle.dumps({"data": np.array([object], object), "labels": [1], "filenames": ["a"]}, 2),
        pickle.dumps({"data": np.zeros((1, 3072), "f8"), "labels": [1], "filenames": ["a"]}, 2),
        pickle.dumps([1, 2]),
        b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",  # sets an attribute of what it may name
        b"\x80\x04\x96" + b"\xff" * 7 + b"\x00.",  # a bytearray of 2**56 bytes
    ],
)
def test_no_pickle_steers_more_than_numbers(tmp_path, content):
    layouts.cifar_batches(tmp_path / "cifar-10-batches-py")
    layouts.write(tmp_path / "cifar-10-batches-py" / "data_batch_2", content)
    with pytest.raises(InputError, match="expected a batch of CIFAR-10, fetch it again"):
        data.cifar10(tmp_path / "cifar-10-batches-py")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("labels", [list, np.array, lambda v: np.array(v, ">i8"), lambda v: np.array(v, np.uint8)])
def test_a_batch_is_read_whatever_wrote_it(tmp_path, protocol, labels):
    images, truth = layouts.cifar_batches(tmp_path / "cifar-10-batches-py")
    for file in (tmp_path / "cifar-10-batches-py").iterdir():
        content = pickle.loads(file.read_bytes())
        content["labels"] = labels(content["labels"])
        content["data"] = np.asfortranarray(content["data"])
        layouts.write(file, pickle.dumps(content, protocol))
    task = data.cifar10(tmp_path / "cifar-10-batches-py", unseen=0)
    assert torch.equal(task.train.images, torch.from_numpy(images[:100]))
    assert torch.equal(task.train.labels, truth[:100])
