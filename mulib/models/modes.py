"""Training and evaluation mode for a while; afterwards each module has its own mode again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def _restoring(*models: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block. Each module's own mode, such as that of frozen batch norm, is restored.

    >>> model = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Dropout())
    >>> with evaluating(model):
    ...     print([module.training for module in model.modules()])
    [False, False, False]
    >>> [module.training for module in model.modules()]
    [True, False, True]
    """
    with _restoring(*models):
        for model in models:
            model.eval()
        yield


@contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Training mode inside the block, each module's own mode afterwards.

    A model that comes in training mode trains as it is: modules of it that are in evaluation mode, such as frozen
    batch norm, stay frozen. One that comes in evaluation mode trains as a whole.
    """
    with _restoring(model):
        if not model.training:
            model.train()
        yield
