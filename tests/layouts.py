"""Small data sets in their published layouts, made for a test: noise, no faces."""

import csv
import io
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import torch
from PIL import Image

FORTY = 40  # CelebA's attributes
MUFAC_SEEDS = {"train": 1000, "val": 2000, "test": 3000}  # image i of a split is picture(seed + i)


def picture(seed, size=(16, 16)):
    """(height, width, 3) uint8: smooth noise, so that JPEG keeps it recognisable."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def image_bytes(seed, size=(16, 16), kind="png"):
    buffer = io.BytesIO()
    Image.fromarray(picture(seed, size)).save(buffer, kind)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def pack(folder, kind):
    """The folder as it is, or packed as a zip or a tar.xz beside it; the folder is then gone."""
    if kind == "folder":
        return folder
    packed = folder.with_name(f"{folder.name}.{kind}")
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder.parent))
    else:
        with tarfile.open(packed, "w:xz") as archive:
            for file in files:
                archive.add(file, file.relative_to(folder.parent))
    shutil.rmtree(folder)
    return packed


def tree(folder):
    """Every file below a folder with its bytes: what must not change."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def mufac(folder, train=8, val=4, test=4):
    """Distinct pictures; two images per person; age classes a, b, c … in turn."""
    for split, rows in (("train", train), ("val", val), ("test", test)):
        table = [("family_id", "person_id", "age_class", "image_path")]
        for i in range(rows):
            name = f"F{split}_AGE_P{i // 2}_{i}.jpg"
            table.append((f"F{split}", f"P{i // 2}", "abcdefgh"[i % 8], name))
            write(folder / f"{split}_images" / name, image_bytes(MUFAC_SEEDS[split] + i))
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(table)
        write(folder / f"custom_{split}_dataset.csv", buffer.getvalue())
    return folder


def attribute_table(names, values, attributes):
    lines = [str(len(names)), " ".join(attributes)]
    lines += [f"{name} " + " ".join("1" if v else "-1" for v in row) for name, row in zip(names, values, strict=True)]
    return "\n".join(lines) + "\n"


def celeba(folder, images=40, partition=(0,)):
    """Two images per person; attribute j of image i is set where i is a multiple of j + 1."""
    names = [f"{i:06}.jpg" for i in range(1, images + 1)]
    attributes = ["Bald", "Male", "Smiling", *(f"A{j}" for j in range(3, FORTY))]
    values = [[i % (j + 1) == 0 for j in range(FORTY)] for i in range(images)]
    write(folder / "list_attr_celeba.txt", attribute_table(names, values, attributes))
    write(folder / "identity_CelebA.txt", "".join(f"{n} {i // 2}\n" for i, n in enumerate(names)))
    parts = [partition[i * len(partition) // images] for i in range(images)]
    write(folder / "list_eval_partition.txt", "".join(f"{n} {p}\n" for n, p in zip(names, parts, strict=True)))
    for i, name in enumerate(names):
        write(folder / "img_align_celeba" / name, image_bytes(i, (20, 16)))
    return folder


def celeba_of_kaggle(folder, **options):
    """The same with Kaggle's lists, its folder in a folder, and without people."""
    celeba(folder, **options)
    for name, skipped, head in (
        ("list_attr_celeba", 1, "image_id,"),
        ("list_eval_partition", 0, "image_id,partition\n"),
    ):
        lines = (folder / f"{name}.txt").read_text().split("\n", skipped)[-1]
        write(folder / f"{name}.csv", head + lines.replace(" ", ","))
        (folder / f"{name}.txt").unlink()
    (folder / "identity_CelebA.txt").unlink()
    images = folder / "img_align_celeba"
    images.rename(folder / "inner")
    images.mkdir()
    (folder / "inner").rename(images / "img_align_celeba")
    return folder


def mucac(folder, identities=(0, 189, 190, 1969, 1970, 4854, 4855, 6000)):
    names = [f"{i}.jpg" for i in range(len(identities))]
    values = [[i % 2, i % 3 == 0, i % 5 == 0] for i in range(len(names))]
    write(folder / "CelebA-HQ-attribute.txt", attribute_table(names, values, ["Male", "Smiling", "Young"]))
    write(folder / "CelebA-HQ-identity.txt", "".join(f"{n} {p}\n" for n, p in zip(names, identities, strict=True)))
    for i, name in enumerate(names):
        write(folder / "CelebA-HQ-img" / name, image_bytes(i, (32, 32)))
    return folder


def cifar_batches(folder, each=20):
    """torchvision's layout; the images, (6 · each, 3, 32, 32), and their labels are returned."""
    images = np.random.default_rng(0).integers(0, 256, (6 * each, 3, 32, 32), dtype=np.uint8)
    labels = [i % 10 for i in range(6 * each)]
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        part = slice(k * each, (k + 1) * each)
        content = {
            "batch_label": name,
            "labels": labels[part],
            "data": images[part].reshape(each, -1),
            "filenames": [f"{i}.png" for i in range(part.start, part.stop)],
        }
        write(folder / name, pickle.dumps(content, protocol=2))
    return images, torch.tensor(labels)


def cifar_folders(folder, classes, each=4):
    for split in ("train", "test"):
        for k, name in enumerate(classes):
            for i in range(each):
                seed = 1000 * k + i + 500 * (split == "test")
                write(folder / split / name / f"{i:04}.jpg", image_bytes(seed, (32, 32)))
    return folder


def imagenet(folder, wnids=("n01440764", "n02102040"), each=3):
    """Pictures of 40×60 pixels by WordNet id, and two in a part without folders, whose table tells their labels."""
    for k, wnid in enumerate(wnids):
        for i in range(each):
            write(folder / "val" / wnid / f"{wnid}_{i}.JPEG", image_bytes(10 * k + i, (40, 60)))
    for i in range(2):
        write(folder / "spread" / f"{i}.JPEG", image_bytes(90 + i, (60, 40)))
    write(folder / "spread.csv", b"filename,label\n0.JPEG,999\n1.JPEG,5\n")
    return folder
