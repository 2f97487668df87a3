"""Unlearning methods, one family per file, and their registry."""

# The order of import is the order of registration, and so of every table.
# isort: off
from mulib.unlearn.registry import Method, get, method, methods
from mulib.unlearn.training import finetune, retrain
from mulib.unlearn.layers import cf_k, eu_k
from mulib.unlearn.gradient import advanced_negative_gradient, negative_gradient
from mulib.unlearn.unsir import unsir
from mulib.unlearn.distillation import bad_teaching, scrub
from mulib.unlearn.guided import gli
from mulib.unlearn.selection import validation_score
# isort: on

__all__ = [
    "Method",
    "advanced_negative_gradient",
    "bad_teaching",
    "cf_k",
    "eu_k",
    "finetune",
    "get",
    "gli",
    "method",
    "methods",
    "negative_gradient",
    "retrain",
    "scrub",
    "unsir",
    "validation_score",
]
