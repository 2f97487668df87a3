"""The whole experiment: original, retrained and unlearned models from scratch, resumable, in the published layout."""

from mulib.assess.plan import PACE, PLANS, Plan, get, recipes
from mulib.assess.results import Assessment, Row
from mulib.assess.run import run

__all__ = ["PACE", "PLANS", "Assessment", "Plan", "Row", "get", "recipes", "run"]
