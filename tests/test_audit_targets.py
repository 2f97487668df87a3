"""Audits of target unlearning: scores, pruning curves, stability of the choice, relearning."""

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from test_importance import NAMES, build, images
from torch import nn

from mulib import InputError, audit, explain, models
from mulib.audit.intervals import clopper_pearson
from mulib.data import ImageSet
from mulib.models import copied
from mulib.models.wiring import switch_off
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn import prune_targets


def answers(n=200, outputs=3):
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(n, outputs, generator=generator) > 0.3).float()
    return (labels + torch.randn(n, outputs, generator=generator)).round(decimals=1) - 0.5, labels


@pytest.mark.parametrize("target", range(3))
def test_attributes_are_scored_as_scikit_learn_does(target):
    logits, labels = answers()
    score = audit.target_scores(logits, labels, NAMES)[NAMES[target]]
    said, truth = logits[:, target] > 0, labels[:, target]
    assert score.balanced.point == pytest.approx(balanced_accuracy_score(truth, said))
    assert score.auc == pytest.approx(roc_auc_score(truth, logits[:, target]))
    assert score.tpr.point == pytest.approx(recall_score(truth, said))
    assert (score.tpr.n, score.tnr.n) == (int(truth.sum()), int((1 - truth).sum()))


@pytest.mark.parametrize("target", range(3))
def test_classes_are_scored_as_scikit_learn_does(target):
    labels = torch.arange(90) % 3
    logits = torch.randn(90, 3, generator=torch.Generator().manual_seed(0)) + torch.eye(3)[labels]
    score = audit.target_scores(logits, labels)[str(target)]
    others = logits[:, [c for c in range(3) if c != target]].amax(1)
    assert score.balanced.point == pytest.approx(balanced_accuracy_score(labels == target, logits.argmax(1) == target))
    assert score.auc == pytest.approx(roc_auc_score(labels == target, logits[:, target] - others))
    assert score.paper == score.tpr


def test_the_papers_measure_is_perfect_for_a_model_that_says_yes_to_everything():
    _, labels = answers()
    score = audit.target_scores(torch.ones_like(labels), labels)["0"]
    assert (score.paper.point, score.paper.n) == (1.0, int(labels.all(1).sum()))
    assert (score.balanced.point, score.auc) == (0.5, 0.5)


def test_the_papers_measure_without_an_image_that_has_all_targets():
    score = audit.target_scores(torch.eye(2), torch.eye(2))["0"]
    assert (str(score.paper.point), score.paper.n) == ("nan", 0)


def test_bounds_hold_for_both_rates_together():
    logits, labels = answers()
    score = audit.target_scores(logits, labels)["1"]
    rights = [(side.n, round(side.point * side.n)) for side in (score.tpr, score.tnr)]
    lower, upper = zip(*(clopper_pearson(right, n - right, 0.975) for n, right in rights), strict=True)
    assert (score.balanced.lower, score.balanced.upper) == pytest.approx((sum(lower) / 2, sum(upper) / 2))
    assert score.balanced.lower < score.balanced.point < score.balanced.upper


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.eye(2), torch.eye(3), "expected .images, attributes. twice"),
        (torch.zeros(0, 2), torch.zeros(0, 2), "not empty"),
        (torch.eye(2), torch.tensor([0, 2]), "classes among them"),
        (torch.eye(2) * torch.nan, torch.eye(2), "contain NaN"),
        (torch.eye(2), torch.ones(2, 2), "all of the 2 images have the target '0'"),
        (torch.eye(2), torch.zeros(2, 2), "none of the 2 images"),
    ],
)
def test_scores_of_bad_input(logits, labels, message):
    with pytest.raises(InputError, match=message):
        audit.target_scores(logits, labels)


def test_every_output_has_a_name():
    with pytest.raises(InputError, match="1 names for 2 outputs"):
        audit.target_scores(torch.eye(2), torch.eye(2), ("a",))


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = (
            nn.Conv2d(3, 16, 3, 2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, 2),
            nn.BatchNorm2d(24),
            nn.ReLU(),
        )
        return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3))


