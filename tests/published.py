"""Logits folders in the published layout, made for a test."""

import csv

import numpy as np


def write_folder(folder, examples=6, models=8, classes=4, approaches=("finetune", "prune"), seed=0):
    """Write a small folder as *Forget with Precision* lays it out and return its path."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    for name in ("", *approaches):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        array = rng.normal(size=(examples, 1 + models, classes)).astype(np.float32)
        array[:, 0] = np.eye(classes)[labels]
        np.save(target / ("logits_unlearn.npy" if name else "logits_retain.npy"), array)
        with open(target / "metrics.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["seed", "retain_accuracy", "forget_accuracy", "test_accuracy"])
            writer.writerows([m, 0.75, 0.5, 0.25] for m in range(models))
    return folder
