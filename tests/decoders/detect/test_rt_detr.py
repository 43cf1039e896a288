"""RT-DETR's own rules: its loss by hand, what noisy copies may do, padding, odd sizes, and that it learns."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.detect._query_postprocess import QueryPostprocess
from vertebra.decoders.detect._query_selection import EMPTY_LOGIT
from vertebra.decoders.detect.rt_detr import RTDETR
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.boxes import pairwise_iou
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing import check_decoder, fake_features
from vertebra.testing.synthetic import fake_targets

LABELS = DetectLabels(("a", "b"))
SPEC = FeatureSpec((Level(16, 8), Level(24, 16), Level(32, 32)))
SMALL: dict[str, Any] = {"embed_dim": 32, "heads": 4, "layers": 2, "queries": 20, "denoising": 6}


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({**SMALL, "points": [4, 2, 1], "dropout": 0.1, "hidden": 24}, SPEC),
        ({**SMALL, "sampling": "discrete", "learned_queries": True, "denoising": 0, "layers": 1}, SPEC),
        ({**SMALL, "finest_stride": 32, "queries": 3}, SPEC),
        (SMALL, FeatureSpec((Level(16, 16), Level(16, 16)))),
    ],
)
def test_holds_the_contract(options: dict[str, Any], spec: FeatureSpec) -> None:
    check_decoder(lambda joint, own: RTDETR(joint, own, **options), spec, LABELS)  # type: ignore[arg-type]


def one_cell(**options: Any) -> tuple[RTDETR, Features]:
    """A canvas of 8 x 8 pixels that is one cell: the one query starts in its middle with a side of 0.4 pixels."""
    decoder = RTDETR(FeatureSpec((Level(8, 8),)), LABELS, **{**SMALL, "layers": 1, "queries": 1, **options})
    for layer in (decoder.selection.score, *decoder.refinement.classify):
        nn.init.zeros_(layer.weight)
    return decoder, Features((torch.randn(1, 8, 1, 1),), None, Frame((8, 8), torch.tensor([[8, 8]])))


def test_loss_by_hand() -> None:
    """The object is twice as wide as the query's box, so IoU and GIoU are a half, L1 is 0.05; all scores are 0.01."""
    decoder, given = one_cell(denoising=0)
    ground_truth = DetectTargets(
        torch.tensor([[[3.6, 3.8, 4.4, 4.2]]]), torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1])
    )
    with torch.no_grad():
        terms, outputs = decoder.eval().loss(given, ground_truth)
    torch.testing.assert_close(outputs.boxes, torch.tensor([[[3.8, 3.8, 4.2, 4.2]]]))
    right = 0.5 * (-0.5 * math.log(0.01) - 0.5 * math.log(0.99))
    wrong = 0.75 * 0.01**2 * -math.log(0.99)
    assert float(terms["classification"].sum) == pytest.approx(right + wrong, rel=1e-4)
    assert float(terms["box"].sum) == pytest.approx(5 * 0.05, rel=1e-4)
    assert float(terms["giou"].sum) == pytest.approx(2 * 0.5, rel=1e-4)
    # the chosen cell has the same scores and the same box as the only layer
    assert float(terms["auxiliary"].sum) == pytest.approx(right + wrong + 0.25 + 1, rel=1e-4)
    assert [float(term.count) for term in terms.values()] == [1, 1, 1, 1, 0]


def test_a_crowd_is_no_object() -> None:
    decoder, given = one_cell()
    boxes = torch.tensor([[[0.0, 0, 8, 8], [3.6, 3.8, 4.4, 4.2]]])
    ground_truth = DetectTargets(boxes, torch.tensor([[0, 1]]), torch.tensor([[True, False]]), torch.tensor([2]))
    alone = DetectTargets(boxes[:, 1:], torch.tensor([[1]]), torch.tensor([[False]]), torch.tensor([1]))
    with_crowd, without = (decoder.eval().loss(given, targets)[0] for targets in (ground_truth, alone))
    for name in ("classification", "box", "giou", "auxiliary"):
        torch.testing.assert_close(with_crowd[name], without[name])


def test_copies_are_random_in_training_only_and_counted_always() -> None:
    torch.manual_seed(0)
    decoder = RTDETR(SPEC, LABELS, **SMALL)
    given, ground_truth = fake_features(SPEC, (97, 65)), fake_targets(LABELS, (97, 65))
    with torch.no_grad():
        first, second = (decoder.train().loss(given, ground_truth)[0]["denoising"] for _ in range(2))
        one, other = (decoder.eval().loss(given, ground_truth)[0] for _ in range(2))
    assert float(first.sum) != float(second.sum) and float(first.sum) > 0
    assert float(one["denoising"].sum) == 0
    assert float(first.count) == float(one["denoising"].count) == 6  # three groups of the two objects of one image
    for name in decoder.terms:
        torch.testing.assert_close(one[name], other[name], atol=0, rtol=0)


