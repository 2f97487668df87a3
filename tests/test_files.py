"""The cache: made once, whole or not at all, swept after kills, listed and pruned."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from projects import left_after_the_death_of

from mulib import InputError, files
from mulib.__main__ import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(path):
    return path.read_text() if path.exists() else None


def dead():
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def part_of(path, pid, host=files.HOST):
    return path.with_name(f".{path.stem}.{host}.{pid}.part{path.suffix}")


def test_once_makes_once_and_gives_what_is_read():
    path, calls = files.cache_folder("networks") / "a.txt", []

    def make(part):
        calls.append(part)
        part.write_text("made")

    assert [files.once(path, make, read) for _ in range(3)] == ["made"] * 3
    assert len(calls) == 1
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]  # no lock, no part


def test_what_an_error_interrupts_is_not_there():
    path = files.cache_folder("networks") / "a"

    def make(part):
        part.mkdir()
        (part / "half").write_text("ma")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.once(path, make, read)
    assert list(path.parent.iterdir()) == []


def test_a_folder_replaces_a_damaged_folder():
    path = files.cache_folder("downloads") / "set"
    path.mkdir(parents=True)
    (path / "old").touch()

    def make(part):
        part.mkdir()
        (part / "new").touch()

    found = files.once(path, make, lambda path: path if (path / "new").exists() else None)
    assert [each.name for each in found.iterdir()] == ["new"]


def test_what_cannot_be_read_back_is_one_sentence():
    with pytest.raises(InputError, match=r"a does not hold what was just written: look at the disk it is on\.$"):
        files.once(files.cache_folder("networks") / "a", Path.touch, lambda path: None)


def test_threads_and_processes_that_ask_at_once_make_once(tmp_path):
    code = """
import sys, time
from pathlib import Path
from mulib import files
def make(part):
    with open(sys.argv[2], "a") as log: log.write("made ")
    time.sleep(0.3)
    part.write_text("whole")
sys.stdin.readline()
print(files.once(Path(sys.argv[1]), make, lambda path: path.read_text() if path.exists() else None))
"""
    path, log = tmp_path / "cache" / "kind" / "a", tmp_path / "log"
    command = [sys.executable, "-c", code, str(path), str(log)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert {process.communicate(timeout=600)[0] for process in both} == {"whole\n"}
    assert log.read_text() == "made "
    found, calls = [], []

    def make(part):
        calls.append(part)
        time.sleep(0.1)
        part.write_text("whole")

    threads = [
        threading.Thread(target=lambda: found.append(files.once(path.with_name("b"), make, read))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(calls)) == (["whole"] * 5, 1)


def test_five_kills_leave_nothing_that_the_next_call_does_not_sweep(tmp_path):
    code = """
import sys, time
from pathlib import Path
from mulib import files
def make(part):
    part.mkdir()
    print(part, flush=True)
    for n in range(10000):
        (part / str(n)).write_text("x")
        time.sleep(0.001)
