"""The clock of costs."""

import time

import pytest
import torch

from mulib.clock import clock


def test_on_the_cpu_waiting_costs_nothing_and_work_does():
    start = clock("cpu")
    time.sleep(0.2)
    waited = clock("cpu")
    torch.randn(500, 500) @ torch.randn(500, 500)
    assert waited - start < 0.15
    assert clock("cpu") > waited


def test_on_a_gpu_the_work_is_waited_for_and_the_time_is_the_wall_clocks(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.accelerator, "synchronize", calls.append)
    start = clock("cuda:0")
    time.sleep(0.2)
    assert clock(torch.device("cuda:0")) - start == pytest.approx(0.2, abs=0.15)
    assert calls == [torch.device("cuda:0")] * 2
