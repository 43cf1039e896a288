"""Predictions of the segment task."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch.nn.functional import interpolate

from vertebra.errors import ConfigError, DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.palette import color
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.predictions import from_decoded
from vertebra.tasks.segment.types import SegmentPrediction

LABELS = SegmentLabels(("background", "dog", "cat"))
OVERLAPPING = SegmentLabels(LABELS.classes, multilabel=True)


def test_share_of_each_class() -> None:
    prediction = SegmentPrediction(np.asarray([[0, 1], [1, 255]], dtype=np.uint8), LABELS)
    assert prediction.share == {"background": 0.25, "dog": 0.5, "cat": 0.0}
    layers = np.asarray([[[1, 1]], [[1, 0]], [[0, 0]]], dtype=bool)
    assert SegmentPrediction(layers, OVERLAPPING).share == {"background": 1.0, "dog": 0.5, "cat": 0.0}


def test_dict_is_json_with_names() -> None:
    prediction = SegmentPrediction(np.asarray([[0, 1, 1]]), LABELS)
    read = json.loads(json.dumps(prediction.to_dict()))
    assert read["size"] == [1, 3] and [entry["class_name"] for entry in read["objects"]] == ["background", "dog"]
    assert read["objects"][1]["share"] == pytest.approx(2 / 3) and read["objects"][1]["mask"]["size"] == [1, 3]


@pytest.mark.parametrize("seed", range(3))
def test_coco_run_lengths_are_read_back(seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (7, 5)) * 2
    rows = json.loads(json.dumps(SegmentPrediction(mask, LABELS).to_coco(3)))
    assert {row["category_id"] for row in rows} == {0, 2}
    for row in rows:
        assert np.array_equal(coco_mask.decode(row["segmentation"]).astype(bool), mask == row["category_id"])
    (row,) = SegmentPrediction(mask, LABELS).to_coco("a", [None, 7, 90])
    assert row["category_id"] == 90 and row["image_id"] == "a", "a class without a category is left out"


@pytest.mark.parametrize(
    ("height", "width", "blocks"), [(300, 400, 5), (1, 1, 1), (2000, 1500, 2), (64, 1, 64), (9, 200, 9)]
)
def test_run_lengths_are_those_of_pycocotools(height: int, width: int, blocks: int) -> None:
    draw = np.random.default_rng(height)
    coarse = draw.choice([0, 1, 2, 255], (blocks, min(blocks, width)))
    rows = np.arange(height) * blocks // height
    columns = np.arange(width) * coarse.shape[1] // width
    mask = coarse[np.ix_(rows, columns)].astype(np.uint8)
    prediction = SegmentPrediction(mask, LABELS)
    assert set(prediction.class_names) == {name for name, share in prediction.share.items() if share}
    for name, found in zip(prediction.class_names, prediction.run_lengths, strict=True):
        wanted = coco_mask.encode(np.asfortranarray(mask == LABELS.classes.index(name)).astype(np.uint8))
        assert found == {"size": [height, width], "counts": wanted["counts"].decode()}


def test_run_lengths_of_overlapping_classes() -> None:
    layers = np.random.default_rng(0).integers(0, 2, (3, 11, 13)).astype(bool)
    layers[1] = False
    layers[2] = True
    prediction = SegmentPrediction(layers, OVERLAPPING)
    assert prediction.class_ids.tolist() == [0, 2]
    for class_id, found in zip((0, 2), prediction.run_lengths, strict=True):
        decoded = coco_mask.decode(found)
        assert np.array_equal(decoded.astype(bool), layers[class_id])


def test_the_shape_must_fit_the_classes() -> None:
    with pytest.raises(ValueError, match=r"must be \(H, W\) of class ids, got shape \(3, 2, 2\)"):
        SegmentPrediction(np.zeros((3, 2, 2)), LABELS)
    with pytest.raises(ValueError, match=r"must be \(3, H, W\) of bool, got shape \(2, 2, 2\)"):
        SegmentPrediction(np.zeros((2, 2, 2)), OVERLAPPING)


def _decoded(count: int, canvas: tuple[int, int], seed: int = 0) -> np.ndarray:
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, count, 5, 6, generator=draw) * 8
    return interpolate(coarse, canvas, mode="bilinear").softmax(1)[0].numpy()


def test_from_decoded_is_the_bilinear_resize_of_the_valid_part() -> None:
    transform = ResizeSpec((32, 48)).transform(100, 90)  # valid: 32 x 29
    decoded = _decoded(4, (32, 48))
    made = from_decoded((decoded,), transform, SegmentLabels(tuple("abcd")), "a.png", keep_probabilities=True)
    valid = torch.from_numpy(decoded[None, :, :32, : transform.size[1]].copy())
    wanted = interpolate(valid, (100, 90), mode="bilinear", align_corners=False)[0].numpy()
    assert made.probabilities is not None
    assert np.abs(made.probabilities - wanted).max() < 1e-5
    assert (made.mask != wanted.argmax(0)).mean() < 1e-3
    assert (made.mask.dtype, made.size, made.image) == (np.uint8, (100, 90), "a.png")


@pytest.mark.parametrize("original", [(50, 70), (20, 31), (32, 48), (1, 1)])
def test_one_map_at_a_time_gives_the_same_mask(original: tuple[int, int]) -> None:
    labels = SegmentLabels(tuple(f"c{i}" for i in range(30)))
    transform = ResizeSpec((32, 48)).transform(*original)
    decoded = _decoded(30, (32, 48), seed=original[0])
    lean = from_decoded((decoded,), transform, labels)
    full = from_decoded((decoded,), transform, labels, keep_probabilities=True)
    assert lean.probabilities is None
    assert np.array_equal(lean.mask, full.mask)


def test_from_decoded_of_overlapping_classes() -> None:
    decoded = np.stack([np.full((8, 8), value) for value in (0.2, 0.5, 0.9)])
    transform = ResizeSpec((8, 8), "resize").transform(16, 4)
    for keep in (False, True):
        made = from_decoded((decoded,), transform, OVERLAPPING, keep_probabilities=keep)
        assert made.mask.shape == (3, 16, 4) and made.mask.dtype == bool
        assert made.mask[:, 0, 0].tolist() == [False, True, True]
    assert from_decoded((decoded,), transform, OVERLAPPING, threshold=0.6).mask[:, 0, 0].tolist() == [0, 0, 1]


def test_a_center_crop_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"center crop removes its edges; preprocess with letterbox or resize"):
        from_decoded((_decoded(3, (8, 8)),), ResizeSpec((8, 8), "center_crop").transform(8, 16), LABELS)


def test_colors_lie_where_the_mask_is() -> None:
    mask = np.zeros((400, 400), dtype=np.uint8)
    mask[100:200, 100:300] = 1
    picture = np.asarray(SegmentPrediction(mask, LABELS).draw(Image.new("RGB", (400, 400))))
    assert picture.shape[0] > 400  # the legend
    assert picture[150, 200].tolist() == [round(level / 2) for level in color(0)]
    assert picture[300, 200].tolist() == [0, 0, 0]  # the background stays as it is
    assert picture[100, 200].tolist() == [round(0.8 * level + 51) for level in color(0)]


def test_overlapping_classes_blend() -> None:
    layers = np.zeros((3, 400, 400), dtype=bool)
    layers[1:, 50:350, 50:350] = True
    picture = np.asarray(SegmentPrediction(layers, OVERLAPPING).draw(Image.new("RGB", (400, 400))))
    assert picture[200, 200].tolist() == pytest.approx(np.asarray(color(0)) / 4 + np.asarray(color(1)) / 2, abs=1)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (1, 900), (900, 1)])
def test_anything_can_be_drawn(size: tuple[int, int]) -> None:
    image, shape = Image.new("RGB", size), size[::-1]
    many = SegmentLabels(tuple(f"quite a long name {i}" for i in range(40)))
    SegmentPrediction(np.zeros(shape, np.uint8), LABELS).draw(image)
    SegmentPrediction(np.full(shape, 255, np.uint8), LABELS).draw(image)
    SegmentPrediction((np.arange(size[0] * size[1]) % 40).reshape(shape), many).draw(image)
    SegmentPrediction(np.ones((3, *shape), bool), OVERLAPPING).draw(image)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"the mask is 3x2 pixels and the image 4x4"):
        SegmentPrediction(np.zeros((2, 3), np.uint8), LABELS).draw(Image.new("RGB", (4, 4)))
