"""torchvision's MobileNetV2 as a backbone: equal to torchvision's, with smp's dilation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from vertebra import create_model
from vertebra.backbones import TimmBackbone
from vertebra.backbones.torchvision_mobilenet_v2 import TorchvisionMobileNetV2
from vertebra.errors import ConfigError
from vertebra.testing import check_backbone
from vertebra.testing.contract import check_gradients

NAME = "torchvision_mobilenet_v2"


@pytest.mark.parametrize("options", [{}, {"output_stride": 8}, {"output_stride": 16, "out_indices": [3, 18]}])
def test_it_keeps_its_promises(options: dict[str, Any]) -> None:
    check_backbone(TorchvisionMobileNetV2(NAME, **options))


def test_levels() -> None:
    whole = TorchvisionMobileNetV2(NAME, in_channels=1)
    assert whole.out_spec.strides == (2, 4, 8, 16, 32) and whole.out_spec.embedding == 1280
    assert whole.out_spec.channels == (16, 24, 32, 96, 1280)
    assert TorchvisionMobileNetV2(NAME, output_stride=16).out_spec.strides == (2, 4, 8, 16)
    dilated: Any = TorchvisionMobileNetV2(NAME, output_stride=8).body
    rates = [dilated.features[number].conv[1][0].dilation[0] for number in (6, 7, 13, 14, 17)]
    assert rates == [1, 2, 2, 4, 4]


@torch.no_grad()
def test_maps_and_embedding_are_torchvisions_own(tmp_path: Path) -> None:
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    backbone = TorchvisionMobileNetV2(
        NAME, pretrained=str(tmp_path / "weights.safetensors"), out_indices=[6, 18]
    ).eval()
    images = torch.randint(0, 256, (2, 3, 97, 161), dtype=torch.uint8)
    normal = (images.float() - backbone.mean) / backbone.std
    features = backbone(images)
    torch.testing.assert_close(features.maps[0], theirs.features[:7](normal))
    torch.testing.assert_close(features.maps[1], theirs.features(normal))
    assert features.embedding is not None
    torch.testing.assert_close(theirs.classifier(features.embedding), theirs(normal))
    assert "from " in backbone.origin


def test_gradients_and_freezing() -> None:
    backbone = TorchvisionMobileNetV2(NAME, freeze=2, out_indices=[6])
    backbone = backbone.with_required_outputs(embedding=False, maps=True)
    features = backbone.train()(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    check_gradients(backbone, features.maps[0].square().mean())
    learning = {name for name, value in backbone.body.named_parameters() if value.requires_grad}
    assert "features.2.conv.0.0.weight" in learning and not any(name.startswith("features.1.") for name in learning)
    assert not any(name.startswith("features.7.") for name in learning)


def test_it_is_built_by_name() -> None:
    model = create_model({"name": NAME, "output_stride": 16}, decoder="fcn", classes=["a", "b"], image_size=64)
    assert model.branch("segment").decoder.in_spec.strides == (2, 4, 8, 16)
    with pytest.raises(ConfigError, match="published weights are for 3 channels, got 4"):
        TorchvisionMobileNetV2(NAME, pretrained=True, in_channels=4)


def test_the_first_block_dilates_with_its_stage() -> None:
    body: Any = TimmBackbone("resnet18", output_stride=8).body
    assert [body.layer4[number].conv1.dilation[0] for number in (0, 1)] == [2, 4]
    body = TimmBackbone("resnet18", output_stride=8, dilate_first=True).body
    assert [body.layer4[number].conv1.dilation[0] for number in (0, 1)] == [4, 4]
    assert (body.layer3[0].conv1.padding, body.layer2[0].conv1.dilation) == ((2, 2), (1, 1))
    with pytest.raises(ConfigError, match="backbone 'mobilenetv2_035' is not a ResNet; remove 'dilate_first'"):
        TimmBackbone("mobilenetv2_035", output_stride=8, dilate_first=True)
