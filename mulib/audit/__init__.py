"""Audits: pure functions of predictions, with a small frozen result that carries its interval and its counts."""

from mulib.audit.accuracy import Accuracy, accuracy, accuracy_sets
from mulib.audit.distances import activation_distance, js_distance, js_divergence, zrf
from mulib.audit.epsilon import Epsilon, epsilon, epsilon_curve, split_null
from mulib.audit.forgetting import final_score, forgetting_score
from mulib.audit.intervals import Estimate, bootstrap_mean
from mulib.audit.membership import Membership, TruePositives, membership, memberships, tpr_at_fpr
from mulib.audit.scores import Scores, example_losses, scores

__all__ = [
    "Accuracy",
    "Epsilon",
    "Estimate",
    "Membership",
    "Scores",
    "TruePositives",
    "accuracy",
    "accuracy_sets",
    "activation_distance",
    "bootstrap_mean",
    "epsilon",
    "epsilon_curve",
    "example_losses",
    "final_score",
    "forgetting_score",
    "js_distance",
    "js_divergence",
    "membership",
    "memberships",
    "scores",
    "split_null",
    "tpr_at_fpr",
    "zrf",
]
