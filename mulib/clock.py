"""What work costs: one clock for all costs that are recorded or compared."""

from __future__ import annotations

import time

import torch


def clock(device: torch.device | str) -> float:
    """Seconds on a clock whose differences are costs: processor time of this process; on a GPU, wall-clock time.

    What else runs on the machine hardly changes processor time, but it does not count what a GPU does. There all that
    was asked of it is waited for first.

    >>> start = clock("cpu")
    >>> clock("cpu") >= start
    True
    """
    if torch.device(device).type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(torch.device(device))
    return time.perf_counter()
