"""Boxes of rotated images are those around the objects' outlines, not around the rotated boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.shapes import Shapes
from vertebra.config import Config
from vertebra.data.open_datasets import open_split
from vertebra.data.transforms import cut
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.warp import Warp, rotation
from vertebra.tasks.detect.column import BoxColumn
from vertebra.tasks.detect.octagons import diagonals_of, octagons

SIZE = (400, 400)


def turned(degrees: float) -> Warp:
    return Warp(rotation(degrees, (200.0, 200.0)), SIZE, SIZE)


def disk(radius: float = 80.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    return 200 + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def around(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=-2), points.max(axis=-2)], axis=-1)


@pytest.mark.parametrize("degrees", [0.0, 22.5, 45.0, -70.0])
def test_the_box_of_a_rotated_disk_hardly_grows(degrees: float) -> None:
    box = around(disk())[None]
    outline = octagons(box, diagonals_of(Shapes.of([[disk().ravel().tolist()]]), box))
    ((left, _, right, _),) = turned(degrees).boxes_around(outline)
    assert 159 < right - left < 160 * 1.09
    ((left, _, right, _),) = turned(degrees).boxes(box)
    assert right - left > 160 * 1.2 or degrees == 0


@pytest.mark.parametrize("seed", range(6))
def test_the_box_holds_the_rotated_outline_and_is_inside_that_of_the_rotated_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outlines = rng.uniform(60, 340, (20, rng.integers(3, 9), 2))
    boxes, shapes = around(outlines), Shapes.of([[outline.ravel().tolist()] for outline in outlines])
    warp = turned(rng.uniform(20, 70) + 90 * seed)
    tight = warp.boxes_around(octagons(boxes, diagonals_of(shapes, boxes)))
    true, loose = around(warp.points(outlines)), warp.boxes(boxes)
    assert (tight[:, :2] <= true[:, :2] + 1e-2).all() and (tight[:, 2:] >= true[:, 2:] - 1e-2).all()
    assert (tight[:, :2] >= loose[:, :2] - 1e-2).all() and (tight[:, 2:] <= loose[:, 2:] + 1e-2).all()
    assert (tight[:, 2:] - tight[:, :2]).mean() < 0.97 * (loose[:, 2:] - loose[:, :2]).mean()


def test_an_object_without_outline_or_with_another_box_keeps_its_box() -> None:
    boxes = np.array([[150.0, 250, 190, 270], [100, 100, 200, 220]])
    shapes = Shapes.of([[], [(disk(20) - 50).ravel().tolist()]])
    diagonals = diagonals_of(shapes, boxes)
    assert np.isnan(diagonals).all()
    column = BoxColumn.of(
        np.zeros(2, dtype=int), boxes, np.zeros(2), np.zeros(2), np.ones(1, dtype=bool), None, diagonals
    )
    annotation = column.get(0, SIZE)
    moved = cut(np.zeros((*SIZE, 3), dtype=np.uint8), {"b": annotation}, ResizeSpec(SIZE), {}, turned(30.0))
    assert np.allclose(moved.annotations["b"].boxes, np.clip(turned(30.0).boxes(boxes), 0, 400), atol=1e-3)


def test_outlines_are_read_for_a_training_that_rotates(tmp_path: Path) -> None:
    entries = [{"id": n, "file_name": f"{n}.png", "height": 400, "width": 400} for n in range(2)]
    box = [120, 120, 160, 160]
    objects = [{"id": n, "image_id": n, "category_id": 1, "bbox": box, "iscrowd": 0} for n in range(2)]
    objects[0]["segmentation"] = [disk().ravel().tolist()]
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for entry in entries:
            Image.new("RGB", SIZE).save(tmp_path / split / str(entry["file_name"]))
        content = {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "ball"}]}
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    raw = {
        "data": {"train": [{"path": str(tmp_path)}], "val": [{"path": str(tmp_path)}]},
        "model": {"backbone": {"name": "resnet10t"}, "branches": {"b": {"task": "detect", "decoder": "fcos"}}},
    }
    (plain,) = open_split(Config.from_raw(raw), "train").sources
    assert plain.index.columns["detect"].get(0, SIZE).outlines is None
    rotating = Config.from_raw({**raw, "train": {"augment": {"rotate": 20}}})
    (source,) = open_split(rotating, "train").sources
    labels = source.index.labels["detect"]
    for row, width in ((0, 160), (1, 160 * 2**0.5)):
        annotation = source.index.take(np.array([1, row])).columns["detect"].get(1, SIZE)
        moved = cut(
            np.zeros((*SIZE, 3), dtype=np.uint8), {"b": annotation}, ResizeSpec(SIZE), {"b": labels}, turned(45.0)
        )
        ((left, _, right, _),) = moved.annotations["b"].boxes
        assert right - left == pytest.approx(width, rel=0.01)
    assert open_split(rotating, "val").sources[0].index.columns["detect"].get(0, SIZE).outlines is None
