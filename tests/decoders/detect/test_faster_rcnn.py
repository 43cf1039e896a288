"""The two stages of Faster R-CNN."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vertebra.decoders.detect.faster_rcnn import FasterRCNN
from vertebra.errors import ConfigError
from vertebra.features import FeatureSpec, Level
from vertebra.layers.region_features import RegionFeatures
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.testing import fake_features
from vertebra.testing.contract import check_decoder
from vertebra.testing.synthetic import fake_labels, fake_targets

SPEC = FeatureSpec((Level(16, 4), Level(16, 8), Level(16, 16), Level(16, 32)))
LABELS = DetectLabels(("a", "b"))


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (SPEC, {"head_convs": 2, "proposal_depth": 2, "hidden": [32]}),
        (SPEC, {"region_levels": 1, "half_pixel": False, "region_size": 5, "samples": 16}),
        (FeatureSpec((Level(24, 8), Level(40, 16))), {}),
        (FeatureSpec((Level(32, 16), Level(32, 16))), {}),
    ],
)
def test_holds_the_contract(spec: FeatureSpec, options: dict) -> None:
    check_decoder(lambda joint, own: FasterRCNN(joint, own, **options), spec, fake_labels("detect"))


@pytest.mark.parametrize("strides", [[8, 16, 32], [8, 16, 16], [16]])
def test_each_level_is_read_for_its_own_regions_only(strides: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In eager mode; a graph reads every level for all regions, and takes the same of them."""
    torch.manual_seed(0)
    proposals = RegionFeatures(strides, 3, half_pixel=True)
    maps = [torch.randn(2, 4, 256 // stride, 256 // stride, requires_grad=True) for stride in strides]
    corner = torch.rand(2, 9, 2) * 100
    boxes = torch.cat([corner, corner + torch.logspace(0.5, 2.8, 9)[:, None]], dim=-1)
    found = proposals(maps, boxes)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    graph = proposals(maps, boxes)
    torch.testing.assert_close(found, graph)
    weights = torch.randn_like(found)
    read = [maps[level] for level in proposals.levels]
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), read),
        torch.autograd.grad((graph * weights).sum(), read),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_regions_are_read_on_the_level_of_their_size() -> None:
    """torchvision's rule: 224 pixels at stride 16, half of that at stride 8, twice at stride 32."""
    proposals = RegionFeatures([4, 8, 16, 32], 7, half_pixel=True)
    sides = torch.tensor([1.0, 20, 111, 112, 223, 224, 447, 448, 2000])
    boxes = torch.stack([torch.zeros(9), torch.zeros(9), sides, sides], dim=-1)[None]
    assert proposals.level_of(boxes).tolist() == [[0, 0, 0, 1, 1, 2, 2, 3, 3]]
    assert RegionFeatures([8, 16], 7, half_pixel=True).level_of(boxes).tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1]]


def test_a_region_shows_its_own_level() -> None:
    maps = [torch.full((1, 1, 64, 64), 1.0), torch.full((1, 1, 32, 32), 2.0)]
    boxes = torch.tensor([[[0.0, 0, 50, 50], [0, 0, 220, 220]]])
    seen = RegionFeatures([4, 8], 3, half_pixel=True)(maps, boxes)
    assert seen.shape == (2, 1, 3, 3)
    assert seen[0].unique().tolist() == [1] and seen[1].unique().tolist() == [2]


def test_proposals_are_fixed_in_number_and_sorted() -> None:
    decoder = FasterRCNN(SPEC, LABELS).eval()
    features = fake_features(SPEC, (97, 65))
    with torch.no_grad():
        outputs = decoder(features)
    assert outputs.proposals.shape == (2, 300, 4) and outputs.class_logits.shape == (2, 300, 3)
    assert bool((outputs.objectness[:, :-1] >= outputs.objectness[:, 1:]).all())
    padding = outputs.objectness == 0
    assert not outputs.proposals[padding].any()
    real = outputs.proposals[~padding]
    assert float(real[:, [0, 2]].max()) <= 65 and float(real[:, [1, 3]].max()) <= 97
    decoder.proposals = replace(decoder.proposals, max_detections=7)
    with torch.no_grad():
        assert decoder(features).proposals.shape == (2, 7, 4)


def test_the_truth_is_among_what_is_learned_from() -> None:
    decoder = FasterRCNN(SPEC, LABELS, samples=8)
    targets = fake_targets(LABELS, (96, 64))
    boxes, scores = torch.zeros(2, 5, 4), torch.zeros(2, 5)
    proposals, match, counted = decoder._sample(boxes, scores, targets)
    assert counted.tolist() == [[True] * 2 + [False] * 6, [False] * 8], "padding and what has no truth do not count"
    found, ground_truth = (values[values[:, 0].argsort()] for values in (proposals[0, :2], targets.boxes[0]))
    assert match.positive[0, :2].all() and torch.equal(found, ground_truth)


def test_evaluation_is_not_random() -> None:
    decoder = FasterRCNN(SPEC, LABELS).eval()
    features, targets = fake_features(SPEC, (64, 64)), fake_targets(LABELS, (64, 64))
    first, second = (decoder.loss(features, targets)[0] for _ in range(2))
    assert all(torch.equal(first[name].sum, second[name].sum) for name in first)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="'anchor_sizes' must name as many sizes above 0 for each of the 4 levels"):
        FasterRCNN(SPEC, LABELS, anchor_sizes=[[32.0]])
    with pytest.raises(ConfigError, match="'hidden' must name at least one width"):
        FasterRCNN(SPEC, LABELS, hidden=[])
    with pytest.raises(ConfigError, match="decoder 'faster_rcnn': 'samples' must be 1 or more"):
        FasterRCNN(SPEC, LABELS, samples=0)
