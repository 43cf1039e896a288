"""TOOD: its loss by hand, how boxes start and how far they reach, and which objects have locations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.detect.tood import TOOD, fitting_bin_width, start_logits
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.losses.distribution import expected_bin
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing import check_decoder, fake_features
from vertebra.testing.contract import check_gradients

LABELS = DetectLabels(("a", "b"))
PYRAMID = FeatureSpec((Level(16, 4), Level(16, 8), Level(24, 16), Level(32, 32)))
SPEC = FeatureSpec((Level(16, 8), Level(16, 16)))
ONE_CELL = FeatureSpec((Level(8, 8),))


def objects(*boxes: list[float], labels: list[int] | None = None, crowd: bool = False) -> DetectTargets:
    """The truth of a single image."""
    count = len(boxes)
    kinds = torch.tensor([labels or [0] * count], dtype=torch.int64)
    crowds = torch.full((1, count), crowd)
    return DetectTargets(torch.tensor(boxes).reshape(1, count, 4), kinds, crowds, torch.tensor([count]))


def one_cell() -> tuple[TOOD, Features]:
    """A canvas of 8 x 8 pixels that is one cell: three even bins for each side, so that its box goes from -4 to 12; all
    scores are a half."""
    decoder = TOOD(ONE_CELL, LABELS, bins=3, bin_width=1.0)
    for layer in (decoder.class_prediction, decoder.box_prediction):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return decoder, Features((torch.randn(1, 8, 1, 1),), None, Frame((8, 8), torch.tensor([[8, 8]])))


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({"norm": "batch", "depth": 1, "bins": 2}, PYRAMID),
        ({"norm": "none", "channels": 24, "locations": 3, "finest_stride": 4, "alpha": 0.0}, PYRAMID),
        ({"bin_width": 0.5, "beta": 1.0}, FeatureSpec((Level(16, 16), Level(16, 16)))),
        ({"depth": 0}, FeatureSpec((Level(32, 32),))),
    ],
)
def test_holds_the_contract(options: dict[str, Any], spec: FeatureSpec) -> None:
    check_decoder(lambda joint, own: TOOD(joint, own, **options), spec, LABELS)  # type: ignore[arg-type]


def test_loss_by_hand() -> None:
    """The object lies in the cell's box and has three quarters of its area: IoU, GIoU and the quality are 3/4."""
    decoder, given = one_cell()
    terms, outputs = decoder.loss(given, objects([-4.0, -4, 12, 8], labels=[1]))
    torch.testing.assert_close(outputs.boxes, torch.tensor([[[-4.0, -4, 12, 12]]]))
    expected = {
        "classification": (1 + 0.75 * 0.5**2) * math.log(2),
        "box": 2.5 * 0.75 * 0.25,
        "distribution": 0.5 * 0.75 * math.log(3),
    }
    assert {name: term.sum.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert all(term.count == 0.75 for term in terms.values())


def test_sides_are_told_in_strides() -> None:
    """From the cell's middle the sides are 8, 8, 8 and 4 pixels away: bins 1, 1, 1 and half of 0 and of 1."""
    decoder, given = one_cell()
    terms, _ = decoder.loss(given, objects([-4.0, -4, 12, 8]))
    terms["distribution"].sum.backward()
    bias = decoder.box_prediction.bias
    assert bias is not None and bias.grad is not None
    wanted = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 1, 0], [0.5, 0.5, 0]])
    torch.testing.assert_close(bias.grad.reshape(4, 3), 0.5 * 0.75 * (1 / 3 - wanted) / 4)


def test_boxes_start_at_two_strides() -> None:
    decoder = TOOD(SPEC, LABELS)
    nn.init.zeros_(decoder.box_prediction.weight)
    boxes = decoder(fake_features(SPEC, (32, 40), batch=1)).boxes[0]
    assert len(boxes) == 20 + 6
    torch.testing.assert_close(boxes[0], torch.tensor([-4.0, -4, 12, 12]), atol=0.2, rtol=0)
    torch.testing.assert_close(boxes[20], torch.tensor([-8.0, -8, 24, 24]), atol=0.2, rtol=0)


