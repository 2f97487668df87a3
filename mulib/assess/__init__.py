"""The whole experiment: original, retrained and unlearned models from scratch, resumable, in the published layout."""

from mulib.assess.measures import Recorded, read
from mulib.assess.plan import CLEAN, GIVEN, Plan, recipes
from mulib.assess.plans import PACE, PLANS, get
from mulib.assess.results import Assessment, Row
from mulib.assess.run import outlook, run

__all__ = [
    "CLEAN",
    "GIVEN",
    "PACE",
    "PLANS",
    "Assessment",
    "Plan",
    "Recorded",
    "Row",
    "get",
    "outlook",
    "read",
    "recipes",
    "run",
]
