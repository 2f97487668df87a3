"""Networks that people bring: every method serves each of them, or says in one sentence why it cannot."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
import zoo
from torch import nn
from torch.nn.utils import prune

from mulib import InputError, audit, models, unlearn
from mulib.predict import feature_maps, predict
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn import contract

# What cannot be served, and the word of the sentence that says so; all else must be.
REFUSED = {
    ("ViT", "retrain"): "nothing draws token, place anew",
    ("ViT", "bad_teaching"): "nothing draws token, place anew",
    ("frozen part", "retrain"): "0.weight is frozen",
    **{(f"{norm} norm", "pruning_last"): "is computed by a norm" for norm in ("weight", "spectral")},
    **{(f"{norm} norm", "activation_reset"): "is computed by a norm" for norm in ("weight", "spectral")},
    ("no convolution", "activation_reset"): "no convolution",
    **{(net, "msg"): "this model has none that train" for net in ("no convolution", "frozen part")},
    **{(f"{norm} norm", "msg"): "is computed by a norm" for norm in ("weight", "spectral")},
    **{("no convolution", name): "k is 3: expected 1 … 2" for name in ("cf_k", "eu_k")},
}
SHORT = Recipe(epochs=1, lr=0.05, batch_size=8)


@pytest.mark.parametrize("net", zoo.ZOO)
@pytest.mark.parametrize("name", unlearn.methods())
def test_a_method_serves_the_network_or_says_why_not(net, name):
    model, method = zoo.make(net), unlearn.get(name)
    before, learns = contract.state(model), [p.requires_grad for p in model.parameters()]
    if (net, name) in REFUSED:
        with pytest.raises(InputError, match=REFUSED[net, name]):
            contract.run(method, model, contract.noise())
        return
    more = {"selection": 0.5} if name == "ssd" else {}  # of noise no weight matters ten times as much to a part
    one, again = (contract.run(method, model, contract.noise(), seed=1, **more) for _ in range(2))
    assert contract.same(before, contract.state(model))
    assert contract.same(contract.state(one), contract.state(again))
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), one.parameters(), strict=True))
    assert [p.requires_grad for p in one.parameters()] == learns
    assert [p.dtype for p in one.parameters()] == [p.dtype for p in model.parameters()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in one.modules())
    assert predict(one, contract.noise().val).isfinite().all()


@pytest.mark.parametrize("net", zoo.UNFIT)
@pytest.mark.parametrize("name", unlearn.methods())
def test_a_network_that_no_method_can_serve_is_one_sentence(net, name):
    make, sentence = zoo.UNFIT[net]
    with pytest.raises(InputError, match=sentence):
        contract.run(unlearn.get(name), make(), contract.noise())


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_a_frozen_part_of_a_trained_block_stays_as_it_is(name):
    model = zoo.plain()
    model[5].weight.requires_grad_(False)
    unlearned = contract.run(
        unlearn.get(name), model, contract.noise(), k=1, **{"reset": False} if name == "eu_k" else {}
    )
    assert torch.equal(unlearned[5].weight, model[5].weight)
    assert not torch.equal(unlearned[5].bias, model[5].bias)


@pytest.mark.parametrize("net", zoo.ZOO)
def test_training_prediction_maps_and_audits_serve_it(net):
    model, request = zoo.make(net), contract.noise()
    assert fit(model, request.retain, SHORT, progress=False).steps == 3
    logits = predict(model, {"forget": request.forget, "unseen": request.val, "test": request.val})
    assert {name: tuple(z.shape) for name, z in logits.items()} == dict.fromkeys(logits, (6, 3))
    assert audit.scores(logits, dict.fromkeys(logits, request.forget.labels)).final_score >= 0
    layer = next(name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d))
    assert len(feature_maps(model, request.val, layer, normalise=False)) == 6
    assert unlearn.validation_score(model, request) >= 0


@pytest.mark.parametrize("net", [net for net in zoo.ZOO if (net, "retrain") not in REFUSED])
def test_retraining_does_not_depend_on_the_original(net):
    request, states = contract.noise(), []
    for seed in (1, 2):
        original = zoo.make(net, seed)
        fit(original, request.retain, SHORT, seed=seed, progress=False)
        with torch.no_grad():
            for parameter in original.parameters():
                parameter.add_(0.1)
        states.append(contract.state(unlearn.retrain(original, request, SHORT, seed=5, progress=False)))
    assert contract.same(*states)


def test_what_is_drawn_anew_under_a_norm_is_what_the_layer_alone_would_draw():
    plain, normed = zoo.plain(), zoo.make("weight norm")
    fresh = models.reinitialise(normed, 3)
    assert torch.allclose(fresh[0].weight.std(), models.reinitialise(plain, 3)[0].weight.std(), rtol=0.5)
    spectral = models.reinitialise(zoo.make("spectral norm"), 3)
    assert torch.linalg.matrix_norm(spectral[5].weight, 2).item() == pytest.approx(1, abs=0.05)
    assert normed[0].weight.isfinite().all()  # the original's own norm still stands


def test_torchvisions_networks_are_drawn_anew_or_named():
    import torchvision.models as zoo_of_torchvision

    cases = {"resnet18": None, "mobilenet_v3_small": None, "vit_b_16": "class_token", "convnext_tiny": "layer_scale"}
    cases["swin_t"] = "relative_position_bias_table"
    for name, kept in cases.items():
        model = getattr(zoo_of_torchvision, name)(num_classes=3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05)
        if kept:
            with pytest.raises(InputError, match=kept):
                models.reinitialise(model, 0)
            continue
        pairs = zip(model.named_parameters(), models.reinitialise(model, 0).parameters(), strict=True)
        assert not [name for (name, old), new in pairs if torch.equal(old, new)]


def test_eu_k_draws_a_block_of_attention_anew_from_the_seed_alone():
    request, model = contract.noise(), zoo.make("ViT")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.layer.parameters():
            parameter.add_(0.1)
    options = {"k": ("layer",), "seed": 5, "progress": False}
    states = [contract.state(unlearn.eu_k(net, request, SHORT, **options)) for net in (model, other)]
    assert contract.same(*states)


def test_the_head_is_what_runs_last():
    request, model = contract.noise(), zoo.make("head first")
    for name in ("pruning_last", "activation_reset"):
        out = unlearn.get(name).run(model, request, SHORT.but(epochs=0), progress=False)
        changed = {n for (n, a), b in zip(model.named_parameters(), out.parameters(), strict=True) if (a != b).any()}
        assert "head.weight" in changed
        assert "mid.weight" not in changed


def wrapped(answer):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = zoo.plain()

        def forward(self, x):
            return answer(self.inner(x))

    return Wrapped()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (lambda: wrapped(lambda z: {"logits": z}), "answers with .*dict"),
        (lambda: wrapped(lambda z: (z, z)), "answers with .*tuple"),
        (lambda: wrapped(lambda z: z[:, :, None]), r"answers with torch.float32 of shape \(2, 3, 1\)"),
        (lambda: wrapped(lambda z: z.argmax(1)), "answers with torch.int64"),
        (lambda: wrapped(lambda z: z[:, :2]), "the model has 2 outputs but the labels need 3"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), "cannot take images"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3)), "cannot take images"),
        (lambda: zoo.plain().requires_grad_(False), "no parameter requires a gradient"),
        (lambda: nn.Sequential(nn.Flatten()), "has no parameters"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_in_one_sentence(model, sentence):
    with pytest.raises(InputError, match=sentence):
        fit(model(), contract.noise().retain, SHORT, progress=False)


def test_a_pruning_mask_is_kept_or_refused():
    model, request = zoo.plain(), contract.noise()
    prune.l1_unstructured(model[5], "weight", 0.5)
    assert predict(model, request.val).shape == (6, 3)
    fit(model, request.retain, SHORT, progress=False)
    with pytest.raises(InputError, match=r"cannot be copied .*make its pruning"):
        unlearn.finetune(model, request, SHORT, progress=False)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_whole_labels_of_any_kind_are_classes(dtype):
    data = contract.noise().retain
    assert replace(data, labels=data.labels.to(dtype)).labels.equal(data.labels)
    with pytest.raises(InputError, match=r"labels are torch.float32 of shape \(24, 1, 1\)"):
        replace(data, labels=torch.zeros(24, 1, 1))


def test_torchscript_is_trained_and_predicted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(zoo.plain())
    fit(model, contract.noise().retain, SHORT, progress=False)
    assert predict(model, contract.noise().val).shape == (6, 3)
