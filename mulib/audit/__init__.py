"""Audits: pure functions of predictions, with a small frozen result that carries its interval and its counts."""

from mulib.audit.accuracy import Accuracy, accuracy, accuracy_sets
from mulib.audit.epsilon import Epsilon, epsilon, epsilon_curve, split_null

__all__ = ["Accuracy", "Epsilon", "accuracy", "accuracy_sets", "epsilon", "epsilon_curve", "split_null"]
