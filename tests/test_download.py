"""Finding and fetching: MULIB_DATA first, checksums always, and nothing half-written."""

import dataclasses
import hashlib
import http.server
import threading
from functools import partial

import pooch
import pytest
from published import write_folder

from mulib import InputError
from mulib.data import download


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's own cache folder, empty; no MULIB_DATA, no MULIB_CACHE."""
    monkeypatch.delenv("MULIB_DATA", raising=False)
    monkeypatch.delenv("MULIB_CACHE", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "mulib" / "downloads"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine that publishes a small artefact; yields the folder that it serves."""
    folder = write_folder(tmp_path / "public")
    files = [f for f in folder.rglob("*.*") if f.is_file()]
    digests = {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        source = dataclasses.replace(
            download.SOURCES["forget-with-precision"],
            base_url=f"http://127.0.0.1:{httpd.server_port}/",
            sha256=digests,
        )
        monkeypatch.setitem(download.SOURCES, "forget-with-precision", source)
        yield folder
        httpd.shutdown()


def test_fetch_downloads_once_and_then_finds(cache, server):
    assert download.find("forget-with-precision") is None
    first = download.fetch("forget-with-precision")
    assert first.path == cache / "forget_with_precision"
    assert first.approaches == ("finetune", "prune")
    (server / "logits_retain.npy").unlink()  # the second time nothing is asked of the server
    assert download.fetch("forget-with-precision").path == first.path


def test_what_was_fetched_and_damaged_since_is_fetched_again(cache, server):
    first = download.fetch("forget-with-precision")
    for harm in (lambda file: file.write_bytes(b"x"), lambda file: file.unlink()):
        harm(first.path / "logits_retain.npy")
        assert download.fetch("forget-with-precision").approaches == ("finetune", "prune")
        assert (first.path / "logits_retain.npy").read_bytes() == (server / "logits_retain.npy").read_bytes()
    assert [path.name for path in cache.iterdir()] == ["forget_with_precision"]


def test_wrong_checksum_leaves_nothing(cache, server):
    with open(server / "prune" / "logits_unlearn.npy", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="wrong checksum"):
        download.fetch("forget-with-precision")
    assert not list(cache.iterdir())


def test_no_network_leaves_nothing_and_says_what_to_do(cache, monkeypatch):
    source = download.SOURCES["forget-with-precision"]
    offline = dataclasses.replace(source, base_url="http://127.0.0.1:9/")  # nobody listens on the discard port
    monkeypatch.setitem(download.SOURCES, "forget-with-precision", offline)
    with pytest.raises(InputError, match=r"could not be downloaded.*MULIB_DATA"):
        download.fetch("forget-with-precision")
    assert not list(cache.iterdir())


def test_mulib_data_comes_first(cache, tmp_path, monkeypatch):
    cached = write_folder(cache / "forget_with_precision")
    assert download.find("forget-with-precision").path == cached
    named = write_folder(tmp_path / "named" / "forget_with_precision")
    monkeypatch.setenv("MULIB_DATA", str(tmp_path / "named"))
    assert download.find("forget-with-precision").path == named


def test_found_data_is_verified(server, cache, tmp_path, monkeypatch):
    write_folder(tmp_path / "named" / "forget_with_precision", seed=1)
    monkeypatch.setenv("MULIB_DATA", str(tmp_path / "named"))
    with pytest.raises(InputError, match="wrong checksum"):
        download.fetch("forget-with-precision")


def test_mulib_data_must_be_a_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MULIB_DATA", str(tmp_path / "typo"))
    with pytest.raises(InputError, match="no folder"):
        download.find("forget-with-precision")


def test_unknown_name():
    with pytest.raises(InputError, match="expected one of forget-with-precision"):
        download.fetch("imagenet")


def test_published_files_have_the_published_checksums(published):
    assert download.SOURCES["forget-with-precision"].wrong(published.path) is None
