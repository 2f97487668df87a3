"""Slow, obvious reference implementations. Each is written to be read, not to be run often."""

import numpy as np
from scipy.stats import norm
from sklearn.metrics import det_curve


def hinge(logits, label):
    """z_y − max_{c≠y} z_c of one model on one example: logits (classes,)."""
    others = np.delete(np.asarray(logits, dtype=np.float64), label)
    return float(np.float64(logits[label]) - others.max())


def cross_entropy(logits, label):
    """−log softmax(z)_y of one model on one example: logits (classes,)."""
    z = np.asarray(logits, dtype=np.float64)
    return float(np.log(np.exp(z - z.max()).sum()) + z.max() - z[label])


def likelihood_ratio(x, unlearned, retrained):
    """log p_unlearned(x) − log p_retrained(x) under two fitted normal densities, to nine decimals."""
    mean_u, std_u = unlearned.mean(), max(unlearned.std(), 1e-6)
    mean_r, std_r = retrained.mean(), max(retrained.std(), 1e-6)
    return np.round(norm.logpdf(x, mean_u, std_u) - norm.logpdf(x, mean_r, std_r), 9)


def epsilon_from_scores(unlearned, retrained, delta):
    """ε of one example, from one score per model, by scikit-learn's detection-error trade-off."""
    positive, negative = unlearned, retrained
    if np.median(retrained) > np.median(unlearned):
        positive, negative = retrained, unlearned
    truth = np.concatenate([np.zeros(len(negative)), np.ones(len(positive))])
    fpr, fnr, _ = det_curve(truth, np.concatenate([negative, positive]))
    if np.any((fpr == 0) & (fnr == 0)):
        return np.inf
    keep = ~((fpr == 0) ^ (fnr == 0))
    found = []
    for a, b in zip(fpr[keep], fnr[keep], strict=True):
        for above, below in ((1 - delta - a, b), (1 - delta - b, a)):
            if above > 0:
                found.append(np.log(above) - np.log(below))
    return max(found) if found else np.nan


def epsilon(unlearned, retrained, labels, delta, statistic="hinge"):
    """Per-example ε as the paper defines it, one example and one model at a time: logits (E, M, C) → (E,)."""
    result = []
    for z_u, z_r, label in zip(unlearned, retrained, labels, strict=True):
        reduce = {"hinge": hinge, "loss": cross_entropy}[statistic]
        u = np.array([reduce(z, label) for z in z_u])
        r = np.array([reduce(z, label) for z in z_r])
        if statistic == "hinge":
            u, r = likelihood_ratio(u, u, r), likelihood_ratio(r, u, r)
        else:
            u, r = np.round(u, 9), np.round(r, 9)
        result.append(epsilon_from_scores(u, r, delta))
    return np.array(result)


def clopper_pearson(k, n, confidence):
    """Bounds on a rate by inverting the binomial's tails: the rates at which k or fewer (more) have probability α/2."""
    from scipy.optimize import brentq
    from scipy.stats import binom

    alpha = 1 - confidence
    lower = 0.0 if k == 0 else brentq(lambda p: binom.sf(k - 1, n, p) - alpha / 2, 0, 1)
    upper = 1.0 if k == n else brentq(lambda p: binom.cdf(k, n, p) - alpha / 2, 0, 1)
    return lower, upper


def lower_bound(unlearned, retrained, labels, delta, confidence):
    """Certified ε per example: attack and threshold from the even models, error counts from the odd ones."""
    result = []
    for z_u, z_r, label in zip(unlearned, retrained, labels, strict=True):
        u, r = np.array([hinge(z, label) for z in z_u]), np.array([hinge(z, label) for z in z_r])
        score_u, score_r = likelihood_ratio(u[::2], u[::2], r[::2]), likelihood_ratio(r[::2], u[::2], r[::2])
        sign = -1 if np.median(score_r) > np.median(score_u) else 1
        score_u, score_r = sign * score_u, sign * score_r
        scores = np.sort(np.concatenate([score_u, score_r]))
        values = [
            bound((score_r >= t).sum(), len(score_r), (score_u < t).sum(), len(score_u), delta, confidence)
            for t in scores
        ]
        best = int(np.argmax(values))
        threshold = (scores[best] + scores[max(best - 1, 0)]) / 2
        held_u = sign * likelihood_ratio(u[1::2], u[::2], r[::2])
        held_r = sign * likelihood_ratio(r[1::2], u[::2], r[::2])
        false = (held_r >= threshold).sum(), len(held_r), (held_u < threshold).sum(), len(held_u)
        result.append(bound(*false, delta, confidence))
    return np.array(result)


