"""Logits folders in the published layout, made for a test."""

import torch

from mulib.data import write_logits
from mulib.data.logits import NULL


def write_folder(folder, examples=6, models=8, classes=4, approaches=("finetune", "prune"), seed=0):
    """Write a small folder as *Forget with Precision* lays it out and return its path."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (examples,), generator=generator)
    accuracy = {"retain": torch.full((models,), 0.75), "forget": torch.full((models,), 0.5)}
    accuracy["test"] = torch.full((models,), 0.25)
    for approach in (NULL, *approaches):
        logits = torch.randn(examples, models, classes, generator=generator)
        write_logits(folder, approach, logits, labels, accuracy)
    return folder
