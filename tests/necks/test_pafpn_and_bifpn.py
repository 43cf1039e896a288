"""PAFPN and BiFPN: contract, arithmetic, alignment, and unread levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vertebra import create_model
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.conv import ConvNormAct
from vertebra.necks.bifpn import BiFPN, BiFPNLayer, WeightedFusion, fuse, pool_like
from vertebra.necks.pafpn import PAFPN, CSPFusion, SumFusion
from vertebra.testing import check_feature_part, fake_features
from vertebra.testing.contract import check_gradients

PYRAMID = FeatureSpec((Level(8, 4), Level(12, 8), Level(24, 16), Level(32, 32)))
LEAP = FeatureSpec((Level(8, 4), Level(16, 16)))  # one step of four
DILATED = FeatureSpec((Level(8, 4), Level(12, 8), Level(24, 16), Level(32, 16)))
CASES: list[tuple[type[nn.Module], dict[str, Any], FeatureSpec]] = [
    (PAFPN, {"extra_levels": 2, "channels": 16}, PYRAMID),
    (PAFPN, {"blocks": 0, "norm": "none", "extra_levels": 1, "extra": "pool"}, PYRAMID),
    (PAFPN, {"blocks": 2, "norm": "batch", "finest_stride": 8}, PYRAMID),
    (PAFPN, {"channels": 24}, LEAP),
    (BiFPN, {"extra_levels": 2, "channels": 16}, PYRAMID),
    (BiFPN, {"depth": 1, "norm": "none", "extra_levels": 1, "extra": "pool"}, PYRAMID),
    (BiFPN, {"depth": 2, "norm": "batch", "finest_stride": 8}, PYRAMID),
    (BiFPN, {"channels": 24}, LEAP),
]
both = pytest.mark.parametrize("part", [PAFPN, BiFPN])


@pytest.mark.parametrize(("part", "options", "spec"), CASES)
def test_holds_the_contract(part: Any, options: dict[str, Any], spec: FeatureSpec) -> None:
    check_feature_part(part(spec, **options), spec)


@both
def test_levels_come_out_at_one_width(part: Any) -> None:
    neck = part(PYRAMID, channels=16, extra_levels=2)
    assert neck.out_spec.levels == tuple(Level(16, stride) for stride in (4, 8, 16, 32, 64, 128))
    assert part(PYRAMID, finest_stride=8).out_spec.strides == (8, 16, 32)
    assert part(DILATED).used == [0, 1, 3]


@both
@pytest.mark.parametrize("canvas", [(33 * 32 - 7, 33 * 32 - 23), (1024, 1024)])
def test_every_cell_comes_from_its_own_place(part: Any, canvas: tuple[int, int]) -> None:
    """A change at one corner of the coarsest map does not affect the opposite corner of any map."""
    torch.manual_seed(0)
    neck = part(PYRAMID, channels=8, norm="none").eval()
    before = fake_features(PYRAMID, canvas, batch=1)
    for corner in (0, -1):
        maps = [values.clone() for values in before.maps]
        for values in maps:
            values[..., corner, corner] += 10
        with torch.no_grad():
            pairs = zip(neck(before.with_maps(maps)).maps, neck(before).maps, strict=True)
            changes = [(after - old).abs().amax(dim=(0, 1)) for after, old in pairs]
        for change in changes:
            near, far = (change, change.flip(0, 1))[:: 1 if corner == 0 else -1]
            assert float(near[:2, :2].max()) > 1e-4 and float(far[:4, :4].max()) == 0


@both
def test_a_level_reaches_all_others(part: Any) -> None:
    neck = part(PYRAMID, channels=8, extra_levels=1).eval()
    before = fake_features(PYRAMID, (128, 128), batch=1)
    for level in range(4):
        maps = [values + (2 if number == level else 0) for number, values in enumerate(before.maps)]
        with torch.no_grad():
            for after, old in zip(neck(before.with_maps(maps)).maps, neck(before).maps, strict=True):
                assert float((after - old).abs().max()) > 1e-5


class Sum(nn.Module):
    """Replaces a fusion: adds its inputs."""

    def forward(self, *maps: Any) -> Tensor:
        parts: Sequence[Tensor] = maps[0] if isinstance(maps[0], list) else maps
        return torch.stack(list(parts)).sum(dim=0)


class EverySecond(nn.Module):
    """Replaces a convolution of stride 2."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps[..., ::2, ::2]


