"""Folders, zips and tars, read in place."""

import io
import os
import tarfile
import tempfile
import zipfile
from functools import partial

import layouts
import pytest

from mulib import InputError
from mulib.data.archive import Archive

FILES = {"table.csv": b"a,b\n", "pictures/1.jpg": b"one", "pictures/deep/2.jpg": b"two"}


def make(folder, kind):
    for name, content in FILES.items():
        layouts.write(folder / name, content)
    return layouts.pack(folder, kind)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_the_same_files_however_they_are_packed(tmp_path, kind):
    archive = Archive(make(tmp_path / "set", kind), "table.csv")
    assert archive.files() == sorted(FILES)
    assert archive.files("pictures") == ["pictures/1.jpg", "pictures/deep/2.jpg"]
    assert {name: archive.read(name) for name in FILES} == FILES
    assert "pictures/1.jpg" in archive
    assert "pictures/3.jpg" not in archive


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_the_layout_is_found_below_other_folders(tmp_path, kind):
    make(tmp_path / "outer" / "set", "folder")
    archive = Archive(layouts.pack(tmp_path / "outer", kind), "table.csv")
    assert archive.prefix.endswith("set/")
    assert archive.text("table.csv") == "a,b\n"


def climbing(path, name):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("table.csv", "a,b\n")
            archive.writestr(name, b"evil")
    else:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil.jpg", "pictures/../../evil.jpg", "/tmp/evil.jpg", "..\\evil.jpg"])
def test_an_archive_that_climbs_out_is_refused_and_nothing_is_written(tmp_path, suffix, name):
    (tmp_path / "inner").mkdir()
    path = climbing(tmp_path / "inner" / f"set.{suffix}", name)
    before = layouts.tree(tmp_path)
    with pytest.raises(InputError, match=r"set\.(zip|tar) names .*evil.*leads out of it"):
        Archive(path, "table.csv")
    assert layouts.tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_a_name_that_climbs_out_is_never_read(tmp_path, kind):
    archive = Archive(make(tmp_path / "set", kind), "table.csv")
    layouts.write(tmp_path / "secret", b"x")
    with pytest.raises(InputError, match="leads out"):
        archive.read("pictures/../../secret")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tgz", "tar.xz"])
def test_a_tar_spoilt_in_the_middle_is_one_sentence(tmp_path, kind):
    path = tmp_path / f"set.{kind}"
    with tarfile.open(path, {"tgz": "w:gz"}.get(kind, f"w:{kind[4:]}"), format=tarfile.USTAR_FORMAT) as packed:
        for i in range(20):
            layouts.write(tmp_path / "set" / f"{i}.csv", os.urandom(2000))
            packed.add(tmp_path / "set" / f"{i}.csv", f"{i}.csv")
    content = bytearray(path.read_bytes())
    middle = 10 * 2560 if kind == "tar" else len(content) // 2  # a tar has no checksums but in the heads of its files
    content[middle : middle + 100] = bytes(each ^ 0x55 for each in content[middle : middle + 100])
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"set\..* cannot be read \(.*\): fetch it again\.$"):
        Archive(path, "0.csv")


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz"])
def test_a_temporary_folder_that_is_full_or_not_there_is_no_damage(tmp_path, monkeypatch, kind):
    make(tmp_path / "set", "folder")
    with tarfile.open(tmp_path / f"set.{kind}", f"w:{kind[4:]}") as packed:
        packed.add(tmp_path / "set", "set")
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "r+b", buffering=0))
    with pytest.raises(InputError, match=r"No space left .*: the disk is full: make room, or set TMPDIR"):
        Archive(tmp_path / f"set.{kind}", "table.csv")
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, tmp_path / "nowhere" / "x", "w+b"))
    with pytest.raises(InputError, match=r"a temporary copy of .* cannot be read .*: set TMPDIR to a folder"):
        Archive(tmp_path / f"set.{kind}", "table.csv")


@pytest.mark.parametrize("kind", ["zip", "tar.xz"])
def test_a_truncated_archive_is_one_sentence(tmp_path, kind):
    path = make(tmp_path / "set", kind)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"set\..* cannot be read .*: fetch it again\.$"):
        Archive(path, "table.csv")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_not_there_is_named(tmp_path, kind):
    path = make(tmp_path / "set", kind)
    with pytest.raises(InputError, match=r"lacks .*pictures/9\.jpg: fetch the data again"):
        Archive(path, "table.csv").read("pictures/9.jpg")
    with pytest.raises(InputError, match=r"holds no other\.csv"):
        Archive(path, "other.csv")
    with pytest.raises(InputError, match="nowhere does not exist"):
        Archive(tmp_path / "nowhere", "table.csv")
    layouts.write(tmp_path / "notes.txt", b"")
    with pytest.raises(InputError, match="neither a folder nor"):
        Archive(tmp_path / "notes.txt", "table.csv")
