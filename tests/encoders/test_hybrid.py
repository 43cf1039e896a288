"""The hybrid encoder: input levels, alignment, padding, and its blocks computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vertebra import create_model
from vertebra.encoders.hybrid import HybridEncoder
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.csp import CSPRepLayer, RepVGGBlock
from vertebra.layers.positional_attention import PositionalAttention
from vertebra.testing import check_feature_part, fake_features

PYRAMID = FeatureSpec((Level(8, 4), Level(12, 8), Level(24, 16), Level(32, 32)))
CASES: list[tuple[dict[str, Any], FeatureSpec]] = [
    ({"levels": 4, "channels": 16, "heads": 2, "expansion": 0.5, "blocks": 1, "hidden": 20, "depth": 2}, PYRAMID),
    ({"levels": 1, "channels": 16, "depth": 0}, PYRAMID),
    ({"levels": 2, "channels": 16, "dropout": 0.1}, FeatureSpec((Level(8, 4), Level(12, 32)))),
    ({"channels": 16}, FeatureSpec((Level(8, 5), Level(8, 15)))),
]


@pytest.mark.parametrize(("options", "spec"), CASES)
def test_holds_the_contract(options: dict[str, Any], spec: FeatureSpec) -> None:
    check_feature_part(HybridEncoder(spec, **options), spec)


def test_works_on_the_deepest_levels_and_passes_finer_ones_through() -> None:
    encoder = HybridEncoder(PYRAMID, channels=16).eval()
    assert encoder.in_levels == (1, 2, 3)
    assert encoder.out_spec.channels == (8, 16, 16, 16) and encoder.out_spec.strides == PYRAMID.strides
    features = fake_features(PYRAMID, (97, 65))
    assert encoder(features).maps[0] is features.maps[0]
    assert HybridEncoder(PYRAMID, levels=9).in_levels == (0, 1, 2, 3)
    assert HybridEncoder(PYRAMID).channels == 128
    assert HybridEncoder(FeatureSpec((Level(512, 8), Level(2048, 32)))).channels == 256


def test_every_cell_comes_from_its_own_place() -> None:
    """A change at the top left of the fine levels does not affect the far end, at any size."""
    torch.manual_seed(0)
    spec = FeatureSpec((Level(8, 8), Level(8, 16), Level(8, 32)))
    encoder = HybridEncoder(spec, channels=16, depth=0, blocks=1).eval()
    before = fake_features(spec, (33 * 32 - 7, 33 * 32 - 23), batch=1)
    maps = [values.clone() for values in before.maps]
    for values in maps:
        values[..., 0, 0] += 10
    with torch.no_grad():
        pairs = zip(encoder(before.with_maps(maps)).maps, encoder(before).maps, strict=True)
        changes = [(after - old).abs().amax(dim=(0, 1)) for after, old in pairs]
    for change in changes:
        assert float(change[0, 0]) > 1e-4 and float(change[-8:, -8:].max()) == 0


def test_padding_is_hidden_from_attention() -> None:
    torch.manual_seed(0)
    spec = FeatureSpec((Level(8, 32),))
    encoder = HybridEncoder(spec, channels=16).eval()
    maps = torch.randn(1, 8, 3, 4)
    frame = Frame((96, 128), torch.tensor([[70, 60]]))  # three rows and two columns of cells cover the image
    other = maps.clone()
    other[..., 2:] = 5.0
    with torch.no_grad():
        left, right = (encoder(Features((values,), None, frame)).maps[0] for values in (maps, other))
        seen = encoder(Features((other,), None, Frame((96, 128), torch.tensor([[96, 128]])))).maps[0]
    torch.testing.assert_close(left[..., :2], right[..., :2])
    assert not torch.allclose(left[..., :2], seen[..., :2], atol=1e-3)


def test_levels_that_nobody_reads_are_not_made() -> None:
    encoder = HybridEncoder(PYRAMID, [0, 2], channels=16)
    assert len(encoder.bottom_up) == len(encoder.shrink) == 1 and len(encoder.top_down) == 2
    maps = encoder(fake_features(PYRAMID, (97, 65))).maps
    assert [tuple(values.shape[1:]) for values in maps] == [(8, 25, 17), (16, 13, 9), (16, 7, 5), (16, 4, 3)]
    assert len(HybridEncoder(PYRAMID, [0], channels=16).bottom_up) == 2  # none of its levels is read: unchanged


def test_a_neck_keeps_the_levels_that_the_encoder_reads() -> None:
    model = create_model("resnet10t", neck="fpn", encoder="hybrid", decoder="upsample", classes=["a", "b"])
    smooth = model.branch(next(iter(model.branches))).neck.smooth
    assert [isinstance(layer, nn.Identity) for layer in smooth] == [True, False, False, False]


def test_a_repvgg_block_by_hand() -> None:
    """The input of both convolutions is ones: the 3x3 of halves sums to 4.5 in the middle, the 1x1 doubles."""
    block = RepVGGBlock(1).eval()
    nn.init.constant_(block.wide[0].weight, 0.5)
    nn.init.constant_(block.narrow[0].weight, 2.0)
    with torch.no_grad():
        middle = block(torch.ones(1, 1, 3, 3))[0, 0, 1, 1]
    expected = torch.tensor(6.5 / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(middle, expected * expected.sigmoid())


def test_a_csp_layer_adds_its_path_and_its_bypass() -> None:
    layer = CSPRepLayer(6, 4, depth=2, expansion=0.5).eval()
    assert layer.path[0].out_channels == 2 and not isinstance(layer.join, nn.Identity)
    assert isinstance(CSPRepLayer(6, 4).join, nn.Identity)
    maps = torch.randn(2, 6, 3, 5)
    with torch.no_grad():
        expected = layer.join(layer.blocks[1](layer.blocks[0](layer.path(maps))) + layer.bypass(maps))
        torch.testing.assert_close(layer(maps), expected)


def test_positioned_attention_equals_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = PositionalAttention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.queries_keys.weight, ours.values.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.queries_keys.bias, ours.values.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
        tokens, position = torch.randn(2, 5, 8), torch.randn(5, 8)
        hidden = torch.zeros(2, 5, dtype=torch.bool)
        hidden[1, 3:] = True
        query = tokens + position
        expected = theirs(query, query, tokens, key_padding_mask=hidden, need_weights=False)[0]
        actual = ours(tokens, position, torch.where(hidden, -1e4, 0.0)[:, None, None])
    torch.testing.assert_close(actual, expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder 'hybrid': channels 20 must be a multiple of 4 and of heads 8"):
        HybridEncoder(PYRAMID, channels=20)
    with pytest.raises(ConfigError, match="encoder 'hybrid': 'levels' must be 1 or more, got 0"):
        HybridEncoder(PYRAMID, levels=0)
    with pytest.raises(IncompatiblePartsError, match=r"strides that divide each other \(here 8 and 12\)"):
        HybridEncoder(FeatureSpec((Level(8, 8), Level(8, 12))))
