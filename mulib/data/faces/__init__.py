"""Synthetic faces with known truth: who, how old, with which attributes, and where in the picture.

>>> from mulib.data import faces
>>> people = faces.sample(8, seed=1)
>>> images, where = faces.render(people), faces.masks(people)["mouth"]
>>> smiling = faces.render(faces.counterfactual(people, "Smiling", True))
>>> task = faces.age()
"""

from mulib.data.faces.cache import drawn
from mulib.data.faces.tasks import FaceTask, age, attributes, features, targets
from mulib.faces.pen import REGIONS
from mulib.faces.people import AGE_GROUPS, ATTRIBUTES, REGION_OF, Faces, at_age, counterfactual
from mulib.faces.render import masks, render
from mulib.faces.sampling import CORRELATIONS, FREQUENCIES, sample