def bound(fp, n, fn, p, delta, confidence):
    """The ε that fp of n and fn of p certify, never below 0."""
    fpr, fnr = clopper_pearson(fp, n, confidence)[1], clopper_pearson(fn, p, confidence)[1]
    found = [
        np.log(above) - np.log(below) for above, below in ((1 - delta - fpr, fnr), (1 - delta - fnr, fpr)) if above > 0
    ]
    return max([0.0, *found])


def guided_loss_increasing(model, pairs, *, steps, size, weights, lr, normalise=lambda pixels: pixels, after=None):
    """GLI as its released notebook runs it, in place, for classes: (x, y, x') batches of pixels in 0 … 1.

    Everything in plain sight: each step of the perturbation passes the forget batch through the model again, computes
    all parameters' gradients and throws them away. `after` is called after each batch. The perturbed images come back.
    """
    import torch
    from torch.nn import functional as F

    optimiser, shown = torch.optim.SGD(model.parameters(), lr=lr), []
    for (x, y, x_forget), weight in zip(pairs, weights, strict=True):
        noise = torch.zeros_like(x)
        for _ in range(steps):
            images = (x + noise).clamp(0, 1).requires_grad_()
            logits, goal = model(normalise(images)), model(normalise(x_forget)).detach()
            optimiser.zero_grad()
            (-weight * F.cross_entropy(logits, y) + F.mse_loss(logits, goal)).backward()
            # The gradient of the clamp: 1 within the range and at its ends, 0 outside (PyTorch up to 1.13).
            inside = (x + noise >= 0) & (x + noise <= 1)
            noise = noise + size * (images.grad * inside).sign()
        images = (x + noise).clamp(0, 1)
        optimiser.zero_grad()
        F.cross_entropy(model(normalise(images)), y).backward()
        optimiser.step()
        shown.append(images)
        if after is not None:
            after(model)
    return shown


def most_similar(a, b, quantile):
    """Which entries differ less than the quantile of all differences, one weight at a time: a, b float32 (N,)."""
    differences = [abs(x - y) for x, y in zip(a, b, strict=True)]
    threshold = np.quantile(np.array(differences), quantile)
    return np.array([difference < threshold for difference in differences])


def redraw(weight, mask, fresh):
    """`weight` with the masked entries taken from `fresh`, one weight at a time: all (N,)."""
    return np.array([new if reset else old for old, reset, new in zip(weight, mask, fresh, strict=True)])


def mostly_higher(a, b, share):
    """Which maps of `a` exceed those of `b` at `share` of the positions or more, position by position: (C, H, W)."""
    chosen = []
    for one, two in zip(a, b, strict=True):
        higher = sum(1 for x, y in zip(one.ravel(), two.ravel(), strict=True) if x > y)
        chosen.append(higher / one.size >= share)
    return np.array(chosen)


def membership(members, nonmembers, seed=0, balanced=True, **regression):
    """Accuracy of each split of the logistic-regression attack, by scikit-learn, as the released notebooks call it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    members, nonmembers = np.array(members), np.array(nonmembers)
    smaller = min(len(members), len(nonmembers))
    draw = np.random.RandomState(42 + seed)
    draw.shuffle(members)
    members = members[: len(nonmembers)]
    if balanced and len(nonmembers) > smaller:
        draw.shuffle(nonmembers)
        nonmembers = nonmembers[:smaller]
    x = np.concatenate([nonmembers, members]).reshape(-1, 1)
    y = [0] * len(nonmembers) + [1] * len(members)
    splits = StratifiedShuffleSplit(n_splits=10, random_state=seed)
    return cross_val_score(LogisticRegression(**regression), x, y, cv=splits, scoring="accuracy")


def density(losses, grid):
    """Gaussian kernel estimate with Scott's bandwidth, std · n^(−1/5), at each grid point, summing to one."""
    width = np.std(losses, ddof=1) * len(losses) ** (-1 / 5)
    values = np.array([norm.pdf(point, losses, width).mean() for point in grid])
    return values / values.sum()


