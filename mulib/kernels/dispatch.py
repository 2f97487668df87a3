"""Which form of a kernel runs: its torch definition, or the Triton kernel beside it."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Callable
from typing import TypeVar, cast

from torch import Tensor

from mulib.errors import InputError

log = logging.getLogger(__name__)
Kernel = TypeVar("Kernel", bound=Callable)
DEVICES = {"auto": ("cuda",), "torch": (), "triton": ("cuda", "cpu")}


def fused(definition: Kernel) -> Kernel:
    """A kernel that `mulib.kernels.fused` holds in Triton too, under the same names of file, function and arguments.

    The Triton kernel runs on CUDA tensors, the definition on all others. `MULIB_KERNELS=torch` turns all Triton kernels
    off; `triton` runs them on the CPU too, in Triton's interpreter (TRITON_INTERPRET=1 from the start of the process).
    Where a kernel's own check says that it does not apply, the reason is logged once and the definition runs.
    """
    file, name = definition.__module__.rpartition(".")[2], definition.__name__

    @functools.wraps(definition)
    def kernel(*args, **options):
        wanted = os.environ.get("MULIB_KERNELS", "auto")
        if wanted not in DEVICES:
            raise InputError(f"MULIB_KERNELS is {wanted!r}: expected one of {', '.join(DEVICES)}.")
        tensor = next(value for value in args if isinstance(value, Tensor))
        if tensor.device.type not in DEVICES[wanted]:
            return definition(*args, **options)
        try:
            beside = importlib.import_module(f"mulib.kernels.fused.{file}")
            reason = getattr(beside, f"{name}_refused")(*args, **options)
        except ImportError:
            reason = "Triton is not installed"
        if reason:
            _say(name, reason)
            return definition(*args, **options)
        return getattr(beside, name)(*args, **options)

    vars(kernel)["definition"] = definition
    return cast(Kernel, kernel)


@functools.cache
def _say(name: str, reason: str) -> None:
    log.info("%s runs in torch: %s", name, reason)
