"""Audits: pure functions of predictions, with a small frozen result that carries its interval and its counts."""

from mulib.audit.accuracy import Accuracy, accuracy, accuracy_sets
from mulib.audit.channels import PruningCurve, Stability, pruning_curves, selection_stability
from mulib.audit.epsilon import Epsilon, epsilon, epsilon_curve, split_null
from mulib.audit.relearning import Relearning, relearn
from mulib.audit.targets import TargetScore, target_scores

__all__ = [
    "Accuracy",
    "Epsilon",
    "PruningCurve",
    "Relearning",
    "Stability",
    "TargetScore",
    "accuracy",
    "accuracy_sets",
    "epsilon",
    "epsilon_curve",
    "pruning_curves",
    "relearn",
    "selection_stability",
    "split_null",
    "target_scores",
]
