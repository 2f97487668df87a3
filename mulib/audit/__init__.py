"""Audits: pure functions of predictions, with a small frozen result that carries its interval and its counts."""

from mulib.audit.accuracy import Accuracy, accuracy, accuracy_sets
from mulib.audit.epsilon import Epsilon, epsilon, epsilon_curve, split_null
from mulib.audit.probes import Detection, detection, linear_probe, network_probe
from mulib.audit.sensitivity import Mean, mass_inside, sensitivity

__all__ = [
    "Accuracy",
    "Detection",
    "Epsilon",
    "Mean",
    "accuracy",
    "accuracy_sets",
    "detection",
    "epsilon",
    "epsilon_curve",
    "linear_probe",
    "mass_inside",
    "network_probe",
    "sensitivity",
    "split_null",
]