files.once(Path(sys.argv[1]), make, lambda path: None)
"""
    path = tmp_path / "cache" / "downloads" / "a"
    for n in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        part = Path(process.stdout.readline().strip())
        time.sleep(0.02 * n)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert part.exists()
        assert not path.exists()
    files.once(path, lambda part: part.write_text("whole"), read)
    assert [each.name for each in path.parent.iterdir()] == ["a"]


def test_the_workers_of_a_killed_process_end_with_it(tmp_path):
    code = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from mulib import files
def work(name):
    Path(sys.argv[1], name).touch()
    time.sleep(600)
with ProcessPoolExecutor(2, multiprocessing.get_context("fork"), files.end_with, (os.getpid(),)) as pool:
    list(pool.map(work, "ab"))
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    assert left_after_the_death_of(process, lambda: all((tmp_path / name).exists() for name in "ab")) == []


@pytest.mark.parametrize("kind", ["networks", "assess/a/models", "faces", "images/a", "images/stamps", "downloads"])
def test_only_parts_of_this_machines_dead_processes_are_swept(kind):
    path = files.cache_folder(kind) / "a.b.npy"
    path.parent.mkdir(parents=True)
    gone, folder = part_of(path, dead()), part_of(path.with_name("folder"), dead())
    folder.mkdir()
    (folder / "file").touch()
    stay = [path, part_of(path, os.getpid()), part_of(path, dead(), host="elsewhere"), path.with_name(".hidden")]
    for each in (gone, *stay):
        each.touch()
    path.with_name(".x.lock").touch()
    with files.locked(path):
        held = path.with_name(".a.b.npy.lock")
        files.sweep(files.cache_folder())
        assert sorted(path.parent.iterdir()) == sorted([*stay, held])
    assert sorted(path.parent.iterdir()) == sorted(stay)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_files_have_the_rights_that_the_umask_leaves(umask, mode, tmp_path):
    def make(part):
        part.touch(0o600)  # as safetensors' own `save_file` leaves it

    before = os.umask(umask)
    try:
        files.once(tmp_path / "a", make, read)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.int64)}


def test_sealed_tensors_are_read_back_and_any_flipped_byte_is_noticed(tmp_path):
    content = files.sealed(TENSORS, seconds=1.5, scores="{}")
    (tmp_path / "a").write_bytes(content)
    tensors, notes = files.read_tensors(tmp_path / "a")
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert notes == {"seconds": "1.5", "scores": "{}"}
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        (tmp_path / "a").write_bytes(damaged)
        assert files.read_tensors(tmp_path / "a") is None, at
    for end in (0, 4, 20, len(content) - 1):
        (tmp_path / "a").write_bytes(content[:end])
        assert files.read_tensors(tmp_path / "a") is None


def test_a_key_belongs_to_all_that_it_is_given_and_to_where_it_is_made(monkeypatch):
    def keys():
        changed = {**TENSORS, "a": TENSORS["a"] + 1}
        same = files.key({"x": 1, "y": (2, None)}, "c", tensors=TENSORS)
        assert files.key({"y": (2, None), "x": 1}, "c", tensors=TENSORS, device=torch.device("cpu")) == same
        assert files.key("c", device="cuda:1") == files.key("c", device="cuda")
        return {
            same,
            files.key({"x": 1, "y": (2, None)}, "d", tensors=TENSORS),
            files.key({"x": 1, "y": (2, None)}, "c", tensors=changed),
            files.key({"x": 1, "y": (2, None)}, "c", tensors={"c": TENSORS["a"], "b": TENSORS["b"]}),
            files.key({"x": 1, "y": (2, None)}, "c", tensors=TENSORS, device="cuda"),
        }

    before = keys()
    assert len(before) == 5
    with monkeypatch.context() as patch:
        patch.setattr(files.metadata, "version", lambda name: "3.0")
        assert before.isdisjoint(keys())
    monkeypatch.setattr(files, "source", lambda: "edited")
    assert before.isdisjoint(keys())


def aged(path, days):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(2**20))
    for each in (path, path.parent):
        os.utime(each, (time.time() - 86400 * days,) * 2)


def test_the_cache_is_listed_by_kind_and_pruned_by_age(own_cache):
    aged(own_cache / "networks" / "old.safetensors", 20)
    aged(own_cache / "networks" / "new.safetensors", 1)
    aged(own_cache / "networks" / "used.safetensors", 20)
    aged(own_cache / "assess" / "old" / "plan.json", 30)
    aged(own_cache / "assess" / "held" / "plan.json", 30)
    files.once(own_cache / "networks" / "used.safetensors", None, lambda path: path)
    listed = CliRunner().invoke(main, ["cache"]).output.splitlines()
    assert [line.split() for line in listed[:2]] == [
        ["assess", "2", "2.0", "MiB", "30.0", "to", "30.0", "days"],
        ["networks", "3", "3.0", "MiB", "0.0", "to", "20.0", "days"],
    ]
    assert listed[2] == f"{own_cache}: kept 5"
    with files.locked(own_cache / "assess" / "held"):
        assert CliRunner().invoke(main, ["cache", "--prune", "10"]).output.splitlines()[-1].endswith("deleted 2")
    left = sorted(path.name for path in own_cache.glob("*/*"))
    assert left == ["held", "new.safetensors", "used.safetensors"]


def test_relative_folders_are_absolute_for_other_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    monkeypatch.setenv("MULIB_DATA", os.pathsep.join(["one", "/"]))
    monkeypatch.setenv("MULIB_CACHE", "kept")
    assert files.absolute() == {"MULIB_DATA": f"{tmp_path}/one:/", "MULIB_CACHE": f"{tmp_path}/kept"}
    assert files.roots() == [tmp_path / "one", Path("/"), tmp_path / "kept" / "downloads"]
    monkeypatch.delenv("MULIB_DATA")
    assert files.absolute() == {"MULIB_CACHE": f"{tmp_path}/kept"}
