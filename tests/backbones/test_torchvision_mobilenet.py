"""torchvision's MobileNetV3 as a backbone: equal to torchvision's for all out_indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from vertebra import create_model
from vertebra.backbones import TorchvisionMobileNetV3
from vertebra.errors import ConfigError
from vertebra.testing import check_backbone
from vertebra.testing.contract import check_gradients

LARGE = "torchvision_mobilenet_v3_large"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dilated": True, "reduced_tail": True},
        {"out_indices": [3, "13.expansion", 16]},
        {"out_indices": ["13.expansion"]},
    ],
)
def test_it_keeps_its_promises(options: dict[str, Any]) -> None:
    check_backbone(TorchvisionMobileNetV3(LARGE, **options))


def test_levels() -> None:
    assert TorchvisionMobileNetV3(LARGE).out_spec.strides == (2, 4, 8, 16, 32)
    assert TorchvisionMobileNetV3(LARGE, dilated=True).out_spec.strides == (2, 4, 8, 16)
    small = TorchvisionMobileNetV3("torchvision_mobilenet_v3_small", in_channels=1)
    assert small.out_spec.channels == (16, 16, 24, 48, 576) and small.out_spec.embedding == 1024
    tapped = TorchvisionMobileNetV3(LARGE, reduced_tail=True, out_indices=["13.expansion", 16])
    assert tapped.out_spec.channels == (672, 480) and tapped.out_spec.strides == (16, 32)


def test_the_maps_are_torchvisions_own() -> None:
    torch.manual_seed(0)
    backbone = TorchvisionMobileNetV3(LARGE, out_indices=[6, "13.expansion", 16]).eval()
    images = torch.randint(0, 256, (2, 3, 97, 161), dtype=torch.uint8)
    normal = (images.float() - backbone.mean) / backbone.std
    body = backbone.body
    with torch.no_grad():
        features = backbone(images)
        expected = [
            body.features[:7](normal),
            body.features[13].block[0](body.features[:13](normal)),
            body.features(normal),
        ]
        embedding = body.classifier(body.avgpool(expected[-1]).flatten(1))
    for level, expected_level in zip(features.maps, expected, strict=True):
        torch.testing.assert_close(level, expected_level)
    torch.testing.assert_close(features.embedding, embedding)


def test_weights_from_a_file(tmp_path: Path) -> None:
    theirs = torchvision.models.mobilenet_v3_large(weights=None)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    backbone = TorchvisionMobileNetV3(LARGE, pretrained=str(tmp_path / "weights.safetensors"))
    assert torch.equal(backbone.body.features[4].block[0][0].weight, theirs.features[4].block[0][0].weight)
    assert "from " in backbone.origin and "tensors matched" in backbone.origin


def test_gradients_freezing_and_frozen_norms() -> None:
    backbone = TorchvisionMobileNetV3(LARGE, out_indices=["13.expansion"], freeze=2, frozen_norm=True)
    backbone = backbone.with_required_outputs(embedding=False, maps=True)
    features = backbone.train()(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    check_gradients(backbone, features.maps[0].square().mean())
    learning = {name for name, value in backbone.body.named_parameters() if value.requires_grad}
    assert "features.2.block.0.0.weight" in learning and "features.1.block.0.0.weight" not in learning
    assert "features.13.block.0.0.weight" in learning and "features.13.block.1.0.weight" not in learning
    assert not any(layer.training for layer in backbone.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    assert not any(name.endswith(".1.bias") and "fc" not in name for name in learning)


def test_it_is_built_by_name() -> None:
    backbone = {"name": LARGE, "dilated": True, "out_indices": [4, 16]}
    model = create_model(backbone, decoder="upsample", classes=["a", "b"], image_size=64)
    assert model.branch("segment").decoder.in_spec.strides == (8, 16)


@pytest.mark.parametrize(
    ("out_indices", "message"),
    [
        (["13.middle"], "texts such as '13.expansion'; got '13.middle'"),
        (["1.expansion"], "block 1 .* has no expansion layer"),
        ([40], "out_indices .* go from 0 to 16"),
    ],
)
def test_wrong_out_indices(out_indices: list[int | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TorchvisionMobileNetV3(LARGE, out_indices=out_indices)
