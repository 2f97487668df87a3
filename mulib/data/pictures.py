"""Which images are the same picture: exact and perceptual hashes, and all pairs of hashes within a distance."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import scipy.fft
from torch.nn import functional as F

from mulib.data.sets import ImageSet


def pixel_hashes(data: ImageSet) -> np.ndarray:
    """(N, 16) uint8: equal for equal shapes and pixels."""
    head = str(tuple(data.images.shape[1:])).encode()
    each = (hashlib.blake2b(head + image.tobytes(), digest_size=16).digest() for image in data.images.cpu().numpy())
    return np.frombuffer(b"".join(each), np.uint8).reshape(-1, 16)


def perceptual_hashes(data: ImageSet) -> np.ndarray:
    """The 64-bit perceptual hash of every image, (N,) uint64."""
    hashes = [np.empty(0, np.uint64)]
    for images in data.images.split(1024):
        grey = images.float()
        if images.shape[1] == 3:
            grey = (grey * grey.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        small = F.interpolate(grey, (32, 32), mode="bilinear", antialias=True)[:, 0].cpu().numpy()
        low = np.asarray(scipy.fft.dctn(small, axes=(1, 2)))[:, :8, :8].reshape(len(small), 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    return np.concatenate(hashes)


def near_pairs(hashes: np.ndarray, bits: int) -> np.ndarray:
    """All pairs i < j of (N,) uint64 hashes that differ in at most `bits` bits, (P, 2) int64, in ascending order.

    Hashes cut into `bits` + 1 bands agree in at least one band, so only neighbours in a band's order are compared.
    """
    cuts = np.linspace(0, 64, bits + 2).astype(np.uint64)
    found = [np.empty((0, 2), np.int64)]
    for low, high in pairwise(cuts):
        band = (hashes >> low) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        first, step = np.arange(len(order)), 1  # hashes that still have a neighbour `step` places on in their band
        while len(first := first[first + step < len(order)]):
            i, j = order[first], order[first + step]
            same = band[i] == band[j]
            first, i, j = first[same], i[same], j[same]
            close = np.bitwise_count(hashes[i] ^ hashes[j]) <= bits
            found.append(np.sort(np.stack([i[close], j[close]], axis=1), axis=1))
            step += 1
    return np.unique(np.concatenate(found), axis=0)


def numbered(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number per distinct row, (N,) int64, and where each first appears."""
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return inverse.reshape(-1), first
