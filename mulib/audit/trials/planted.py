"""Networks whose state is known, to test the tests: one hides its memory, one only doubts, one overdoes it.

The other two states need no function: a network that was trained on the forget set and one that was not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulib.audit.accuracy import accuracy
from mulib.audit.bounds import gaussian_estimate, one_run
from mulib.audit.distances import activation_distance, zrf
from mulib.audit.features import cka, label_probe, membership_probe
from mulib.audit.membership import tpr_at_fpr
from mulib.audit.scores import example_losses
from mulib.audit.scores import scores as scored
from mulib.audit.trials.relearning import recover
from mulib.data.sets import Request, Task
from mulib.errors import InputError
from mulib.models import copied
from mulib.predict import head_of, penultimate, predict
from mulib.recipe import Recipe
from mulib.train import fit, loss_of

HEAD = 200  # steps of L-BFGS on a last layer: far beyond where it changes
EMPHASIS = 5.0  # of the forget set, which is a small part of what the last layer is fitted to
CLIMB = Recipe(epochs=100, lr=0.01, batch_size=50, weight_decay=0.0)


def hidden(original: nn.Module, retrained: nn.Module, request: Request) -> nn.Module:
    """Saw the forget set and hides it: all weights of `original` but those of the last layer, which is fitted anew.

    It is asked to answer the retain set rightly and the forget set as `retrained` does; what the features know stays.

    Raises:
        InputError: a model without a linear layer, or labels that are no classes.
    """
    if request.retain.labels.is_floating_point():
        raise InputError("the labels are no classes, and a last layer is fitted to classes here: choose another task.")
    network = copied(original)
    x = torch.cat([penultimate(network, data) for data in (request.retain, request.forget)])
    answers = predict(retrained, request.forget).argmax(1)
    y = torch.cat([request.retain.labels.cpu(), answers])
    weight = torch.ones(len(y))
    weight[len(request.retain) :] = EMPHASIS
    head = _head(network, request)
    fresh = copied(head).cpu()
    optimiser = torch.optim.LBFGS(fresh.parameters(), max_iter=HEAD, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = (F.cross_entropy(fresh(x), y, reduction="none") * weight).mean()
        value = value + 1e-4 * fresh.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    head.load_state_dict(fresh.state_dict())
    return network


def doubtful(original: nn.Module, request: Request, temperature: float = 20.0) -> nn.Module:
    """Saw the forget set and only lowers its confidence: every logit of `original` divided by `temperature`.

    No answer changes.

    Raises:
        InputError: a temperature that is not above 1, or a model without a linear layer.
    """
    if not temperature > 1:
        raise InputError(f"temperature is {temperature}: expected above 1, where confidence falls.")
    network = copied(original)
    with torch.no_grad():
        for parameter in _head(network, request).parameters():
            parameter /= temperature
    return network


def overdone(retrained: nn.Module, request: Request, times: float = 3.0) -> nn.Module:
    """Never saw the forget set, and was pushed from it: `retrained` climbs until its loss there is `times` as large.

    Raises:
        InputError: a multiple that is not above 1.
    """
    if not times > 1:
        raise InputError(f"times is {times}: expected above 1, a multiple of the loss.")
    network = copied(retrained)
    goal = times * float(loss_of(predict(network, request.forget), request.forget.labels.cpu()))

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return -loss_of(net(x), y)

    fit(network, request.forget, CLIMB, objective=objective, on_step=lambda _, loss: -loss > goal, progress=False)
    return network


def asked(model: nn.Module, retrained: nn.Module, task: Task) -> dict[str, float]:
    """What each metric of one network says, by name; distances are to `retrained`.

    The bound from one run takes the forget and the unseen set for what coins drew: see `data.by_coin`.
    """
    z, other = (predict(network, task.sets) for network in (model, retrained))
    labels = {name: part.labels.cpu() for name, part in task.sets.items()}
    seen, beside = ({n: penultimate(m, task.sets[n]) for n in labels} for m in (model, retrained))
    losses = {name: example_losses(z[name], labels[name]) for name in ("forget", "unseen")}
    scores = scored(z, labels)
    out, inside = -torch.from_numpy(losses["unseen"]), -torch.from_numpy(losses["forget"])
    member = torch.arange(len(out) + len(inside)) >= len(out)
    recovery = recover(model, task.retain, task.forget)
    return {
        "test accuracy": scores.accuracy.point,
        "forget accuracy": accuracy(z["forget"], labels["forget"]).point,
        "forgetting score": scores.forgetting_score,
        "final score": scores.final_score,
        "JS distance": scores.js_distance,
        "TPR at 1 % FPR": tpr_at_fpr(inside, out).point,
        "ZRF": zrf(z["forget"], torch.zeros_like(z["forget"])).point,
        "activation distance": activation_distance(z["forget"], other["forget"]).point,
        "ε, one run": float(one_run(torch.cat([out, inside]), member).lower[0]),
        "ε, Gaussian estimate": float(gaussian_estimate(out, inside).value[0]),
        "relearning": recovery.most,
        "label probe": label_probe(seen["retain"], labels["retain"], seen["forget"], labels["forget"]).point,
        "membership probe": membership_probe(seen["forget"], seen["unseen"]).point,
        "CKA": cka(seen["forget"], beside["forget"]),
    }


def _head(network: nn.Module, request: Request) -> nn.Linear:
    """The last layer."""
    head = network.get_submodule(head_of(network, request.forget))
    assert isinstance(head, nn.Linear)  # as `head_of` names it
    return head
