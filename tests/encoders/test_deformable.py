"""The deformable encoder: input levels, reference points, and padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vertebra.encoders.deformable import DeformableEncoder, reference_points
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.testing import check_feature_part, fake_features

PYRAMID = FeatureSpec((Level(8, 4), Level(12, 8), Level(24, 16), Level(32, 32)))
CASES: list[tuple[dict[str, Any], FeatureSpec]] = [
    ({"levels": 4, "channels": 16, "heads": 2, "depth": 1, "points": 2, "hidden": 20}, PYRAMID),
    ({"levels": 1, "channels": 16, "dropout": 0.1}, PYRAMID),
    ({"channels": 16}, FeatureSpec((Level(8, 5), Level(8, 15)))),
]


@pytest.mark.parametrize(("options", "spec"), CASES)
def test_holds_the_contract(options: dict[str, Any], spec: FeatureSpec) -> None:
    check_feature_part(DeformableEncoder(spec, **options), spec)


def test_works_on_the_deepest_levels_and_passes_finer_ones_through() -> None:
    encoder = DeformableEncoder(PYRAMID, channels=16).eval()
    assert encoder.in_levels == (1, 2, 3)
    assert encoder.out_spec.channels == (8, 16, 16, 16) and encoder.out_spec.strides == PYRAMID.strides
    features = fake_features(PYRAMID, (97, 65))
    assert encoder(features).maps[0] is features.maps[0]
    assert DeformableEncoder(PYRAMID, levels=9).in_levels == (0, 1, 2, 3)
    assert DeformableEncoder(PYRAMID).channels == 128
    assert DeformableEncoder(FeatureSpec((Level(512, 8), Level(2048, 32)))).channels == 256


def test_places_are_the_same_pixels_on_every_level() -> None:
    """97 pixels are 13 cells of 8 or 4 of 32, which cover 104 and 128 of them; 65 are 9 or 3, which cover 72 and 96."""
    points = reference_points([(13, 9), (4, 3)], [8, 32], torch.device("cpu"))
    assert points.shape == (1, 13 * 9 + 4 * 3, 2, 2)
    spans = torch.tensor([[72.0, 104], [96, 128]])
    torch.testing.assert_close(points[0, 9 * 2 + 1] * spans, torch.tensor([[12.0, 20]] * 2))
    torch.testing.assert_close(points[0, 13 * 9 + 3 + 2] * spans, torch.tensor([[80.0, 48]] * 2))


def test_cells_read_around_themselves() -> None:
    """A change at the top left does not affect the far end, not even from the coarse level, whose cells are large."""
    torch.manual_seed(0)
    spec = FeatureSpec((Level(8, 8), Level(8, 16)))
    encoder = DeformableEncoder(spec, channels=16, depth=1, heads=4).eval()
    for project in encoder.project:
        project[1] = nn.Identity()  # the norm depends on the whole map
    before = fake_features(spec, (33 * 16 - 7, 20 * 16), batch=1)
    maps = [values.clone() for values in before.maps]
    maps[0][..., :3, :3] += 5.0
    with torch.no_grad():
        pairs = zip(encoder(before.with_maps(maps)).maps, encoder(before).maps, strict=True)
        changes = [(after - old).abs().amax(dim=(0, 1)) for after, old in pairs]
    for change in changes:
        assert float(change[:3, :3].max()) > 1e-3 and float(change[12:, 12:].max()) == 0


def test_padding_is_not_read() -> None:
    torch.manual_seed(0)
    encoder = DeformableEncoder(PYRAMID, channels=16).eval()
    for project in encoder.project:
        project[1] = nn.Identity()
    features = fake_features(PYRAMID, (96, 128), batch=1)
    changed = [values.clone() for values in features.maps]
    for values, stride in zip(changed, PYRAMID.strides, strict=True):
        values[..., 64 // stride :, :] = 7.0
        values[..., 96 // stride :] = -7.0
    frame = Frame((96, 128), torch.tensor([[64, 96]]))
    with torch.no_grad():
        left, right = (encoder(Features(tuple(maps), None, frame)).maps for maps in (features.maps, changed))
        free = encoder(Features(tuple(changed), None, Frame((96, 128), torch.tensor([[96, 128]])))).maps
    for index in (1, 2, 3):
        stride = PYRAMID.strides[index]
        image_cells = (..., slice(64 // stride), slice(96 // stride))
        torch.testing.assert_close(left[index][image_cells], right[index][image_cells])
        assert not torch.allclose(left[index][image_cells], free[index][image_cells], atol=1e-3)


def test_half_precision_runs() -> None:
    encoder = DeformableEncoder(PYRAMID, channels=16).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = encoder(fake_features(PYRAMID, (64, 64))).maps
        loss = torch.stack([values.float().pow(2).mean() for values in maps]).sum()
    loss.backward()
    gradients = [value.grad for value in encoder.parameters()]
    assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 30}, "encoder 'deformable': channels 30 must be a multiple of 4 and of heads 8"),
        ({"points": 0}, "encoder 'deformable': 'points' must be 1 or more, got 0"),
        ({"dropout": 1.5}, "encoder 'deformable': 'dropout' must be from 0 to 1, got 1.5"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DeformableEncoder(PYRAMID, **options)


def test_without_maps_there_is_nothing_to_work_on() -> None:
    with pytest.raises(IncompatiblePartsError, match="needs feature maps aligned with the image"):
        DeformableEncoder(FeatureSpec((), embedding=8))
