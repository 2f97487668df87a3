"""Unlearning methods, one family per file, and their registry."""

from mulib.unlearn.registry import Method, get, method, methods
from mulib.unlearn.targets import prune_targets
from mulib.unlearn.training import finetune, retrain

__all__ = ["Method", "finetune", "get", "method", "methods", "prune_targets", "retrain"]
