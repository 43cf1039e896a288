"""COCO panoptic: JSON with segments and PNG files of their ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.data.open import choose_format, open_data
from vertebra.data.readers.coco_panoptic import CocoPanopticReader
from vertebra.errors import DataError

SIZE = (6, 8)
IDS = (7, 3_226_956, 300)  # sky, a person, a crowd
CATEGORIES = [{"id": 187, "name": "sky", "isthing": 0}, {"id": 1, "name": "person", "isthing": 1}]


def ids_of(number: int) -> np.ndarray:
    ids = np.zeros(SIZE, dtype=np.int64)
    ids[:3], ids[3:, :4], ids[3:, 6:] = IDS[0], IDS[1], IDS[2]
    return np.roll(ids, number, axis=1)


def colors(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def write(
    root: Path, splits: dict[str, str], masks: str = "annotations/{stem}", count: int = 3, **changes: Any
) -> Path:
    """A data set; ``splits`` has the JSON and the image folder of each split."""
    for json_name, images in splits.items():
        file = root / json_name
        content: dict[str, Any] = {"info": {}, "images": [], "annotations": [], "categories": CATEGORIES}
        folder = root / masks.format(stem=file.stem)
        for path in (file.parent, root / images, folder):
            path.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(np.full((*SIZE, 3), 40 * number, dtype=np.uint8)).save(root / images / f"{number}.jpg")
            Image.fromarray(colors(ids_of(number))).save(folder / f"{number}.png")
            content["images"].append({"id": 10 + number, "file_name": f"{number}.jpg", "height": 6, "width": 8})
            segments = [
                {"id": IDS[0], "category_id": 187, "area": 24, "bbox": [0, 0, 8, 3], "iscrowd": 0},
                {"id": IDS[1], "category_id": 1, "area": 12, "bbox": [0, 3, 4, 3], "iscrowd": 0},
                {"id": IDS[2], "category_id": 1, "area": 6, "bbox": [6, 3, 2, 3], "iscrowd": 1},
            ]
            content["annotations"].append(
                {"image_id": 10 + number, "file_name": f"{number}.png", "segments_info": segments}
            )
        file.write_text(json.dumps({**content, **changes}))
    return root


OFFICIAL = {"annotations/panoptic_train2017.json": "train2017", "annotations/panoptic_val2017.json": "val2017"}


@pytest.mark.parametrize(
    ("splits", "masks"),
    [
        (OFFICIAL, "annotations/{stem}"),
        (OFFICIAL, "{stem}"),
        ({"train.json": "images/train", "val.json": "images/val"}, "panoptic_masks"),
        ({"train/panoptic.json": "train", "valid/panoptic.json": "valid"}, "{stem}"),
    ],
)
def test_masks_of_classes(tmp_path: Path, splits: dict[str, str], masks: str) -> None:
    root = write(tmp_path, splits, masks)
    assert choose_format(root, "segment") == "coco_panoptic"
    for split in ("train", "val"):
        index = open_data(root, "segment", split)
        assert index.labels["segment"].classes == ("sky", "person") and not index.notes
        for row in range(3):
            ids = ids_of(row)
            expected = np.select([ids == IDS[0], ids > 0], [0, 1], 255)
            np.testing.assert_array_equal(index.columns["segment"].get(row, SIZE).mask, expected)


def test_classes_that_are_not_listed_are_ignored(tmp_path: Path) -> None:
    root = write(tmp_path, OFFICIAL)
    index = open_data(root, "segment", "train", classes=["person"])
    mask = index.columns["segment"].get(0, SIZE).mask
    assert sorted(np.unique(mask).tolist()) == [0, 255] and (mask == 0).sum() == 18
    planes = open_data(root, "segment", "train", multilabel=True).columns["segment"].get(0, SIZE).mask
    assert planes.shape == (2, *SIZE) and [int((plane == 1).sum()) for plane in planes] == [24, 18]
    assert (planes[:, 3:, 4:6] == 255).all()


def test_objects_have_ids_boxes_areas_and_crowds(tmp_path: Path) -> None:
    root = write(tmp_path, OFFICIAL)
    whole = CocoPanopticReader().load(root, None, ReadOptions())
    assert len(whole) == 6 and whole.splits is not None and whole.splits.tolist() == [0, 0, 0, 1, 1, 1]
    assert whole.objects.ids == IDS * 6 and whole.objects.crowd.tolist() == [False, False, True] * 6
    assert whole.objects.boxes[1].tolist() == [0, 3, 4, 6] and whole.objects.areas[:3].tolist() == [24, 12, 6]
    assert whole.masks is not None and (whole.masks.root / whole.masks.files[4].decode()).is_file()


def test_instances_are_preferred_and_the_other_reading_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, OFFICIAL)
    outline = [[0, 0, 4, 0, 4, 4]]
    for split in ("train", "val"):
        content = json.loads((root / f"annotations/panoptic_{split}2017.json").read_text())
        objects = [
            {"id": i, "image_id": 10 + i, "category_id": 1, "bbox": [0, 0, 4, 4], "segmentation": outline}
            for i in range(3)
        ]
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps({**content, "annotations": objects}))
    index = open_data(root, "segment", "train")
    assert index.labels["segment"].classes == ("background", "sky", "person")
    assert any("coco_panoptic" in str(note) for note in index.notes)
    assert open_data(root, "segment", "train", format="coco_panoptic").labels["segment"].classes == ("sky", "person")
    assert len(open_data(root, "detect", "train").columns["detect"].boxes) == 3  # type: ignore[attr-defined]


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    root = write(tmp_path, OFFICIAL)
    (root / "train2017/0.jpg").unlink()
    (root / "annotations/panoptic_train2017/1.png").unlink()
    index = open_data(root, "segment", "train")
    assert index.columns["segment"].labeled.tolist() == [False, True]
    assert [str(note) for note in index.notes] == [
        "1 image that the file names was not found and left out: 0.jpg",
        "1 mask that the file names was not found and left out: 1.png",
    ]


def _entry(**changes: Any) -> list[dict[str, Any]]:
    segment = {"id": 7, "category_id": 187}
    return [{"image_id": 10, "file_name": "0.png", "segments_info": [segment], **changes}]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (_entry(segments_info=3), "has no list 'segments_info'"),
        (_entry(segments_info=[3]), "has no list 'segments_info'"),
        (_entry() * 2, "1 images have several entries in 'annotations', the first is image_id 10"),
        (
            _entry(segments_info=[{"id": 2**24, "category_id": 1}]),
            "the id of a segment is 16777216; ids are whole numbers",
        ),
        (_entry(segments_info=[{"id": 7, "category_id": 1}] * 2), "two segments of 0.jpg have the id 7"),
        (_entry(segments_info=[{"id": 7, "category_id": 5}]), "category_id 5, which is not in its 'categories'"),
        ([{"image_id": 10, "segments_info": []}], "lacks 'file_name'"),
        (_entry(file_name="9.png"), "its masks are not found"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, annotations: list[dict[str, Any]], message: str) -> None:
    root = write(tmp_path, {"annotations/panoptic_train.json": "images"}, annotations=annotations)
    with pytest.raises(DataError, match=message) as caught:
        open_data(root, "segment", "train")
    assert "panoptic_train.json" in str(caught.value)


def test_pixels_of_no_segment_are_an_error(tmp_path: Path) -> None:
    root = write(tmp_path, {"annotations/panoptic_train.json": "images"}, annotations=_entry())
    column = open_data(root, "segment", "train").columns["segment"]
    row = column.labeled.tolist().index(True)
    with pytest.raises(
        DataError, match=r"0\.png: 18 pixels have the id .* which is not in the image's 'segments_info'"
    ):
        column.get(row, SIZE)
    with pytest.raises(DataError, match="this mask is 6x8, but its image is 8x6 .*EXIF"):
        column.get(row, SIZE[::-1])
    (root / "annotations/panoptic_train/0.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"0\.png"):
        column.get(row, SIZE)
    Image.fromarray(np.zeros(SIZE, dtype=np.uint8)).save(root / "annotations/panoptic_train/0.png")
    with pytest.raises(DataError, match="not a color picture"):
        column.get(row, SIZE)
