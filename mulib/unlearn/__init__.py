"""Unlearning methods, one family per file, and their registry."""

from mulib.unlearn.registry import Method, get, method, methods
from mulib.unlearn.training import finetune, retrain

__all__ = ["Method", "finetune", "get", "method", "methods", "retrain"]
