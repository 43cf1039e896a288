"""Two models in a row: what the second one sees, and where its answers lie in the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vertebra
from vertebra.decoders.base import Decoder
from vertebra.decoders.classify.linear import LinearOutputs
from vertebra.errors import ConfigError, DataError
from vertebra.features import Features, FeatureSpec, Frame, Level, Proposals
from vertebra.inference.cascade import Cascade, crop_box
from vertebra.layers.padding import valid_mean
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.classify.boxed_predictions import BoxedPredictions
from vertebra.tasks.classify.targets import ClassifyDecoded
from vertebra.tasks.detect.targets import DetectDecoded
from vertebra.tasks.keypoints.targets import KeypointDecoded
from vertebra.weights.stored_calibration import store_thresholds

COLORS = ("red", "green", "blue")


class Pixels(nn.Module):
    """The image itself as a map."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]


class Color(Decoder):
    """Says which color an image has most of."""

    task = "classify"
    terms = ()

    def forward(self, features: Features, regions: Proposals | None = None) -> LinearOutputs:
        return LinearOutputs(20 * valid_mean(features.maps[0], 1, features.frame))

    def loss(self, features: Features, targets: Any) -> Any:
        raise NotImplementedError

    def decode(self, outputs: LinearOutputs, frame: Frame) -> ClassifyDecoded:
        multilabel: bool = self.labels.multilabel  # type: ignore[attr-defined]
        return ClassifyDecoded(outputs.logits.softmax(dim=1) if not multilabel else (outputs.logits - 5).sigmoid())


class MapOutputs(NamedTuple):
    maps: Tensor


class Extent(Decoder):
    """The extent of what is green on an image, as one box; a second, doubtful one fills the image."""

    task = "detect"
    terms = ()

    def forward(self, features: Features, regions: Proposals | None = None) -> MapOutputs:
        return MapOutputs(features.maps[0])

    def loss(self, features: Features, targets: Any) -> Any:
        raise NotImplementedError

    def decode(self, outputs: MapOutputs, frame: Frame) -> DetectDecoded:
        color = outputs.maps - outputs.maps.mean(dim=1, keepdim=True)
        green = color[:, 1] > 0.3
        boxes = []
        for own, size in zip(green, frame.sizes, strict=True):
            rows, columns = own.any(dim=1).nonzero()[:, 0], own.any(dim=0).nonzero()[:, 0]
            whole = torch.tensor([0.0, 0.0, float(size[1]), float(size[0])])
            box = (
                torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
                if len(rows)
                else whole * 0
            )
            boxes.append(torch.stack([box, whole]))
        count = green.flatten(1).any(dim=1).long() * 2
        scores = torch.tensor([[0.9, 0.1]]).repeat(len(green), 1) * (count > 0)[:, None]
        return DetectDecoded(torch.stack(boxes), scores, torch.zeros(len(green), 2).long(), count)


class Spot(Decoder):
    """The middle of what is red, and that of what is blue; for an image as a whole."""

    task = "keypoints"
    terms = ()

    def forward(self, features: Features, regions: Proposals | None = None) -> MapOutputs:
        return MapOutputs(features.maps[0])

    def loss(self, features: Features, targets: Any) -> Any:
        raise NotImplementedError

    def decode(self, outputs: MapOutputs, frame: Frame) -> KeypointDecoded:
        lit = (outputs.maps[:, [0, 2]] > 0.8) & (outputs.maps[:, 1:2] < 0.5)
        x = torch.arange(lit.shape[3]) + 0.5
        y = torch.arange(lit.shape[2]) + 0.5
        count = lit.sum(dim=(2, 3)).clamp(min=1)
        middle = torch.stack([(lit * x).sum(dim=(2, 3)), (lit * y[:, None]).sum(dim=(2, 3))], dim=-1) / count[..., None]
        height, width = frame.sizes.float().unbind(dim=1)
        boxes = torch.stack([0 * width, 0 * width, width, height], dim=1)[:, None]
        seen = lit.flatten(2).any(dim=2).float()[:, None]
        ones = torch.ones(len(lit), dtype=torch.int64)
        return KeypointDecoded(middle[:, None], seen, boxes, seen.mean(dim=2), 0 * ones[:, None], ones)


def model(decoder: type[Decoder], name: str, classes: tuple[str, ...], **options: Any) -> vertebra.VisionModel:
    backbone = vertebra.as_backbone(Pixels(), FeatureSpec((Level(3, 1),)), mean=(0, 0, 0), std=(1, 1, 1))
    branch = {"decoder": decoder, "classes": list(classes)}
    branch |= {key: options.pop(key) for key in ("multilabel", "points") if key in options}
    return vertebra.create_model(backbone, branches={name: branch}, **options)


def detector() -> vertebra.VisionModel:
    return model(Extent, "boxes", ("patch",), image_size=(40, 60))


