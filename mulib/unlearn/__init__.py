"""Unlearning methods, one family per file, and their registry."""

# The order of import is the order of registration, and so of every table: the papers'.
# isort: off
from mulib.unlearn.recipes import FORGET_WITH_PRECISION, MUFAC
from mulib.unlearn.registry import Method, get, method, methods, title
from mulib.unlearn.training import finetune, l1_sparse, retrain
from mulib.unlearn.poisoning import hybrid, poison, poison_full, poisoned
from mulib.unlearn.pruning import pruning_complex, pruning_last, reset_most_similar, selective_pruning
from mulib.unlearn.activation import activation_reset, active_kernels, mean_maps
from mulib.unlearn.targets import prune_targets
from mulib.unlearn.layers import cf_k, eu_k
from mulib.unlearn.gradient import advanced_negative_gradient, negative_gradient
from mulib.unlearn.unsir import unsir
from mulib.unlearn.distillation import bad_teaching, scrub
from mulib.unlearn.guided import gli
from mulib.unlearn.saliency import msg, salun, ssd
from mulib.unlearn.selection import validation_score
from mulib.unlearn.features import Removal, remove_features
from mulib.unlearn.filters import blank, blank_filter
# isort: on
