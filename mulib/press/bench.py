"""What the kernels cost: each against its plain loop, eager torch and compiled torch, in one run, once it is equal."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from mulib import files
from mulib.clock import clock
from mulib.data.augment import FACES, drawn
from mulib.errors import InputError
from mulib.kernels import augment, epsilon, masking, perturb, similarity
from mulib.press.record import commit, hardware, versions


@dataclass(frozen=True)
class Case:
    """One kernel: arguments of a size, on the CPU; the plain loop on the first so many examples; floors.

    Attributes:
        make: (size, generator) → arguments.
        plain: arguments → what the kernel gives, by the slow reference; gradients too where `backward`.
        part: arguments → those of a few examples, and which share of the examples these are.
        floor: arguments → bytes and operations.
        backward: whether the gradient in the first argument is part of the work.
    """

    kernel: Callable
    make: Callable[[str, torch.Generator], tuple]
    plain: Callable
    part: Callable[[tuple], tuple[tuple, float]]
    floor: Callable[[tuple], tuple[int, int]]
    backward: bool = False


def measure(root: Path, device: str, sizes: tuple[str, ...], repeats: int = 7) -> Iterator[dict]:
    """A row per kernel, size and form, as they are measured: seconds (median, lowest, highest), peak bytes, ratios.

    Nothing is timed before it equals the plain loop on a part, and the definition on the whole; a form that is not
    equal gives a row with `equal` false and no time. On the CPU seconds are of `clock`, on one thread.

    Raises:
        InputError: there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU that torch can use here: leave out --device, or give it cpu.")
    torch.set_num_threads(1)
    for name, case in cases(root).items():
        for size in sizes:
            arguments = case.make(size, torch.Generator().manual_seed(0))
            few, share = case.part(arguments)
            start = clock("cpu")
            expected = case.plain(*few)
            plain = (clock("cpu") - start) / share
            whole = _work(case, case.kernel.definition, _moved(arguments, device))
            floor = dict(zip(("floor_bytes", "floor_operations"), case.floor(arguments), strict=True))
            yield {"kernel": name, "size": size, "form": "plain loop", "seconds": plain, "equal": True, **floor}
            for form, function in _forms(case.kernel, device):
                try:
                    equal = _close(_work(case, function, _moved(few, device)), expected)
                    equal = equal and _close(_work(case, function, _moved(arguments, device)), whole)
                except Exception as error:  # a form that cannot run is a finding, not the end of the table
                    note = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                    yield {"kernel": name, "size": size, "form": form, "equal": False, "note": note, **floor}
                    continue
                row = {"kernel": name, "size": size, "form": form, "equal": equal, **floor}
                yield row | (_timed(case, function, _moved(arguments, device), device, repeats, plain) if equal else {})


def _forms(kernel: Callable, device: str) -> list[tuple[str, Callable]]:
    """Eager torch; on a GPU compiled torch and Triton, under the interpreter Triton."""
    forms = [("eager", kernel.definition)]
    if device == "cuda":
        forms.append(("compiled", torch.compile(kernel.definition)))
    if device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        beside = importlib.import_module(f"mulib.kernels.fused.{kernel.__module__.rpartition('.')[2]}")
        forms.append(("triton", getattr(beside, kernel.__name__)))
    return forms


