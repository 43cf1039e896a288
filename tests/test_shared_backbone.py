"""Several models on one backbone: each computes and trains what it needs, whatever the others need."""

from __future__ import annotations

import pytest
import torch

from tests.resolved import resolved_train
from vertebra import create_model
from vertebra.backbones import TimmBackbone
from vertebra.model import VisionModel
from vertebra.testing.synthetic import fake_targets
from vertebra.training.trainer import make_trainer

NAME = "mobilenetv2_035"  # its last convolution, body.conv_head, is for the embedding only
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DECODERS = {"segment": "upsample", "classify": "linear"}  # read the maps, the embedding


def build(backbone: object, task: str) -> VisionModel:
    return create_model(backbone, decoder=DECODERS[task], classes=["a", "b"], image_size=64)


def step(model: VisionModel) -> set[str]:
    """One training step; the names of the parameters that have a gradient."""
    (name,) = model.branches
    model.train().zero_grad(set_to_none=True)
    targets = fake_targets(model.branch(name).labels, (64, 64))
    terms, _ = model.loss(IMAGES, torch.full((2, 2), 64), {name: (torch.arange(2), targets)})
    torch.stack([term.mean() for term in terms[name].values()]).sum().backward()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.optim.SGD(learning, lr=0.01).step()
    return {key for key, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("tasks", [("segment", "classify"), ("classify", "segment")])
@torch.no_grad()
def test_a_second_model_leaves_the_outputs_of_the_first_as_they_were(tasks: tuple[str, str]) -> None:
    backbone = TimmBackbone(NAME)
    first = build(backbone, tasks[0]).eval()
    before = first(IMAGES)[tasks[0]][0]
    second = build(backbone, tasks[1]).eval()
    assert torch.equal(first(IMAGES)[tasks[0]][0], before)
    alone = build(NAME, tasks[1]).eval()
    alone.load_state_dict(second.state_dict())
    assert torch.equal(second(IMAGES)[tasks[1]][0], alone(IMAGES)[tasks[1]][0])


@pytest.mark.parametrize("tasks", [("segment", "classify"), ("classify", "segment")])
def test_each_model_trains_what_it_needs(tasks: tuple[str, str]) -> None:
    backbone = TimmBackbone(NAME)
    models = {task: build(backbone, task) for task in tasks}
    for task, model in models.items():
        with_gradient = step(model)
        learning = {key for key, value in model.named_parameters() if value.requires_grad}
        assert with_gradient == learning - model.unused_parameters()
        assert ("backbone.body.conv_head.weight" in with_gradient) == (task == "classify")
    shared = [model.backbone.body.conv_stem.weight for model in models.values()]  # type: ignore[attr-defined]
    assert shared[0] is shared[1]


def test_a_model_alone_freezes_what_nothing_reads() -> None:
    model = build(NAME, "segment")
    frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
    assert frozen == model.unused_parameters() and "backbone.body.conv_head.weight" in frozen
    assert not build(NAME, "classify").unused_parameters()


def test_what_a_user_has_frozen_stays_frozen() -> None:
    first = build(NAME, "segment")
    first.backbone.requires_grad_(False)
    second = build(first.backbone, "segment")
    assert not any(parameter.requires_grad for parameter in second.backbone.parameters())
    backbone = TimmBackbone(NAME)
    backbone.body.conv_stem.requires_grad_(False)
    trained = {key for key, value in build(backbone, "segment").backbone.named_parameters() if value.requires_grad}
    assert "body.conv_stem.weight" not in trained and "body.blocks.0.0.conv_dw.weight" in trained


def test_frozen_norms_stay_when_unused_parameters_are_searched() -> None:
    model = create_model({"name": NAME, "frozen_norm": True}, decoder="upsample", classes=["a", "b"]).train()
    model.unused_parameters()
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert norms and not any(layer.training for layer in norms)


@pytest.mark.parametrize(("shared", "strategy"), [(False, "ddp"), (True, "ddp_find_unused_parameters_true")])
def test_parameters_that_another_model_needs_do_not_stop_distributed_training(
    shared: bool, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(
        "vertebra.training.trainer._trainer", lambda recipe, callbacks, name, precision: chosen.append(name)
    )
    model = build(NAME, "segment")
    if shared:
        build(model.backbone, "classify")
    make_trainer(
        resolved_train(
            epochs=1, batch_size=4, accumulate=1, evaluate_every=1, devices=2, accelerator="cpu", precision="32"
        ),
        [],
        model,
    )
    assert chosen == [strategy]
