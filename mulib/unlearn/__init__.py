"""Unlearning methods, one family per file, and their registry."""

from mulib.unlearn.features import Removal, remove_features
from mulib.unlearn.filters import blank, blank_filter
from mulib.unlearn.registry import Method, get, method, methods
from mulib.unlearn.training import finetune, retrain

__all__ = [
    "Method",
    "Removal",
    "blank",
    "blank_filter",
    "finetune",
    "get",
    "method",
    "methods",
    "remove_features",
    "retrain",
]
