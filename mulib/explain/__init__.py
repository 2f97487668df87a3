"""Explanations: what channels mark, which belong together, which a target needs, and where a decision looks."""

from mulib.explain.attribution import grad_cam
from mulib.explain.filters import Ranking, outline, overlaps, rank_filters
from mulib.explain.formats import from_json, from_networkx, to_json, to_networkx
from mulib.explain.graph import Edges, EssentialGraph, essential_graph
from mulib.explain.groups import IDENTIFICATION, Groups, group_maps, groups, identify
from mulib.explain.importance import Importance, channel_importance
from mulib.predict import feature_maps
