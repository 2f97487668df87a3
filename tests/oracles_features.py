"""Slow, obvious reference implementations of what feature unlearning computes."""

import cv2
import numpy as np
import torch


def channel_similarity(maps):
    """1 + the correlation of every pair of channels over images and positions: maps (N, C, P), NumPy."""
    images, channels, _ = maps.shape
    mean = maps.mean(0)
    covariance = np.zeros((channels, channels))
    for image in range(images):
        for i in range(channels):
            covariance[i] += (maps[image] - mean) @ (maps[image, i] - mean[i])
    covariance /= images
    deviation = np.sqrt(np.diag(covariance))
    return covariance / np.outer(deviation, deviation) + 1


def channel_similarity_at_once(maps):
    """The same with every image's matrix in memory, (N, C, C), as published, but with unmixed mean maps."""
    centred = maps - maps.mean(0)
    covariance = np.matmul(centred, np.transpose(centred, (0, 2, 1))).mean(0)
    deviation = np.sqrt(np.diag(covariance))
    return covariance / np.outer(deviation, deviation) + 1


def group_loss(maps, groups, mean):
    """−Σ over groups of (similarity within) / (similarity of its channels to all): maps (B, C, P), torch."""
    centred = maps - mean
    covariance = centred @ centred.transpose(1, 2)
    deviation = covariance.diagonal(dim1=1, dim2=2).sqrt()
    similarity = covariance / (deviation[:, :, None] * deviation[:, None, :]) + 1
    loss = 0
    for k in range(int(groups.max()) + 1):
        members = (groups == k).nonzero()[:, 0]
        inside = rows = 0
        for matrix in similarity:
            for channel in members.tolist():
                inside = inside + matrix[channel, members].sum() / len(maps)
                rows = rows + matrix[channel].sum() / len(maps)
        loss = loss - inside / (rows + 1e-5)
    return loss


def group_loss_by_masks(maps, groups, mean):
    """The sum over groups of −inside/rows, by a mask per group on every image's matrix: maps (B, C, P), torch.

    As published, but for the mean maps, which are not mixed: two (K, C, C) masks, each times (B, C, C) similarities,
    give (K, B, C, C) tensors.
    """
    centred = maps - mean
    covariance = centred @ centred.transpose(1, 2)
    deviation = covariance.diagonal(dim1=1, dim2=2).sqrt()
    similarity = covariance / (deviation[:, :, None] * deviation[:, None, :]) + 1
    inside, rows = [], []
    for k in range(int(groups.max()) + 1):
        member = (groups == k).to(maps.dtype)
        inside.append(member[:, None] * member[None, :])
        rows.append(member[:, None] * torch.ones_like(member)[None, :])
    inside, rows = torch.stack(inside), torch.stack(rows)
    similarity = (similarity / len(maps)).repeat(len(inside), 1, 1, 1)
    numerator = (similarity * inside[:, None].repeat(1, len(maps), 1, 1)).sum((1, 2, 3))
    denominator = (similarity * rows[:, None].repeat(1, len(maps), 1, 1)).sum((1, 2, 3))
    return -(numerator / (denominator + 1e-5)).sum()


def enlarge(heat, height, width):
    """A map resized to half the size and then to the size, by OpenCV: (h, w) → (height, width)."""
    half = cv2.resize(heat, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)


def mask_where_active(image, heat, threshold):
    """One image blanked pixel by pixel where its map exceeds the threshold: (channels, H, W) and (h, w), torch."""
    _, height, width = image.shape
    heat, result = torch.from_numpy(enlarge(heat.numpy(), height, width)), image.clone()
    for y in range(height):
        for x in range(width):
            if heat[y, x] > threshold:
                result[:, y, x] = 0
    return result


def mask_where_active_in_numpy(image, heat, threshold):
    """The same on NumPy arrays."""
    _, height, width = image.shape
    heat, result = enlarge(heat, height, width), image.copy()
    for y in range(height):
        for x in range(width):
            if heat[y, x] > threshold:
                result[:, y, x] = 0
    return result


def iou(marked, region):
    """Pixels in both over pixels in either, over all images: two (N, H, W) bool arrays, NumPy."""
    both = either = 0
    for one, other in zip(marked.reshape(-1), region.reshape(-1), strict=True):
        both += one and other
        either += one or other
    return both / either