def test_pafpn_goes_down_and_back_up() -> None:
    """1, 10 and 100: down 100, 110, 111; up 111, 110 + 111 = 221, 100 + 221 = 321."""
    spec = FeatureSpec((Level(4, 8), Level(4, 16), Level(4, 32)))
    neck = PAFPN(spec, channels=4)
    for name in ("lateral", "shrink", "top_down", "bottom_up"):
        stand_in: dict[str, type[nn.Module]] = {"lateral": nn.Identity, "shrink": EverySecond}
        setattr(neck, name, nn.ModuleList(stand_in.get(name, Sum)() for _ in getattr(neck, name)))
    maps = tuple(torch.full((1, 4, size, size), value) for size, value in ((5, 1.0), (3, 10.0), (2, 100.0)))
    actual = neck(Features(maps, None, Frame((40, 40), torch.tensor([[40, 40]]))))
    assert [values.unique().tolist() for values in actual.maps] == [[111.0], [221.0], [321.0]]
    assert [values.shape[-1] for values in actual.maps] == [5, 3, 2]


def test_a_round_of_bifpn_goes_down_and_back_up() -> None:
    """1, 10 and 100: down 110 and 111; up 10 + 110 + 111 = 231 and 100 + 231 = 331."""
    layer = BiFPNLayer(4, [2, 2], "none")
    layer.down, layer.up = nn.ModuleList([Sum(), Sum()]), nn.ModuleList([Sum(), Sum()])
    maps = [torch.full((1, 4, size, size), value) for size, value in ((5, 1.0), (3, 10.0), (2, 100.0))]
    assert [values.unique().tolist() for values in layer(maps)] == [[111.0], [231.0], [331.0]]
    counts = [len(fusion.weights) for fusion in BiFPNLayer(4, [2, 2, 2], "none").up]  # type: ignore[arg-type]
    assert counts == [3, 3, 2]


def test_weights_of_the_fusion_by_hand() -> None:
    one, other = torch.full((1, 1, 2, 2), 8.0), torch.full((1, 1, 2, 2), 4.0)
    for weights, expected in (([1.0, 1.0], 6.0), ([3.0, 1.0], 7.0), ([1.0, -5.0], 8.0), ([0.0, 0.0], 0.0)):
        actual = fuse([one, other], torch.tensor(weights))
        torch.testing.assert_close(actual, torch.full_like(one, expected), rtol=2e-4, atol=0)
    exact = fuse([one, other], torch.tensor([1.0, 0.5]), epsilon=0.5)
    torch.testing.assert_close(exact, torch.full_like(one, 5.0))


def test_weights_of_the_fusion_learn() -> None:
    fusion = WeightedFusion(4, 2, "group")
    assert fusion.weights.tolist() == [1.0, 1.0]
    fusion([torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)]).square().sum().backward()
    assert fusion.weights.grad is not None and (fusion.weights.grad != 0).all()


def test_pooling_keeps_the_largest_neighbor() -> None:
    fine = torch.arange(25.0).reshape(1, 1, 5, 5)
    actual = pool_like(fine, torch.zeros(1, 1, 3, 3), 2)
    assert actual[0, 0].tolist() == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]


