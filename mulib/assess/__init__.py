"""The whole experiment: original, retrained and unlearned models from scratch, resumable, in the published layout."""

from mulib.assess.judgement import Judgement, from_file, judge, write_card
from mulib.assess.measures import Recorded, beyond, read
from mulib.assess.plan import CLEAN, GIVEN, Plan, recipes
from mulib.assess.plans import NINE, PACE, PLANS, get
from mulib.assess.results import Assessment, Row
from mulib.assess.run import outlook, run
