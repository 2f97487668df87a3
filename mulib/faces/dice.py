"""Random numbers that depend on nothing but their keys: no generator to advance, so any face can be drawn alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Dice:
    """Independent draws for N rows, each fixed by its keys and by how many draws came before.

    Only integer arithmetic and + − × ÷ are used, so the numbers are the same on every machine and numpy version,
    whatever rows they are drawn together with.

    Args:
        keys: integers or (N,) integer arrays; together they name a row.

    Source: the SplitMix64 mixing function of Steele, Lea and Flood, OOPSLA 2014.
    """

    def __init__(self, *keys: int | np.ndarray):
        state = np.zeros(1, np.uint64)
        for key in keys:
            state = _mix(state + _GOLDEN + np.atleast_1d(np.asarray(key, np.int64)).view(np.uint64))
        self._state, self._drawn = state, 0

    def flat(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform in [low, high), (N,) float64."""
        self._drawn += 1
        bits = _mix(self._state + _GOLDEN * np.full(1, self._drawn, np.uint64))
        return low + (high - low) * ((bits >> np.uint64(11)) * 2.0**-53)

    def bell(self, sd: float = 1.0) -> np.ndarray:
        """Bell-shaped around 0 with standard deviation `sd`, never beyond 3.5 of them: a sum of four uniforms."""
        return (self.flat() + self.flat() + self.flat() + self.flat() - 2.0) * (sd * 1.7320508)

    def pick(self, weights: int | Sequence[float] | np.ndarray) -> np.ndarray:
        """Choices 0 … K-1, (N,) int64: K equally likely ones, or by (K,) or (N, K) weights that sum to one."""
        if isinstance(weights, int):
            return (self.flat() * weights).astype(np.int64)
        edges = np.cumsum(np.asarray(weights, float), axis=-1)[..., :-1]
        return (self.flat()[:, None] >= edges).sum(1)


def _mix(z: np.ndarray) -> np.ndarray:
    """Scatter the bits of 64-bit integers; overflow wraps, as meant."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
