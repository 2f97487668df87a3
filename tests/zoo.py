"""Networks that people bring, small enough for a test: each for images of 1×8×8 or 3×32×32 pixels and three classes."""

import torch
from torch import nn
from torch.nn.utils import parametrizations


class View(nn.Module):
    """Two convolutions, then `.view`, as first networks are written."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.pool, self.f1, self.f2 = nn.MaxPool2d(2), nn.Linear(32, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.pool(torch.relu(self.c2(self.pool(torch.relu(self.c1(x))))))
        return self.f2(torch.relu(self.f1(x.view(-1, 32))))


class HeadFirst(nn.Module):
    """The head is defined before what feeds it."""

    def __init__(self):
        super().__init__()
        self.head, self.conv, self.mid = nn.Linear(16, 3), nn.Conv2d(1, 8, 3, 2, 1), nn.Linear(8, 16)

    def forward(self, x):
        return self.head(torch.relu(self.mid(torch.relu(self.conv(x)).mean((2, 3)))))


class ViT(nn.Module):
    """Patches, a class token, positions and one layer of attention."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 4, 4)
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8) * 0.02)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.layer(torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place)[:, 0])


class ViTAnew(ViT):
    """The same, and it says how its own parameters are drawn."""

    def init_weights(self):
        nn.init.zeros_(self.token)
        nn.init.normal_(self.place, std=0.02)


def plain(norm=nn.BatchNorm2d):
    """A convolution, a norm and a head."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), norm(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )


def normed(norm):
    """The same under a norm of weights, head included."""
    model = plain()
    norm(model[0])
    norm(model[5])
    return model


def frozen():
    model = plain()
    model[0].requires_grad_(False)
    return model


ZOO = {
    "view": View,
    "head first": HeadFirst,
    "ViT": ViT,
    "ViT that says how": ViTAnew,
    "group norm": lambda: plain(lambda n: nn.GroupNorm(2, n)),
    "weight norm": lambda: normed(parametrizations.weight_norm),
    "spectral norm": lambda: normed(parametrizations.spectral_norm),
    "float64": lambda: plain().double(),
    "bfloat16": lambda: plain().bfloat16(),
    "frozen part": frozen,
    "no convolution": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)),
}


class Answering(nn.Module):
    """Logits in a wrapping, as models of other libraries answer."""

    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = plain(), wrap

    def forward(self, x):
        return self.wrap(self.net(x))


# What no method can serve, and a word of the sentence that says so.
UNFIT = {
    "a dict": (lambda: Answering(lambda z: {"logits": z}), "answers with <class 'dict'>"),
    "a tuple": (lambda: Answering(lambda z: (z, z)), "answers with <class 'tuple'>"),
    "other images": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), *plain()[1:]), "cannot take images"),
    "frozen whole": (lambda: plain().requires_grad_(False), "requires a gradient|is frozen|none that train"),
}


def make(name, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ZOO[name]()
