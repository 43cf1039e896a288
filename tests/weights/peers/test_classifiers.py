"""Imported classifiers of timm and torchvision have equal logits, classes and preprocessing."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.weights.importing import assemble
from vertebra.weights.peers.timm_classify import class_names, classifier
from vertebra.weights.peers.torchvision_classify import BUILDERS


def logits_of(model: Any, images: torch.Tensor) -> torch.Tensor:
    decoded: torch.Tensor = model.branch("classify").decoder(model.features(images)).logits
    return decoded


@torch.no_grad()
def compare(peer: Any, model: Any, size: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    theirs = peer((images.float() - model.backbone.mean) / model.backbone.std)
    assert relative_difference(logits_of(model, images), theirs) < 1e-4
    torch.testing.assert_close(model(images)["classify"].probabilities, theirs.softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "test_vit", "vgg11", "hrnet_w18_small"]
)
def test_timm(name: str) -> None:
    peer = randomize(timm.create_model(name))
    model, report = assemble(classifier(name, peer.state_dict()))
    assert not report.leftover and not report.unread
    compare(peer, model, model.resize_spec.size)


def test_timm_with_other_classes_and_a_tag() -> None:
    peer = randomize(timm.create_model("resnet10t", num_classes=3))
    model, _ = assemble(classifier("resnet10t.c3_in1k", peer.state_dict()))
    assert model.branch("classify").labels.classes == ("class_0", "class_1", "class_2")
    assert model.resize_spec.size == (176, 176) and model.resize_spec.crop == 0.875
    compare(peer, model, (97, 65))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", (97, 65)),
        ("mobilenet_v2", (97, 65)),
        ("mobilenet_v3_small", (97, 65)),
        ("efficientnet_b0", (97, 65)),
        ("regnet_y_400mf", (97, 65)),
        ("densenet121", (64, 96)),
        ("convnext_tiny", (64, 96)),
        ("swin_t", (224, 224)),
        ("mnasnet0_5", (97, 65)),
    ],
)
def test_torchvision(name: str, size: tuple[int, int]) -> None:
    peer = randomize(torchvision.models.get_model(name, weights=None))
    model, report = assemble(BUILDERS[name](name, peer.state_dict()))
    assert not report.leftover and not report.unread
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert model.resize_spec.size == (transforms.crop_size[0],) * 2
    assert model.resize_spec.transform(500, 700).resized[0] == pytest.approx(transforms.resize_size[0], abs=1)
    torch.testing.assert_close(model.backbone.mean.flatten() / 255, torch.tensor(transforms.mean))
    compare(peer, model, size)


def test_torchvision_inception() -> None:
    """Its weights include an auxiliary classifier, and convert the preset's normalization inside the model."""
    peer = randomize(torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True))
    model, report = assemble(BUILDERS["inception_v3"]("inception_v3", peer.state_dict()))
    assert not report.leftover and not report.unread
    images = torch.randint(0, 256, (2, 3, 99, 131), dtype=torch.uint8)
    preset = torchvision.models.Inception_V3_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (preset.mean, preset.std))
    with torch.no_grad():
        assert relative_difference(logits_of(model, images), peer((images / 255 - mean) / std)) < 1e-4


def test_class_names_are_all_different() -> None:
    names = class_names(1000)
    assert len(set(names)) == 1000 and names[0] == "tench" and "crane (n02012849)" in names
    assert class_names(2) == ["class_0", "class_1"]
