"""Audits: pure functions of predictions, with a small frozen result that carries its interval and its counts."""

from mulib.audit.accuracy import accuracy, accuracy_sets
from mulib.audit.bounds import EpsilonBound, EpsilonEstimate, bonferroni, gaussian_estimate, one_run
from mulib.audit.closeness import Closeness, Exposure, closeness, exposure
from mulib.audit.distances import activation_distance, js_distance, js_divergence, zrf
from mulib.audit.epsilon import Epsilon, epsilon, epsilon_curve, split_null
from mulib.audit.features import cka, label_probe, membership_probe, nearest
from mulib.audit.forgetting import final_score, forgetting_score
from mulib.audit.intervals import Estimate, bootstrap_mean
from mulib.audit.membership import Membership, membership, memberships, tpr_at_fpr
from mulib.audit.scores import Scores, example_losses, scores
from mulib.audit.sensitivity import mass_inside, sensitivity
from mulib.audit.targets import Detection, detection, target_scores
from mulib.audit.trials import (
    PROBE,
    PruningCurve,
    Recovery,
    Relearning,
    Stability,
    asked,
    doubtful,
    hidden,
    linear_probe,
    network_probe,
    overdone,
    pruning_curves,
    recover,
    relearn,
    selection_stability,
)
