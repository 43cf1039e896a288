"""One backbone, several branches: one pass, and every branch sees its own images only."""

from __future__ import annotations

import pytest
import torch

from vertebra import VisionModel, create_model
from vertebra.testing import fake_targets

CANVAS = (64, 96)


@pytest.fixture
def model() -> VisionModel:
    return create_model(
        "mobilenetv2_035",
        branches={
            "animal": {"decoder": "linear", "classes": ["dog", "cat", "lion"]},
            "boxes": {"neck": "fpn", "decoder": "fcos", "classes": ["dog", "cat"], "weight": 0.5},
            "regions": {"encoder": "aspp", "decoder": "deeplabv3plus", "classes": ["dog", "cat"]},
        },
        image_size=CANVAS,
    )


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(0, 256, (count, 3, *CANVAS), dtype=torch.uint8), torch.tensor([CANVAS] * count)


def test_the_backbone_runs_once_whatever_the_branches(model: VisionModel) -> None:
    calls: list[int] = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model.eval()(*images(2))
    assert len(calls) == 1


def test_three_branches_at_once_say_what_each_says_alone(model: VisionModel) -> None:
    model.eval()
    batch, sizes = images(2)
    together = model(batch, sizes)
    for name in ("animal", "boxes", "regions"):
        branch = model.branch(name)
        features = model.features(batch, sizes)
        alone = branch.decoder.decode(branch.decoder(branch.prepare(features)), features.frame)
        for left, right in zip(together[name], alone, strict=True):
            assert torch.equal(left, right)


def test_a_branch_sees_its_labeled_images_only(model: VisionModel) -> None:
    batch, sizes = images(4)
    rows = torch.tensor([1, 3])
    seen: list[int] = []
    neck = model.branch("boxes").neck
    assert neck is not None
    neck.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0].maps[0])))
    targets = {
        "animal": (torch.arange(4), fake_targets(model.branch("animal").labels, CANVAS, 4)),
        "boxes": (rows, fake_targets(model.branch("boxes").labels, CANVAS, 2)),
    }
    terms, outputs = model.train().loss(batch, sizes, targets)
    assert set(terms) == {"animal", "boxes"}
    assert outputs["animal"].logits.shape[0] == 4
    assert seen == [2]


def test_a_branch_without_labels_is_not_run_and_keeps_its_gradients_empty(model: VisionModel) -> None:
    batch, sizes = images(2)
    targets = {"animal": (torch.arange(2), fake_targets(model.branch("animal").labels, CANVAS, 2))}
    terms, _ = model.train().loss(batch, sizes, targets)
    torch.stack([term.mean() for own in terms.values() for term in own.values()]).sum().backward()
    assert all(parameter.grad is None for parameter in model.branch("regions").parameters())
    assert any(parameter.grad is not None for parameter in model.backbone.parameters())


def test_all_trainable_parameters_learn_when_all_branches_are_labeled(model: VisionModel) -> None:
    batch, sizes = images(2)
    targets = {name: (torch.arange(2), fake_targets(model.branch(name).labels, CANVAS, 2)) for name in model.branches}
    terms, _ = model.train().loss(batch, sizes, targets)
    torch.stack([term.mean() for own in terms.values() for term in own.values()]).sum().backward()
    without = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not without


def test_a_shared_neck_stands_before_the_fork() -> None:
    model = create_model(
        "resnet10t",
        shared={"neck": {"name": "fpn", "channels": 32}},
        branches={
            "boxes": {"decoder": "retinanet", "classes": ["dog"]},
            "regions": {"decoder": "upsample", "classes": ["dog", "cat"]},
        },
        image_size=CANVAS,
    )
    calls: list[int] = []
    model.shared[0].register_forward_hook(lambda *_: calls.append(1))
    decoded = model.eval()(*images(1))
    assert len(calls) == 1
    assert set(decoded) == {"boxes", "regions"}
