"""A user's own transform of ``torchvision.transforms.v2`` moves boxes, masks and points with their image."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from vertebra.data.augmentation.user_transform import UserTransform
from vertebra.data.on_canvas import OnCanvas
from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels

CANVAS = ResizeSpec((40, 60))
PAIRS = KeypointLabels(("cat",), ("nose", "left", "right"), flip_pairs=((1, 2),))
LABELS: dict[str, Any] = {"regions": SegmentLabels(("a", "b")), "pose": PAIRS}


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def annotations() -> dict[str, Any]:
    """Two objects, the second one a crowd."""
    boxes = np.array([[5, 5, 25, 20], [30, 10, 50, 30]], dtype=np.float32)
    crowd, ids = np.array([False, True]), np.array([3, 7])
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[5:20, 5:25] = 1
    points = np.array([[[15, 10, 2], [8, 8, 2], [20, 8, 1]], [[40, 20, 2], [0, 0, 0], [45, 12, 2]]], dtype=np.float32)
    return {
        "animal": ClassifyAnnotation(2),
        "boxes": DetectAnnotation(boxes, ids, crowd),
        "regions": SegmentAnnotation(mask),
        "pose": KeypointAnnotation(
            points, boxes, np.zeros(2, np.int64), crowd, np.array([300, 400], np.float32), (40, 60)
        ),
    }


def apply_transform(transform: Callable[..., Any], *names: str, labels: Any = LABELS, seed: int = 0) -> OnCanvas:
    chosen = {name: annotations()[name] for name in names}
    return UserTransform(transform).onto(image(), chosen, CANVAS, labels, np.random.default_rng(seed))


def test_a_transform_that_does_nothing_leaves_all_as_in_prediction() -> None:
    result = apply_transform(v2.Identity(), *annotations())
    np.testing.assert_array_equal(result.image.permute(1, 2, 0).numpy(), apply(CANVAS, image()))
    for name, annotation in annotations().items():
        for field, value in vars(annotation).items():
            if field == "outlines" or value is None:
                continue
            np.testing.assert_allclose(getattr(result.annotations[name], field), value, err_msg=f"{name}.{field}")


def test_a_mirror_moves_all_and_exchanges_left_and_right() -> None:
    result = apply_transform(v2.RandomHorizontalFlip(1.0), *annotations())
    np.testing.assert_array_equal(result.image.permute(1, 2, 0).numpy(), image()[:, ::-1])
    assert result.annotations["boxes"].boxes[0].tolist() == [35, 5, 55, 20]
    assert result.annotations["boxes"].crowd.tolist() == [False, True]
    assert result.annotations["boxes"].labels.tolist() == [3, 7]
    np.testing.assert_array_equal(result.annotations["regions"].mask, annotations()["regions"].mask[:, ::-1])
    assert result.annotations["pose"].points[0].tolist() == [[45, 10, 2], [40, 8, 1], [52, 8, 2]]
    assert result.annotations["pose"].points[1].tolist() == [[20, 20, 2], [15, 12, 2], [0, 0, 0]]
    np.testing.assert_allclose(result.annotations["pose"].areas, [300, 400])
    twice = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.RandomHorizontalFlip(1.0)])
    np.testing.assert_allclose(apply_transform(twice, "pose").annotations["pose"].points, annotations()["pose"].points)


def test_a_crop_drops_objects_with_their_labels() -> None:
    result = apply_transform(lambda picture, target: (F.crop(picture, 0, 0, 25, 28), wrap_crop(target)), "boxes")
    assert result.annotations["boxes"].labels.tolist() == [3]
    np.testing.assert_allclose(result.annotations["boxes"].boxes, np.array([[5, 5, 25, 20]]) * 40 / 25, rtol=0.01)


def wrap_crop(target: dict[str, Any]) -> dict[str, Any]:
    return {**target, "boxes": F.crop(target["boxes"], 0, 0, 25, 28)}


def test_sanitized_boxes_keep_their_labels() -> None:
    transform = v2.Compose([v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes(), v2.Resize((40, 60))])
    counts = set()
    for seed in range(20):
        result = apply_transform(transform, "boxes", seed=seed).annotations["boxes"]
        assert set(zip(result.labels.tolist(), result.crowd.tolist(), strict=True)) <= {(3, False), (7, True)}
        counts.add(len(result.labels))
    assert counts == {1, 2}


def test_areas_follow_the_scale() -> None:
    result = apply_transform(v2.Resize((20, 30)), "pose")
    np.testing.assert_allclose(result.annotations["pose"].points, annotations()["pose"].points, atol=0.51)
    np.testing.assert_allclose(result.annotations["pose"].areas, [300, 400], rtol=1e-4)
    assert result.annotations["pose"].size == (40, 60)


def test_images_that_have_only_a_class_are_passed_alone() -> None:
    seen: list[Any] = []

    def transform(*values: Any) -> Any:
        seen.extend(values)
        return 255 - values[0]

    result = apply_transform(transform, "animal")
    assert len(seen) == 1 and isinstance(seen[0], tv_tensors.Image) and result.annotations["animal"].label == 2
    np.testing.assert_array_equal(result.image.permute(1, 2, 0).numpy(), 255 - image())


def test_random_numbers_are_seeded_and_restored() -> None:
    def noise(picture: Any) -> Any:
        drawn = torch.randint(0, 40, (1,)).item() + np.random.randint(40) + random.randrange(40)
        return torch.full_like(picture, drawn)

    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr]
    values = [int(apply_transform(noise, "animal", seed=seed).image[0, 0, 0]) for seed in (1, 1, 2, 3)]
    assert values[0] == values[1] and len(set(values)) == 3
    assert torch.equal(before[0], torch.random.get_rng_state()) and random.getstate() == before[2]
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]


def without(name: str) -> Callable[..., Any]:
    return lambda picture, target: (picture, {key: value for key, value in target.items() if key != name})


def changed(**values: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda picture, target: (picture, {**target, **{key: values[key](target[key]) for key in values}})


@pytest.mark.parametrize(
    ("transform", "name", "message"),
    [
        (v2.ToDtype(torch.float32, scale=True), "boxes", "as a tensor of uint8, got torch.float32; leave conversion"),
        (lambda picture: v2.functional.to_pil_image(picture), "animal", "as a tensor of uint8, got Image"),
        (lambda picture: picture[:1], "animal", r"must return an image \(3, H, W\), got shape \(1, 40, 60\)"),
        (lambda picture, target: picture, "boxes", r"must return \(image, target\) as it takes them, got Image"),
        (without("boxes"), "boxes", "with all of its entries; it lacks boxes"),
        (changed(boxes=lambda boxes: boxes[:1]), "boxes", "each box needs its label"),
        (changed(labels=lambda labels: labels + 5), "boxes", "labels are not changed"),
        (changed(points=lambda points: points[:, :2]), "pose", "all points are kept"),
        (changed(mask=lambda mask: mask[:20]), "regions", r"a mask of uint8 with shape \(20, 60\)"),
        (changed(mask=lambda mask: mask.float()), "regions", "it must be whole numbers of the image's size"),
    ],
)
def test_what_a_transform_must_return(transform: Callable[..., Any], name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_transform(transform, name)


def test_a_transform_is_sent_to_loader_processes() -> None:
    sent = pickle.loads(pickle.dumps(UserTransform(v2.RandomHorizontalFlip(1.0))))
    result = sent.onto(image(), {"boxes": annotations()["boxes"]}, CANVAS, LABELS, np.random.default_rng(0))
    assert result.annotations["boxes"].boxes[0].tolist() == [35, 5, 55, 20]
    with pytest.raises(ConfigError, match="cannot be sent to loader processes .*lambda.*; use functions of a module"):
        pickle.dumps(UserTransform(lambda picture: picture))


def test_points_whose_pairs_are_unknown_are_not_mirrored() -> None:
    unknown = {"pose": KeypointLabels(("cat",), ("nose", "left", "right"), flip_pairs=None)}
    assert (
        apply_transform(v2.RandomRotation((90, 90), expand=True), "pose", labels=unknown)
        .annotations["pose"]
        .points.any()
    )
    with pytest.raises(ConfigError, match="mirrors images, but the left-right pairs of the points are unknown"):
        apply_transform(v2.RandomHorizontalFlip(1.0), "pose", labels=unknown)
