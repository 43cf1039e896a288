"""COCO JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.errors import DataError
from vertebra.tasks.detect.column import BoxColumn

Make = Callable[..., Path]
SIZE = (24, 32)


def one(image: int, category: int, box: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, **more}


def square(left: int, top: int, side: int) -> list[list[int]]:
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def boxes_of(index: Index) -> BoxColumn:
    column = index.columns["detect"]
    assert isinstance(column, BoxColumn)
    return column


def split_file(coco: Make, annotations: list[dict[str, Any]], **changes: Any) -> Path:
    """A folder with one file for train and an equal one for val, so that nothing is divided."""
    coco(annotations, name="annotations/instances_val.json", **changes)
    return coco(annotations, name="annotations/instances_train.json", **changes).parent.parent


def test_category_ids_become_positions_in_file_order(coco: Make) -> None:
    root = split_file(coco, [one(12, 3, [1, 2, 3, 4]), one(10, 7, [5, 6, 7, 8], iscrowd=1), one(12, 7, [0, 0, 4, 4])])
    index = open_data(root, "detect", "train")
    assert index.labels["detect"].classes == ("dog", "cat")
    assert boxes_of(index).get(0, SIZE).boxes.tolist() == [[5, 6, 12, 14]]
    assert boxes_of(index).get(0, SIZE).crowd.tolist() == [True]
    assert boxes_of(index).get(1, SIZE).boxes.shape == (0, 4) and boxes_of(index).labeled.all()
    assert boxes_of(index).get(2, SIZE).boxes.tolist() == [[1, 2, 4, 6], [0, 0, 4, 4]]
    assert boxes_of(index).get(2, SIZE).labels.tolist() == [1, 0]
    assert index.path(2).is_file() and not index.notes


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        ({"train": "annotations/instances_train2017.json", "val": "annotations/instances_val2017.json"}, "train2017"),
        ({"train": "train.json", "val": "val.json"}, "images"),
        ({"train": "train/_annotations.coco.json", "val": "valid/_annotations.coco.json"}, "train"),
        ({"train": "annotations/train.json", "val": "annotations/val.json"}, "images/train"),
    ],
)
def test_usual_folders(coco: Make, names: dict[str, str], folder: str) -> None:
    for split, name in names.items():
        own = folder.replace("train", Path(name).parts[0] if folder == "train" else split)
        path = coco([one(10, 7, [1, 1, 4, 4])], name=name, folder=own)
    root = path.parents[len(Path(names["val"]).parts) - 1]
    for split in ("train", "val"):
        index = open_data(root, "detect", split)
        assert len(index) == 3 and index.path(0).is_file()
    with pytest.raises(DataError, match="no split 'test'"):
        open_data(root, "detect", "test")


def test_a_single_file_is_divided(coco: Make) -> None:
    path = coco([], images=20)
    assert [len(open_data(path, "detect", split)) for split in ("train", "val", "test")] == [16, 2, 2]
    with pytest.raises(DataError, match="several COCO files for split 'train'"):
        path.with_name("train_a.json").write_text(path.read_text())
        path.with_name("train_b.json").write_text(path.read_text())
        open_data(path.parent, "detect", "train")


def test_bad_boxes_are_dropped_and_named(coco: Make) -> None:
    bad: list[Any] = [[1, 1, 0, 5], [1, 1, -3, 5], [50, 1, 4, 5], [20, 1, 30, 5], None, [1, 2, 3]]
    root = split_file(coco, [one(11, 7, box) for box in bad])
    index = open_data(root, "detect", "train")
    assert [str(note) for note in index.notes][:5] == [
        "2 objects without a box or an outline were dropped: 1.png",
        "1 box with left and right or top and bottom in reverse was dropped: 1.png",
        "1 box of zero area was dropped: 1.png",
        "1 box outside of the image was dropped: 1.png",
        "1 box reaching out of the image was clipped: 1.png",
    ]
    assert boxes_of(index).boxes.tolist() == [[20, 1, 32, 6]]


def test_missing_images_and_stray_annotations_are_named(coco: Make) -> None:
    root = split_file(coco, [one(10, 7, [1, 1, 4, 4]), one(99, 7, [1, 1, 4, 4]), one(12, 3, [2, 2, 5, 5])])
    (root / "images" / "0.png").unlink()
    index = open_data(root, "detect", "train")
    assert [index.path(row).name for row in range(2)] == ["1.png", "2.png"]
    assert boxes_of(index).get(1, SIZE).boxes.tolist() == [[2, 2, 7, 7]]
    assert [str(note) for note in index.notes][:2] == [
        "1 image that the file names was not found and left out: 0.png",
        "1 annotation of images that are not in the file was dropped: image_id 99",
    ]


def test_listed_classes(coco: Make) -> None:
    root = split_file(coco, [one(10, 7, [1, 1, 4, 4]), one(10, 3, [2, 2, 5, 5])])
    index = open_data(root, "detect", "train", classes=["cat", "owl"])
    assert boxes_of(index).labels.tolist() == [0] and boxes_of(index).boxes.tolist() == [[2, 2, 7, 7]]
    assert [str(note) for note in index.notes] == [
        "1 object of classes that are not listed was left out: dog",
        "1 class that no image has was kept: owl",
    ]


def test_what_is_no_coco_is_named(coco: Make) -> None:
    path = coco([one(10, 7, [1, 1, 4, 4])])
    content = path.read_text()
    cases = {
        content[: len(content) // 2]: "damaged or cut off, not JSON",
        "[]": "of no known format",
        '{"images": []}': "not a COCO file; it needs lists 'images', 'annotations' and 'categories'",
        json.dumps({**json.loads(content), "images": []}): "its list 'images' is empty",
        content.replace('"category_id": 7', '"category_id": 8'): "have category_id 8, which is not in its 'categories'",
        content.replace('"file_name"', '"name"'): "an entry lacks 'file_name'",
        content.replace(".png", ".gif"): r"its images are not found \(the first is 0\.gif\); searched in",
        content.replace("[1, 1, 4, 4]", '[1, 1, 4, "x"]'): "a 'bbox' holds something that is no number",
    }
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(DataError, match=message) as caught:
            open_data(path, "detect", "train")
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_semantic_masks_with_a_background(coco: Make) -> None:
    root = split_file(
        coco,
        [
            one(10, 7, [0, 0, 1, 1], segmentation=square(2, 3, 5)),
            one(10, 3, [0, 0, 1, 1], segmentation={"size": [24, 32], "counts": [0, 2, 766]}, iscrowd=1),
            one(11, 7, [0, 0, 1, 1], segmentation=[]),
        ],
    )
    index = open_data(root, "segment", "train")
    assert index.labels["segment"].classes == ("background", "dog", "cat")
    mask = index.columns["segment"].get(0, SIZE).mask
    assert np.bincount(mask.ravel()).tolist() == [24 * 32 - 27, 25, 2] and mask[3, 2] == 1 and mask[1, 0] == 2
    assert not index.columns["segment"].get(1, SIZE).mask.any()
    assert [str(note) for note in index.notes] == [
        "1 annotation without a segmentation was left out of the masks: 1.png"
    ]
    planes = open_data(root, "segment", "train", multilabel=True)
    assert planes.labels["segment"].classes == ("dog", "cat")
    assert planes.columns["segment"].get(0, SIZE).mask.sum(axis=(1, 2)).tolist() == [25, 2]
    again = open_data(root, "segment", "val", classes=["background", "cat"])
    assert np.bincount(again.columns["segment"].get(0, SIZE).mask.ravel()).tolist() == [24 * 32 - 2, 2]
    with pytest.raises(DataError, match="put 'background' first among the classes, or set multilabel: true"):
        open_data(root, "segment", "train", classes=["cat"])


def test_a_wrong_segmentation_is_named(coco: Make) -> None:
    path = coco([one(10, 7, [0, 0, 1, 1], segmentation={"size": [24, 32]})])
    with pytest.raises(DataError, match="a 'segmentation' is neither outlines nor run lengths"):
        open_data(path, "segment", "train")


def test_sets_of_classes(coco: Make) -> None:
    root = split_file(coco, [one(10, 7, [1, 1, 4, 4]), one(10, 3, [2, 2, 5, 5]), one(11, 3, [2, 2, 5, 5])])
    index = open_data(root, "classify", "train", multilabel=True)
    column = index.columns["classify"]
    assert [column.get(row, SIZE).label.tolist() for row in range(3)] == [[1, 1], [0, 1], [0, 0]]
    with pytest.raises(DataError, match=r"the first is 0\.png; set multilabel: true"):
        open_data(root, "classify", "train")
    single = split_file(coco, [one(10, 7, None), one(12, 3, None)])
    column = open_data(single, "classify", "train").columns["classify"]
    assert column.labeled.tolist() == [True, False, True] and column.get(2, SIZE).label == 1


def test_two_categories_of_one_name_are_one_class(coco: Make) -> None:
    root = split_file(coco, [one(10, 1, [1, 1, 4, 4]), one(10, 2, [2, 2, 5, 5])], categories=[(1, "dog"), (2, "dog")])
    index = open_data(root, "detect", "train")
    assert index.labels["detect"].classes == ("dog",) and boxes_of(index).labels.tolist() == [0, 0]


@pytest.mark.parametrize("value", [0, "0", "false", "False", None, 0.0, "", "no"])
def test_flags_are_read_as_what_they_say(coco: Make, value: Any) -> None:
    root = split_file(coco, [one(10, 7, [1, 1, 4, 4], iscrowd=value), one(10, 3, [2, 2, 5, 5], iscrowd="1")])
    assert boxes_of(open_data(root, "detect", "train")).crowd.tolist() == [False, True]


def test_a_flag_that_says_nothing_is_counted(coco: Make) -> None:
    root = split_file(coco, [one(10, 7, [1, 1, 4, 4], iscrowd="perhaps"), one(11, 3, [2, 2, 5, 5], iscrowd=[1])])
    index = open_data(root, "detect", "train")
    assert not boxes_of(index).crowd.any()
    assert str(index.notes[0]) == "2 objects whose 'iscrowd' is neither 0 nor 1 were taken as 0: 0.png, 1.png"


def test_ids_match_as_text_where_they_do_not_as_they_stand(coco: Make) -> None:
    objects = [one("10", "7", [1, 1, 4, 4]), one(11.0, 3.0, [2, 2, 5, 5])]  # type: ignore[arg-type]
    index = open_data(split_file(coco, objects), "detect", "train")
    assert boxes_of(index).labels.tolist() == [0, 1] and not index.notes
    images = [{"id": str(10 + i), "file_name": f"{i}.png"} for i in range(3)]
    index = open_data(
        split_file(coco, [one(10, 7, [1, 1, 4, 4]), one(12, 3, [2, 2, 5, 5])], images_=images), "detect", "train"
    )
    assert boxes_of(index).labels.tolist() == [0, 1] and boxes_of(index).offsets.tolist() == [0, 1, 1, 2]


def test_doubled_ids_are_refused(coco: Make) -> None:
    images = [{"id": i // 2, "file_name": f"{i}.png"} for i in range(3)]
    with pytest.raises(DataError, match=r"set\.json: id 0 occurs twice in 'images'; were two files merged\? Give each"):
        open_data(coco([one(0, 7, [1, 1, 4, 4])], images_=images), "detect", "train")
    with pytest.raises(DataError, match="id 7 occurs twice in 'categories'"):
        open_data(coco([one(10, 7, [1, 1, 4, 4])], categories=[(7, "dog"), (7, "cat")]), "detect", "train")
    for wrong in (None, [1], {}):
        with pytest.raises(DataError, match="an id in 'images' is .*; ids are numbers or text"):
            open_data(coco([], images_=[{"id": wrong, "file_name": "0.png"}]), "detect", "train")


def test_doubled_files_and_annotations_are_counted(coco: Make) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(["0.png", "1.png", "./0.png"])]
    objects = [one(0, 7, [1, 1, 4, 4]), one(2, 3, [2, 2, 5, 5]), one(2, 7, [1, 1, 4, 4]), one(1, 7, [1, 1, 4, 4])]
    index = open_data(split_file(coco, objects, images_=images), "detect", "train")
    assert [index.path(row).name for row in range(len(index))] == ["0.png", "1.png"]
    assert boxes_of(index).offsets.tolist() == [0, 2, 3]
    assert [str(note) for note in index.notes] == [
        "1 image that the file lists under several ids was merged: ./0.png",
        "1 annotation copied from another was left out: 0.png",
    ]


def test_two_objects_in_one_box_are_no_copies(coco: Make) -> None:
    objects = [one(10, 7, [1, 1, 4, 4], segmentation=square(1, 1, side)) for side in (3, 4)]
    index = open_data(split_file(coco, [*objects, one(11, 7, [1, 1, 4, 4])]), "detect", "train")
    assert len(boxes_of(index).boxes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iscrowd": 1}, "20 of its 20 annotations cannot be used.*20 mark a crowd"),
        ({"image_id": 99}, "20 of its 20 annotations.*20 annotations of images that are not in the file were dropped"),
        ({"bbox": [5, 5, 0, 0]}, "20 of its 20 annotations.*20 boxes of zero area were dropped"),
        ({"bbox": None}, "20 of its 20 annotations.*without a box or an outline were dropped"),
    ],
)
def test_reading_ends_where_nearly_nothing_is_left(coco: Make, change: dict[str, Any], message: str) -> None:
    objects = [one(10 + i % 3, 7, [1, 1, 4 + i % 9, 4 + i // 9]) for i in range(20)]
    objects = [{**each, "area": i} for i, each in enumerate(objects)]
    with pytest.raises(DataError, match=message) as caught:
        open_data(coco([{**each, **change} for each in objects]), "detect", "train")
    assert "\n" not in str(caught.value)
    mostly = [{**each, **change} if i < 19 else each for i, each in enumerate(objects)]
    with pytest.raises(DataError, match="19 of its 20 annotations"):
        open_data(coco(mostly), "detect", "train")
    few = [{**each, **change} if i < 5 else each for i, each in enumerate(objects)]
    assert len(open_data(coco(few), "detect", "train")) == 2


def test_sizes_that_are_none_are_told(coco: Make) -> None:
    sizes: list[Any] = [
        ("24", "32"),
        (-1, 32),
        (10**30, 32),
        (float("nan"), 5),
        ("tall", None),
        (None, None),
        (24.0, 32),
    ]
    images = [{"id": 10 + i, "file_name": f"{i}.png", "height": h, "width": w} for i, (h, w) in enumerate(sizes)]
    path = split_file(coco, [one(10, 7, [1, 1, 40, 4]), one(11, 7, [1, 1, 40, 4])], images=7, images_=images)
    index = open_data(path, "detect", "train")
    assert str(index.notes[0]).startswith(
        "4 images whose width and height are no size in pixels were taken as of unknown"
    )
    assert boxes_of(index).boxes[:, 2].tolist() == [32, 41]


@pytest.mark.parametrize("value", [1e400, -1e400, 1e300, float("nan")])
def test_boxes_that_are_no_place_are_dropped(coco: Make, value: float) -> None:
    index = open_data(split_file(coco, [one(10, 7, [1, 1, 4, 4]), one(11, 7, [value, 1, value, 4])]), "detect", "train")
    assert boxes_of(index).boxes.tolist() == [[1, 1, 5, 5]] and index.notes[0].done == "dropped"


def test_wrong_entries_are_named(coco: Make) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (one(10, 7, [1, 1, 4, 10**400]), "a 'bbox' holds something that is no number, .* of annotation 0"),
        (one(10, 7, [1, 1, 4, 4], segmentation=[[0, 0, float("inf"), 0, 5, 5]]), "that of annotation 0 .*finite"),
        (one(10, 7, [1, 1, 4, 4], segmentation={"size": [24, 32], "counts": [2**63 - 1] * 2}), "no whole numbers"),
    ]
    for annotation, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            open_data(coco([annotation]), "segment" if "segmentation" in annotation else "detect", "train")
        assert "set.json" in str(caught.value) and "\n" not in str(caught.value)
    for entries in ({"images_": ["a"]}, {"annotations_": [None]}, {"categories_": [7]}):
        with pytest.raises(DataError, match="is no object in braces"):
            open_data(coco([], **entries), "detect", "train")
    path = coco([])
    path.write_text('{"images": ' + "[" * 100_000)
    with pytest.raises(DataError, match="set.json: damaged"):
        open_data(path, "detect", "train")


def test_a_hundred_thousand_categories_open_at_once(coco: Make) -> None:
    categories = [(number, f"c{number}") for number in range(100_000)]
    objects = [one(10, number, [1, 1, 4, 4]) for number in range(0, 100_000, 7)]
    path = coco(objects, categories=categories)
    began = time.process_time()
    index = open_data(path, "detect", "train")
    assert index.labels["detect"].class_count == 100_000
    assert time.process_time() - began < 3


def test_names_that_no_file_can_have(coco: Make) -> None:
    names = ["0.png", "\ud800.png", "a\0b/1.png", "x" * 5000 + "/1.png"]
    images = [{"id": 10 + i, "file_name": name} for i, name in enumerate(names)]
    index = open_data(split_file(coco, [one(10, 7, [1, 1, 4, 4])], images_=images), "detect", "train")
    assert len(index) == 1 and index.notes[0].count == 3


def test_a_hundred_thousand_boxes_open_as_columns(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images = [{"id": i, "file_name": f"{i:06}.jpg", "height": 480, "width": 640} for i in range(2000)]
    for entry in images:
        (tmp_path / str(entry["file_name"])).touch()
    boxes = (draw.random((100_000, 4)) * [500, 400, 100, 60] + 1).round(2).tolist()
    owners, kinds = draw.integers(0, 2000, 100_000).tolist(), draw.integers(0, 80, 100_000).tolist()
    annotations = [
        {"id": i, "image_id": owner, "category_id": kind, "bbox": box, "area": 1.0, "iscrowd": 0}
        for i, (owner, kind, box) in enumerate(zip(owners, kinds, boxes, strict=True))
    ]
    categories = [{"id": i, "name": f"c{i}"} for i in range(80)]
    path = tmp_path / "large.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    index = open_data(path, "detect", "train")
    assert 1500 < len(index) < 1700 and 78_000 < len(boxes_of(index).boxes) < 82_000
    assert boxes_of(index).boxes.dtype == np.float32


def test_real_people(assets: Path) -> None:
    path = assets / "keypoints" / "coco_tiny" / "test_coco.json"
    index = open_data(path, "detect", "train")
    assert index.labels["detect"].classes == ("person",)
    reference = COCO(str(path))
    masks = open_data(path, "segment", "train")
    for row in range(len(masks)):
        name = masks.path(row).name
        entry = next(image for image in reference.loadImgs(reference.getImgIds()) if image["file_name"] == name)
        objects = reference.loadAnns(reference.getAnnIds(entry["id"]))
        expected = np.max([reference.annToMask(one) for one in objects], axis=0)
        found = masks.columns["segment"].get(row, (entry["height"], entry["width"]))
        # outlines are kept in 32 bits, so that a few pixels right on an edge may fall to its other side
        assert (found.mask != expected).mean() < 1e-4