@pytest.fixture(scope="module")
def coloured():
    """Images whose mean red, green and blue are three targets, and a network that has learned them."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(240, 3, generator=generator) > 0.5).float()
    pixels = labels.view(-1, 3, 1, 1) * 60 + torch.randint(0, 120, (240, 3, 16, 16), generator=generator)
    shown = ImageSet(pixels.to(torch.uint8), labels, NAMES, mean=(0.35,) * 3, std=(0.17,) * 3)
    model = network()
    fit(model, shown, Recipe(epochs=10, lr=0.05, batch_size=24), progress=False)
    return model, shown


def test_the_order_decides_what_is_lost_first(coloured):
    """A network of which all is known: one channel per colour, one colour per target."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        model[3].weight.copy_(torch.eye(3))
        model[3].bias.fill_(-0.05)  # between the colour on, 0.35 … 0.65 after normalisation, and off
    shown = coloured[1]
    graph = explain.essential_graph(model, shown, "beard", layers=1)
    curves = audit.pruning_curves(model, shown, graph, "beard", shares=(0, 1 / 3, 2 / 3, 1))
    assert curves["most"].pruned == (0, 1, 2, 3)
    assert curves["most"].target == (1.0, 0.5, 0.5, 0.5)
    assert curves["most"].rest == (1.0, 1.0, 0.75, 0.5)
    assert curves["least"].target == (1.0, 1.0, 1.0, 0.5)
    assert curves["least"].rest == (1.0, 0.75, 0.5, 0.5)
    assert curves["random"].target[-1] == 0.5


def test_a_curve_begins_with_the_model_as_it_is(coloured):
    model, shown = coloured
    graph = explain.essential_graph(model, shown, "beard", layers=1)
    curve = audit.pruning_curves(model, shown, graph, "beard", shares=(0, 1))["random"]
    scores = audit.target_scores(predict(model, shown), shown.labels, NAMES)
    assert curve.target[0] == scores["beard"].balanced.point
    assert curve.rest[0] == (scores["mouth"].balanced.point + scores["glasses"].balanced.point) / 2
    assert curve.target[1] == curve.rest[1] == 0.5


def test_classes_have_their_own_accuracy_and_that_of_the_rest():
    shown, model = images(attributes=False), build()
    graph = explain.essential_graph(model, shown, "beard", layers=1)
    curve = audit.pruning_curves(model, shown, graph, "beard", shares=(0,))["most"]
    right = predict(model, shown).argmax(1) == shown.labels
    assert curve.target[0] == pytest.approx(float(right[shown.labels == 1].float().mean()))
    assert curve.rest[0] == pytest.approx(float(right[shown.labels != 1].float().mean()))


@pytest.mark.parametrize("change", [{"target": "hat"}, {"shares": ()}, {"shares": (0.5, 0.1)}, {"shares": (0, 2)}])
def test_curves_of_bad_input(coloured, change):
    model, shown = coloured
    graph = explain.essential_graph(model, shown, "mouth", layers=1)
    with pytest.raises(InputError, match="expected"):
        audit.pruning_curves(**{"model": model, "data": shown, "graph": graph, "target": "mouth"} | change)


def importance(rows):
    """One target, one layer."""
    pairs = torch.arange(len(rows))
    return explain.Importance(("a",), (0,), {"conv": rows}, pairs, torch.zeros(len(rows), dtype=torch.int64))


def test_images_that_agree_choose_the_same_channels():
    found = audit.selection_stability(importance(torch.arange(50.0).expand(40, 50)))["a"]
    assert found.images == (1, 2, 4, 8, 16)
    assert set(found.mean) == {1.0}
    assert set(found.deviation) == {0.0}


