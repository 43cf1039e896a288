"""Conversion of data sets: `vertebra.convert_data` and ``vertebra data convert``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vertebra
from scripts import compare_with_datumaro
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.cli.main import main
from vertebra.data.convert import load_annotations
from vertebra.data.open import detect_format
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.writers import all_writers
from vertebra.errors import ConfigError, DataError, UnknownName

Make = Callable[..., Path]
LISTS = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
OBJECTS: dict[str, list[Any]] = {
    "a": [("dog", 1, 2, 11, 12), ("cat", 3, 4, 5, 6, True)],
    "b": [],
    "c": [("ant", 0, 0, 32, 24)],
    "d": [("dog", 2, 2, 9, 9)],
}


@pytest.fixture
def source(voc: Make, tmp_path: Path) -> Path:
    """A VOC data set in a folder of its own."""
    root = voc(OBJECTS, LISTS)
    inner = tmp_path / "voc"
    inner.mkdir()
    for entry in list(root.iterdir()):
        if entry != inner:
            entry.rename(inner / entry.name)
    return inner


def load(path: Path) -> Annotations:
    reader = all_readers()[detect_format(path)]
    assert isinstance(reader, AnnotationReader)
    return reader.load(path, None, ReadOptions())


def test_there_and_back_through_every_format_with_boxes(source: Path, tmp_path: Path) -> None:
    before = load(source)
    for to in ("coco", "yolo", "csv", "labelme"):
        vertebra.convert_data(source, to, tmp_path / to)
        notes = vertebra.convert_data(tmp_path / to, "voc", tmp_path / f"{to} back")
        after = load(tmp_path / f"{to} back")
        assert [after.path(row).name for row in range(4)] == [before.path(row).name for row in range(4)]
        assert after.splits is not None and before.splits is not None
        assert after.splits.tolist() == before.splits.tolist() and after.category_names == before.category_names
        np.testing.assert_allclose(after.objects.boxes, before.objects.boxes, atol=1e-9)
        assert notes or to != "coco"
        if to != "yolo":
            assert after.objects.crowd.tolist() == before.objects.crowd.tolist()


def test_one_split_and_some_classes(source: Path, tmp_path: Path) -> None:
    notes = vertebra.convert_data(source, "coco", tmp_path / "out", split="train", classes=["dog", "fox"])
    data = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["a.png", "b.png"]
    assert [category["name"] for category in data["categories"]] == ["dog", "fox"] and len(data["annotations"]) == 1
    assert "1 annotation of classes that are not listed was left out: cat" in map(str, notes)


def test_the_command_prints_notes_and_the_folder(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "convert", str(source), "--to", "yolo", str(tmp_path / "out"), "--images", "link"]
    monkeypatch.setattr("sys.argv", ["vertebra", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert not ended.value.code and printed.out == f"yolo data set in {tmp_path / 'out'}\n"
    assert "1 object that is a crowd, or does not count, was written as any other: a.xml" in printed.err
    assert (tmp_path / "out/images/train/a.png").samefile(source / "JPEGImages/a.png")


def test_what_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown format to write 'cocoa'"):
        vertebra.convert_data(source, "cocoa", tmp_path / "out")
    with pytest.raises(UnknownName, match="unknown choice of images 'move'"):
        vertebra.convert_data(source, "coco", tmp_path / "out", images="move")
    with pytest.raises(UnknownName, match="unknown data format 'vok'"):
        vertebra.convert_data(source, "coco", tmp_path / "out", format="vok")
    with pytest.raises(ConfigError, match="this folder is not empty, and nothing is overwritten"):
        vertebra.convert_data(source, "coco", source.parent)
    with pytest.raises(ConfigError, match="inside of the data set"):
        vertebra.convert_data(source, "coco", source / "coco")
    with pytest.raises(DataError, match="no such folder or file"):
        vertebra.convert_data(tmp_path / "none", "coco", tmp_path / "out")
    with pytest.raises(DataError, match="none of its classes"):
        vertebra.convert_data(source, "coco", tmp_path / "out", classes=["fox"])
    (source / "ImageSets/Main/test.txt").unlink()
    with pytest.raises(DataError, match="there is no split 'test'; there is: train, val"):
        vertebra.convert_data(source, "coco", tmp_path / "out", split="test")
    assert not (tmp_path / "out").exists()


def test_real_boxes_come_back_through_every_format(assets: Path, tmp_path: Path) -> None:
    before = load_annotations(assets / "detection" / "bccd")
    for to in ("coco", "csv", "labelme", "voc", "yolo"):
        vertebra.convert_data(assets / "detection" / "bccd", to, tmp_path / to, images="link")
        after = load(tmp_path / to)
        rows = {after.path(row).name: row for row in range(len(after))}
        order = [rows[before.path(row).name] for row in range(len(before))]
        sorted_after = after.take(np.array(order))
        first = [before.objects.boxes[before.objects.rows == row] for row in range(len(before))]
        second = [sorted_after.objects.boxes[sorted_after.objects.rows == row] for row in range(len(before))]
        for old, new in zip(first, second, strict=True):
            np.testing.assert_allclose(new, old, atol=1e-9)
        assert set(after.category_names) == set(before.category_names)


def test_real_masks_and_points_come_back(assets: Path, tmp_path: Path) -> None:
    camvid, coco_tiny = assets / "segmentation" / "camvid", assets / "keypoints" / "coco_tiny" / "test_coco.json"
    vertebra.convert_data(camvid, "masks", tmp_path / "masks", split="val", images="link")
    before, after = load_annotations(camvid, split="val"), load(tmp_path / "masks")
    assert before.masks is not None and after.masks is not None and after.category_names == before.category_names
    for row in range(len(before)):
        old, new = (Path(part.root, part.files[row].decode()) for part in (before.masks, after.masks))
        assert new.read_bytes() == old.read_bytes()
    vertebra.convert_data(coco_tiny, "coco", tmp_path / "coco", images="link")
    points, again = load_annotations(coco_tiny), load(tmp_path / "coco")
    np.testing.assert_array_equal(again.objects.points, points.objects.points)
    np.testing.assert_array_equal(again.objects.boxes, points.objects.boxes)
    assert again.objects.ids == points.objects.ids and again.image_ids == points.image_ids
    assert {"coco", "yolo", "voc", "masks", "csv", "labelme", "tar"} <= set(all_writers())


def test_datumaro_agrees_on_the_boxes(
    assets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs an environment of its own: VERTEBRA_DATUMARO has the path of its interpreter."""
    python = os.environ.get("VERTEBRA_DATUMARO")
    if not python:
        pytest.skip("VERTEBRA_DATUMARO is not set")
    arguments = [str(assets / "detection" / "bccd"), "--python", python, "--to", "coco"]
    monkeypatch.setattr("sys.argv", ["compare_with_datumaro", *arguments])
    compare_with_datumaro.main()
    _, ours, theirs = capsys.readouterr().out.splitlines()
    assert "0 boxes moved, 4888 of 4888 the same in all bits" in ours and "image ids same; object ids same" in ours
    assert "0 boxes moved" in theirs


def test_a_coco_file_whose_outlines_were_not_read_yet_is_clipped_for_yolo(tmp_path: Path, draw_scene: Make) -> None:
    draw_scene(tmp_path / "coco/a.png", 24, 32)
    outline = [-2.0, 1, 11, 1, 11, 11, -2, 11]
    item = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [-2, 1, 13, 10], "segmentation": [outline]}
    images = [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}]
    document = {"images": images, "annotations": [item], "categories": [{"id": 1, "name": "dog"}]}
    (tmp_path / "coco/all.json").write_text(json.dumps(document))
    notes = vertebra.convert_data(tmp_path / "coco", "yolo", tmp_path / "yolo")
    assert "1 outline reaching out of the image was clipped: a.png" in map(str, notes)
    (label,) = (tmp_path / "yolo/labels").rglob("a.txt")
    assert [float(word) for word in label.read_text().split()[1:3]] == [0.0, pytest.approx(1 / 24)]
