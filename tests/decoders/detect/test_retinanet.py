"""RetinaNet against torchvision's, and its own rules."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.retinanet import RetinaNetHead

from vertebra.decoders.detect.retinanet import RetinaNet
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.anchors import level_anchors, level_shapes
from vertebra.geometry.box_coding import decode_deltas
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets

PAPER_OCTAVES = (0.0, 1 / 3, 2 / 3)
LABELS = DetectLabels(("a", "b"))
SPEC = FeatureSpec((Level(32, 8), Level(32, 16), Level(32, 32)))


def features(batch: int = 2) -> Features:
    maps = tuple(torch.randn(batch, 32, size, size + 1) for size in (8, 4, 2))
    return Features(maps, None, Frame((64, 64), torch.full((batch, 2), 64)))


def copy_tower(head: nn.Module, tower: nn.Module) -> None:
    """torchvision's blocks are (convolution, normalization, ReLU)."""
    pairs = zip(head.conv, tower.convs, tower.norms, strict=True)  # type: ignore[call-overload, arg-type]
    for block, conv, norms in pairs:
        conv.load_state_dict(block[0].state_dict())
        norms[0].load_state_dict(block[1].state_dict())


def test_heads_equal_torchvision_with_the_same_weights() -> None:
    ours = RetinaNet(SPEC, LABELS, depth=4, octaves=PAPER_OCTAVES)
    theirs = RetinaNetHead(32, 9, 2, norm_layer=partial(nn.GroupNorm, 4))
    for head in (theirs.classification_head, theirs.regression_head):
        for block in head.conv:
            nn.init.normal_(block[0].weight, std=0.1)
    copy_tower(theirs.classification_head, ours.head.class_tower)
    copy_tower(theirs.regression_head, ours.head.box_tower)
    ours.class_prediction.load_state_dict(theirs.classification_head.cls_logits.state_dict())
    ours.box_prediction.load_state_dict(theirs.regression_head.bbox_reg.state_dict())
    given = features()
    expected = theirs(list(given.maps))
    found = ours(given)
    torch.testing.assert_close(found.class_logits, expected["cls_logits"])
    shapes = level_shapes([8, 16, 32], scale=4.0, octaves=PAPER_OCTAVES, aspect_ratios=(0.5, 1.0, 2.0))
    anchors = level_anchors(given.maps, [8, 16, 32], shapes)
    torch.testing.assert_close(found.boxes, decode_deltas(expected["bbox_regression"], anchors))


def test_loss_by_hand() -> None:
    """One cell and one square anchor of 32 pixels; the object is the anchor moved right by half its width."""
    decoder = RetinaNet(
        FeatureSpec((Level(8, 8),)), LABELS, channels=8, octaves=(0.0,), aspect_ratios=(1.0,), box_loss="l1"
    )
    nn.init.zeros_(decoder.class_prediction.weight)
    nn.init.zeros_(decoder.class_prediction.bias)  # type: ignore[arg-type]
    nn.init.zeros_(decoder.box_prediction.weight)
    given = Features((torch.randn(1, 8, 1, 1),), None, Frame((8, 8), torch.tensor([[8, 8]])))
    ground_truth = DetectTargets(
        torch.tensor([[[4.0, -12, 36, 20]]]), torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1])
    )
    terms, outputs = decoder.loss(given, ground_truth)
    assert outputs.boxes.tolist() == [[[-12.0, -12, 20, 20]]]
    torch.testing.assert_close(terms["box"].sum, torch.tensor(0.5))
    expected = torch.tensor(2.0).log() * 0.25 * (0.25 + 0.75)
    torch.testing.assert_close(terms["classification"].sum, expected)
    assert terms["box"].count == terms["classification"].count == 1


@pytest.mark.parametrize("box_loss", ["giou", "l1", "smooth_l1"])
def test_each_box_loss_moves_the_boxes(box_loss: str) -> None:
    decoder = RetinaNet(SPEC, LABELS, box_loss=box_loss)  # type: ignore[arg-type]
    ground_truth = DetectTargets(
        torch.tensor([[[3.0, 3, 40, 30]]]), torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1])
    )
    given = features(1)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
    losses: list[Tensor] = []
    for _ in range(15):
        term = decoder.loss(given, ground_truth)[0]["box"]
        optimizer.zero_grad()
        term.mean().backward()
        optimizer.step()
        losses.append(term.mean().detach())
    assert losses[-1] < 0.6 * losses[0]


def test_fewest_anchors_is_checked() -> None:
    with pytest.raises(ConfigError, match="'min_anchors_per_object' must be 0 or more, got -1"):
        RetinaNet(SPEC, LABELS, min_anchors_per_object=-1)


def test_one_level_has_anchors_of_more_sizes() -> None:
    decoder = RetinaNet(FeatureSpec((Level(192, 16), Level(192, 16))), LABELS)
    assert [round(width) for width, _ in decoder.shapes[0][5:10]] == [16, 32, 64, 128, 256]
    maps = (torch.randn(1, 192, 2, 2),) * 2
    boxes = decoder(Features(maps, None, Frame((32, 32), torch.tensor([[32, 32]])))).boxes
    assert boxes.shape == (1, 2 * 2 * 5 * 3, 4)


def test_default_heads_cost_less_than_a_small_backbone() -> None:
    """MobileNetV2's maps at 320x448, where the backbone itself costs 1.7 GFLOP."""
    spec = FeatureSpec((Level(24, 4), Level(32, 8), Level(96, 16), Level(320, 32)))
    decoder = RetinaNet(spec, LABELS)
    with torch.device("meta"):
        maps = tuple(torch.empty(1, level.channels, 320 // level.stride, 448 // level.stride) for level in spec.levels)
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    with counter:
        decoder.to("meta").head(maps)
    cells = sum((320 // stride) * (448 // stride) for stride in (8, 16, 32))
    predictions = 2 * cells * 9 * 64 * (9 * 2 + 9 * 4)
    assert counter.get_total_flops() + predictions < 1.7e9


@pytest.mark.parametrize("options", [{"anchor_scale": 0.0}, {"octaves": ()}, {"aspect_ratios": (1.0, -1.0)}])
def test_anchors_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'anchor_scale' and 'aspect_ratios' must be above 0, 'octaves' must name"):
        RetinaNet(SPEC, LABELS, **options)  # type: ignore[arg-type]