def painted(
    patch: tuple[int, int, int, int] = (30, 10, 50, 34), core: tuple[int, int, int] = (255, 0, 0)
) -> np.ndarray:
    """A black image of 80 x 120 with a green patch, whose inner half is of another color."""
    image = np.zeros((80, 120, 3), dtype=np.uint8)
    left, top, right, bottom = patch
    image[top:bottom, left:right] = (0, 255, 0)
    across, down = (right - left) // 4, (bottom - top) // 4
    image[top + down : bottom - down, left + across : right - across] = core
    return image


def test_a_crop_keeps_the_aspect_and_reaches_over_the_edge() -> None:
    image = np.arange(80 * 120 * 3, dtype=np.uint32).reshape(80, 120, 3).astype(np.uint8)
    resize_spec = ResizeSpec((32, 64))
    crop, corner = crop_box(image, np.array([40.0, 20, 60, 50]), 1.0, resize_spec)
    assert crop.shape == (30, 60, 3) and corner == (20, 20)
    np.testing.assert_array_equal(crop, image[20:50, 20:80])
    crop, corner = crop_box(image, np.array([0.0, 0, 10, 10]), 2.0, resize_spec)
    assert crop.shape == (20, 40, 3) and corner == (-15, -5)
    np.testing.assert_array_equal(crop[5:, 15:], image[:15, :25])
    assert (crop[:5] == resize_spec.fill).all() and (crop[:, :15] == resize_spec.fill).all()
    crop, _ = crop_box(image, np.array([200.0, 200, 200, 200]), 1.25, resize_spec)
    assert crop.shape == (1, 2, 3) and (crop == resize_spec.fill).all()


def test_the_second_model_sees_what_the_first_one_found(tmp_path: Path) -> None:
    images = [painted(), painted((4, 2, 44, 42), (0, 0, 255)), np.zeros((50, 50, 3), dtype=np.uint8)]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    cascade = vertebra.Cascade(detector(), model(Color, "color", COLORS, image_size=24), margin=1.0, batch_size=2)
    first, second, nothing = cascade.predict(tmp_path)
    assert first.path == paths[0] and first.size == (80, 120)
    np.testing.assert_allclose(first["boxes"].boxes, [[30, 10, 50, 34]], atol=1.5)
    assert isinstance(first["color"], BoxedPredictions) and len(first["color"]) == 1
    # half of each side is of the core's color: a quarter of the box
    assert first["color"].predictions[0].top(2)[0][0] == "green" and first["color"].predictions[0].top(2)[1][0] == "red"
    assert second["color"].predictions[0].top(2)[1][0] == "blue"
    assert len(nothing["boxes"].boxes) == 0 and len(nothing["color"]) == 0
    told = first.to_dict()["color"]["objects"][0]
    assert told["class_name"] == "green" and told["probabilities"]["green"] == told["score"]
    assert told["box"] == first["boxes"].boxes[0].tolist()
    assert first["color"].class_names == ["green"] and repr(first["color"]) == "1 box: green 1.00"
    assert first["color"].to_coco(7)[0]["bbox"][:2] == first["boxes"].boxes[0, :2].tolist()
    assert first["color"].draw().width >= 120 and nothing["color"].draw().width >= 50


def test_given_boxes_take_the_detectors_place() -> None:
    image = painted()
    cascade = Cascade(None, model(Color, "color", COLORS, image_size=24), margin=1.0)
    boxes = [[[35, 16, 45, 28], [30, 10, 50, 34], [80, 50, 120, 80]]]
    (result,) = cascade.predict(image, boxes=boxes)
    assert list(result.keys()) == ["color"] and result.size == (80, 120)
    assert [own.top()[0][0] for own in result["color"].predictions][:2] == ["red", "green"]
    np.testing.assert_array_equal(result["color"].boxes, boxes[0])
    (empty,) = cascade.predict([image], boxes=[[]])
    assert len(empty["color"]) == 0
    with pytest.raises(ConfigError, match="no detector; pass the boxes"):
        cascade.predict(image)
    with pytest.raises(DataError, match="there are boxes for 2 images, but 1 images"):
        cascade.predict(image, boxes=boxes * 2)
    with pytest.raises(DataError, match=r"must be \(M, 4\)"):
        cascade.predict(image, boxes=[[1, 2, 3, 4]])


def test_classes_that_overlap_are_told_together() -> None:
    cascade = Cascade(None, model(Color, "color", COLORS, image_size=24, multilabel=True), margin=1.0)
    image = np.zeros((40, 80, 3), dtype=np.uint8)
    image[:, :40] = (255, 255, 0)
    (result,) = cascade.predict(image, boxes=[[[0, 0, 40, 40], [40, 0, 80, 40]]])
    assert [[name for name, part in own.top(3) if part > 0.5] for own in result["color"].predictions] == [
        ["red", "green"],
        [],
    ]
    assert result["color"].draw().size[0] >= 80


