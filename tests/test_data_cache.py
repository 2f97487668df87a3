"""Images decoded once: what the cache holds, and what it survives."""

import errno
import hashlib
import io
import os
import subprocess
import sys

import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from mulib import InputError
from mulib.data import cache
from mulib.data.archive import Archive
from mulib.data.cache import decoded

COUNT = 10


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache" / "mulib"))
    monkeypatch.setattr(cache, "CHUNK", 4)
    return tmp_path / "cache" / "mulib" / "images"


@pytest.fixture
def folder(tmp_path):
    for i in range(COUNT):
        layouts.write(tmp_path / "set" / f"{i}.jpg", layouts.image_bytes(i, (20, 16), "jpeg" if i % 2 else "png"))
    return tmp_path / "set"


def get(path, size=None):
    archive = Archive(path, "0.jpg")
    return decoded(archive, archive.files(), size)


def entries(own_cache):
    return [p for p in own_cache.iterdir() if p.is_dir() and p.name != "stamps"]


def by_pillow(folder, size=None):
    """The oracle: file after file through Pillow and torchvision's own Resize, as the papers' loaders do it."""
    from torchvision.transforms import functional

    images = [Image.open(p).convert("RGB") for p in sorted(folder.iterdir())]
    if size is not None:
        images = [functional.resize(image, [size, size]) for image in images]
    return torch.stack([functional.pil_to_tensor(image) for image in images])


@pytest.mark.parametrize("size", [None, 8, 32])
def test_images_are_what_pillow_and_torchvision_give(folder, size):
    first, second = get(folder, size), get(folder, size)
    for found in (first, second):
        assert found.images.dtype == torch.uint8
        assert torch.equal(found.images, by_pillow(folder, size))


def test_digests_are_the_files_hashes(folder):
    expected = [hashlib.sha256(p.read_bytes()).digest() for p in sorted(folder.iterdir())]
    assert [bytes(row) for row in get(folder).digests.numpy()] == expected


def test_the_second_call_decodes_nothing(folder, monkeypatch):
    get(folder)
    monkeypatch.setattr(cache, "decode", None)
    monkeypatch.setattr(Archive, "read", None)
    assert len(get(folder).images) == COUNT


def test_the_same_files_in_a_zip_share_the_entry(folder, own_cache):
    before = get(folder).images
    after = get(layouts.pack(folder, "zip")).images
    assert torch.equal(before, after)
    assert len(entries(own_cache)) == 1


def test_a_replaced_file_is_noticed(folder):
    get(folder)
    layouts.write(folder / "3.jpg", layouts.image_bytes(99, (20, 16)))
    assert torch.equal(get(folder).images, by_pillow(folder))


def flip_a_byte(entry):
    data = bytearray((entry / "images.npy").read_bytes())
    data[-5] ^= 1
    (entry / "images.npy").write_bytes(data)


