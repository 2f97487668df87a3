"""Looking at what a network computes inside, without changing it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import Tensor, nn

from mulib.errors import InputError


@contextmanager
def watched(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor], object]) -> Iterator[None]:
    """Call ``see(name, output)`` whenever one of `modules` has computed; afterwards the hooks are gone, come what may.

    What `see` returns is ignored, so a module's output stays as it is.

    >>> layer, shapes = nn.Linear(3, 2), {}
    >>> with watched({"fc": layer}, lambda name, output: shapes.update({name: tuple(output.shape)})):
    ...     _ = layer(torch.zeros(5, 3))
    >>> shapes
    {'fc': (5, 2)}
    """
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(_call, see, name)))
        yield


def _call(see, name: str, module: nn.Module, inputs, output: Tensor) -> None:
    see(name, output)


@contextmanager
def outputs(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """A dict that holds what each named layer gave in the latest forward pass, gradients included.

    Whatever happens inside the block, the hooks are gone after it. A tensor that the next layer changes in place, such
    as batch norm before an in-place ReLU, is seen as changed.

    Args:
        names: as in `model.named_modules()`, such as "layer3" or "layer3.0.conv1".

    Raises:
        InputError: there is no such layer; the message suggests the nearest names.

    >>> with outputs(model, ["layer3"]) as seen:
    ...     logits = model(torch.zeros(2, 3, 32, 32))
    >>> seen["layer3"].shape
    torch.Size([2, 8, 4, 4])
    """
    if isinstance(names, str):
        names = [names]
    seen: dict[str, Tensor] = {}
    with watched({name: layer(model, name) for name in names}, seen.__setitem__):
        yield seen


def layer(model: nn.Module, name: str) -> nn.Module:
    """The layer of that name.

    Raises:
        InputError: there is none.
    """
    known = dict(model.named_modules())
    if name in known and name:
        return known[name]
    near = difflib.get_close_matches(name, filter(None, known), n=3, cutoff=0.4)
    near = near or [child for child, _ in model.named_children()][:5]
    raise InputError(f"there is no layer {name!r} in the model: expected a name such as {', '.join(near)}.")
