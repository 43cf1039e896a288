"""SSD and SSDLite: the contract, default boxes, what is matched, and losses by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.detect._nms_postprocess import NMSPostprocess, decode_classes
from vertebra.decoders.detect.ssd import SSD
from vertebra.decoders.detect.ssdlite import SSDLite
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing import check_decoder

LABELS = DetectLabels(("a", "b"))
SPEC = FeatureSpec((Level(16, 4), Level(16, 8), Level(32, 16), Level(32, 32)))
ONE = FeatureSpec((Level(8, 32),))
both = pytest.mark.parametrize("kind", [SSD, SSDLite])


@both
@pytest.mark.parametrize("spec", [SPEC, ONE])
@pytest.mark.parametrize("options", [{}, {"cell_spacing": "even", "min_boxes_per_object": 1}])
def test_holds_the_contract(kind: type[SSD], spec: FeatureSpec, options: dict[str, Any]) -> None:
    check_decoder(partial(kind, **options), spec, LABELS)


def test_loss_by_hand() -> None:
    """One cell with the square default boxes of 16 and of 32 pixels. The object is the smaller one moved right by 2 pixels, an
    eighth of its width: coded 0.125 * 10 = 1.25. Its IoU with that box is 14 / 18, with the greater one 1 / 4."""
    decoder = SSD(ONE, LABELS, scales=[0.5, 2.0], aspect_ratios=[[]], min_boxes_per_object=1)
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    given = Features((torch.randn(1, 8, 1, 1),), None, Frame((32, 32), torch.tensor([[32, 32]])))
    ground_truth = DetectTargets(
        torch.tensor([[[10.0, 8, 26, 24]]]), torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1])
    )
    terms, outputs = decoder.loss(given, ground_truth)
    assert outputs.boxes.tolist() == [[[8.0, 8, 24, 24], [0, 0, 32, 32]]]
    assert terms["box"].count == terms["classification"].count == 1
    torch.testing.assert_close(terms["box"].sum, torch.tensor(1.25 - 0.5))  # smooth L1 beyond 1
    torch.testing.assert_close(terms["classification"].sum, 2 * torch.tensor(3.0).log())  # one positive, one negative


def test_an_image_without_objects_teaches_by_its_worst_boxes() -> None:
    decoder = SSD(SPEC, LABELS, negatives=3.0)
    given = Features(
        tuple(torch.randn(1, level.channels, 64 // level.stride, 64 // level.stride) for level in SPEC.levels),
        None,
        Frame((64, 64), torch.tensor([[64, 64]])),
    )
    nothing = DetectTargets(
        torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), torch.zeros(1, 0).bool(), torch.zeros(1).long()
    )
    terms, outputs = decoder.loss(given, nothing)
    costs = -outputs.class_logits.log_softmax(-1)[..., -1]
    torch.testing.assert_close(terms["classification"].sum, costs.flatten().topk(3).values.sum())
    assert terms["box"].sum == 0 and terms["box"].count == 0


def test_objects_have_several_boxes() -> None:
    ground_truth = DetectTargets(
        torch.tensor([[[20.0, 20, 44, 40]]]), torch.tensor([[0]]), torch.tensor([[False]]), torch.tensor([1])
    )
    given = Features(
        tuple(torch.zeros(1, level.channels, 64 // level.stride, 64 // level.stride) for level in SPEC.levels),
        None,
        Frame((64, 64), torch.tensor([[64, 64]])),
    )
    counts = [
        SSD(SPEC, LABELS, min_boxes_per_object=most).loss(given, ground_truth)[0]["box"].count.item() for most in (1, 4)
    ]
    assert counts[0] >= 1 and counts[1] >= max(4, counts[0])


def test_a_box_may_be_of_several_classes_and_each_class_has_its_own_candidates() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]]])
    scores = torch.tensor([[[0.6, 0.3], [0.5, 0.1], [0.4, 0.05]]])
    frame = Frame((64, 64), torch.tensor([[64, 64]]))
    every = decode_classes(scores, boxes, frame, NMSPostprocess(pre_nms_topk=10, max_detections=8))
    assert every.count.item() == 6 and every.labels[0, :6].tolist() == [0, 0, 0, 1, 1, 1]
    found = decode_classes(
        scores, boxes, frame, NMSPostprocess(pre_nms_topk=10, max_detections=8, pre_nms_topk_per_class=1)
    )
    assert found.count.item() == 2
    assert found.labels[0, :2].tolist() == [0, 1] and found.boxes[0, :2].tolist() == [boxes[0, 0].tolist()] * 2
    few = decode_classes(scores, boxes, frame, NMSPostprocess(pre_nms_topk=4, max_detections=4))
    assert few.labels[0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": [0.1, 0.2]}, "'scales' must name 4 parts"),
        ({"aspect_ratios": [[2.0]]}, "'aspect_ratios' must name ratios above 0 for 3 levels"),
        ({"negatives": -1.0}, "negatives"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SSD(SPEC, LABELS, **options)
