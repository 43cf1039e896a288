"""The contract of necks and encoders, tested for all parts of both catalogs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.daily_sample import daily_sample
from vertebra.encoders import ENCODERS
from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.necks import NECKS
from vertebra.parts import describe
from vertebra.required_levels import takes_levels
from vertebra.testing import check_feature_part, check_keep_levels, fake_features

PYRAMID = FeatureSpec((Level(8, 4), Level(12, 8), Level(24, 16), Level(32, 32)))
PATCHES = FeatureSpec((Level(32, 16), Level(32, 16)), embedding=32)  # two levels of a plain vision transformer
DILATED = FeatureSpec((Level(8, 4), Level(12, 8), Level(24, 16), Level(32, 16)))
Build = Callable[..., nn.Module]
EXPORTED_EACH_DAY = 4

# name, class, options, incoming levels, size multiple
PLAIN: list[tuple[str, Build, dict[str, Any], FeatureSpec, int]] = [
    *((name, part, {}, PATCHES if name == "simple_pyramid" else PYRAMID, 16) for name, part in NECKS.items()),
    *((name, part, {}, PYRAMID, 1) for name, part in ENCODERS.items()),
    *((f"{name} on patches", part, {}, PATCHES, 16) for name, part in ENCODERS.items()),
]
CHOSEN: list[tuple[str, Build, dict[str, Any], FeatureSpec, int]] = [
    ("fpn with P6, P7", NECKS["fpn"], {"extra_levels": 2, "norm": "group", "channels": 16}, PYRAMID, 1),
    ("fpn with pooled P6", NECKS["fpn"], {"extra_levels": 1, "extra": "pool", "norm": "batch"}, PYRAMID, 1),
    ("fpn from stride 8", NECKS["fpn"], {"finest_stride": 8}, PYRAMID, 1),
    ("simple_pyramid with more", NECKS["simple_pyramid"], {"extra_levels": 2, "channels": 24}, PATCHES, 16),
    ("simple_pyramid of 14", NECKS["simple_pyramid"], {}, FeatureSpec((Level(32, 14),)), 14),
    ("conv of depth 3", ENCODERS["conv"], {"depth": 3, "channels": 16}, PYRAMID, 1),
    ("conv without pooling", ENCODERS["conv"], {"depth": 2, "pooling": False}, PYRAMID, 1),
    ("aspp full", ENCODERS["aspp"], {"separable": False, "rates": [1, 2], "channels": 16}, PYRAMID, 1),
    ("aspp without inner norms", ENCODERS["aspp"], {"inner_norm": False}, PYRAMID, 1),
    ("pyramid_pooling narrow", ENCODERS["pyramid_pooling"], {"grids": [1, 4], "channels": 16}, PYRAMID, 1),
    ("transformer deep", ENCODERS["transformer"], {"depth": 3, "channels": 24, "heads": 2, "dropout": 0.1}, PYRAMID, 1),
]
CASES = [pytest.param(*case[1:], id=case[0]) for case in PLAIN + CHOSEN]
each = pytest.mark.parametrize(("part", "options", "spec", "multiple"), CASES)


@each
def test_holds_the_contract(part: Build, options: dict[str, Any], spec: FeatureSpec, multiple: int) -> None:
    """Shapes match the specification at even and odd sizes; a batch of one trains; all parameters get gradients; one graph."""
    check_feature_part(part(spec, **options), spec, multiple)


@each
def test_what_is_no_map_passes_through(part: Build, options: dict[str, Any], spec: FeatureSpec, multiple: int) -> None:
    built = part(spec, **options).eval()
    features = fake_features(spec, (97, 65), multiple=multiple)
    outputs = built(features)
    assert outputs.embedding is features.embedding
    assert outputs.frame is features.frame
    assert built.out_spec.embedding == spec.embedding
    strides = built.out_spec.strides
    assert list(strides) == sorted(strides)


KEEPING = [case for case in CASES if takes_levels(case.values[0])]  # type: ignore[arg-type]


@pytest.mark.parametrize(("part", "options", "spec", "multiple"), KEEPING)
def test_kept_levels_come_out_alike(part: Build, options: dict[str, Any], spec: FeatureSpec, multiple: int) -> None:
    check_keep_levels(partial(part, **options), spec, multiple)


def test_every_neck_takes_the_levels_to_keep() -> None:
    assert all(takes_levels(neck) for neck in NECKS.values()) and takes_levels(ENCODERS["hybrid"])


@each
def test_saves_and_loads(part: Build, options: dict[str, Any], spec: FeatureSpec, multiple: int) -> None:
    torch.manual_seed(1)
    one, other = part(spec, **options), part(spec, **options).eval()
    one.train()(fake_features(spec, (64, 64), multiple=multiple))  # so that running statistics differ, too
    features = fake_features(spec, (64, 64), multiple=multiple)
    other.load_state_dict(one.eval().state_dict())
    for left, right in zip(one(features).maps, other(features).maps, strict=True):
        assert torch.equal(left, right)


class OnImages(nn.Module):
    """A part on maps that are cropped from the images, so that batch, height and width come from one input."""

    def __init__(self, part: nn.Module, spec: FeatureSpec) -> None:
        super().__init__()
        self.part = part
        self.spec = spec

    def forward(self, images: Tensor, sizes: Tensor) -> list[Tensor]:
        canvas = (images.shape[-2], images.shape[-1])
        maps = tuple(images[:, : level.channels, :: level.stride, :: level.stride] for level in self.spec.levels)
        features: Features = self.part(Features(maps, None, Frame(canvas, sizes)))
        return list(features.maps)


@pytest.mark.parametrize(
    ("part", "options", "spec", "multiple"), daily_sample([case[1:] for case in PLAIN + CHOSEN], EXPORTED_EACH_DAY)
)
def test_exports_with_free_batch_height_and_width(
    part: Build, options: dict[str, Any], spec: FeatureSpec, multiple: int
) -> None:
    built = part(spec, **options).eval()
    model = OnImages(built, spec)
    # torch.export takes a map of one cell for a constant, so the canvas has at least two cells of the coarsest level
    coarsest = int(built.out_spec.strides[-1])
    least = coarsest // multiple + 1
    sides = [torch.export.Dim(name, min=least, max=16 * least) for name in ("rows", "columns")]
    batch = torch.export.Dim("batch")
    free = [multiple * side if multiple > 1 else side for side in sides]

    def inputs(number: int, cells: tuple[float, float]) -> tuple[Tensor, Tensor]:
        canvas = [multiple * math.ceil(coarsest * count / multiple) for count in cells]
        return torch.randn(number, 32, *canvas), torch.tensor([canvas, [coarsest + 1, coarsest]] * number)[:number]

    program = torch.export.export(
        model, inputs(2, (3.3, 2.6)), dynamic_shapes=({0: batch, 2: free[0], 3: free[1]}, {0: batch})
    )
    for outputs in (inputs(3, (2, 4)), inputs(1, (2.4, 1.3))):
        for left, right in zip(program.module()(*outputs), model(*outputs), strict=True):
            torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("neck", "spec", "multiple"), [("fpn", PYRAMID, 1), ("simple_pyramid", PATCHES, 16)])
def test_every_encoder_stands_on_every_neck(neck: str, spec: FeatureSpec, multiple: int, encoder: str) -> None:
    below = NECKS[neck](spec, extra_levels=2)
    above = ENCODERS[encoder](below.out_spec)
    features = above.train()(below.train()(fake_features(spec, (32, 32), batch=1, multiple=multiple)))
    assert tuple(level.shape[1] for level in features.maps) == above.out_spec.channels


@pytest.mark.parametrize("part", [*NECKS.values(), *ENCODERS.values()])
def test_without_maps_there_is_nothing_to_stand_on(part: Build) -> None:
    with pytest.raises(
        IncompatiblePartsError, match=r"needs feature maps aligned with the image\. Choose another backbone"
    ):
        part(FeatureSpec((), embedding=64))


@pytest.mark.parametrize(("kind", "name"), [*(("neck", n) for n in NECKS), *(("encoder", n) for n in ENCODERS)])
def test_the_catalog_knows_summary_and_paper(kind: Any, name: str) -> None:
    part = describe(kind, name)
    assert len(part.summary) > 40
    assert "arXiv" in part.paper
    assert all(option.default is not ... for option in part.options)


@pytest.mark.parametrize("name", ENCODERS)
def test_equal_strides_do_not_confuse_an_encoder(name: str) -> None:
    check_feature_part(ENCODERS[name](DILATED), DILATED)
