"""What follows from a choice: what is blanked is what a filter marks; the measures ask whether a feature is used."""

import pytest
import torch

from mulib.assess.blanking import Trial
from mulib.data import faces
from mulib.models import identifier, resnet18
from mulib.recipe import Recipe

MOUTH = "Mouth_Slightly_Open"
TASK = faces.features(1, attributes=("Pointy_Nose", MOUTH), people=60, val=20, test=40, unseen=20, size=32)
TRIAL = Trial(TASK, MOUTH, Recipe(1, lr=0.001, batch_size=32, optimiser="adam"))
EYES = identifier(11, width=4, stem="face", fine=True)


@pytest.fixture(scope="module")
def rows():
    return TRIAL.rows(resnet18(1, width=4, stem="face"), EYES, {"filter": 3}, threshold=0.2)


def test_the_true_region_is_black_whether_the_mouth_is_open_or_not():
    either, now = TRIAL.region("train", either=True), TRIAL.region("train")
    assert bool((either | ~now).all())
    assert int(either.sum()) > int(now.sum())
    without = TRIAL.without().images
    assert not without.transpose(0, 1)[:, either].any()
    assert torch.equal(without.transpose(0, 1)[:, ~either], TASK.train.images.transpose(0, 1)[:, ~either])


def test_only_the_mouth_is_toggled():
    changed = (TRIAL.toggled.images != TASK.test.images).any(1)
    assert changed.any()
    assert not (changed & ~TRIAL.region("test", either=True)).any()


def test_a_mouth_by_coin_goes_together_with_nothing():
    changed = (TRIAL.by_coin(0) != TASK.train.images).any(1)
    assert 0.3 < float(changed.flatten(1).any(1).float().mean()) < 0.7
    assert not (changed & ~TRIAL.region("train", either=True)).any()
    assert not torch.equal(TRIAL.by_coin(0), TRIAL.by_coin(1))


def test_a_row_says_what_was_black_and_how_far_the_output_moves(rows):
    assert list(rows) == ["original", "finetuned only", "filter", "true region", "by coin"]
    assert rows["finetuned only"]["blacked"] == 0
    assert rows["true region"]["covered"] == 1
    black = (TRIAL.blanked(EYES, 3, 0.2) != TASK.train.images).any(1)
    assert rows["filter"]["blacked"] == pytest.approx(float(black.float().mean()))
    assert all(row["moved"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows.values())


def test_a_model_that_ignores_the_mouth_is_not_moved():
    class Corner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer3 = torch.nn.Conv2d(3, 1, 1)

        def forward(self, x):
            return self.layer3(x)[:, :, 0, 0]

    assert TRIAL.measures(Corner())["moved"] == 0
