"""DeepLabV3, DeepLabV3+ and PSPNet: the papers' models, options, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from vertebra import create_model
from vertebra.decoders.segment.deeplabv3 import DeepLabV3
from vertebra.decoders.segment.deeplabv3plus import DeepLabV3Plus
from vertebra.decoders.segment.pspnet import PSPNet
from vertebra.encoders.aspp import ASPP
from vertebra.encoders.pyramid_pooling import PyramidPoolingEncoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.testing import check_decoder, fake_features
from vertebra.weights.peers.base import renamed

SPEC = FeatureSpec((Level(16, 4), Level(24, 8), Level(32, 16)))
LABELS = SegmentLabels(("a", "b", "c"))


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (DeepLabV3, {"depth": 2, "fit": "corners", "dropout": 0.3}),
        (DeepLabV3Plus, {"depth": 1, "deep_depth": 2, "inner_norm": False, "fit": "corners"}),
        (DeepLabV3Plus, {"separable": False, "deep_depth": 1, "fit": "size", "channels": 16}),
        (PSPNet, {"norm": "none", "join_kernel_size": 1, "kernel_size": 3, "fit": "corners"}),
        (PSPNet, {"grids": [1, 4], "normalize_whole": False, "channels": 20, "norm": "group"}),
    ],
)
def test_holds_the_contract(part: Any, options: dict[str, Any]) -> None:
    check_decoder(lambda in_spec, labels: part(in_spec, labels, **options), SPEC, LABELS)


def test_deeplabv3_on_aspp_is_the_paper() -> None:
    """After the pooling, only one 1x1 convolution makes the logits."""
    encoder = {"name": "aspp", "separable": False, "channels": 16}
    backbone = {"name": "resnet10t", "output_stride": 8}
    model = create_model(backbone, encoder=encoder, decoder="deeplabv3", classes=["a", "b"], image_size=64)
    decoder: Any = model.branch("segment").decoder
    assert decoder.stride == 8 and len(decoder.body) == 0
    assert [tuple(value.shape) for value in decoder.parameters()] == [(2, 16, 1, 1), (2,)]
    aspp: Any = model.branch("segment").encoder
    assert [branch[0].dilation[0] for branch in aspp.branches] == [1, 12, 24, 36]


@torch.no_grad()
def test_torchvisions_deeplabv3_is_aspp_and_one_convolution() -> None:
    theirs = torchvision.models.segmentation.deeplabv3.DeepLabHead(24, 5).eval()
    spec = FeatureSpec((Level(24, 8),))
    aspp = ASPP(spec, channels=256, rates=[12, 24, 36], separable=False).eval()
    decoder = DeepLabV3(aspp.out_spec, SegmentLabels(tuple("abcde")), depth=1).eval()
    rules = [
        (r"0\.convs\.([0-3])\.", r"branches.\1."),
        (r"0\.convs\.4\.1\.", "pool."),
        (r"0\.convs\.4\.2\.", "pool_norm."),
        (r"0\.project\.", "join.0."),
        (r"1\.", "body.0.0."),
        (r"2\.", "body.0.1."),
        (r"4\.", "classifier.1."),
    ]
    tensors = renamed(theirs.state_dict(), rules)
    aspp.load_state_dict({name: value for name, value in tensors.items() if name in aspp.state_dict()})
    decoder.load_state_dict({name: value for name, value in tensors.items() if name in decoder.state_dict()})
    features = fake_features(spec, (97, 65))
    torch.testing.assert_close(decoder(aspp(features)).logits, theirs(features.maps[0]), atol=1e-5, rtol=1e-4)


def test_deeplabv3plus_keeps_its_defaults() -> None:
    decoder: Any = DeepLabV3Plus(SPEC, LABELS)
    assert len(decoder.deep) == 0 and len(decoder.join) == 2 and decoder.fit == "stride"
    assert isinstance(decoder.join[0][0][1], nn.BatchNorm2d)
    plain: Any = DeepLabV3Plus(SPEC, LABELS, inner_norm=False, deep_depth=1, depth=1)
    assert list(plain.join[0][0].state_dict()) == ["0.weight"] and len(plain.deep) == 1
    aspp: Any = ASPP(SPEC, inner_norm=False)
    assert list(aspp.branches[1][0].state_dict()) == ["0.weight"]


def test_pspnet_has_the_papers_widths() -> None:
    decoder: Any = PSPNet(FeatureSpec((Level(2048, 8),)), LABELS)
    assert [conv[0].out_channels for conv in decoder.pooling.convs] == [512] * 4
    assert tuple(decoder.join[0].weight.shape) == (512, 4096, 3, 3)


@torch.no_grad()
def test_the_pooled_means_differ_with_the_image_and_not_with_padding() -> None:
    spec = FeatureSpec((Level(8, 8),))
    encoder = PyramidPoolingEncoder(spec, channels=16).eval()
    maps = torch.randn(1, 8, 8, 8)
    narrow = encoder(Features((maps,), None, Frame((64, 64), torch.tensor([[64, 64]])))).maps[0]
    wide = torch.cat([maps, torch.randn(1, 8, 8, 4)], dim=3)
    actual = encoder(Features((wide,), None, Frame((64, 96), torch.tensor([[64, 64]])))).maps[0]
    torch.testing.assert_close(actual[..., :7], narrow[..., :7])  # the 3x3 convolution reaches one cell over the edge
    changed = maps.clone()
    changed[..., 0, 0] += 9
    other = encoder(Features((changed,), None, Frame((64, 64), torch.tensor([[64, 64]])))).maps[0]
    assert float((other - narrow)[..., -1, -1].abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (DeepLabV3, {"depth": -1}, "'depth' must be 0 or more, got -1"),
        (DeepLabV3Plus, {"depth": 0}, "'depth' must be 1 or more, got 0"),
        (PSPNet, {"grids": []}, "'grids' must be 1 or more, got 0"),
        (PSPNet, {"dropout": 2.0}, "'dropout' must be from 0 to 1, got 2.0"),
    ],
)
def test_options_out_of_range(part: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        part(SPEC, LABELS, **options)
    with pytest.raises(ConfigError, match="'grids' must be 1 or more, got 0"):
        PyramidPoolingEncoder(SPEC, grids=[0, 2])