def js(p, q):
    """Jensen-Shannon divergence of two discrete distributions, in nats."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        total += (a * np.log(a / m) if a > 0 else 0.0) / 2 + (b * np.log(b / m) if b > 0 else 0.0) / 2
    return total


def probabilities(logits):
    """softmax of one row."""
    z = np.asarray(logits, dtype=np.float64)
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def share(correct, counted, confidence):
    """Clopper-Pearson bounds of Σ correct/Σ counted for the number of independent answers of the same variance."""
    from scipy.stats import beta

    total = sum(counted)
    p = sum(correct) / total
    if p in (0.0, 1.0):
        n = total**2 / sum(t**2 for t in counted)
    else:
        variance = sum((c - p * t) ** 2 for c, t in zip(correct, counted, strict=True)) / total**2
        n = total if variance == 0 else min(total, p * (1 - p) / variance)
    alpha = 1 - confidence
    lower = 0.0 if p == 0 else beta(p * n, n - p * n + 1).ppf(alpha / 2)
    upper = 1.0 if p == 1 else beta(p * n + 1, n - p * n).ppf(1 - alpha / 2)
    return p, lower, upper


def true_positives(members, nonmembers, fpr):
    """The highest true-positive rate on scikit-learn's curve whose false-positive rate is at most fpr."""
    from sklearn.metrics import roc_curve

    truth = [1] * len(members) + [0] * len(nonmembers)
    false, true, _ = roc_curve(truth, np.concatenate([members, nonmembers]), drop_intermediate=False)
    return true[false <= fpr + 1e-12].max()


def augmented(images, index, draws, mean, std):
    """Crop, flip, shear and scale, colours, normalisation, pixel by pixel: images (N, 3, H, W) uint8, NumPy."""
    _, _, height, width = images.shape
    weights, result = (0.299, 0.587, 0.114), np.zeros((len(index), 3, height, width))
    for n, number in enumerate(index):
        top, left, mirrored = (int(v) for v in draws.shift[n])
        tangent, scale = (float(v) for v in draws.affine[n])
        x = np.zeros((3, height, width))
        for row in range(height):
            for column in range(width):
                down, right = row - (height - 1) / 2, column - (width - 1) / 2
                i, j = (
                    round(down / scale + (height - 1) / 2),
                    round((right + down * tangent) / scale + (width - 1) / 2),
                )
                if 0 <= i < height and 0 <= j < width:
                    j = width - 1 - j if mirrored else j
                    i, j = mirror(i + top, height), mirror(j + left, width)
                    x[:, row, column] = images[number, :, i, j]
        for part in draws.order:
            grey = sum(w * channel for w, channel in zip(weights, x, strict=True))
            away = (np.zeros_like(grey), np.full_like(grey, grey.mean()), grey)[part]
            x = np.clip(away + float(draws.colour[n, part]) * (x - away), 0, 255)
        for c in range(3):
            result[n, c] = (np.round(x[c]) / 255 - mean[c]) / std[c]
    return result


def mirror(i, size):
    """A position outside 0 … size − 1, mirrored at the border pixel."""
    return -i if i < 0 else 2 * (size - 1) - i if i >= size else i


def ascended(moved, gradient, size, low, high):
    """One step of the signed ascent, pixel by pixel, shown within the bounds: (N, C, H, W), bounds (C, 1, 1)."""
    shown = np.zeros_like(moved)
    for at in np.ndindex(*moved.shape):
        black, white, far = (bound[at[1], 0, 0] for bound in (low, high, size))
        x = moved[at]
        if black <= x <= white:
            x = x + far * np.sign(gradient[at])
        shown[at] = min(max(x, black), white)
    return shown
