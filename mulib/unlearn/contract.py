"""What every unlearning method promises, as checks that can be run on any of them: ours, and a reader's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.models import ResNet18, resnet18
from mulib.unlearn.registry import Method

SHORT = {"epochs": 1, "lr": 0.05, "batch_size": 8}  # in each recipe of a method
COMMON = {"seed", "on_step", "progress"}


def broken(method: Method) -> dict[str, str]:
    """Run `method` on a tiny network and thirty images of noise, and look at what it promises.

    Returns:
        {promise: what was found} for the promises of `PROMISES` that it breaks; empty when it keeps them all.

    >>> from mulib import unlearn
    >>> broken(unlearn.get("finetune"))
    {}
    """
    found = {}
    for name, check in PROMISES.items():
        try:
            complaint = check(method)
        except Exception as error:  # whatever a method raises is a promise that it broke
            complaint = f"it raised {type(error).__name__}: {error}"
        if complaint:
            found[name] = complaint
    return found


def noise(labels: str = "classes") -> Request:
    """Twenty-four images to retain, six to forget and six to validate on: noise of 8×8 pixels in three classes."""
    generator = torch.Generator().manual_seed(0)

    def images(n: int) -> ImageSet:
        pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
        kind = torch.randint(0, 3, (n,), generator=generator)
        return ImageSet(pixels, kind if labels == "classes" else F.one_hot(kind, 3).float(), ("a", "b", "c"))

    return Request(images(24), images(6), images(6))


def network() -> ResNet18:
    """The network that methods are checked on: a ResNet-18 of width 2."""
    return resnet18(3, width=2, in_channels=1, seed=7)


def run(method: Method, model: nn.Module, request: Request, **options) -> nn.Module:
    """Run a method with few epochs in each of its trainings, and without a progress bar."""
    short = {name: recipe.but(**SHORT) for name, recipe in method.recipes.items()}
    return method.run(model, request, **short | {"progress": False} | options)


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's weights and buffers."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal, bit for bit."""
    return all(torch.equal(a[name], b[name]) for name in a)


def _signature(method: Method) -> str | None:
    parameters = inspect.signature(method.run).parameters
    if [*parameters][:3] != ["model", "request", "recipe"] or "recipe" not in method.recipes:
        return "its first arguments are not model, request and recipe, with a Recipe as the default"
    options = [*parameters.values()][3:]
    if loose := [p.name for p in options if p.kind is not p.KEYWORD_ONLY or p.default is p.empty]:
        return f"not keyword-only with a default: {', '.join(loose)}"
    if missing := COMMON - {p.name for p in options}:
        return f"no option {', '.join(sorted(missing))}"
    try:
        method.run(network(), noise(), learning_rat=0.1)
    except TypeError:
        return None
    return "an option that does not exist is swallowed"


def _untouched(method: Method) -> str | None:
    model = network()
    before = state(model)
    unlearned = run(method, model, noise())
    if not same(before, state(model)):
        return "it changed the model that it was given"
    if {id(p) for p in model.parameters()} & {id(p) for p in unlearned.parameters()}:
        return "it returned parameters of the model that it was given"
    moved = (not torch.equal(a, b) for a, b in zip(model.parameters(), unlearned.parameters(), strict=True))
    return None if any(moved) else "no parameter moved"


def _seeded(method: Method) -> str | None:
    one, again, other = (state(run(method, network(), noise(), seed=seed)) for seed in (1, 1, 2))
    if not same(one, again):
        return "the same seed gave other weights"
    return "another seed gave the same weights" if same(one, other) else None


def _generator(method: Method) -> str | None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        run(method, network(), noise())
        return None if torch.equal(expected, torch.rand(1)) else "it drew from, or seeded, torch's global generator"


def _restored(method: Method) -> str | None:
    for mode in ("training", "evaluation"):
        model = network().train(mode == "training")
        model.bn1.eval()  # frozen batch norm, in a model that trains
        model.layer4.train()
        modes = [module.training for module in model.modules()]
        for net in (model, run(method, model, noise())):
            if [module.training for module in net.modules()] != modes:
                return f"a model that came in {mode} mode left it, or a module of it did"
            if any(module._forward_hooks or module._backward_hooks for module in net.modules()):
                return "a hook was left behind"
            if not all(parameter.requires_grad for parameter in net.parameters()):
                return "a parameter was left frozen"
    return None


def _steps(method: Method) -> str | None:
    seen = []
    run(method, network(), noise(), on_step=lambda step, loss: seen.append(step))
    if not seen or seen != list(range(1, len(seen) + 1)):
        return f"on_step was called with {seen[:5]}, expected 1, 2, 3 …"
    seen.clear()
    recipe = method.recipes["recipe"].but(**SHORT | {"batch_size": 4})
    run(method, network(), noise(), recipe=recipe, on_step=lambda step, loss: seen.append(step) or step == 2)
    return None if seen == [1, 2] else f"it went on after on_step answered True at step 2: {seen[:5]}"


def _attributes(method: Method) -> str | None:
    model = network()
    before = state(model)
    try:
        unlearned = run(method, model, noise("attributes"))
    except InputError as error:
        return None if "attributes" in str(error) else f"it refused attributes with: {error}"
    return "no parameter moved" if same(before, state(unlearned)) else None


PROMISES: dict[str, Callable[[Method], str | None]] = {
    "model, request and recipe come first, options are keyword-only, unknown ones are errors": _signature,
    "the model is left as it was, and an unlearned copy returned": _untouched,
    "the seed decides": _seeded,
    "torch's global generator is left alone": _generator,
    "mode, hooks and frozen parameters are restored": _restored,
    "on_step sees every step, and True ends the run": _steps,
    "labels that are attributes are unlearned, or refused in one sentence": _attributes,
}
