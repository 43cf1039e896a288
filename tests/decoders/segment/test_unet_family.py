"""U-Net and UNet++: strides, channels, nested nodes, and errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.segment.unet import UNet
from vertebra.decoders.segment.unetplusplus import UNetPlusPlus
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import FeatureSpec, Level
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.testing import check_decoder, fake_features

SPEC = FeatureSpec((Level(16, 4), Level(24, 8), Level(32, 16)))
LABELS = SegmentLabels(("a", "b", "c"))
BOTH = pytest.mark.parametrize("part", [UNet, UNetPlusPlus])


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"to_stride": 1, "interpolation": "nearest", "kernel_size": 3},
        {"to_stride": 8, "norm": "group"},
        {"attention": "scse", "norm": "none", "to_stride": 2},
    ],
)
def test_holds_the_contract(part: Any, options: dict[str, Any]) -> None:
    check_decoder(lambda in_spec, labels: part(in_spec, labels, **options), SPEC, LABELS)


@BOTH
def test_to_stride(part: Any) -> None:
    assert part(SPEC, LABELS).stride == 4
    fine, coarse = part(SPEC, LABELS, to_stride=1).eval(), part(SPEC, LABELS, to_stride=8).eval()
    assert (fine.stride, coarse.stride, coarse.in_levels) == (1, 8, (1, 2))
    features = fake_features(SPEC, (97, 65))
    assert fine(features).logits.shape[-2:] == (100, 68)  # four times the 25 x 17 cells of the finest level
    assert coarse(features).logits.shape[-2:] == (13, 9)
    assert fine.decode(fine(features), features.frame).probabilities.shape[-2:] == (97, 65)


@BOTH
def test_what_does_not_fit_is_refused(part: Any) -> None:
    with pytest.raises(IncompatiblePartsError, match=r"from 16 on\. Set a smaller 'to_stride'"):
        part(SPEC, LABELS, to_stride=16)
    with pytest.raises(IncompatiblePartsError, match="simple_pyramid"):
        part(FeatureSpec((Level(8, 16), Level(8, 16))), LABELS)
    with pytest.raises(ConfigError, match="doubling the size from stride 4 never gives stride 3"):
        part(SPEC, LABELS, to_stride=3)
    with pytest.raises(
        ConfigError, match="needs 4 numbers here, one for each finer level and 2 for the strides beyond, got 2"
    ):
        part(SPEC, LABELS, to_stride=1, channels=[8, 8])
    with pytest.raises(ConfigError, match="'to_stride' must be 1 or more, got 0"):
        part(SPEC, LABELS, to_stride=0)


def test_the_names_of_tensors_stay() -> None:
    names = set(UNet(SPEC, LABELS).state_dict())
    assert {"blocks.0.0.0.weight", "blocks.1.1.1.running_mean", "classifier.1.weight"} <= names


def test_nodes_stand_in_rows() -> None:
    """Each finer level has one more node; each node concatenates its row's earlier maps and one node of the coarser row."""
    decoder = UNetPlusPlus(SPEC, LABELS, channels=[48, 20])
    assert [len(row) for row in decoder.rows] == [1, 2]  # type: ignore[arg-type]
    convs = [[node[0][0] for node in row] for row in decoder.rows]  # type: ignore[union-attr]
    widths = [[(conv.in_channels, conv.out_channels) for conv in row] for row in convs]
    assert widths == [[(32 + 24, 48)], [(24 + 16, 16), (48 + 2 * 16, 20)]]


def test_the_nearest_node_is_joined_first() -> None:
    decoder = UNetPlusPlus(SPEC, LABELS).eval()
    seen: list[torch.Tensor] = []
    last: nn.Module = decoder.rows[1][1][0]  # type: ignore[index]
    last.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    nodes: list[torch.Tensor] = []
    decoder.rows[1][0].register_forward_hook(lambda module, args, output: nodes.append(output))  # type: ignore[index]
    features = fake_features(SPEC, (64, 64))
    decoder(features)
    assert torch.equal(seen[0][:, -16:], features.maps[0]) and torch.equal(seen[0][:, -32:-16], nodes[0])
