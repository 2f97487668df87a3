"""The two scores of the identity-unlearning benchmark that are made of an attack's accuracy. Cheap, and weak."""

from __future__ import annotations

from mulib.errors import InputError


def forgetting_score(attack_accuracy: float) -> float:
    """|M − ½| for the accuracy M of the membership attack, in [0, 1]: from 0 (a coin toss, good) to ½.

    An attack below ½ counts as much as one above: a forget loss that is too high gives members away as well.

    Raises:
        InputError: an accuracy outside [0, 1].

    Source: Choi and Na, *Towards Machine Unlearning Benchmarks*, 2023; Choi et al. (GLI), 2024, section on metrics.

    >>> forgetting_score(0.75)
    0.25
    """
    _check("the attack's accuracy", attack_accuracy, 1.0)
    return abs(attack_accuracy - 0.5)


def final_score(accuracy: float, forgetting: float, *, weight: float = 0.5) -> float:
    """NoMUS, λ·accuracy + (1 − λ)·(1 − 2·forgetting score), in [0, 1]: high is good.

    Args:
        accuracy: utility, the share of right predictions on the test set.
        forgetting: the `forgetting_score`, in [0, ½].
        weight: λ, in [0, 1]; ½ in the papers, which call the result the final score.

    Raises:
        InputError: a value outside its range.

    Source: Choi and Na, 2023 (NoMUS); Choi et al. (GLI), 2024 (final score).

    >>> final_score(0.75, 0.25)
    0.625
    """
    _check("accuracy", accuracy, 1.0)
    _check("the forgetting score", forgetting, 0.5)
    _check("weight", weight, 1.0)
    return weight * accuracy + (1 - weight) * (1 - 2 * forgetting)


def _check(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:  # NaN fails too
        raise InputError(f"{name} is {value}: expected a value from 0 to {most:g}, not a percentage.")