def test_a_start_by_its_mean() -> None:
    for mean in (1.0, 2.0):
        assert expected_bin(start_logits(60, mean)).item() == pytest.approx(mean, rel=1e-4)


def test_how_far_boxes_reach() -> None:
    """Two levels without a coarse one have wider bins. The last bin of 16 is 15 widths away."""
    assert [fitting_bin_width(strides) for strides in ([8, 16, 32], [4, 16], [8, 16], [16])] == [1, 1, 2, 2]
    decoder = TOOD(FeatureSpec((Level(16, 16),)), LABELS)
    nn.init.zeros_(decoder.box_prediction.weight)
    nn.init.zeros_(decoder.box_prediction.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        decoder.box_prediction.bias[15::16] = 100  # type: ignore[index]
    box = decoder(fake_features(FeatureSpec((Level(16, 16),)), (16, 16), batch=1)).boxes[0, 0]
    torch.testing.assert_close(box, torch.tensor([8.0 - 480, 8 - 480, 8 + 480, 8 + 480]))


def test_decoding_keeps_the_score() -> None:
    decoder = TOOD(SPEC, LABELS)
    given = fake_features(SPEC, (32, 40))
    outputs = decoder(given)
    logits = torch.full_like(outputs.class_logits, -20)
    logits[0, 7, 1] = math.log(3)
    found = decoder.decode(outputs._replace(class_logits=logits), given.frame)
    assert found.count.tolist() == [1, 0] and found.labels[0, 0] == 1
    torch.testing.assert_close(found.scores[0, 0], torch.tensor(0.75))


def test_a_best_location_is_asked_for_half_a_score() -> None:
    """The only cell's box overlaps the object by a sixteenth."""
    given = one_cell()[1]
    counts = []
    for least in (0.5, 0.0):
        decoder = TOOD(ONE_CELL, LABELS, channels=8, bins=40, bin_width=1.0, min_quality=least)
        nn.init.zeros_(decoder.box_prediction.weight)
        counts.append(decoder.loss(given, objects([-28.0, -28, 36, 36]))[0]["box"].count.item())
    assert counts == pytest.approx([0.5, 1 / 16], rel=1e-3)


def test_an_object_smaller_than_a_cell_is_learned() -> None:
    terms, _ = TOOD(SPEC, LABELS).loss(fake_features(SPEC, (64, 64), batch=1), objects([30.0, 30, 33, 33]))
    assert terms["box"].count >= 0.1 and terms["distribution"].sum > 0


def test_what_lies_in_a_crowd_is_no_mistake() -> None:
    decoder, given = one_cell()
    terms, _ = decoder.loss(given, objects([0.0, 0, 8, 8], crowd=True))
    assert all(term.sum == 0 and term.count == 0 for term in terms.values())


def test_a_batch_without_any_object() -> None:
    decoder = TOOD(SPEC, LABELS)
    terms, _ = decoder.loss(fake_features(SPEC, (32, 40), batch=1), objects())
    assert terms["box"].sum == terms["distribution"].sum == 0
    assert terms["classification"].sum > 0 and all(term.count == 0 for term in terms.values())
    check_gradients(decoder, torch.stack([term.mean() for term in terms.values()]).sum())


def test_losses_are_float32_under_half_precision() -> None:
    decoder = TOOD(SPEC, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        terms, outputs = decoder.loss(fake_features(SPEC, (32, 40), batch=1), objects([4.0, 4, 20, 20]))
    assert outputs.boxes.dtype == torch.float32
    assert all(term.sum.dtype == torch.float32 and term.sum.isfinite() for term in terms.values())


def test_what_does_not_fit_is_refused() -> None:
    wrong: dict[str, tuple[float, str]] = {
        "bins": (1, "2 or more"),
        "locations": (0, "1 or more"),
        "bin_width": (0.01, "0.05 or more"),
        "alpha": (-1.0, "0 or more"),
        "beta": (-1.0, "0 or more"),
    }
    for name, (value, limits) in wrong.items():
        with pytest.raises(ConfigError, match=f"decoder 'tood': '{name}' must be {limits}, got {value}"):
            TOOD(SPEC, LABELS, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(IncompatiblePartsError, match="a level at stride 32 or coarser"):
        TOOD(SPEC, LABELS, finest_stride=32)
