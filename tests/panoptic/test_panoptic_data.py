"""Panoptic data sets: read for things and for pixels, and written again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vertebra
from tests.panoptic.drawn_segments import SIZE, write_scenes
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.open import open_data
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.errors import DataError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), {"train": 2, "val": 3})


def load(folder: Path, format: str = "coco_panoptic") -> Annotations:
    reader = all_readers()[format]
    assert isinstance(reader, AnnotationReader)
    return reader.load(folder, None, ReadOptions())


def edited(scenes: Path, folder: Path, change: Any) -> Path:
    """A copy of the data set, in which ``change`` edits the JSON of val."""
    shutil.copytree(scenes, folder)
    file = folder / "annotations/panoptic_val.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


def test_all_branches_read_one_data_set(scenes: Path) -> None:
    things = open_data(scenes, "instances", "val")
    boxes, pixels = open_data(scenes, "detect", "val"), open_data(scenes, "segment", "val")
    names = pixels.labels["segment"].classes
    assert things.labels["instances"].classes == boxes.labels["detect"].classes == names[:-2]
    for row in range(3):
        objects: Any = things.columns["instances"].get(row, SIZE)
        mask = pixels.columns["segment"].get(row, SIZE).mask
        np.testing.assert_array_equal(objects.boxes, boxes.columns["detect"].get(row, SIZE).boxes)
        assert objects.crowd.any() and sum(region.area for region in objects.rles) == (mask < len(names) - 2).sum()
    assert any("segments of classes that are not listed" in str(note) for note in things.notes)


def test_boxes_that_are_missing_are_those_around_the_pixels(scenes: Path, tmp_path: Path) -> None:
    def without_boxes(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            for info in entry["segments_info"]:
                del info["bbox"]

    folder = edited(scenes, tmp_path / "set", without_boxes)
    bare, boxed = (open_data(each, "detect", "val") for each in (folder, scenes))
    np.testing.assert_array_equal(bare.columns["detect"].boxes, boxed.columns["detect"].boxes)  # type: ignore[attr-defined]
    assert any("given the box around its pixels" in str(note) for note in bare.notes)


def test_classes_of_stuff_are_objects_only_if_listed(scenes: Path, tmp_path: Path) -> None:
    listed = open_data(scenes, "instances", "val", classes=["grass"])
    assert (
        listed.labels["instances"].classes == ("grass",) and len(listed.columns["instances"].get(0, SIZE).labels) == 1
    )

    def only_stuff(content: dict[str, Any]) -> None:
        for category in content["categories"]:
            category["isthing"] = 0

    folder = edited(scenes, tmp_path / "set", only_stuff)
    with pytest.raises(DataError, match=r"panoptic_val\.json: all of its classes are stuff .* list the classes"):
        open_data(folder / "annotations/panoptic_val.json", "instances", "train")


def test_a_mask_is_no_image(scenes: Path, tmp_path: Path) -> None:
    index = open_data(scenes, "segment", "val")
    assert {Path(name.decode()).parent.name for name in index.images} == {"val"}, "not of the PNG files of segments"
    folder = edited(scenes, tmp_path / "set", lambda content: None)
    shutil.rmtree(folder / "val")
    with pytest.raises(DataError, match="its images are not found"):
        open_data(folder, "segment", "val")
    beside = tmp_path / "beside"
    beside.mkdir()
    for file in [*(scenes / "annotations/panoptic_val").iterdir(), scenes / "annotations/panoptic_val.json"]:
        shutil.copy(file, beside)
    with pytest.raises(DataError, match="3 images are PNG files of segments, the first is val0.png"):
        open_data(beside, "segment", "val")


@pytest.mark.parametrize("format", ["coco_panoptic", "tar"])
def test_a_round_trip_changes_nothing(scenes: Path, tmp_path: Path, format: str) -> None:
    notes = vertebra.convert_data(scenes, format, tmp_path / "out", format="coco_panoptic")
    assert not notes
    if format == "tar":
        vertebra.convert_data(tmp_path / "out", "coco_panoptic", tmp_path / "again")
    before, after = load(scenes), load(tmp_path / ("again" if format == "tar" else "out"))
    assert before.categories == after.categories and before.image_ids == after.image_ids
    for name in ("rows", "categories", "boxes", "crowd", "areas"):
        np.testing.assert_array_equal(getattr(before.objects, name), getattr(after.objects, name))
    assert before.objects.ids == after.objects.ids and before.thing_names == after.thing_names
    np.testing.assert_array_equal(before.splits, after.splits)  # type: ignore[arg-type]
    for row in range(len(before)):
        files = [each.masks.root / each.masks.files[row].decode() for each in (before, after) if each.masks is not None]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_outlines_become_segments(scenes: Path, tmp_path: Path) -> None:
    vertebra.convert_data(scenes, "coco", tmp_path / "coco")
    vertebra.convert_data(tmp_path / "coco", "coco_panoptic", tmp_path / "back")
    first, second = (open_data(folder, "instances", "val") for folder in (scenes, tmp_path / "back"))
    assert first.labels["instances"].classes == second.labels["instances"].classes
    for row in range(3):
        before, after = (each.columns["instances"].get(row, SIZE) for each in (first, second))
        assert [region.area for region in before.rles] == [region.area for region in after.rles]
    overlapping = tmp_path / "overlapping"
    overlapping.mkdir()
    content = json.loads((tmp_path / "coco/annotations/instances_val.json").read_text())
    square, inner = [[2, 2, 30, 2, 30, 30, 2, 30]], [[8, 8, 12, 8, 12, 12, 8, 12]]
    content["annotations"] = [
        {
            "id": 1 + number,
            "image_id": content["images"][0]["id"],
            "category_id": number // 2 + 1,
            "segmentation": outline,
        }
        for number, outline in enumerate((inner, square, inner))
    ]
    shutil.copytree(tmp_path / "coco/images", overlapping / "images")
    (overlapping / "instances.json").write_text(json.dumps(content))
    texts = [str(note) for note in vertebra.convert_data(overlapping, "coco_panoptic", tmp_path / "drawn")]
    assert any("2 objects in front of another were drawn over it" in text for text in texts), texts
    assert any("1 object without a visible pixel was left out" in text for text in texts), texts
    assert load(tmp_path / "drawn").objects.areas.tolist() == [28 * 28 - 16.0, 16.0]
