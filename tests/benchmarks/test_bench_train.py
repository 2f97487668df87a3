"""Training throughput: `fit` against a bare loop over tensors in memory, and against a DataLoader over files.

Read the mean of each group: `fit` may take at most 1.15 of the bare loop, and must not be slower than the DataLoader.
All three train the same network on the same images with SGD, one epoch, cropped and flipped nowhere.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mulib import models, train
from mulib.data import ImageSet
from mulib.recipe import Recipe

BATCH = 128
CASES = {"narrow (width 8)": (8, 2048), "full (width 64)": (64, 256)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The group's name, a function that makes the network, and the images."""
    width, n = CASES[request.param]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (n,), generator=generator)
    return request.param, lambda: models.resnet18(10, width=width), ImageSet(images, labels, tuple("abcdefghij"))


def step(model, optimiser, x, y):
    loss = F.cross_entropy(model(x), y)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def optimiser_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)


def measure(benchmark, name, run):
    benchmark.group = f"one epoch, 32×32, ResNet-18, {name}"
    benchmark.pedantic(run, rounds=4, warmup_rounds=1)


def test_fit(benchmark, case):
    name, network, data = case
    model = network()
    measure(
        benchmark, name, lambda: train.fit(model, data, Recipe(epochs=1, lr=0.01, batch_size=BATCH), progress=False)
    )


def test_bare_loop(benchmark, case):
    name, network, data = case
    model = network().train()
    optimiser, x = optimiser_of(model), data.pixels(slice(None))

    def epoch():
        for index in torch.randperm(len(x)).split(BATCH):
            step(model, optimiser, x[index], data.labels[index])

    measure(benchmark, name, epoch)


class Files(Dataset):
    """One PNG per image, decoded when it is asked for."""

    def __init__(self, folder, labels):
        self.files, self.labels = sorted(folder.glob("*.png")), labels

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        pixels = np.asarray(Image.open(self.files[i]))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255, self.labels[i]


def test_loader_over_files(benchmark, case, tmp_path):
    name, network, data = case
    for i, image in enumerate(data.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i:05d}.png")
    model = network().train()
    optimiser = optimiser_of(model)
    loader = DataLoader(Files(tmp_path, data.labels), BATCH, shuffle=True, num_workers=2, persistent_workers=True)

    def epoch():
        for x, y in loader:
            step(model, optimiser, x, y)

    measure(benchmark, name, epoch)
