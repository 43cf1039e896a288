"""The keypoint decoders: for one object that fills the image, and on another branch's boxes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vertebra.decoders.keypoints._keypoint_decoder import KeypointDecoder, Objects, default_levels
from vertebra.decoders.keypoints.heatmap import Heatmap, HeatmapOutputs
from vertebra.decoders.keypoints.keypoint_regression import KeypointRegression, KeypointRegressionOutputs
from vertebra.decoders.keypoints.simcc import SimCC, SimCCOutputs
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level, Proposals
from vertebra.geometry.heatmaps import gaussian_bins, gaussian_maps
from vertebra.geometry.rois import to_unit
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.targets import KeypointTargets
from vertebra.testing import check_decoder, fake_features, fake_labels, fake_proposals, fake_targets

PYRAMID = FeatureSpec((Level(16, 4), Level(24, 8), Level(32, 16), Level(40, 32)))
FLAT = FeatureSpec((Level(32, 16), Level(32, 16)))
LABELS = KeypointLabels(("a", "b"), points=("nose", "tail"))
DECODERS: list[type[Any]] = [Heatmap, SimCC, KeypointRegression]
SMALL: dict[type, dict[str, Any]] = {
    Heatmap: {"channels": 16, "upsamples": 1, "region_size": (6, 4)},
    SimCC: {"channels": 16, "depth": 1, "split": 4, "region_size": (6, 4)},
    KeypointRegression: {"channels": 16, "hidden": 8, "flow_steps": 2, "region_size": (6, 4)},
}


@pytest.mark.parametrize("on_boxes", [False, True])
@pytest.mark.parametrize("spec", [PYRAMID, FLAT])
@pytest.mark.parametrize("part", DECODERS)
def test_holds_the_contract(part: type[Any], spec: FeatureSpec, on_boxes: bool) -> None:
    check_decoder(lambda in_spec, labels: part(in_spec, labels, on_boxes=on_boxes), spec, fake_labels("keypoints"))


@pytest.mark.parametrize("part", DECODERS)
def test_both_ways_have_the_same_weights(part: type[Any]) -> None:
    options = {**SMALL[part], "levels": [1, 2]}
    whole, boxed = part(PYRAMID, LABELS, **options), part(PYRAMID, LABELS, on_boxes=True, **options)
    boxed.load_state_dict(whole.state_dict())
    assert (whole.needs, boxed.needs) == (None, "boxes")
    assert whole.in_levels == boxed.in_levels == (1, 2)


@pytest.mark.parametrize("part", DECODERS)
def test_only_training_is_random(part: type[Any]) -> None:
    decoder = part(PYRAMID, LABELS, on_boxes=True, **SMALL[part])
    features, targets = fake_features(PYRAMID, (64, 64)), fake_targets(LABELS, (64, 64))

    def areas() -> torch.Tensor:
        sampled: torch.Tensor = decoder.loss(features, targets)[1].objects.areas
        return sampled

    assert not torch.equal(areas(), areas())
    decoder.eval()
    torch.testing.assert_close(areas(), areas(), rtol=0, atol=0)
    torch.testing.assert_close(areas()[:1].mean(dim=2), targets.boxes[:1].mean(dim=2))
    # the terms' counts must be the same in both modes: accumulation counts in evaluation mode
    counts = [term.count for term in decoder.loss(features, targets)[0].values()]
    assert counts == [term.count for term in decoder.train().loss(features, targets)[0].values()]


@pytest.mark.parametrize("part", DECODERS)
@pytest.mark.parametrize("on_boxes", [False, True])
def test_unlabeled_points_and_padding_teach_nothing(part: type[Any], on_boxes: bool) -> None:
    decoder = part(PYRAMID, LABELS, on_boxes=on_boxes, **SMALL[part]).eval()
    features = fake_features(PYRAMID, (64, 64))
    points = torch.tensor([[10.0, 12, 2], [20, 30, 1]])
    box = torch.tensor([5.0, 6, 40, 50])
    ground_truth = KeypointTargets(
        torch.stack([torch.stack([points, points]), torch.zeros(2, 2, 3)]),
        torch.stack([torch.stack([box, box - 1]), torch.zeros(2, 4)]),
        torch.tensor([[0, -1], [-1, -1]]),
        torch.tensor([1, 0]),
    )
    full, _ = decoder.loss(features, ground_truth)
    assert {float(term.count) for term in full.values()} == {2.0}, "hidden points count, padding does not"
    hidden = ground_truth.points.clone()
    hidden[0, 0, 1] = torch.tensor([float("inf"), -5.0, 0.0])
    some, _ = decoder.loss(features, ground_truth._replace(points=hidden))
    assert {float(term.count) for term in some.values()} == {1.0}
    assert all(bool(torch.isfinite(term.sum)) for term in some.values())
    empty = KeypointTargets(
        ground_truth.points[:, :0], ground_truth.boxes[:, :0], ground_truth.labels[:, :0], ground_truth.count * 0
    )
    nothing, outputs = decoder.train().loss(features, empty)
    assert {(float(term.sum.detach()), float(term.count)) for term in nothing.values()} == {(0.0, 0.0)}
    sum(term.sum for term in nothing.values()).backward()  # type: ignore[union-attr]
    decoder.decode(outputs, features.frame)


def whole_outputs(part: type[Any], decoder: KeypointDecoder, points: torch.Tensor) -> tuple[Any, Frame]:
    """Outputs that encode these points (N, D, K, 2), in pixels of a 64 x 96 canvas, like the ground truth."""
    frame = Frame((64, 96), torch.tensor([[64, 96], [50, 40]]))
    features = Features(fake_features(PYRAMID, (64, 96)).maps, None, frame)
    outputs = decoder(features)
    unit = to_unit(points, outputs.objects.areas)
    return outputs_at(decoder, outputs, unit), frame


def outputs_at(decoder: KeypointDecoder, outputs: Any, unit: torch.Tensor) -> Any:
    if isinstance(outputs, HeatmapOutputs):
        height, width = outputs.maps.shape[-2:]
        return outputs._replace(maps=gaussian_maps(unit * torch.tensor([width, height]), height, width, 2.0))
    if isinstance(outputs, SimCCOutputs):
        x, y = (logits.shape[-1] for logits in outputs[:2])
        return outputs._replace(
            x_logits=(gaussian_bins(unit[..., 0] * x, x, 3.0) + 1e-9).log(),
            y_logits=(gaussian_bins(unit[..., 1] * y, y, 3.0) + 1e-9).log(),
        )
    assert isinstance(outputs, KeypointRegressionOutputs)
    return outputs._replace(points=unit, sigmas=torch.full_like(unit, 0.1))


@pytest.mark.parametrize("part", DECODERS)
def test_whole_images_are_decoded_in_canvas_pixels(part: type[Any]) -> None:
    decoder = part(PYRAMID, LABELS).eval()
    points = torch.tensor([[[[30.3, 20.9], [70.0, 41.7]]], [[[11.2, 30.4], [28.0, 18.0]]]])
    outputs, frame = whole_outputs(part, decoder, points)
    decoded = decoder.decode(outputs, frame)
    torch.testing.assert_close(decoded.points, points, atol=0.1, rtol=0)
    torch.testing.assert_close(decoded.boxes, torch.tensor([[[0.0, 0, 96, 64]], [[0, 0, 40, 50]]]))
    assert decoded.labels.tolist() == [[0], [0]] and decoded.count.tolist() == [1, 1]
    torch.testing.assert_close(decoded.scores, decoded.point_scores.mean(dim=2))
    assert float(decoded.scores.min()) > 0.8 and float(decoded.scores.max()) <= 1


@pytest.mark.parametrize("part", DECODERS)
def test_boxes_are_decoded_where_they_lie_best_first(part: type[Any]) -> None:
    decoder = part(PYRAMID, LABELS, on_boxes=True, region_size=(12, 8), margin=1.5).eval()
    features = fake_features(PYRAMID, (64, 96))
    proposals = Proposals(
        torch.tensor(
            [[[10.0, 8, 22, 32], [40, 10, 72, 60], [0, 0, 0, 0]], [[5, 5, 25, 35], [0, 0, 0, 0], [0, 0, 0, 0]]]
        ),
        torch.tensor([[0.5, 0.9, 0.0], [0.7, 0.0, 0.0]]),
        torch.tensor([[1, 0, -1], [1, -1, -1]]),
        torch.tensor([2, 1]),
    )
    outputs = decoder(features, proposals)
    # 12 x 24 grows to 18 x 36, then to 24 x 36 for the aspect of 8 to 12
    torch.testing.assert_close(outputs.objects.areas[0, 0], torch.tensor([4.0, 2.0, 28.0, 38.0]))
    points = torch.tensor([[12.5, 10.1], [20.0, 30.3]]) + torch.tensor([0.0, 35.0, 0.0])[:, None, None]
    points = torch.stack([points, points])
    decoded = decoder.decode(outputs_at(decoder, outputs, to_unit(points, outputs.objects.areas)), features.frame)
    assert decoded.labels.tolist() == [[0, 1, -1], [1, -1, -1]] and decoded.count.tolist() == [2, 1]
    torch.testing.assert_close(decoded.points[0, 1], points[0, 0], atol=0.1, rtol=0)
    torch.testing.assert_close(decoded.points[0, 0], points[0, 1], atol=0.1, rtol=0)
    torch.testing.assert_close(decoded.boxes[0, :2], proposals.boxes[0, [1, 0]])
    expected = torch.tensor([0.9, 0.5]) * decoded.point_scores[0, :2].mean(dim=1)
    torch.testing.assert_close(decoded.scores[0, :2], expected)
    for value in (decoded.points, decoded.point_scores, decoded.boxes, decoded.scores):
        assert not bool(value[0, 2].any()) and not bool(value[1, 1:].any()), "what is not real is padded with 0"


def test_heat_on_the_padding_of_a_canvas_is_not_looked_at() -> None:
    decoder = Heatmap(PYRAMID, LABELS).eval()
    points = torch.tensor([[[[30.0, 20], [70, 40]]], [[[12, 20], [80, 60]]]])
    outputs, frame = whole_outputs(Heatmap, decoder, points)
    decoded = decoder.decode(outputs, frame)
    torch.testing.assert_close(decoded.points[1, 0, 0], torch.tensor([12.0, 20.0]), atol=0.1, rtol=0)
    x, y = decoded.points[1, 0, 1].tolist()
    assert x <= 42 and y <= 52, "the second image is 40 x 50"


def test_the_largest_object_is_learned_for_a_whole_image() -> None:
    decoder = KeypointRegression(PYRAMID, LABELS).eval()
    nn.init.zeros_(decoder.numbers.weight)
    frame = Frame((100, 100), torch.tensor([[100, 100]]))
    features = Features(fake_features(PYRAMID, (100, 100), 1).maps, None, frame)
    points = torch.tensor([[[[9.0, 9, 2]] * 2, [[50, 50, 2]] * 2, [[0, 0, 0]] * 2]])
    boxes = torch.tensor([[[0.0, 0, 10, 10], [30, 30, 70, 70], [0, 0, 99, 99]]])
    ground_truth = KeypointTargets(points, boxes, torch.tensor([[0, 1, -1]]), torch.tensor([2]))
    terms, _ = decoder.loss(features, ground_truth)
    assert float(terms["likelihood"].count) == 2
    second = KeypointTargets(points[:, 1:2], boxes[:, 1:2], torch.tensor([[1]]), torch.tensor([1]))
    alone, _ = decoder.loss(features, second)
    torch.testing.assert_close(terms["likelihood"].sum, alone["likelihood"].sum)


def test_which_levels_are_read() -> None:
    assert default_levels(PYRAMID, on_boxes=False) == (3,)
    assert default_levels(PYRAMID, on_boxes=True) == (0, 1, 2, 3)
    neck = FeatureSpec((Level(8, 2), Level(8, 4), Level(8, 8), Level(8, 16)))
    assert default_levels(neck, on_boxes=False) == (1, 3)
    assert default_levels(FLAT, on_boxes=True) == (1,)
    deep = FeatureSpec((Level(8, 2), Level(8, 4), Level(9, 32), Level(8, 64)))
    assert (default_levels(deep, False), default_levels(deep, True)) == ((3,), (1, 2, 3))
    assert default_levels(FeatureSpec((Level(8, 64),)), True) == (0,)
    with pytest.raises(IncompatiblePartsError, match="feature maps aligned"):
        Heatmap(FeatureSpec((), embedding=8), LABELS)


def test_heatmaps_reach_stride_four() -> None:
    features = fake_features(PYRAMID, (97, 65))
    assert Heatmap(PYRAMID, LABELS)(features).maps.shape == (2, 1, 2, 32, 24)
    assert Heatmap(PYRAMID, LABELS, levels=[1, 3])(features).maps.shape == (2, 1, 2, 26, 18)
    boxed = Heatmap(PYRAMID, LABELS, on_boxes=True)
    assert boxed(features, fake_proposals(LABELS, (97, 65))).maps.shape == (2, 3, 2, 56, 56)


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (Heatmap, {"levels": [4]}, r"'heatmap': 'levels' must name some of the levels 0 to 3, got \[4\]"),
        (Heatmap, {"levels": []}, "'levels' must name some"),
        (Heatmap, {"sigma": 0.0}, "'sigma' must be 0.5 or more, got 0.0"),
        (Heatmap, {"upsamples": -1}, "'upsamples' must be from 0 to 6, got -1"),
        (SimCC, {"split": 0}, "'simcc': 'split' must be 1 or more"),
        (SimCC, {"region_size": (0, 4)}, "'region_size' must be 1 or more, got 0"),
        (SimCC, {"margin": 0.5}, "'margin' must be 1 or more, got 0.5"),
        (KeypointRegression, {"jitter": 1.0}, "'regression': 'jitter' must be from 0 to 0.9, got 1.0"),
        (KeypointRegression, {"hidden": 0}, "'hidden' must be 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(part: type[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        part(PYRAMID, LABELS, **options)


def test_boxes_that_are_not_given_are_missed() -> None:
    with pytest.raises(ValueError, match="needs proposals"):
        Heatmap(PYRAMID, LABELS, on_boxes=True)(fake_features(PYRAMID, (64, 64)))


def test_padding_is_no_object() -> None:
    count = torch.tensor([2, 0])
    objects = Objects(*(torch.zeros(2, 3, *rest) for rest in ((4,), (4,), (), ())), count)
    assert objects.real.tolist() == [[True, True, False], [False] * 3]