def test_boxes_in_boxes_come_back_in_the_images_pixels() -> None:
    """The second detector sees the patch larger than the first one did."""
    cascade = Cascade(None, model(Extent, "inner", ("patch",), image_size=(48, 48)), margin=1.5, threshold=0.5)
    (result,) = cascade.predict(painted(), boxes=[[[28, 8, 52, 36], [90, 50, 100, 60]]])
    np.testing.assert_allclose(result["inner"].boxes, [[30, 10, 50, 34]], atol=1)
    assert result["inner"].scores.tolist() == pytest.approx([0.9])


def test_points_come_back_in_the_images_pixels() -> None:
    image = painted()
    image[12:16, 32:36] = (0, 0, 255)
    image = np.concatenate([image, painted((60, 20, 100, 60), (255, 0, 0))])
    pose = model(Spot, "pose", ("patch",), points=["core", "corner"], image_size=(48, 64))
    cascade = Cascade(None, pose, margin=1.2, threshold=0.3)
    given = [[[60, 100, 100, 140], [30, 10, 50, 34], [0, 40, 20, 60]]]
    (result,) = cascade.predict(image, boxes=given)
    found = result["pose"]
    # the second box shows both points; the first one only the core; the third one nothing, which is below the threshold
    assert found.scores.tolist() == [1.0, 0.5]
    np.testing.assert_array_equal(found.boxes, [given[0][1], given[0][0]])
    np.testing.assert_allclose(found.points[0], [[40, 22], [34, 14]], atol=0.5)
    np.testing.assert_allclose(found.points[1, 0], [80, 120], atol=0.5)
    assert found.spec.points == ("core", "corner") and found.draw().width >= 120
    (empty,) = cascade.predict([image], boxes=[[]])
    assert len(empty["pose"]) == 0


def test_the_scores_of_both_models_count() -> None:
    pose = model(Spot, "pose", ("patch",), points=["core", "corner"], image_size=(48, 64))
    (result,) = Cascade(detector(), pose, threshold=0.3).predict(painted())
    assert result["boxes"].scores.tolist() == pytest.approx([0.9])
    assert result["pose"].scores.tolist() == pytest.approx([0.45])
    np.testing.assert_array_equal(result["pose"].boxes, result["boxes"].boxes)
    (nothing,) = Cascade(detector(), pose, threshold=0.5).predict(painted())
    assert len(nothing["boxes"]) == 1 and len(nothing["pose"]) == 0


def test_each_model_uses_the_thresholds_that_it_stores() -> None:
    pose = model(Spot, "pose", ("patch",), points=["core", "corner"], image_size=(48, 64))
    first = detector()
    store_thresholds(pose, {"pose": {"patch": 0.5}})  # of its score of 0.5; the product with the box's is 0.45
    (result,) = Cascade(first, pose).predict(painted())
    assert result["pose"].scores.tolist() == pytest.approx([0.45])
    store_thresholds(pose, {"pose": {"patch": 0.51}})
    assert [len(each) for each in Cascade(first, pose).predict(painted())[0].values()] == [1, 0]
    assert len(Cascade(first, pose, threshold=0.4).predict(painted())[0]["pose"]) == 1, "a given one is for all"
    store_thresholds(first, {"boxes": {"patch": 0.95}})
    assert [len(each) for each in Cascade(first, pose).predict(painted())[0].values()] == [0, 0]


def test_classes_of_boxes_have_the_thresholds_that_their_model_stores() -> None:
    color = model(Color, "color", COLORS, image_size=24)
    boxes = [[[30, 10, 50, 34]]]
    (plain,) = Cascade(None, color).predict(painted(), boxes=boxes)
    assert plain["color"].predictions[0].accepted.class_names == ["green"]
    store_thresholds(color, {"color": {name: 1.0 if name == "green" else 0.0 for name in COLORS}})
    (stored,) = Cascade(None, color).predict(painted(), boxes=boxes)
    assert set(stored["color"].predictions[0].accepted.class_names) >= {"red", "blue"}
    assert stored["color"].class_names == ["green"], "the most probable class stays"
    (given,) = Cascade(None, color, threshold=0.5).predict(painted(), boxes=boxes)
    assert given["color"].predictions[0].accepted.class_names == ["green"], "a given one is for objects"


def test_models_that_do_not_go_together_are_refused() -> None:
    color = model(Color, "color", COLORS, image_size=24)
    with pytest.raises(ConfigError, match=r"choose the branch with the boxes: boxes_from=... \(branches .*: none\)"):
        Cascade(color, color)
    with pytest.raises(ConfigError, match="no branch 'boxen' with boxes; it has: boxes"):
        Cascade(detector(), color, boxes_from="boxen")
    with pytest.raises(ConfigError, match="both models have a branch 'boxes'"):
        Cascade(detector(), detector())
    with pytest.raises(ConfigError, match="'margin' must be 1 or more, got 0.5"):
        Cascade(detector(), color, margin=0.5)
    segmenter = vertebra.create_model("resnet10t", decoder="upsample", classes=["a", "b"], image_size=64)
    with pytest.raises(ConfigError, match="branch 'segment' of the second model is for segment; a cascade supports"):
        Cascade(detector(), segmenter)