def _timed(case: Case, function: Callable, arguments: tuple, device: str, repeats: int, plain: float) -> dict:
    """Seconds of one call, from `repeats` rounds of enough calls to take a twentieth of a second."""
    calls, seconds, peak = 1, [], None
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _work(case, function, arguments)
        peak = torch.cuda.max_memory_allocated() - before
    while len(seconds) < repeats:
        start = clock(device)
        for _ in range(calls):
            _work(case, function, arguments)
        spent = clock(device) - start
        if spent < 0.05 and calls < 4096 and not seconds:
            calls *= 2
        else:
            seconds.append(spent / calls)
    seconds.sort()
    middle = seconds[len(seconds) // 2]
    return {"seconds": middle, "low": seconds[0], "high": seconds[-1], "peak_bytes": peak, "ratio": plain / middle}


def _work(case: Case, function: Callable, arguments: tuple) -> tuple[Tensor, ...]:
    """What the kernel gives, and the gradient in its first argument."""
    if not case.backward:
        found = function(*arguments)
        return found if isinstance(found, tuple) else (found,)
    first = arguments[0].detach().requires_grad_()
    loss = function(first, *arguments[1:])
    return loss.detach(), *torch.autograd.grad(loss, first)


def _close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    """Equal up to rounding, but for one value in a thousand, that may lie on the other side of a threshold."""
    for a, b in zip(found, expected, strict=False):
        a, b = a.double().cpu(), torch.as_tensor(b).double().cpu()
        if a.shape != b.shape or not bool(torch.isclose(a, b, 1e-4, 1e-5, True).double().mean() >= 0.999):
            return False
    return True


def _moved(arguments: tuple, device: str) -> tuple:
    """On the device, and copied: a kernel may work in place."""
    return tuple(x.to(device, copy=True) if type(x) is Tensor else x for x in arguments)


def cases(root: Path) -> dict[str, Case]:
    """The five kernels by name; their plain loops are those of the tests, in the project at `root`."""
    sys.path.insert(0, str(Path(root) / "tests"))
    import oracles
    import oracles_features

    def attack(size: str, g: torch.Generator) -> tuple:
        e, m, c = {"small": (2, 5, 3), "book": (1000, 80, 10), "up": (4000, 80, 100)}[size]
        u, r = (3 * torch.randn(e, m, c, generator=g) for _ in "ur")
        labels = torch.randint(c, (e,), generator=g)
        u[torch.arange(e // 2), :, labels[: e // 2]] += 2
        return u, r, labels, 0.05, "hinge"

    def attack_plain(u: Tensor, r: Tensor, labels: Tensor, delta: float, _: str) -> tuple:
        return (torch.as_tensor(oracles.epsilon(u.numpy(), r.numpy(), labels.numpy(), delta)),)

    def groups(size: str, g: torch.Generator) -> tuple:
        b, c, p, k = {"small": (2, 6, 9, 3), "book": (16, 256, 196, 33), "up": (64, 512, 196, 33)}[size]
        return torch.randn(b, c, p, generator=g), torch.arange(c) % k, torch.rand(c, p, generator=g)

    def groups_plain(maps: Tensor, which: Tensor, mean: Tensor) -> tuple:
        wide = maps.double().requires_grad_()
        loss = torch.as_tensor(oracles_features.group_loss(wide, which, mean.double()))
        return loss.detach(), *torch.autograd.grad(loss, wide)

    def pictures(size: str, g: torch.Generator) -> tuple:
        n, s = {"small": (2, 28), "book": (64, 224), "up": (256, 224)}[size]
        images = torch.randint(0, 256, (n, 3, s, s), generator=g, dtype=torch.uint8)
        return images, 0.4 * torch.rand(n, s // 16 + (s < 64) * 6, s // 16 + (s < 64) * 6, generator=g), 0.2

    def pictures_plain(images: Tensor, maps: Tensor, threshold: float) -> tuple:
        pairs = zip(images, maps, strict=True)
        return (torch.stack([oracles_features.mask_where_active(x, heat, threshold) for x, heat in pairs]),)

    def faces(size: str, g: torch.Generator) -> tuple:
        n, s = {"small": (2, 12), "book": (128, 64), "up": (512, 128)}[size]
        images = torch.randint(0, 256, (2 * n, 3, s, s), generator=g, dtype=torch.uint8)
        draws = drawn(FACES, torch.Size([n, 3, s, s]), g)
        return images, torch.randperm(2 * n, generator=g)[:n], draws, (0.5,) * 3, (0.25,) * 3

    def faces_plain(images: Tensor, index: Tensor, draws: augment.Draws, mean: tuple, std: tuple) -> tuple:
        return (oracles.augmented(images.numpy(), index.tolist(), draws, mean, std),)

    def faces_part(a: tuple) -> tuple:
        draws = a[2]._replace(**{name: getattr(a[2], name)[:1] for name in ("shift", "affine", "colour")})
        return (a[0], a[1][:1], draws, *a[3:]), 1 / len(a[1])

    def ascent(size: str, g: torch.Generator) -> tuple:
        n, s = {"small": (2, 5), "book": (64, 128), "up": (256, 224)}[size]
        x, gradient = torch.rand(n, 3, s, s, generator=g), torch.randn(n, 3, s, s, generator=g)
        return x, gradient, *(torch.full((3, 1, 1), v) for v in (0.01, 0.0, 1.0))

    def first(count: int, rows: int) -> Callable[[tuple], tuple]:
        """The first examples of those arguments that have one row each."""
        return lambda a: ((*(x[:count] for x in a[:rows]), *a[rows:]), min(count, len(a[0])) / len(a[0]))

    def pixels(a: tuple, per: int, operations: int) -> tuple[int, int]:
        return a[0].numel() * per, a[0].numel() * operations

    return {
        "ε attack": Case(
            epsilon.attack, attack, attack_plain, first(8, 3),
            lambda a: (4 * (a[0].numel() + a[1].numel()), 4 * len(a[0]) * (a[0].shape[1] + a[1].shape[1]) ** 2),
        ),
        "group loss": Case(
            similarity.group_loss, groups, groups_plain, first(16, 1), lambda a: pixels(a, 12, 10), backward=True
        ),
        "blanking": Case(masking.mask_where_active, pictures, pictures_plain, first(1, 2), lambda a: pixels(a, 2, 6)),
        "augmentation": Case(
            augment.augmented, faces, faces_plain, faces_part,
            lambda a: (len(a[1]) * a[0][0].numel() * 5, len(a[1]) * a[0][0].numel() * 20),
        ),
        "step of the ascent": Case(
            perturb.step, ascent, lambda *a: (oracles.ascended(*(x.numpy() for x in a)),), first(1, 2),
            lambda a: pixels(a, 16, 6),
        ),
    }  # fmt: skip


def record(root: Path, path: str | Path, device: str, rows: list[dict]) -> None:
    """The rows and where they come from, as JSON, whole or not at all."""
    came_from = {**commit(root), "hardware": hardware(), "versions": versions()}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"device": device, "measured": when, "came_from": came_from, "rows": rows}, indent=1)
    files.replace(path, (text + "\n").encode())
