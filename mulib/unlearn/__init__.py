"""Unlearning methods, one family per file, and their registry."""

# The order of import is the order of registration, and so of every table: the paper's.
# isort: off
from mulib.unlearn.registry import Method, get, method, methods
from mulib.unlearn.training import finetune, retrain
from mulib.unlearn.poisoning import hybrid, poison, poison_full, poisoned
from mulib.unlearn.pruning import pruning_complex, pruning_last, reset_most_similar, selective_pruning
from mulib.unlearn.activation import activation_reset, active_kernels, mean_maps
from mulib.unlearn.targets import prune_targets
# isort: on

__all__ = [
    "Method",
    "activation_reset",
    "active_kernels",
    "finetune",
    "get",
    "hybrid",
    "mean_maps",
    "method",
    "methods",
    "poison",
    "poison_full",
    "poisoned",
    "prune_targets",
    "pruning_complex",
    "pruning_last",
    "reset_most_similar",
    "retrain",
    "selective_pruning",
]
