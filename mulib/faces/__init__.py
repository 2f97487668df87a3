"""The synthetic renderer: people, their traits, and the pictures of them. It knows no task and no cache."""

from mulib.faces.pen import REGIONS
from mulib.faces.people import AGE_GROUPS, ATTRIBUTES, REGION_OF, Faces, at_age, counterfactual
from mulib.faces.render import masks, render
from mulib.faces.sampling import CORRELATIONS, FREQUENCIES, sample