DAMAGE = {
    "a flipped byte": flip_a_byte,
    "a truncated file": lambda entry: os.truncate(entry / "images.npy", 500),
    "an empty file": lambda entry: (entry / "images.npy").write_bytes(b""),
    "a missing file": lambda entry: (entry / "images.npy").unlink(),
    "no digests": lambda entry: (entry / "digests.npy").unlink(),
    "wrong digests": lambda entry: np.save(entry / "digests.npy", np.zeros((COUNT, 32), np.uint8)),
    "a damaged state": lambda entry: (entry / "state.json").write_text('{"chunks": 3'),
    "no state": lambda entry: (entry / "state.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_rebuilt(folder, own_cache, damage):
    expected = get(folder)
    images, digests = expected.images.clone(), expected.digests.clone()
    damage(entries(own_cache)[0])
    found = get(folder)
    assert torch.equal(found.images, images)
    assert torch.equal(found.digests, digests)


def count_decodes(monkeypatch, stop_at=None):
    calls, decode = [], cache.decode

    def counting(data, size, where, **options):
        if where.split(".jpg")[0].endswith(f"{stop_at}"):
            raise KeyboardInterrupt
        calls.append(where)
        return decode(data, size, where, **options)

    monkeypatch.setattr(cache, "decode", counting)
    return calls


def test_one_flipped_byte_costs_one_chunk(folder, own_cache, monkeypatch):
    get(folder)
    flip_a_byte(entries(own_cache)[0])
    calls = count_decodes(monkeypatch)
    get(folder)
    assert len(calls) == 1 + COUNT % 4  # the first image again, for its size, and the last chunk's two


def test_an_interrupted_build_resumes(folder, monkeypatch):
    with monkeypatch.context() as patch:
        count_decodes(patch, stop_at=9)
        with pytest.raises(KeyboardInterrupt):
            get(folder)
    calls = count_decodes(monkeypatch)
    assert torch.equal(get(folder).images, by_pillow(folder))
    assert len(calls) == 1 + COUNT % 4


BUILD = """
import hashlib, sys
from mulib.data.archive import Archive
from mulib.data.cache import decoded
archive = Archive(sys.argv[1], "0.jpg")
sys.stdin.readline()
print(hashlib.sha256(decoded(archive, archive.files(), 24).images.numpy().tobytes()).hexdigest())
"""


def test_processes_that_build_at_once_get_one_result(folder, own_cache):
    for i in range(COUNT, 300):
        layouts.write(folder / f"{i}.jpg", layouts.image_bytes(i, (20, 16)))
    command = [sys.executable, "-c", BUILD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    builders = [subprocess.Popen(command, **pipes) for _ in range(2)]
    results = {builder.communicate("go\n", timeout=600)[0].strip() for builder in builders}
    assert results == {hashlib.sha256(get(folder, 24).images.numpy().tobytes()).hexdigest()}
    assert len(entries(own_cache)) == 1


def jpeg(size=(20, 16)):
    return layouts.image_bytes(7, size, "jpeg")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (jpeg()[:-30], r"4\.jpg in .*set cannot be read \(.*\): expected one of JPEG, .* or remove it\."),
        (jpeg()[:10], r"4\.jpg in .*set cannot be read"),
        (b"", r"4\.jpg in .*set cannot be read"),
        (b"plain text", r"4\.jpg in .*set cannot be read"),
        (jpeg((20, 17)), r"4\.jpg in .*set has 17×20 pixels, the first image 16×20 pixels: pass a size"),
    ],
    ids=["truncated", "header only", "empty", "text", "another size"],
)
def test_a_bad_image_is_one_sentence_and_nothing_else_is_touched(folder, content, sentence):
    layouts.write(folder / "4.jpg", content)
    before = layouts.tree(folder)
    with pytest.raises(InputError, match=sentence):
        get(folder)
    assert layouts.tree(folder) == before
    (folder / "4.jpg").unlink()
    assert torch.equal(get(folder).images, by_pillow(folder))


def test_images_of_any_size_are_resized_when_asked(folder):
    layouts.write(folder / "4.jpg", jpeg((9, 30)))
    assert get(folder, 12).images.shape == (COUNT, 3, 12, 12)


def test_grey_images_become_three_equal_channels(folder):
    buffer = io.BytesIO()
    Image.fromarray(layouts.picture(1, (20, 16))).convert("L").save(buffer, "jpeg")
    layouts.write(folder / "4.jpg", buffer.getvalue())
    image = get(folder).images[4]
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])


def test_writing_to_the_images_leaves_the_cache_alone(folder):
    found = get(folder).images
    found.zero_()
    assert torch.equal(get(folder).images, by_pillow(folder))


def test_a_cache_that_cannot_be_written_is_one_sentence(folder, tmp_path, monkeypatch):
    layouts.write(tmp_path / "file", b"")
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"the cache .* cannot be used .*: make room, or set MULIB_CACHE\."):
        get(folder)


def test_a_full_disk_is_one_sentence_at_every_call(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for _ in range(2):  # the first leaves a file without its place on the disk
            with pytest.raises(InputError, match=r"the cache .* cannot be used .*No space left.*: make room"):
                get(folder)
    assert torch.equal(get(folder).images, by_pillow(folder))


def test_a_size_below_one_is_refused(folder):
    with pytest.raises(InputError, match="size is 0"):
        get(folder, 0)
