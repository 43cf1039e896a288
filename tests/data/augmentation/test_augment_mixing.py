"""Mosaic, mix-up, cut-mix and copy-paste: the annotations are those of the pixels that are seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vertebra.annotations.run_lengths import Region
from vertebra.data.augmentation.copy_paste import copy_paste
from vertebra.data.augmentation.cutmix import cutmix, random_rectangle
from vertebra.data.augmentation.mixing import chosen_operations, mixable, mixed
from vertebra.data.augmentation.mixup import mixup
from vertebra.data.augmentation.mosaic import mosaic, quadrants
from vertebra.data.on_canvas import OnCanvas
from vertebra.data.transforms import augment_onto, to_canvas
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import MIXING, Augment
from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.data import MIN_VISIBLE_FRACTION
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.mixing import visible_beside
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.mixing import Mixing, Rectangle
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels

STILL = Augment.preset("none")
CANVAS = ResizeSpec((60, 80))
LABELS: dict[str, Any] = {
    "animal": ClassifyLabels(("a", "b", "c", "d")),
    "signs": ClassifyLabels(("a", "b", "c", "d"), multilabel=True),
    "regions": SegmentLabels(("background", "a", "b", "c", "d")),
    "planes": SegmentLabels(("a", "b", "c", "d"), multilabel=True),
    "pose": KeypointLabels(("one",), ("center",), flip_pairs=()),
}


def picture(number: int, size: tuple[int, int] = (60, 80), extent: int = 20) -> tuple[np.ndarray, dict[str, Any]]:
    """A gray square of a level of its own on black, as an object with a box, a mask, and a point at its center."""
    image, mask = np.zeros((*size, 3), dtype=np.uint8), np.zeros(size, dtype=np.uint8)
    top, left = 10 + 2 * number, 8 + 12 * number
    rows, columns = slice(top, top + extent), slice(left, left + extent)
    image[rows, columns] = 50 * (number + 1)
    mask[rows, columns] = number + 1
    box = np.array([[left, top, left + extent, top + extent]], dtype=np.float32)
    planes = np.stack([mask == value for value in range(1, 5)]).astype(np.uint8)
    point = np.array([[[left + extent / 2, top + extent / 2, 2]]], dtype=np.float32)
    ids, none = np.array([number]), np.zeros(1, dtype=bool)
    return image, {
        "animal": ClassifyAnnotation(number),
        "signs": ClassifyAnnotation(np.eye(4, dtype=np.int64)[number]),
        "boxes": DetectAnnotation(box, ids, none),
        "regions": SegmentAnnotation(mask),
        "planes": SegmentAnnotation(planes),
        "pose": KeypointAnnotation(point, box, np.zeros(1, np.int64), none, np.array([100.0], np.float32)),
    }


def on_canvas(number: int, *names: str, resize_spec: ResizeSpec = CANVAS, **shape: Any) -> OnCanvas:
    image, annotations = picture(number, **shape)
    return to_canvas(image, {name: annotations[name] for name in names}, resize_spec, LABELS)


def check_seen(result: OnCanvas, least: float = 0.5) -> int:
    """Each box is around the pixels of its level, the masks and points are on them; returns the number of boxes."""
    gray = result.image[0].numpy().astype(int)
    mask = result.annotations["regions"].mask
    planes = result.annotations["planes"].mask
    objects = result.annotations["boxes"]
    for label, box in zip(objects.labels, objects.boxes, strict=True):
        rows, columns = np.nonzero(np.abs(gray - 50 * (label + 1)) < 12)
        inside = (columns > box[0] - 1) & (columns < box[2]) & (rows > box[1] - 1) & (rows < box[3])
        assert inside.sum() >= least * np.prod(box[2:] - box[:2])
        assert (mask[rows[inside], columns[inside]] == label + 1).mean() > 0.9
        assert (planes[label, rows[inside], columns[inside]] == 1).mean() > 0.9
    for points in result.annotations["pose"].points if "pose" in result.annotations else ():
        x, y, visibility = points[0]
        assert visibility == 2 and gray[int(y), int(x)] > 40
    return len(objects.labels)


@pytest.mark.parametrize("mode", ["letterbox", "resize"])
@pytest.mark.parametrize("seed", range(6))
def test_a_mosaic_has_the_objects_of_four_images(mode: Any, seed: int) -> None:
    resize_spec = replace(CANVAS, mode=mode)
    names = ("boxes", "regions", "planes", "pose")
    result = mosaic(
        lambda number, tile: on_canvas(number, *names, resize_spec=tile),
        3,
        resize_spec,
        LABELS,
        replace(STILL, mosaic=1.0),
        np.random.default_rng(seed),
    )
    assert result.image.shape == (3, 60, 80) and result.transform.size == (60, 80)
    assert check_seen(result) == 4 and result.annotations["boxes"].labels.tolist() == [0, 1, 2, 3]
    beside = (result.image.permute(1, 2, 0).numpy() == (124, 116, 104)).all(axis=2)
    np.testing.assert_array_equal(result.annotations["regions"].mask == 255, beside)
    assert not beside.any()
    assert result.annotations["pose"].size == (60, 80)


def test_the_parts_of_a_mosaic_fill_the_canvas() -> None:
    augment = replace(STILL, mosaic_center=(0.01, 1.0))
    for seed in range(50):
        covered = np.zeros((60, 80), dtype=int)
        for top, left, height, width in quadrants((60, 80), augment, np.random.default_rng(seed)):
            assert height >= 1 and width >= 1
            covered[top : top + height, left : left + width] += 1
        assert (covered == 1).all()


def test_the_tiles_of_a_mosaic_meet_in_the_middle() -> None:
    augment, names = replace(STILL, mosaic_center=(0.5, 0.5), scale=(0.5, 0.5)), ("boxes", "regions", "planes", "pose")

    def render(number: int, resize_spec: ResizeSpec) -> OnCanvas:
        image, annotations = picture(number)
        held = {name: annotations[name] for name in names}
        return augment_onto(image, held, resize_spec, LABELS, augment, np.random.default_rng(0))

    result = mosaic(render, 3, CANVAS, LABELS, augment, np.random.default_rng(0))
    beside = (result.image.permute(1, 2, 0).numpy() == (124, 116, 104)).all(axis=2)
    shown = np.zeros((60, 80), dtype=bool)
    shown[15:45, 20:60] = True
    np.testing.assert_array_equal(beside, ~shown)
    np.testing.assert_array_equal(result.annotations["regions"].mask == 255, beside)
    assert check_seen(result, least=0.3) == 4


def test_mixup_of_classes_has_their_weights() -> None:
    first, second = (on_canvas(number, "animal", "signs") for number in (0, 2))
    result = mixup(first, second, LABELS, replace(STILL, mixup_alpha=1.0), np.random.default_rng(3))
    share = np.random.default_rng(3).beta(1, 1)
    np.testing.assert_allclose(result.annotations["animal"].label, [share, 0, 1 - share, 0], rtol=1e-6)
    np.testing.assert_allclose(result.annotations["signs"].label, [share, 0, 1 - share, 0], rtol=1e-6)
    expected = share * first.image.double() + (1 - share) * second.image.double()
    assert (result.image.double() - expected).abs().max() <= 0.51


def test_mixup_of_boxes_keeps_both() -> None:
    result = mixup(on_canvas(0, "boxes"), on_canvas(3, "boxes", size=(60, 70)), LABELS, STILL, np.random.default_rng(0))
    assert result.annotations["boxes"].labels.tolist() == [0, 3] and result.transform.size == (60, 80)
    share = np.random.default_rng(0).beta(32, 32)
    first, second = np.round(result.annotations["boxes"].boxes).astype(int)
    assert abs(int(result.image[0, first[1] + 1, first[0] + 1]) - share * 50) < 3
    assert abs(int(result.image[0, second[3] - 2, second[0] + 2]) - (1 - share) * 200) < 3


def test_cutmix_of_classes_has_their_areas() -> None:
    for seed in range(20):
        first = OnCanvas(
            torch.zeros(3, 60, 80, dtype=torch.uint8), CANVAS.transform(30, 40), {"animal": ClassifyAnnotation(1)}
        )
        second = replace(
            first, image=torch.full((3, 60, 80), 255, dtype=torch.uint8), annotations={"animal": ClassifyAnnotation(3)}
        )
        result = cutmix(first, second, LABELS, STILL, np.random.default_rng(seed))
        share = float((result.image[0] == 0).float().mean())
        np.testing.assert_allclose(result.annotations["animal"].label, [0, share, 0, 1 - share], atol=1e-6)
        assert not first.image.any(), "the first image is not changed in place"


def test_cutmix_of_boxes_and_masks() -> None:
    names, counts = ("boxes", "regions", "planes"), set()
    for seed in range(40):
        first, second = on_canvas(0, *names), on_canvas(3, *names)
        result = cutmix(first, second, LABELS, STILL, np.random.default_rng(seed))
        counts.add(check_seen(result, least=0.25))
        expected = np.where(result.image[0].numpy() > 150, 4, np.where(result.image[0].numpy() > 25, 1, 0))
        np.testing.assert_array_equal(result.annotations["regions"].mask, expected)
    assert {1, 2} <= counts <= {0, 1, 2}


def test_what_a_rectangle_leaves_of_boxes() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [20, 20, 40, 40], [60, 0, 70, 10], [22, 0, 28, 50], [0, 20, 30, 40]], dtype=np.float32
    )
    rest, kept = visible_beside(boxes, Rectangle(20, 15, 40, 45))
    # untouched; covered; untouched; cut in its middle, whose box stays; cut at its right
    assert kept.tolist() == [True, False, True, True, True]
    np.testing.assert_allclose(rest[kept], [[0, 0, 10, 10], [60, 0, 70, 10], [22, 0, 28, 50], [0, 20, 20, 40]])
    _, kept = visible_beside(boxes[3:], Rectangle(20, 5, 40, 50))
    assert kept.tolist() == [False, True], "a tenth of the first remains"
    assert visible_beside(np.zeros((0, 4), np.float32), Rectangle(0, 0, 5, 5))[0].shape == (0, 4)


def test_random_rectangles_lie_inside() -> None:
    areas = []
    for seed in range(200):
        left, top, right, bottom = random_rectangle((60, 80), 0.25, np.random.default_rng(seed))
        assert 0 <= left <= right <= 80 and 0 <= top <= bottom <= 60
        areas.append((right - left) * (bottom - top) / 4800)
    assert max(areas) == pytest.approx(0.25, abs=0.01) and min(areas) < 0.1, "it is cut off at the border"


@pytest.mark.parametrize("name", ["regions", "planes"])
def test_copy_paste_pastes_objects_with_their_mask(name: str) -> None:
    first, second = on_canvas(1, name), on_canvas(3, name)
    result = copy_paste(first, second, LABELS, np.random.default_rng(0))
    mask = result.annotations[name].mask
    classes = mask if name == "regions" else (mask * np.arange(1, 5)[:, None, None]).max(axis=0)
    gray = result.image[0].numpy().astype(int)
    pasted = classes == 4
    np.testing.assert_array_equal(pasted, gray == 200)
    np.testing.assert_array_equal(classes == 2, gray == 100)
    assert pasted.sum() == 400
    np.testing.assert_array_equal(result.image[:, pasted], second.image[:, pasted])
    np.testing.assert_array_equal(result.image[:, ~pasted], first.image[:, ~pasted])


OBJECTS = {"masks": InstanceLabels(("a",)), "boxes": DetectLabels(("a",)), "kind": AttributeLabels(("x", "y"))}


def annotated_objects(draw: np.random.Generator, level: int) -> OnCanvas:
    """Up to six overlapping objects of an image of one gray level; the last one is a crowd. Their rows are ordered otherwise in the
    annotation of their boxes, which are up to 0.4 pixels larger than their masks."""
    count = int(draw.integers(0, 7))
    corners = draw.integers(0, 50, (count, 2))
    boxes = np.concatenate([corners, np.minimum(corners + draw.integers(2, 40, (count, 2)), (80, 60))], axis=1)
    rles = [Region.of_box(box, (60, 80)) for box in boxes]
    zeros, crowd = np.zeros(count, dtype=np.int64), np.arange(count) == 5
    masks = InstanceAnnotation.of(rles, zeros, crowd, (60, 80))
    order = draw.permutation(count)
    loose = (boxes + draw.uniform(0, 0.4, (count, 4)) * (-1, -1, 1, 1)).astype(np.float32)[order]
    objects = DetectAnnotation(loose, zeros, crowd[order])
    values = AttributeAnnotation(objects, draw.integers(-1, 2, count))
    image = torch.full((3, 60, 80), level, dtype=torch.uint8)
    return OnCanvas(image, CANVAS.transform(60, 80), {"kind": values, "masks": masks, "boxes": objects})


@pytest.mark.parametrize("seed", range(40))
def test_boxes_and_attributes_follow_pasted_masks(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = annotated_objects(draw, 50), annotated_objects(draw, 150)
    result = copy_paste(first, second, OBJECTS, draw)
    masks, boxes, values = (result.annotations[name] for name in ("masks", "boxes", "kind"))
    region = (result.image[0] == 150).numpy()
    whole, others = first.annotations["masks"], second.annotations["masks"]
    count = (int((~others.crowd).sum()) + 1) // 2
    remaining = len(masks.labels) - count
    visible = [int((each.mask() & ~region).sum()) / each.area for each in whole.rles]
    assert remaining == sum(share >= MIN_VISIBLE_FRACTION for share in visible)
    for number, each in enumerate(masks.rles):
        covered = each.mask()
        assert covered.any() and (
            covered[region].sum() == covered.sum() if number >= remaining else not covered[region].any()
        )
        assert each.bounds() == tuple(masks.boxes[number])
    np.testing.assert_array_equal(values.objects.boxes, boxes.boxes)
    near = np.abs(boxes.boxes[:, None] - masks.boxes[None]).max(axis=2) <= 0.5
    assert len(boxes.labels) == len(masks.labels) and near.any(axis=0).all() and near.any(axis=1).all()
    before = np.concatenate([each.annotations["boxes"].boxes for each in (first, second)])
    known = np.concatenate([each.annotations["kind"].values for each in (first, second)])
    for box, value in zip(boxes.boxes, values.values, strict=True):
        same = (before == box).all(axis=1)
        assert not same.any() or value in known[same], "a box that did not change keeps its value"


def test_copy_paste_chooses_half_of_the_classes_and_no_background() -> None:
    mask = np.repeat(np.arange(5, dtype=np.uint8), 12)[:, None].repeat(80, axis=1)
    image = torch.from_numpy(mask * 50)[None].repeat(3, 1, 1)
    striped = OnCanvas(image, CANVAS.transform(60, 80), {"regions": SegmentAnnotation(mask)})
    blank = replace(striped, image=image * 0, annotations={"regions": SegmentAnnotation(mask * 0)})
    chosen = set()
    for seed in range(30):
        result = copy_paste(blank, striped, LABELS, np.random.default_rng(seed))
        present = tuple(np.unique(result.annotations["regions"].mask).tolist())
        np.testing.assert_array_equal(result.image[0].numpy(), result.annotations["regions"].mask * 50)
        assert len(present) == 3 and present[0] == 0
        chosen.add(present)
    assert len(chosen) == 6
    np.testing.assert_array_equal(copy_paste(striped, blank, LABELS, np.random.default_rng(0)).image, striped.image)


def test_masks_of_few_and_many_classes_are_mixed_without_loss() -> None:
    labels = {"regions": SegmentLabels(tuple(f"c{number}" for number in range(400)), ignore_index=1000)}
    few = SegmentAnnotation(np.full((60, 80), 7, dtype=np.uint8))
    many = SegmentAnnotation(np.full((60, 80), 399, dtype=np.int32))
    first = OnCanvas(torch.zeros(3, 60, 80, dtype=torch.uint8), CANVAS.transform(60, 80), {"regions": few})
    second = replace(first, annotations={"regions": many})
    result = cutmix(first, second, labels, STILL, np.random.default_rng(0)).annotations["regions"].mask
    assert np.unique(result).tolist() == [7, 399]


def test_which_operations_are_defined() -> None:
    assert mixable(["classify"]) == {"mixup", "cutmix"} and mixable(["detect"]) == {"mosaic", "mixup", "cutmix"}
    assert mixable(["segment"]) == {"mosaic", "cutmix", "copy_paste"} and mixable(["keypoints"]) == {"mosaic"}
    assert mixable(["classify", "detect"]) == {"mixup", "cutmix"} and mixable(["classify", "keypoints"]) == set()
    assert mixable(["detect", "segment"]) == {"mosaic", "cutmix"}, "pasted objects have no boxes"
    assert mixable(["detect", "instances"]) == set(MIXING) and "copy_paste" in mixable(["instances"])
    assert "copy_paste" in mixable(["segment", "box_attributes", "instances", "detect"])
    assert "copy_paste" not in mixable(["instances", "keypoints"]), "points do not follow pasted objects"


@pytest.mark.parametrize("name", MIXING)
def test_an_undefined_operation_is_an_error_of_the_programmer(name: str) -> None:
    arguments = {"mosaic": ((), (1, 1), None), "mixup": (0, 0, 0.5, None), "copy_paste": (0, 0, None, None)}
    with pytest.raises(NotImplementedError, match=f"Mixing does not support {name}"):
        getattr(Mixing(), name)(*arguments.get(name, (0, 0, Rectangle(0, 0, 1, 1), 0.5, None)))


def test_operations_have_their_probabilities() -> None:
    draw, augment = np.random.default_rng(0), replace(STILL, mosaic=0.5, mixup=1.0, cutmix=1.0, copy_paste=1.0)
    boxes = {"boxes": picture(0)[1]["boxes"]}
    chosen = [chosen_operations(boxes, augment, draw) for _ in range(200)]
    assert 70 < sum("mosaic" in each for each in chosen) < 130
    assert all(("mixup" in each) != ("cutmix" in each) and "copy_paste" not in each for each in chosen)
    assert 70 < sum("mixup" in each for each in chosen) < 130
    assert not chosen_operations(boxes, STILL, draw)


def test_each_image_is_asked_for_once() -> None:
    asked: list[int] = []

    def render(number: int, resize_spec: ResizeSpec) -> OnCanvas:
        asked.append(number)
        return on_canvas(number % 4, "regions", "planes", resize_spec=resize_spec)

    for operations, count in (({"mosaic", "cutmix"}, 5), ({"cutmix"}, 2), ({"mosaic"}, 4)):
        asked.clear()
        mixed(frozenset(operations), render, 3, CANVAS, LABELS, STILL, np.random.default_rng(0))
        assert asked == list(range(count))