@both
@pytest.mark.parametrize("levels", [[1, 2, 3], [2], [3], [0], [1, 3, 4], [4, 5], [0, 1, 2, 3, 4, 5]])
def test_levels_that_nobody_reads_are_left_out(part: Any, levels: list[int]) -> None:
    """Those that are read come out as from the neck of these levels alone, all parameters have a gradient, and all levels
    have their shapes."""
    neck = part(PYRAMID, levels, channels=8, extra_levels=2)
    whole = part(PYRAMID, channels=8, extra_levels=2)
    before = sum(value.numel() for value in whole.parameters())
    features = fake_features(PYRAMID, (97, 65))
    maps = neck(features).maps
    assert len(maps) == len(neck.out_spec.levels) >= max(levels) + 1
    for values, other in zip(maps, whole(features).maps, strict=False):
        assert values.shape == other.shape
    check_gradients(neck, torch.stack([maps[level].square().mean() for level in levels]).sum())
    after = sum(value.numel() for value in neck.parameters())
    assert after < before or set(levels) >= {0, 5}


def test_a_neck_that_keeps_some_levels_computes_them_alike() -> None:
    """If the finest level is read, only unused layers are left out."""
    for part in (PAFPN, BiFPN):
        one, other = (part(PYRAMID, levels, channels=8, extra_levels=2).eval() for levels in (None, [0, 2]))
        other.load_state_dict({name: one.state_dict()[name] for name in other.state_dict()})
        features = fake_features(PYRAMID, (97, 65))
        with torch.no_grad():
            whole, less = one(features).maps, other(features).maps
        for level in (0, 2):
            assert torch.equal(whole[level], less[level])


def test_a_detector_leaves_out_the_finest_level() -> None:
    for neck in ("pafpn", "bifpn"):
        model = create_model("resnet10t", neck=neck, decoder="tood", classes=["a", "b"])
        built: Any = model.branch(next(iter(model.branches))).neck
        assert built.finest == 1 and isinstance(built.lateral[0], nn.Identity)


def test_how_levels_meet() -> None:
    plain, blocks = PAFPN(PYRAMID, channels=16, blocks=0), PAFPN(PYRAMID, channels=16, blocks=2)
    assert isinstance(plain.top_down[0], SumFusion)
    assert isinstance(blocks.bottom_up[-1], CSPFusion) and len(blocks.bottom_up[-1].blocks) == 2
    cost = [sum(value.numel() for value in PAFPN(PYRAMID, blocks=count).parameters()) for count in (0, 1)]
    assert cost[1] < cost[0]


def test_the_step_between_levels_sets_the_kernel() -> None:
    shrink = PAFPN(LEAP, channels=8).shrink[0]
    assert isinstance(shrink, ConvNormAct) and (shrink[0].kernel_size, shrink[0].stride) == ((5, 5), (4, 4))


@both
def test_what_does_not_fit_is_refused(part: Any) -> None:
    name = part.__name__.lower()
    with pytest.raises(IncompatiblePartsError, match="at least two levels of different strides.*simple_pyramid"):
        part(FeatureSpec((Level(8, 16), Level(8, 16))))
    with pytest.raises(IncompatiblePartsError, match="at least two levels of different strides from 32 on"):
        part(PYRAMID, finest_stride=32)
    with pytest.raises(IncompatiblePartsError, match=r"strides that divide each other \(here 8 and 12\)"):
        part(FeatureSpec((Level(8, 8), Level(8, 12))))
    with pytest.raises(ConfigError, match=f"neck '{name}': 'channels' must be 1 or more, got 0"):
        part(PYRAMID, channels=0)
    with pytest.raises(ConfigError, match=f"neck '{name}': 'extra_levels' must be 0 or more, got -1"):
        part(PYRAMID, extra_levels=-1)
    with pytest.raises(ConfigError, match="neck 'pafpn': 'blocks' must be 0 or more, got -1"):
        PAFPN(PYRAMID, blocks=-1)
    with pytest.raises(ConfigError, match="neck 'bifpn': 'depth' must be 1 or more, got 0"):
        BiFPN(PYRAMID, depth=0)