def test_noise_chooses_as_chance_does():
    rows = torch.randn(400, 1000, generator=torch.Generator().manual_seed(0))
    found = audit.selection_stability(importance(rows), images=(8,), draws=40)["a"]
    assert found.chance == pytest.approx(0.1 / 1.9)
    assert found.mean[0] == pytest.approx(found.chance, abs=0.01)


def test_more_images_agree_more():
    signal = torch.randn(200, generator=torch.Generator().manual_seed(1))
    rows = signal + 2 * torch.randn(128, 200, generator=torch.Generator().manual_seed(2))
    mean = audit.selection_stability(importance(rows), images=(1, 8, 64))["a"].mean
    assert mean[0] < mean[1] < mean[2]


def test_stability_of_bad_input():
    with pytest.raises(InputError, match="proportion is 2"):
        audit.selection_stability(importance(torch.ones(4, 4)), proportion=2)
    with pytest.raises(InputError, match="a has 1 images"):
        audit.selection_stability(importance(torch.ones(1, 4)))


def test_a_target_whose_output_was_cut_comes_back(coloured):
    model, shown = coloured
    graph = explain.essential_graph(model, shown, "mouth", layers=2, proportion=0.1)
    back = audit.relearn(prune_targets(model, graph, head=True), shown, shown, "mouth", images=(0, 8))
    assert (back.balanced_accuracy[0], back.auc[0]) == (0.5, 0.5)
    assert back.balanced_accuracy[1] > 0.8
    assert back.needed(0.8) == 8


@pytest.mark.parametrize(("images", "batch_size"), [(4, 3), (18, 17), (18, 16), (40, 16)])
def test_relearning_takes_the_steps_it_is_asked_for(coloured, images, batch_size):
    model, shown = coloured
    taken = []

    class Counted(nn.Sequential):
        def forward(self, x):
            taken.append(self.training)
            return super().forward(x)

    audit.relearn(Counted(model), shown, shown, "mouth", images=(images,), steps=7, batch_size=batch_size)
    assert sum(taken) == 7


def test_relearning_trains_only_the_output_of_the_target(coloured):
    model, shown = coloured
    blank = replace(shown, labels=shown.labels * torch.tensor([1.0, 0, 0]))  # what the others' labels say plays no part
    one, two = (audit.relearn(model, train, shown, "mouth", images=(8,), steps=3) for train in (shown, blank))
    assert one == two


def test_a_level_that_is_never_reached():
    assert audit.Relearning((0, 2, 4), (0.5, 0.6, 0.7), (0.5, 0.6, 0.7)).needed(0.9) is None


def test_relearning_leaves_the_model_and_repeats_itself(coloured):
    model, shown = coloured
    before = [value.clone() for value in model.state_dict().values()]
    one, two = (audit.relearn(model, shown, shown, "beard", images=(0, 4), steps=2) for _ in "ab")
    assert one == two
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


@pytest.mark.parametrize("numbers", [(), (3,), (-2,), (10_000,)])
def test_relearning_on_a_bad_number_of_images(coloured, numbers):
    with pytest.raises(InputError, match="expected even ones"):
        audit.relearn(*coloured, coloured[1], "mouth", images=numbers)


def test_what_comes_before_the_pruned_layers_runs_once_and_changes_nothing():
    """Behind a residual connection, which carries what the first pruned layer takes around it."""
    model, shown = models.resnet18(3, width=4, stem="face").eval(), images(40)
    graph = explain.essential_graph(model, shown, NAMES[0], layers=("layer3.1.conv2", "layer4.0.conv1"))
    curve = audit.pruning_curves(model, shown, graph, NAMES[0], shares=(0, 0.25), orders=["most"])["most"]
    worth = {layer: values[0].sort(descending=True, stable=True).indices for layer, values in graph.values.items()}
    first = {layer: order[: round(0.25 * len(order))] for layer, order in worth.items()}
    for net, target in ((model, curve.target[0]), (switch_off(copied(model), first), curve.target[1])):
        assert target == audit.target_scores(predict(net, shown), shown.labels, NAMES)[NAMES[0]].balanced.point
