"""The VGG-16 of SSD."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from vertebra.backbones import SSDVGG16
from vertebra.errors import ConfigError
from vertebra.testing import check_backbone
from vertebra.testing.contract import check_gradients

NAME = "ssd_vgg16"


def test_it_keeps_its_promises() -> None:
    check_backbone(SSDVGG16(NAME))


def test_levels() -> None:
    backbone = SSDVGG16(NAME, in_channels=1)
    assert backbone.out_spec.strides == (2, 4, 8, 16) and backbone.out_spec.channels == (128, 256, 512, 1024)
    assert SSDVGG16(NAME, out_indices=[3, 4, 5]).out_spec.channels == (512, 512, 1024)
    with pytest.raises(ConfigError, match="out_indices .* go from 0 to 5"):
        SSDVGG16(NAME, out_indices=[6])


@torch.no_grad()
def test_blocks_are_torchvisions_own(tmp_path: Path) -> None:
    theirs = torchvision.models.vgg16(weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    backbone = SSDVGG16(NAME, pretrained=str(tmp_path / "weights.safetensors"), out_indices=[2, 3, 4, 5]).eval()
    images = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8)
    normal = (images.float() - backbone.mean) / backbone.std
    features = backbone(images)
    for level, end in zip(features.maps, (16, 23, 30), strict=False):
        torch.testing.assert_close(level, theirs.features[:end](normal))
    assert features.embedding is not None
    torch.testing.assert_close(features.embedding, features.maps[3].mean(dim=(2, 3)))
    assert "26 of 30 tensors" in backbone.origin


def test_no_cell_is_lost_at_300_pixels() -> None:
    backbone = SSDVGG16(NAME, out_indices=[3, 5]).eval()
    backbone = backbone.with_required_outputs(embedding=False, maps=True)
    with torch.no_grad():
        maps = backbone(torch.randint(0, 256, (1, 3, 300, 300), dtype=torch.uint8)).maps
    assert [tuple(level.shape[-2:]) for level in maps] == [(38, 38), (19, 19)]


def test_gradients_and_freezing() -> None:
    backbone = SSDVGG16(NAME, freeze=2, out_indices=[3])
    backbone = backbone.with_required_outputs(embedding=False, maps=True)
    features = backbone.train()(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    check_gradients(backbone, features.maps[0].square().mean())
    learning = {name for name, value in backbone.body.named_parameters() if value.requires_grad}
    assert "features.10.weight" in learning and "features.7.weight" not in learning
    assert "features.24.weight" not in learning
