"""The whole experiment: original, retrained and unlearned models from scratch, resumable, in the published layout."""

from mulib.assess.plan import PLANS, Plan, get, hurried
from mulib.assess.results import Assessment, Row
from mulib.assess.run import run

__all__ = ["PLANS", "Assessment", "Plan", "Row", "get", "hurried", "run"]
