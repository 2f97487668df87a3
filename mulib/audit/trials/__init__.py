"""Audits that must train or prune a copy of the model: probes, relearning, channels switched off, planted truth."""

from mulib.audit.trials.channels import PruningCurve, Stability, pruning_curves, selection_stability
from mulib.audit.trials.planted import asked, doubtful, hidden, overdone
from mulib.audit.trials.probes import PROBE, linear_probe, network_probe
from mulib.audit.trials.relearning import Recovery, Relearning, recover, relearn
