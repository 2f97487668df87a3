"""GLI per batch, the perturbation, the step and the evaluation after it, against the released procedure.

The released loop passes six sets per batch through the model (test once, forget twice, unseen three times), in float32,
from a DataLoader that decodes JPEG files image by image, and stays in evaluation mode after the first of them; so
`frozen_after=1`. Both sides give the same accuracy and the same losses after each batch, which is asserted. MUFAC's
proportions (batches of 64, 1,500 images in each set) at a quarter of the size, on the quick tier's network.

Read the ratio in parentheses; the issue aims at 4. Half of the passes are saved at any size, and the decoding: the
wider the network, the less that weighs on a CPU (4 at width 8, below 3 at width 16, measured on a busy machine).
It counts processor time on one thread.
"""

import copy
import time

import numpy as np
import oracles
import pytest
import torch
from PIL import Image
from torchvision import transforms

from mulib.data import ImageSet, Request
from mulib.models import resnet18
from mulib.predict import predict
from mulib.train import loss_of
from mulib.unlearn import MUFAC, gli
from mulib.unlearn.pairs import Companion

SIZES = {"retain": 48, "forget": 375, "test": 385, "unseen": 376}
BATCH, SIZE, STEPS, LR, WEIGHTS = 16, 64, 2, 1e-3, (200.0, 1000.0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Files(torch.utils.data.Dataset):
    """The usual way: a file is opened and decoded when the loader asks for it."""

    def __init__(self, files, labels):
        self.files, self.labels = files, labels
        self.transform = transforms.Compose([transforms.Resize(SIZE), transforms.ToTensor()])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i])), self.labels[i]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """JPEG files of 128×128 pixels, as MUFAC's, by the names of the sets."""
    folder, draw, sets = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), {}
    for name, count in SIZES.items():
        paths = [folder / f"{name}{i:04}.jpg" for i in range(count)]
        for path in paths:
            coarse = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            coarse.resize((128, 128), Image.Resampling.BICUBIC).save(path, quality=90)
        sets[name] = Files(paths, torch.from_numpy(draw.integers(0, 8, count)))
    return sets


@pytest.fixture(scope="module")
def sets(files):
    """The same images, decoded once."""
    decoded = {name: torch.stack([x for x, _ in data]).mul(255).round().to(torch.uint8) for name, data in files.items()}
    return {name: ImageSet(images, files[name].labels) for name, images in decoded.items()}


def released(model, files, order):
    """Seconds and, after each batch, the test accuracy and the losses of forget and unseen."""
    found = []

    def losses(net, name):
        net.eval()
        with torch.no_grad():
            loader = torch.utils.data.DataLoader(files[name], 64)
            return torch.cat([loss_of(net(x), y, "none") for x, y in loader])

    def accuracy(net, name):
        net.eval()
        with torch.no_grad():
            hits = [net(x).argmax(1) == y for x, y in torch.utils.data.DataLoader(files[name], 64)]
        return torch.cat(hits).float().mean()

    def evaluate(net):
        test, _ = accuracy(net, "test"), accuracy(net, "unseen")
        _, _ = losses(net, "forget"), losses(net, "unseen")  # of the attack
        found.append((test, losses(net, "forget"), losses(net, "unseen")))  # of the distance

    def pairs():
        for retain, forget in order:
            x, y = zip(*(files["retain"][i] for i in retain), strict=True)
            yield torch.stack(x), torch.stack(y), torch.stack([files["forget"][i][0] for i in forget])

    start, count = time.process_time(), len(order)
    weights = [WEIGHTS[0] + (WEIGHTS[1] - WEIGHTS[0]) * i / count for i in range(count)]
    options = {"steps": STEPS, "size": 0.01, "weights": weights, "lr": LR, "after": evaluate}
    oracles.guided_loss_increasing(model, pairs(), **options)
    return time.process_time() - start, found


def ours(model, sets):
    found, judged = [], {name: sets[name] for name in ("test", "forget", "unseen")}

    def select(net, request):
        logits = predict(net, judged)
        test = (logits["test"].argmax(1) == sets["test"].labels).float().mean()
        found.append((test, *(loss_of(logits[name], sets[name].labels, "none") for name in ("forget", "unseen"))))
        return len(found)

    start = time.process_time()
    request = Request(sets["retain"], sets["forget"], sets["forget"])
    options = {
        "recipe": MUFAC.but(epochs=1, lr=LR, batch_size=BATCH),
        "steps": STEPS,
        "weight": WEIGHTS,
        "frozen_after": 1,
        "progress": False,
    }
    gli(model, request, select=select, **options)
    return time.process_time() - start, found


def order_of(sets):
    """Which files `gli` meets, batch by batch: the labels say where an image stands in its set."""
    numbered = {name: ImageSet(data.images, torch.arange(len(data))) for name, data in sets.items()}
    companion = Companion(numbered["forget"], seed=0)
    batches = numbered["retain"].batches(BATCH, torch.Generator().manual_seed(0))
    return [(retain.tolist(), companion.take(len(retain))[1].tolist()) for _, retain in batches]


@pytest.mark.benchmark(group="GLI on the CPU: three batches, with evaluation")
@pytest.mark.parametrize(("width", "stated"), [(8, 3.0), (16, 2.0)])
def test_gli(benchmark, files, sets, width, stated):
    model, order = resnet18(8, width=width, stem="face").train(), order_of(sets)
    predict(model, sets["test"])  # a first pass is slow
    (seconds, found), (theirs, expected) = (
        benchmark.pedantic(ours, (model, sets), rounds=1),
        released(copy.deepcopy(model), files, order),
    )
    assert len(found) == len(expected) == SIZES["retain"] // BATCH
    for (accuracy, *losses), (their_accuracy, *their_losses) in zip(found, expected, strict=True):
        assert abs(accuracy - their_accuracy) * SIZES["test"] < 1.5  # one image may sit on the fence
        for a, b in zip(losses, their_losses, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    ratio = theirs / seconds
    benchmark.extra_info |= {"released_seconds": theirs, "ratio": ratio}
    print(f"\nper batch: released {theirs / 3:.2f} s, ours {seconds / 3:.2f} s ({ratio:.1f} times as fast)")
    assert ratio >= stated
