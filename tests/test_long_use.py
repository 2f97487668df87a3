"""Many calls in one process leave nothing behind: hooks, threads, descriptors, tensors, files."""

import gc
import os
import threading

import pytest
import torch
import zoo

from mulib import unlearn
from mulib.audit.trials import network_probe
from mulib.predict import feature_maps, predict
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn import contract

CALLS = int(os.environ.get("MULIB_CALLS", "60"))  # 500 take two minutes
SHORT = Recipe(epochs=1, lr=0.01, batch_size=8)


def counts(model, folder):
    gc.collect()
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    tensors = sum(isinstance(each, torch.Tensor) for each in gc.get_objects())
    return {"hooks": hooks, "threads": threading.active_count(), "descriptors": descriptors} | {
        "tensors": tensors,
        "files": sum(len(names) for _, _, names in os.walk(folder)),
    }


def test_many_calls_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path))
    model, request = contract.network(), contract.noise()
    attributes = contract.noise("attributes").retain
    one = type(attributes)(attributes.images, attributes.labels[:, :1], ("a",))
    probe = zoo.plain()
    probe[5] = torch.nn.Linear(8, 1)
    names = list(unlearn.methods())

    def use(i):
        fit(model, request.retain, SHORT, progress=False)
        contract.run(unlearn.get(names[i % len(names)]), model, request)
        predict(model, request.val)
        feature_maps(model, request.val, "layer1", normalise=False)
        network_probe(probe, one, one, SHORT, progress=False)

    for i in range(len(names)):
        use(i)
    before = counts(model, tmp_path)
    for i in range(CALLS):
        use(i)
    assert counts(model, tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_call_leaves_nothing_behind_either(tmp_path, error):
    model, request = contract.network(), contract.noise()
    contract.run(unlearn.get("finetune"), model, request)
    before = counts(model, tmp_path)

    def stop(step, loss):
        raise error

    for name in unlearn.methods():
        with pytest.raises(error):
            contract.run(unlearn.get(name), model, request, on_step=stop)
    assert counts(model, tmp_path) == before
