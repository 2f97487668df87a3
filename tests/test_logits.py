"""The published layout: folder and zip read alike, and every damage is one sentence."""

import shutil
import zipfile

import numpy as np
import pytest
import torch
from published import write_folder

from mulib import InputError
from mulib.data import Logits, write_logits


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "logits")


def test_zip_and_folder_read_alike(folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "logits"), "zip", folder)
    ours, zipped = Logits(folder), Logits(archive)
    assert ours.approaches == zipped.approaches == ("finetune", "prune")
    assert torch.equal(ours.unlearned("prune"), zipped.unlearned("prune"))
    assert torch.equal(ours.retrained, zipped.retrained)
    assert ours.accuracy("prune")["forget"].tolist() == zipped.accuracy("prune")["forget"].tolist()


def test_labels_are_split_from_the_models(folder):
    array = np.load(folder / "logits_retain.npy")
    logits = Logits(folder)
    assert torch.equal(logits.retrained, torch.from_numpy(array[:, 1:]))
    assert torch.equal(logits.labels, torch.from_numpy(array[:, 0].argmax(1)))


def test_what_was_written_is_what_is_read(tmp_path):
    logits, labels = torch.randn(3, 2, 4), torch.tensor([1, 0, 3])
    accuracy = {name: torch.tensor([0.1, 0.9], dtype=torch.float64) for name in ("retain", "forget", "test")}
    for approach in ("baseline", "finetune"):
        write_logits(tmp_path, approach, logits, labels, accuracy)
    read = Logits(tmp_path)
    assert torch.equal(read.unlearned("finetune"), logits)
    assert torch.equal(read.labels, labels)
    assert torch.equal(read.accuracy()["test"], accuracy["test"])


def test_published_accuracies_are_those_of_the_csv(published):
    shares = published.accuracy("prune_complex")
    assert {name: len(values) for name, values in shares.items()} == {"retain": 80, "forget": 80, "test": 80}
    assert f"{100 * shares['forget'].mean():.1f}" == "91.1"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def rewrite(path, change):
    array = np.load(path)
    np.save(path, change(array))


def one_hot_gone(array):
    array[:, 0] = 0.5
    return array


def read_everything(logits):
    logits.unlearned("finetune")
    logits.accuracy("finetune")


DAMAGE = {
    "may be truncated": lambda f: truncate(f / "finetune" / "logits_unlearn.npy"),
    "expected floats": lambda f: rewrite(f / "finetune" / "logits_unlearn.npy", lambda a: a[:, 0]),
    "no one-hot labels": lambda f: rewrite(f / "finetune" / "logits_unlearn.npy", one_hot_gone),
    "not the same forget set": lambda f: rewrite(f / "finetune" / "logits_unlearn.npy", lambda a: a[:3]),
    "holds no finetune/metrics.csv": lambda f: (f / "finetune" / "metrics.csv").unlink(),
    "expected retain_accuracy": lambda f: (f / "finetune" / "metrics.csv").write_text("seed,accuracy\n0,1\n"),
    "has no rows": lambda f: (f / "finetune" / "metrics.csv").write_text(
        "seed,retain_accuracy,forget_accuracy,test_accuracy\n"
    ),
    "no approach 'finetune'": lambda f: shutil.rmtree(f / "finetune"),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_one_sentence(folder, message):
    DAMAGE[message](folder)
    logits = Logits(folder)
    with pytest.raises(InputError, match=message) as error:
        read_everything(logits)
    assert "\n" not in str(error.value)


def test_pickled_arrays_are_refused(folder):
    np.save(folder / "finetune" / "logits_unlearn.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        Logits(folder).unlearned("finetune")


def test_places_without_the_layout(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Logits(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no logits_retain\.npy"):
        Logits(tmp_path)
    write_folder(tmp_path / "original-0")
    with pytest.raises(InputError, match=r"holds no logits_retain\.npy at its top: name original-0/ in it\."):
        Logits(tmp_path)
    (tmp_path / "a.zip").write_text("text")
    with pytest.raises(InputError, match="cannot be read"):
        Logits(tmp_path / "a.zip")


def test_damaged_member_of_a_zip(folder, tmp_path):
    archive = tmp_path / "logits.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for file in folder.rglob("*.*"):
            z.write(file, file.relative_to(folder))
    data = bytearray(archive.read_bytes())
    at = data.find(b"\x93NUMPY") + 200
    data[at : at + 4] = b"\x00\x01\x02\x03"
    archive.write_bytes(data)
    logits = Logits(archive)
    with pytest.raises(InputError, match="cannot be read"):
        [logits.retrained, *map(logits.unlearned, logits.approaches)]
