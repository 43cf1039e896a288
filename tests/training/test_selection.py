"""Which weights are kept, and by which metric."""

from __future__ import annotations

import json
import math

import pytest
from torch import nn

import vertebra
from vertebra.errors import UnknownName
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.training.selection import BestWeights, Score, check_monitor, directions, main_score


def judge(
    kept: BestWeights, epoch: int, value: float | None, *, lower: bool = False, model: nn.Module | None = None
) -> str:
    score = None if value is None else Score("b/m", value, lower)
    return kept.update(epoch, score, {}, model or nn.Linear(1, 1)) or ""


def test_a_first_score_that_is_no_number_does_not_stay_best() -> None:
    kept = BestWeights()
    assert "b/m is not finite; the newest weights are kept" in judge(kept, 1, math.nan)
    assert kept.epoch == 1 and kept.best is None
    assert judge(kept, 2, 0.1) == "" and kept.epoch == 2
    assert "the best weights so far stay" in judge(kept, 3, math.nan)
    assert "no score could be measured; the best weights so far stay" in judge(kept, 4, None)
    judge(kept, 5, 0.05)
    assert kept.epoch == 2 and kept.without_better == 2
    assert BestWeights.from_state(json.loads(json.dumps(kept.state_dict()))) == kept


def test_without_scores_the_newest_weights_are_kept() -> None:
    kept = BestWeights()
    for epoch in (1, 2, 3):
        assert "no score could be measured; the newest weights are kept" in judge(kept, epoch, None)
        assert kept.epoch == epoch and kept.without_better == 0
    assert kept.summary() == "kept the weights of epoch 3 (no evaluation had a score)"


def test_weights_that_are_no_numbers_are_never_kept() -> None:
    broken = nn.BatchNorm1d(2)
    assert broken.running_var is not None
    broken.running_var.fill_(math.inf)
    kept = BestWeights()
    assert "'running_var' has values that are not finite" in judge(kept, 1, 0.9, model=broken)
    assert kept.epoch is None
    judge(kept, 2, 0.1)
    judge(kept, 3, 0.9, model=broken)
    assert kept.epoch == 2


def test_the_lowest_error_is_the_best() -> None:
    kept = BestWeights()
    for epoch, value in enumerate((3.0, 1.5, 2.0), start=1):
        judge(kept, epoch, value, lower=True)
    assert kept.epoch == 2 and kept.summary() == "best b/m 1.5000 (epoch 2, lower is better)"


@pytest.fixture(scope="module")
def two_branches() -> VisionModel:
    return vertebra.create_model(
        "test_resnet",
        branches={
            "pose": {"task": "keypoints", "decoder": "heatmap", "classes": ["face"], "points": ["eye", "nose"]},
            "animal": {"decoder": "linear", "classes": ["cat", "dog"]},
        },
        image_size=(32, 32),
    )


@pytest.mark.parametrize("best", ["pose/error", "pose/nme", "pose/nme/eye", "pose/loss", "animal/loss"])
def test_every_metric_that_falls_is_known(best: str, two_branches: VisionModel) -> None:
    info = model_info(two_branches)
    assert main_score(info, {best: 2.0}, best) == Score(best, 2.0, True)
    assert main_score(info, {best: 2.0}, "pose/pck") is None
    assert directions(info)["pose/pck"] is directions(info)["animal/accuracy"] is False


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("pose/eror", "pose/error"),
        ("error", "pose/error"),
        ("animal/acc", "animal/accuracy"),
        ("pose/oksmap", "pose/oks_map"),
    ],
)
def test_a_misspelt_metric_is_refused(given: str, meant: str, two_branches: VisionModel) -> None:
    check_monitor(model_info(two_branches), meant)
    with pytest.raises(UnknownName, match=rf"unknown metric for 'train.monitor': '{given}'. Did you mean '{meant}'"):
        check_monitor(model_info(two_branches), given)
