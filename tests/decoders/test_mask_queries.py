"""Queries that predict classes and masks: matching, loss, decoding, and that they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.decoders.instances.test_mask_rcnn import LABELS, SIDE, TwoLevels, shapes
from vertebra.decoders.instances._query_instances import boxes_of_masks
from vertebra.decoders.instances.mask2former import Mask2FormerInstances
from vertebra.decoders.mask_queries import class_scores, mask_quality
from vertebra.decoders.mask_query_loss import QueryMasks, mask_query_terms
from vertebra.decoders.mask_targets import BoxedMasks, ClassMasks
from vertebra.decoders.segment.mask2former import Mask2Former
from vertebra.decoders.segment.maskformer import MaskFormer
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.point_samples import spread_points, values_at
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import get_task
from vertebra.tasks.instances.targets import InstanceTargets
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentTargets
from vertebra.testing.synthetic import fake_features

SPEC = FeatureSpec((Level(32, 4), Level(48, 8)))
FEW: dict[str, Any] = {"channels": 32, "layers": 2, "queries": 8, "hidden": 64, "points": 256, "heads": 4}
CLASSES = SegmentLabels(("ground", "disc", "ring"))


def test_values_between_cells_and_beyond_the_border() -> None:
    maps = torch.tensor([[[[0.0, 8.0]], [[4.0, 4.0]]]])  # two channels of one row
    points = torch.tensor([[[[2.0, 2.0], [4.0, 2.0], [6.0, 2.0], [99.0, 2.0]]]])
    expected = torch.tensor([[[0.0, 4, 8, 8], [4, 4, 4, 4]]])
    torch.testing.assert_close(values_at(maps, points, 4), expected)
    torch.testing.assert_close(values_at(maps, points.expand(-1, 2, -1, -1), 4), expected)
    sizes = torch.tensor([[10, 1000], [1000, 10]])
    drawn = spread_points(sizes, 500, random=True)
    assert drawn.shape == (2, 1, 500, 2) and float(drawn[0, ..., 1].max()) < 10 and float(drawn[0, ..., 0].max()) > 900
    assert float(drawn[1, ..., 0].max()) < 10
    fixed = spread_points(sizes, 500, random=False)
    torch.testing.assert_close(fixed.mean(dim=2)[:, 0], torch.tensor([[500.0, 5], [5, 500]]), rtol=0.02, atol=0)
    assert torch.equal(fixed[:1], spread_points(sizes[:1], 500, random=False))


def test_the_masks_of_classes_at_points() -> None:
    masks = torch.tensor([[[0, 2, 2], [0, 255, 3]], [[1, 1, 1], [1, 1, 1]]])  # 3: none of the annotated classes
    exclusive = ClassMasks.of(SegmentTargets(masks), CLASSES)
    assert exclusive.labels.tolist() == [[0, 2], [1, 0]] and exclusive.count.tolist() == [2, 1]
    points = torch.tensor([[[[0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [2.5, 1.5]]]]).expand(2, -1, -1, -1)
    inside, counted = exclusive.at(points)
    assert inside[0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]] and counted[0].tolist() == [[1, 1, 0, 1]]
    own_points = points.expand(-1, 2, -1, -1)
    torch.testing.assert_close(exclusive.at(own_points)[0], inside)
    layers = torch.tensor(
        [[[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 255]], [[1, 1, 1], [0, 255, 0]]]], dtype=torch.uint8
    )
    overlapping = ClassMasks.of(SegmentTargets(layers), SegmentLabels(("a", "b", "c"), multilabel=True))
    assert overlapping.labels.tolist() == [[0, 2]] and overlapping.count.tolist() == [2]
    inside, counted = overlapping.at(points[:1])
    assert inside[0].tolist() == [[0, 1, 0, 0], [1, 1, 0, 0]] and counted[0].tolist() == [[1, 1, 1, 1], [1, 1, 0, 1]]


def test_the_masks_of_boxes_at_points() -> None:
    masks = torch.zeros(1, 1, 56, 56, dtype=torch.uint8)
    masks[..., :28] = 255  # the left half of the box
    targets = InstanceTargets(masks, torch.tensor([[[10.0, 20, 38, 76]]]), torch.tensor([[1]]), torch.tensor([1]))
    points = torch.tensor([[[[12.0, 30], [22, 70], [26, 70], [36, 30], [9, 30], [12, 78], [12, 18]]]])
    inside, _ = BoxedMasks.of(targets).at(points)
    assert inside[0, 0].round(decimals=3).tolist() == [1, 1, 0, 0, 0, 0, 0]
    none = InstanceTargets(masks[:, :0], targets.boxes[:, :0], targets.labels[:, :0], torch.tensor([0]))
    assert BoxedMasks.of(none).labels.tolist() == [[0]]


def perfect(queries: int) -> tuple[QueryMasks, ClassMasks, Tensor]:
    """Predictions equal to the ground truth, by queries in another order, and the sizes."""
    masks = torch.zeros(2, 16, 16, dtype=torch.long)
    masks[0, :8, :8], masks[1, 8:] = 1, 2
    targets = ClassMasks.of(SegmentTargets(masks), CLASSES)
    class_logits = torch.full((2, queries, 4), -9.0)
    class_logits[..., 3] = 9
    mask_logits = torch.full((2, queries, 16, 16), -9.0)
    for image, rows in enumerate(((0, 1), (0, 2))):
        for query, label in zip((3, 1), rows, strict=True):
            class_logits[image, query] = torch.where(torch.arange(4) == label, 9.0, -9.0)
            mask_logits[image, query] = torch.where(masks[image] == label, 9.0, -9.0)
    return QueryMasks(class_logits, mask_logits), targets, torch.tensor([[16, 16]] * 2)


def test_the_loss_of_perfect_and_of_wrong_predictions() -> None:
    torch.manual_seed(0)
    layer, targets, sizes = perfect(5)
    terms = mask_query_terms([layer], targets, sizes, 1, points=2000, none_weight=0.1, random=True)
    assert float(terms["classification"].sum) < 1e-4 and float(terms["classification"].count) == pytest.approx(4.6)
    assert float(terms["mask"].count) == 4 and float(terms["auxiliary_mask"].sum) == 0
    assert float(terms["mask"].mean()) < 1.5, "only points between two pixels of different classes are uncertain"
    wrong = QueryMasks(layer.class_logits, torch.full_like(layer.mask_logits, -9.0))
    both = mask_query_terms([wrong, layer], targets, sizes, 1, points=2000, none_weight=0.1, random=True)
    assert float(both["auxiliary_mask"].sum) > 20 * float(both["mask"].sum + both["dice"].sum) > 0


def test_ignored_pixels_have_no_gradient() -> None:
    torch.manual_seed(0)
    masks = torch.zeros(1, 16, 16, dtype=torch.long)
    masks[0, :, 8:] = 1
    masks[0, 10:] = 255
    layer = QueryMasks(torch.zeros(1, 3, 4), torch.randn(1, 3, 16, 16).requires_grad_())
    terms = mask_query_terms(
        [layer],
        ClassMasks.of(SegmentTargets(masks), CLASSES),
        torch.tensor([[16, 16]]),
        1,
        points=999,
        none_weight=0.1,
        random=True,
    )
    (terms["mask"].sum + terms["dice"].sum).backward()
    gradient = layer.mask_logits.grad
    assert gradient is not None
    assert float(gradient[..., 11:, :].abs().max()) == 0 < float(gradient[..., :9, :].abs().max())


def test_classes_that_are_not_annotated_have_no_gradient() -> None:
    masks = torch.zeros(1, 16, 16, dtype=torch.long)
    masks[0, :, 8:] = CLASSES.unannotated
    exhaustive = torch.tensor([[True, True, False]])
    layer = QueryMasks(torch.randn(1, 3, 4).requires_grad_(), torch.randn(1, 3, 16, 16))
    targets = ClassMasks.of(SegmentTargets(masks, exhaustive), CLASSES)
    assert targets.labels.tolist() == [[0]]
    mask_query_terms([layer], targets, torch.tensor([[16, 16]]), 1, points=99, none_weight=0.1, random=True)[
        "classification"
    ].sum.backward()
    gradient = layer.class_logits.grad
    assert gradient is not None and not bool(gradient[..., 2].any()) and bool((gradient[..., :2] != 0).all())
    overlapping = SegmentTargets(torch.stack([masks * 0, masks * 0 + 255], dim=1).to(torch.uint8))
    known = ClassMasks.of(overlapping, SegmentLabels(("a", "b"), multilabel=True)).exhaustive
    assert known is not None and known.tolist() == [[True, False]]


def test_more_objects_than_queries() -> None:
    masks = torch.arange(3).repeat_interleave(6)[None, :, None].expand(1, -1, 16).contiguous()
    layer = QueryMasks(torch.zeros(1, 2, 4), torch.randn(1, 2, 18, 16).requires_grad_())
    terms = mask_query_terms(
        [layer],
        ClassMasks.of(SegmentTargets(masks), CLASSES),
        torch.tensor([[18, 16]]),
        1,
        points=50,
        none_weight=0.1,
        random=True,
    )
    assert float(terms["classification"].count) == 2 and float(terms["mask"].count) == 3
    terms["mask"].sum.backward()
    assert layer.mask_logits.grad is not None and bool(layer.mask_logits.grad[0, 0].any())


def test_boxes_around_masks_to_a_part_of_a_cell() -> None:
    logits = torch.full((1, 3, 6, 8), -1.0)
    logits[0, 0, 2:4, 3:5] = 1.0  # crossings half-way between centers
    logits[0, 1, 0, 0] = 3.0  # at the corner: the border on two sides, 3/4 of the way on the others
    boxes = boxes_of_masks(logits, 4)
    assert boxes[0].tolist() == [[12, 8, 20, 16], [0, 0, 5, 5], [0, 0, 0, 0]]
    quality, _ = mask_quality(logits, Frame((24, 12), torch.tensor([[24, 12]])), 4)
    assert quality[0, 0] == 0, "its cells lie beyond the image"
    assert float(quality[0, 1]) == pytest.approx(torch.tensor(3.0).sigmoid().item())


def test_classes_are_sums_over_queries() -> None:
    outputs = QueryMasks(
        torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]]).log_softmax(-1), torch.tensor([[[[9.0, -9.0]], [[0.0, 9.0]]]])
    )
    share = torch.tensor([2.0, 0, 0]).softmax(0)
    a, b = (share[0] + share[1] * 0.5, share[1] + share[0] * 0.5)
    exclusive = class_scores(outputs, multilabel=False)
    torch.testing.assert_close(exclusive.exp()[0, :, 0, 0], torch.stack([a, b]), atol=1e-3, rtol=0)
    assert float(class_scores(outputs, multilabel=True).sigmoid().max()) <= 1


@pytest.mark.parametrize("part", [Mask2Former, MaskFormer])
def test_padding_of_the_canvas_is_not_read(part: Any) -> None:
    torch.manual_seed(0)
    spec = FeatureSpec((Level(32, 8), Level(32, 16)))
    decoder = part(spec, CLASSES, **FEW).eval()
    narrow = fake_features(spec, (64, 64), batch=1)
    junk = tuple(torch.cat([values, 9 * torch.randn_like(values)], dim=3) for values in narrow.maps)
    wide = Features(junk, None, Frame((64, 128), torch.tensor([[64, 64]])))
    with torch.no_grad():
        expected, got = decoder(narrow), decoder(wide)
    if part is Mask2Former:  # a pyramid's norms and convolutions read beyond the image, queries do not
        torch.testing.assert_close(got.class_logits, expected.class_logits)
        torch.testing.assert_close(got.mask_logits[..., :8], expected.mask_logits)
    assert got.class_logits.shape == expected.class_logits.shape


def learned(decoder: nn.Module, images: Tensor, targets: Any) -> Any:
    """Decoded outputs after a few steps."""
    backbone = TwoLevels()
    optimizer = torch.optim.AdamW([*backbone.parameters(), *decoder.parameters()], lr=3e-3)
    for _ in range(90):
        terms, _ = decoder.loss(backbone(images / 255), targets)  # type: ignore[operator]
        optimizer.zero_grad()
        torch.stack([term.mean() for term in terms.values()]).sum().backward()
        optimizer.step()
    with torch.no_grad():
        features = backbone(images / 255)
        return decoder.eval().decode(decoder(features), features.frame)  # type: ignore[operator]


def test_learns_objects_with_holes() -> None:
    torch.manual_seed(0)
    images, targets, annotations = shapes()
    decoded = learned(Mask2FormerInstances(SPEC, LABELS, **FEW), images, targets)
    transform = ResizeSpec((SIDE, SIDE)).transform(SIDE, SIDE)
    for row, annotation in enumerate(annotations):
        values = [value[row].numpy() for value in decoded]
        prediction: Any = get_task("instances").from_decoded(values, transform, LABELS, None)
        assert prediction.class_ids[:2].tolist() in ([0, 1], [1, 0]) and float(prediction.scores[1]) > 0.6
        order = np.argsort(prediction.class_ids[:2])
        for number, region, box in zip(order, annotation.rles, annotation.boxes, strict=True):
            got, expected = prediction.masks[number], region.mask()
            assert (got & expected).sum() / (got | expected).sum() > 0.85
            assert np.abs(prediction.boxes[number] - box).max() < 4


def test_learns_classes_of_pixels() -> None:
    torch.manual_seed(0)
    images, _, annotations = shapes()
    masks = torch.zeros(4, SIDE, SIDE, dtype=torch.long)
    for row, annotation in enumerate(annotations):
        for region, label in zip(annotation.rles, annotation.labels.tolist(), strict=True):
            masks[row][torch.from_numpy(region.mask())] = label + 1
    decoded = learned(MaskFormer(SPEC, CLASSES, **FEW), images, SegmentTargets(masks))
    assert float((decoded.probabilities.argmax(dim=1) == masks).float().mean()) > 0.93


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="channels 30 must be a multiple of 4 and of heads 8"):
        Mask2Former(SPEC, CLASSES, channels=30)
    with pytest.raises(ConfigError, match="'mask_cells' must be 4 or more, got 1"):
        Mask2FormerInstances(SPEC, LABELS, mask_cells=1)
    with pytest.raises(ConfigError, match="decoder 'maskformer': 'none_weight' must be from 0 to 1"):
        MaskFormer(SPEC, CLASSES, none_weight=2.0)
