"""Methods with teachers: the student imitates one model on the retain set, and leaves it on the forget set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.models import copied, reinitialise
from mulib.recipe import Recipe
from mulib.train import loss_of
from mulib.unlearn.pairs import Over, Pairs
from mulib.unlearn.phases import Phases, begin, seed_for
from mulib.unlearn.recipes import MUFAC
from mulib.unlearn.registry import method


@method("scrub", title="SCRUB", paper="kurmanji2023", family="distillation")
def scrub(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC,
    *,
    temperature: float = 4.0,
    over: Over = "retain",
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """The student f disobeys its teacher g, the original model, on the forget set and obeys it on the retain set.

    A min step on CE(f(x), y) + KL(g(x) ‖ f(x)) for a retain batch x, then a max step on KL(g(x') ‖ f(x')) for a forget
    batch x', in turn; KL is `divergence` at `temperature`.

    Args:
        temperature: T > 0, divides the logits of both.
        over: the set that an epoch passes through, the other is cycled (see `Pairs`).

    Raises:
        InputError: a bad number, an unknown `over`, or labels that are values, such as ages.
        DivergedError: the loss is no longer finite.

    Source: Kurmanji et al., *Towards Unbounded Machine Unlearning*, NeurIPS 2023; defaults and the order of the steps
    are GLI's released code's. Fidelity: that code visits only as many retain batches as there are forget batches
    (24 of 134 on MUFAC), which is ``over="forget"``; the original takes whole epochs of max steps, then of min steps.
    """
    _check(request, temperature)
    pairs = Pairs(request, model, over=over, seed=seed)
    teacher, turn, forget = begin(model, request).eval(), itertools.count(), []

    def objective(student, x, y):
        if next(turn) % 2:
            x, y = forget.pop()
            return -_distance(student, teacher, x, y, temperature)
        (x, y), other = pairs(x, y)
        forget.append(other)
        logits = student(x)
        return loss_of(logits, y) + divergence(logits, _answers(teacher, x), y, temperature)

    twice = _Twice(**vars(pairs.data))
    return Phases(on_step, progress).train(copied(model), twice, recipe, seed=seed, objective=objective)


@method("bad_teaching", title="bad teaching", paper="chundawat2023bad", family="distillation")
def bad_teaching(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC,
    *,
    temperature: float = 4.0,
    over: Over = "retain",
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """The student f follows the original model g on the retain set and an incompetent teacher b on the forget set.

    L = KL(g(x) ‖ f(x)) + KL(b(x') ‖ f(x')) for a retain batch x and a forget batch x' in every step, with `divergence`
    at `temperature`; b has random weights from `seed`.

    Args:
        temperature: T > 0, divides the logits of all three.
        over: the set that an epoch passes through, the other is cycled (see `Pairs`).

    Raises:
        InputError: a bad number, an unknown `over`, or labels that are values, such as ages.

    Source: Chundawat et al., *Can Bad Teaching Induce Forgetting?*, AAAI 2023; defaults from GLI's released code.
    """
    _check(request, temperature)
    pairs = Pairs(request, model, over=over, seed=seed)
    good, bad = begin(model, request).eval(), reinitialise(model, seed_for(seed, "bad teacher")).eval()

    def objective(student, x, y):
        retain, forget = pairs(x, y)
        return _distance(student, good, *retain, temperature) + _distance(student, bad, *forget, temperature)

    return Phases(on_step, progress).train(copied(model), pairs.data, recipe, seed=seed, objective=objective)


def divergence(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T²·KL(teacher ‖ student) of the predictions at temperature T, in nats, averaged over the examples.

    Classes, labels (N,) int64: between the softmaxes of logits/T. Attributes, labels (N, A) float: each attribute is a
    coin of its own with probability σ(logit/T), and the A divergences are summed, as the loss sums them. Logits (N, C)
    or (N, A). T² keeps the size of the gradient when T changes.

    >>> divergence(torch.zeros(2, 5), torch.zeros(2, 5), torch.tensor([0, 1]), 4.0)
    tensor(0.)
    """
    student, teacher = student.float() / temperature, teacher.float() / temperature
    if labels.is_floating_point():
        student, teacher = (F.logsigmoid(torch.stack([z, -z], -1)) for z in (student, teacher))
    else:
        student, teacher = student.log_softmax(1), teacher.log_softmax(1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _distance(student: nn.Module, teacher: nn.Module, x: Tensor, y: Tensor, temperature: float) -> Tensor:
    return divergence(student(x), _answers(teacher, x), y, temperature)


@torch.no_grad()
def _answers(teacher: nn.Module, x: Tensor) -> Tensor:
    return teacher(x)


class _Twice(ImageSet):
    """A set whose batches come twice in a row: once for the min step, once for the max step."""

    def steps(self, batch_size: int) -> int:
        return 2 * super().steps(batch_size)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in ImageSet(**vars(self)).batches(batch_size, generator):
            yield batch
            yield batch


def _check(request: Request, temperature: float) -> None:
    if temperature <= 0:
        raise InputError(f"temperature is {temperature}: expected a number above 0.")
    labels = request.retain.labels
    if labels.is_floating_point() and labels.ndim == 1:
        raise InputError("the labels are values, (N,) float: distillation needs classes (N,) or attributes (N, A).")
