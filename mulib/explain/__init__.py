"""Explanations: what filters of a model mark, which of them belong together, and where a decision looks."""

from mulib.explain.attribution import grad_cam
from mulib.explain.filters import Ranking, outline, rank_filters
from mulib.explain.groups import Groups, group_maps, groups, identify
from mulib.maps import feature_maps

__all__ = [
    "Groups",
    "Ranking",
    "feature_maps",
    "grad_cam",
    "group_maps",
    "groups",
    "identify",
    "outline",
    "rank_filters",
]
