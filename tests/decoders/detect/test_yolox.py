"""YOLOX: its loss by hand, scores, and which objects have locations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.detect.yolox import YOLOX, product_logits
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing import check_decoder, fake_features
from vertebra.testing.contract import check_gradients

LABELS = DetectLabels(("a", "b"))
PYRAMID = FeatureSpec((Level(16, 4), Level(16, 8), Level(24, 16), Level(32, 32)))
SPEC = FeatureSpec((Level(16, 8), Level(16, 16)))
ONE_CELL = FeatureSpec((Level(8, 8),))


def objects(*boxes: list[float], labels: list[int] | None = None) -> DetectTargets:
    """The truth of a single image."""
    count = len(boxes)
    kinds = torch.tensor([labels or [0] * count], dtype=torch.int64)
    crowd = torch.zeros(1, count, dtype=torch.bool)
    return DetectTargets(torch.tensor(boxes).reshape(1, count, 4), kinds, crowd, torch.tensor([count]))


def one_cell(**options: Any) -> tuple[YOLOX, Features]:
    """A canvas of 8 x 8 pixels that is one cell: its box goes from -4 to 12; all logits are 0."""
    decoder = YOLOX(ONE_CELL, LABELS, **options)
    for layer in (decoder.class_prediction, decoder.objectness_prediction, decoder.box_prediction):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return decoder, Features((torch.randn(1, 8, 1, 1),), None, Frame((8, 8), torch.tensor([[8, 8]])))


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({"norm": "batch", "depth": 1, "l1": False}, PYRAMID),
        ({"norm": "none", "channels": 24, "locations": 3, "finest_stride": 4}, PYRAMID),
        ({"center_radius": 0.5}, FeatureSpec((Level(16, 16), Level(16, 16)))),
        ({"depth": 0}, FeatureSpec((Level(32, 32),))),
    ],
)
def test_holds_the_contract(options: dict[str, Any], spec: FeatureSpec) -> None:
    check_decoder(lambda joint, own: YOLOX(joint, own, **options), spec, LABELS)  # type: ignore[arg-type]


def test_loss_by_hand() -> None:
    """The object is as wide as the cell's box and three quarters as high: the IoU is 3/4, its middle lies an eighth of the
    box higher."""
    decoder, given = one_cell()
    terms, outputs = decoder.loss(given, objects([-4.0, -4, 12, 8], labels=[1]))
    assert outputs.boxes.tolist() == [[[-4.0, -4, 12, 12]]]
    expected = {
        "classification": 2 * math.log(2),
        "objectness": math.log(2),
        "box": 5 * (1 - 0.75**2),
        "l1": 1 / 8 + math.log(4 / 3),
    }
    assert {name: term.sum.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert all(term.count == 1 for term in terms.values())


def test_the_score_that_is_asked_for_is_the_overlap() -> None:
    decoder, given = one_cell()
    terms, outputs = decoder.loss(given, objects([-4.0, -4, 12, 8], labels=[1]))
    (gradient,) = torch.autograd.grad(terms["classification"].sum, outputs.class_logits)
    torch.testing.assert_close(gradient, torch.tensor([[[0.5, 0.5 - 0.75]]]))


def test_without_l1() -> None:
    decoder, given = one_cell(l1=False)
    terms, _ = decoder.loss(given, objects([-4.0, -4, 12, 8]))
    assert terms["l1"] == (0, 0)
    check_gradients(decoder, torch.stack([term.mean() for term in terms.values()]).sum())


def test_boxes_start_at_two_strides_around_their_cells() -> None:
    decoder = YOLOX(SPEC, LABELS)
    nn.init.zeros_(decoder.box_prediction.weight)
    boxes = decoder(fake_features(SPEC, (32, 40), batch=1)).boxes[0]
    assert len(boxes) == 20 + 6
    assert boxes[0].tolist() == [-4.0, -4, 12, 12] and boxes[20].tolist() == [-8.0, -8, 24, 24]


def test_a_level_has_a_scale_of_its_own() -> None:
    """The middle moves right by a quarter of the square; with twice the scale by a half."""
    decoder = YOLOX(SPEC, LABELS)
    nn.init.zeros_(decoder.box_prediction.weight)
    with torch.no_grad():
        decoder.box_prediction.bias.copy_(torch.tensor([0.25, 0, 0, 0]))  # type: ignore[union-attr]
        decoder.scales[1] = 2
    boxes = decoder(fake_features(SPEC, (32, 40), batch=1)).boxes[0]
    assert boxes[0].tolist() == [0.0, -4, 16, 12] and boxes[20].tolist() == [8.0, -8, 40, 24]


def test_a_score_is_objectness_times_class() -> None:
    decoder = YOLOX(SPEC, LABELS)
    given = fake_features(SPEC, (32, 40))
    outputs = decoder(given)
    logits = torch.full_like(outputs.class_logits, -20)
    logits[0, 7, 1] = 0.0
    objectness = torch.full_like(outputs.objectness, math.log(0.25 / 0.75))
    found = decoder.decode(outputs._replace(class_logits=logits, objectness=objectness), given.frame)
    assert found.count.tolist() == [1, 0] and found.labels[0, 0] == 1
    torch.testing.assert_close(found.scores[0, 0], torch.tensor(0.5 * 0.25))


def test_logits_of_a_product() -> None:
    first, second = torch.randn(50, dtype=torch.float64) * 5, torch.randn(50, dtype=torch.float64) * 5
    torch.testing.assert_close(product_logits(first, second), (first.sigmoid() * second.sigmoid()).logit())
    far = torch.tensor([-200.0, 0, 200]).requires_grad_()
    found = product_logits(far[:, None], far[None])
    torch.testing.assert_close(found[0, 0], torch.tensor(-400.0))
    torch.testing.assert_close(found[2], torch.tensor([-200.0, 0.0, 200 - math.log(2)]))
    assert torch.autograd.grad(found.sum(), far)[0].isfinite().all()


def test_an_object_smaller_than_a_cell_is_learned() -> None:
    terms, _ = YOLOX(SPEC, LABELS).loss(fake_features(SPEC, (64, 64), batch=1), objects([30.0, 30, 33, 33]))
    assert terms["box"].count >= 1 and terms["objectness"].sum > 0


def test_a_batch_without_any_object() -> None:
    decoder = YOLOX(SPEC, LABELS)
    terms, _ = decoder.loss(fake_features(SPEC, (32, 40), batch=1), objects())
    assert terms["box"].sum == terms["l1"].sum == terms["classification"].sum == 0
    assert terms["objectness"].sum > 0 and all(term.count == 0 for term in terms.values())
    check_gradients(decoder, torch.stack([term.mean() for term in terms.values()]).sum())


def test_losses_are_float32_under_half_precision() -> None:
    decoder = YOLOX(SPEC, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        terms, outputs = decoder.loss(fake_features(SPEC, (32, 40), batch=1), objects([4.0, 4, 20, 20]))
    assert outputs.boxes.dtype == torch.float32
    assert all(term.sum.dtype == torch.float32 and term.sum.isfinite() for term in terms.values())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="'center_radius' must be 0.5 or more.*got 0.4"):
        YOLOX(SPEC, LABELS, center_radius=0.4)
    with pytest.raises(ConfigError, match="'locations' must be 1 or more, got 0"):
        YOLOX(SPEC, LABELS, locations=0)
    with pytest.raises(IncompatiblePartsError, match="a level at stride 32 or coarser"):
        YOLOX(SPEC, LABELS, finest_stride=32)
