"""Looking at what a network computes inside, without changing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import Tensor, nn


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