def test_queries_do_not_see_the_copies() -> None:
    torch.manual_seed(0)
    decoder = RTDETR(SPEC, LABELS, **SMALL).train()
    given, ground_truth = fake_features(SPEC, (97, 65)), fake_targets(LABELS, (97, 65))
    with torch.no_grad():
        beside, alone = decoder.loss(given, ground_truth)[1], decoder(given)
    torch.testing.assert_close(beside.class_logits, alone.class_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(beside.boxes, alone.boxes, atol=1e-3, rtol=1e-4)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    decoder = RTDETR(SPEC, LABELS, **SMALL).eval()
    given = fake_features(SPEC, (96, 128), batch=1)
    frame = Frame((96, 128), torch.tensor([[64, 96]]))
    changed = [values.clone() for values in given.maps]
    for values, stride in zip(changed, SPEC.strides, strict=True):
        values[..., 64 // stride :, :] = 7.0
        values[..., 96 // stride :] = -7.0
    with torch.no_grad():
        left, right = (decoder(Features(tuple(maps), None, frame)) for maps in (given.maps, changed))
        free = decoder(Features(tuple(changed), None, Frame((96, 128), torch.tensor([[96, 128]]))))
    torch.testing.assert_close(left, right)
    assert not torch.allclose(left.class_logits, free.class_logits, atol=1e-3)


def test_boxes_lie_on_the_same_pixels_of_every_level() -> None:
    """97 x 65 pixels are 13 x 9, 7 x 5 and 4 x 3 cells, which cover 72, 80 and 96 pixels across."""
    decoder = RTDETR(SPEC, LABELS, **SMALL).eval()
    pyramid = decoder._pyramid(fake_features(SPEC, (97, 65), batch=1))
    assert pyramid.shapes == [(13, 9), (7, 5), (4, 3)]
    placed = pyramid.on_levels(torch.tensor([[[0.5, 0.25, 0.2, 0.1]]]))
    across, down = torch.tensor([72.0, 80, 96]), torch.tensor([104.0, 112, 128])
    sides = torch.stack([across, down, across, down], dim=-1)
    expected = torch.tensor([0.5 * 65, 0.25 * 97, 0.2 * 65, 0.1 * 97]).expand(3, 4)
    torch.testing.assert_close(placed[0, 0] * sides, expected)


def test_fewer_cells_than_queries() -> None:
    decoder = RTDETR(
        SPEC, LABELS, **{**SMALL, "queries": 40}, postprocess=QueryPostprocess(score_threshold=0.0, max_detections=60)
    ).eval()
    given = fake_features(SPEC, (32, 32))
    with torch.no_grad():
        outputs = decoder(given)
    real = outputs.class_logits.amax(dim=-1) > EMPTY_LOGIT
    assert real.sum(dim=1).tolist() == [21, 21]
    decoded = decoder.decode(outputs, given.frame)
    assert decoded.boxes.shape == (2, 60, 4) and decoded.count.tolist() == [42, 42]


def test_more_objects_than_queries() -> None:
    decoder = RTDETR(SPEC, LABELS, **{**SMALL, "queries": 3})
    boxes = torch.rand(2, 9, 2).repeat(1, 1, 2) * 40 + torch.tensor([0.0, 0, 12, 20])
    ground_truth = DetectTargets(
        boxes, torch.zeros(2, 9).long(), torch.zeros(2, 9, dtype=torch.bool), torch.tensor([9, 1])
    )
    terms, _ = decoder.train().loss(fake_features(SPEC, (64, 64)), ground_truth)
    assert all(bool(torch.isfinite(term.sum)) for term in terms.values())
    assert float(terms["box"].count) == 10


def test_half_precision_learns() -> None:
    decoder = RTDETR(SPEC, LABELS, **SMALL).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms, outputs = decoder.loss(fake_features(SPEC, (64, 64)), fake_targets(LABELS, (64, 64)))
    assert outputs.boxes.dtype == torch.float32
    assert all(term.sum.dtype == torch.float32 and bool(torch.isfinite(term.sum)) for term in terms.values())


def test_learns_two_images_by_heart() -> None:
    torch.manual_seed(0)
    decoder = RTDETR(SPEC, LABELS, **SMALL).train()
    given = fake_features(SPEC, (64, 96))
    boxes = torch.tensor([[[6.0, 8, 40, 50], [50, 20, 90, 60]], [[30, 10, 60, 30], [0, 0, 0, 0]]])
    ground_truth = DetectTargets(
        boxes, torch.tensor([[0, 1], [1, -1]]), torch.zeros(2, 2, dtype=torch.bool), torch.tensor([2, 1])
    )
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-3)
    for _ in range(120):
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


def test_the_width_fits_the_features() -> None:
    assert RTDETR(SPEC, LABELS).embed_dim == 128
    assert RTDETR(FeatureSpec((Level(96, 8), Level(96, 16))), LABELS).embed_dim == 96
    assert RTDETR(FeatureSpec((Level(512, 8), Level(2048, 16))), LABELS).embed_dim == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 30}, "decoder 'rt_detr': embed_dim 30 must be a multiple of heads 8"),
        ({"points": [4, 4]}, r"decoder 'rt_detr': 'points' needs 3 numbers of 1 or more, one per level, got \[4, 4\]"),
        ({"points": 0}, "'points' needs 3 numbers of 1 or more"),
        ({"queries": 0}, "decoder 'rt_detr': 'queries' must be 1 or more, got 0"),
        ({"label_noise": 1.5}, "decoder 'rt_detr': 'label_noise' must be from 0 to 1, got 1.5"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RTDETR(SPEC, LABELS, **options)


def test_without_maps_there_is_nothing_to_stand_on() -> None:
    with pytest.raises(IncompatiblePartsError, match="needs feature maps aligned with the image"):
        RTDETR(FeatureSpec((), embedding=8), LABELS)
