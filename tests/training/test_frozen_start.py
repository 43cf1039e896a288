"""A pretrained backbone that is frozen in the first steps, and its layer-wise learning rates."""

from __future__ import annotations

import pytest
import torch

import vertebra
from tests.resolved import resolved_train
from vertebra.errors import ConfigError
from vertebra.model import VisionModel
from vertebra.recipe.lr_schedule import Cosine, lr_factor
from vertebra.training.frozen_start import FrozenStart, check_backbone_options, frozen_steps
from vertebra.training.parameter_groups import parameter_groups


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return vertebra.create_model("resnet10t", decoder="linear", classes=["a", "b"], image_size=64)


def moved_by_step(model: VisionModel, frozen_start: FrozenStart, step: int) -> set[str]:
    """The state entries that one training step changes."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    frozen_start.apply(step)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    features = model.features(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    model.branch("classify").decoder(features).logits.sum().backward()
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_first_steps_leave_weights_and_statistics_of_the_backbone(model: VisionModel) -> None:
    frozen_start = FrozenStart(model.backbone, 3)
    for step in (0, 2):
        assert not any(name.startswith("backbone.") for name in moved_by_step(model, frozen_start, step))
    moved = moved_by_step(model, frozen_start, 3)
    assert "backbone.body.conv1.0.weight" in moved and "backbone.body.bn1.running_mean" in moved


def test_parameters_that_were_frozen_before_stay_frozen(model: VisionModel) -> None:
    weight = model.get_parameter("backbone.body.conv1.0.weight").requires_grad_(False)
    frozen_start = FrozenStart(model.backbone, 1)
    frozen_start.apply(0)
    frozen_start.apply(1)
    assert not weight.requires_grad
    weight.requires_grad_(True)


def test_rate_of_the_backbone_rises_when_it_is_unfrozen() -> None:
    rates = [lr_factor(step, 100, 0.1, Cosine(), frozen=30) for step in range(100)]
    plain = [lr_factor(step, 100, 0.1, Cosine()) for step in range(100)]
    assert rates[:30] == [0.0] * 30
    assert rates[30] == pytest.approx(plain[30] / 10)
    assert rates[39:] == plain[39:]
    assert frozen_steps(resolved_train(freeze_backbone=0.3), 100) == 30


def test_early_layers_of_a_pretrained_backbone_have_a_lower_rate(model: VisionModel) -> None:
    recipe = resolved_train(lr=1.0, backbone_lr=0.5, layer_decay=0.5)
    groups = parameter_groups(model.backbone, model, recipe, pretrained=True)
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    first, last = "backbone.body.conv1.0.weight", "backbone.body.layer4.0.conv2.weight"
    assert rate[id(model.get_parameter(first))] < rate[id(model.get_parameter(last))] == 0.5
    assert rate[id(model.get_parameter("branches.classify.decoder.classifier.weight"))] == 1.0
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("options", [{"freeze_backbone": 0.2}, {"layer_decay": 0.7}])
def test_options_without_effect_are_refused(model: VisionModel, options: dict[str, float]) -> None:
    recipe = resolved_train(**options)
    check_backbone_options(recipe, model.backbone, pretrained=True)
    with pytest.raises(ConfigError, match="random weights"):
        check_backbone_options(recipe, model.backbone, pretrained=False)
    for strategy in ("ddp", "fsdp") if recipe.freeze_backbone else ():
        with pytest.raises(
            ConfigError, match=f"train.freeze_backbone and train.strategy {strategy} exclude each other"
        ):
            check_backbone_options(recipe.model_copy(update={"strategy": strategy}), model.backbone, pretrained=True)
    whole = vertebra.create_model(
        {"name": "resnet10t", "freeze": "all"}, decoder="linear", classes=["a", "b"], image_size=64
    )
    with pytest.raises(ConfigError, match="frozen for the whole"):
        check_backbone_options(recipe, whole.backbone, pretrained=True)
