"""Looking inside a model: the outputs of named layers, while a block runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import Tensor, nn

from mulib.errors import InputError


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
    ...     maps = (model(x), seen["layer3"])[1]
    """
    if isinstance(names, str):
        names = [names]
    with ExitStack() as stack:
        seen: dict[str, Tensor] = {}
        for name in names:
            handle = layer(model, name).register_forward_hook(partial(_keep, seen, name))
            stack.callback(handle.remove)
        yield seen


def _keep(seen: dict[str, Tensor], name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
    seen[name] = output


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
