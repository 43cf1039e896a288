"""DETR's own rules: its loss by hand, parts of the image, padding, decoding, and that it learns."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.detect._query_postprocess import QueryPostprocess
from vertebra.decoders.detect.detr import DETR, DETROutputs
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.boxes import pairwise_iou
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing import check_decoder, fake_features
from vertebra.testing.synthetic import fake_targets

LABELS = DetectLabels(("a", "b"))
SPEC = FeatureSpec((Level(16, 8), Level(24, 16), Level(32, 32)))
SMALL: dict[str, Any] = {"embed_dim": 32, "heads": 4, "encoder_layers": 1, "layers": 2, "queries": 12}


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({**SMALL, "dropout": 0.1, "hidden": 24}, SPEC),
        ({**SMALL, "encoder_layers": 0, "layers": 1, "queries": 1}, SPEC),
        (SMALL, FeatureSpec((Level(16, 16), Level(16, 16)))),
    ],
)
def test_holds_the_contract(options: dict[str, Any], spec: FeatureSpec) -> None:
    check_decoder(lambda joint, own: DETR(joint, own, **options), spec, LABELS)  # type: ignore[arg-type]


def plain(**options: Any) -> tuple[DETR, Features]:
    """All three outcomes are alike, and every box is the middle half of an image of 32 x 64 pixels on a larger canvas."""
    decoder = DETR(FeatureSpec((Level(8, 32),)), LABELS, **{**SMALL, "queries": 3, **options})
    for layer in (decoder.classify, decoder.box[-1]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return decoder, Features((torch.randn(1, 8, 2, 3),), None, Frame((64, 96), torch.tensor([[32, 64]])))


def test_boxes_are_parts_of_the_image_and_the_loss_by_hand() -> None:
    """The object is half as wide as the boxes: L1 is 0.25, GIoU a half. One of three queries is matched."""
    decoder, given = plain()
    ground_truth = DetectTargets(
        torch.tensor([[[24.0, 8, 40, 24]]]), torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1])
    )
    with torch.no_grad():
        terms, outputs = decoder.eval().loss(given, ground_truth)
    torch.testing.assert_close(outputs.boxes, torch.tensor([[[16.0, 8, 48, 24]] * 3]))
    weight = 1 + 2 * 0.1
    for name in ("classification", "auxiliary_classification"):
        assert float(terms[name].sum) == pytest.approx(weight * math.log(3), rel=1e-5)
        assert float(terms[name].count) == pytest.approx(weight)
    assert float(terms["box"].sum) == pytest.approx(5 * 0.25) and float(terms["giou"].sum) == pytest.approx(2 * 0.5)
    assert float(terms["auxiliary_box"].sum) == pytest.approx(5 * 0.25 + 2 * 0.5)
    assert all(float(terms[name].count) == 1 for name in ("box", "giou", "auxiliary_box"))


def test_one_layer_has_no_auxiliary_loss() -> None:
    decoder, given = plain(layers=1)
    terms, _ = decoder.loss(given, fake_targets(LABELS, (32, 64), 1))
    assert float(terms["auxiliary_classification"].sum) == float(terms["auxiliary_box"].sum) == 0


def test_a_crowd_is_no_object() -> None:
    decoder, given = plain()
    boxes = torch.tensor([[[0.0, 0, 64, 32], [24, 8, 40, 24]]])
    ground_truth = DetectTargets(boxes, torch.tensor([[0, 1]]), torch.tensor([[True, False]]), torch.tensor([2]))
    alone = DetectTargets(boxes[:, 1:], torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1]))
    with_crowd, without = (decoder.eval().loss(given, targets)[0] for targets in (ground_truth, alone))
    for name in decoder.terms:
        torch.testing.assert_close(with_crowd[name], without[name])


def test_no_object_at_all_teaches_that_there_is_none() -> None:
    decoder, given = plain()
    nothing = DetectTargets(
        torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), torch.zeros(1, 0, dtype=torch.bool), torch.tensor([0])
    )
    with torch.no_grad():
        terms, _ = decoder.loss(given, nothing)
    assert float(terms["classification"].sum) == pytest.approx(0.3 * math.log(3), rel=1e-5)
    assert float(terms["classification"].count) == pytest.approx(0.3)
    assert float(terms["box"].sum) == float(terms["box"].count) == 0


def test_more_objects_than_queries() -> None:
    decoder = DETR(SPEC, LABELS, **{**SMALL, "queries": 3})
    boxes = torch.rand(2, 9, 2).repeat(1, 1, 2) * 40 + torch.tensor([0.0, 0, 12, 20])
    ground_truth = DetectTargets(
        boxes, torch.zeros(2, 9).long(), torch.zeros(2, 9, dtype=torch.bool), torch.tensor([9, 1])
    )
    terms, _ = decoder.train().loss(fake_features(SPEC, (64, 64)), ground_truth)
    assert all(bool(torch.isfinite(term.sum)) for term in terms.values())
    assert float(terms["box"].count) == 10 and float(terms["classification"].count) == pytest.approx(4 + 2 * 0.1)


def test_decoding_by_hand() -> None:
    """Each query says its best class, sorted by how sure it is; what lies outside the image or is unsure is left out."""
    decoder, _ = plain(postprocess=QueryPostprocess(score_threshold=0.15, max_detections=5))
    shares = torch.tensor([[[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.9, 0.05, 0.05], [0.08, 0.12, 0.8]]])
    boxes = torch.tensor([[[-4.0, 2, 10, 12], [1, 2, 30, 90], [70, 0, 80, 20], [0, 0, 9, 9]]])
    decoded = decoder.decode(DETROutputs(shares.log(), boxes), Frame((64, 96), torch.tensor([[32, 64]])))
    assert decoded.count.tolist() == [2]
    assert decoded.labels.tolist() == [[0, 1, -1, -1, -1]]
    torch.testing.assert_close(decoded.scores, torch.tensor([[0.7, 0.5, 0, 0, 0]]))
    expected = torch.tensor([[[1.0, 2, 30, 32], [0, 2, 10, 12]] + [[0.0] * 4] * 3])
    torch.testing.assert_close(decoded.boxes, expected)


def test_padding_changes_nothing() -> None:
    """An image on a larger canvas, however loud what lies beside it, is seen as on its own."""
    torch.manual_seed(0)
    decoder = DETR(SPEC, LABELS, **SMALL).eval()
    alone = fake_features(SPEC, (64, 96), batch=1)
    maps = []
    for values, stride in zip(alone.maps, SPEC.strides, strict=True):
        wide = torch.full((1, values.shape[1], 128 // stride, 160 // stride), 1e4)
        wide[..., : values.shape[2], : values.shape[3]] = values
        maps.append(wide)
    with torch.no_grad():
        left = decoder(alone)
        right = decoder(Features(tuple(maps), None, Frame((128, 160), torch.tensor([[64, 96]]))))
    torch.testing.assert_close(left.class_logits, right.class_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(left.boxes, right.boxes, atol=1e-2, rtol=1e-4)


def test_it_reads_the_deepest_level_only() -> None:
    decoder = DETR(SPEC, LABELS, **SMALL).eval()
    assert decoder.in_levels == (2,) and decoder.project.in_channels == 32
    assert DETR(FeatureSpec((Level(512, 8), Level(2048, 32))), LABELS).embed_dim == 256


def test_half_precision_learns() -> None:
    decoder = DETR(SPEC, LABELS, **SMALL).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms, outputs = decoder.loss(fake_features(SPEC, (64, 64)), fake_targets(LABELS, (64, 64)))
    assert outputs.boxes.dtype == torch.float32
    assert all(term.sum.dtype == torch.float32 and bool(torch.isfinite(term.sum)) for term in terms.values())


def test_learns_two_images_by_heart() -> None:
    torch.manual_seed(0)
    decoder = DETR(SPEC, LABELS, **SMALL).train()
    given = fake_features(SPEC, (96, 128))
    boxes = torch.tensor([[[6.0, 8, 40, 50], [50, 20, 120, 60]], [[30, 10, 90, 80], [0, 0, 0, 0]]])
    ground_truth = DetectTargets(
        boxes, torch.tensor([[0, 1], [1, -1]]), torch.zeros(2, 2, dtype=torch.bool), torch.tensor([2, 1])
    )
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        terms, _ = decoder.loss(given, ground_truth)
        torch.stack([term.mean() for term in terms.values()]).sum().backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        decoded = decoder.decode(decoder(given), given.frame)
    for number, count in enumerate(ground_truth.count.tolist()):
        best = pairwise_iou(ground_truth.boxes[number, :count], decoded.boxes[number, :count])
        assert float(best.amax(dim=1).min()) > 0.7
        assert float(decoded.scores[number, :count].min()) > 0.5 > float(decoded.scores[number, count])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 30}, "decoder 'detr': embed_dim 30 must be a multiple of 4 and of heads 8"),
        ({"queries": 0}, "decoder 'detr': 'queries' must be 1 or more, got 0"),
        ({"encoder_layers": -1}, "decoder 'detr': 'encoder_layers' must be 0 or more, got -1"),
        ({"none_weight": 1.5}, "decoder 'detr': 'none_weight' must be from 0 to 1, got 1.5"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DETR(SPEC, LABELS, **options)


def test_without_maps_there_is_nothing_to_stand_on() -> None:
    with pytest.raises(IncompatiblePartsError, match="needs feature maps aligned with the image"):
        DETR(FeatureSpec((), embedding=8), LABELS)
