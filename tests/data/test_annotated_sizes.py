"""Annotations made for another size of the image, or before it was turned upright."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from vertebra.annotations.annotated_sizes import AnnotatedSizes, SizeChange
from vertebra.annotations.run_lengths import Region
from vertebra.data.batches import collate
from vertebra.data.check.run import check_data
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import read_image

SIZE = (48, 80)  # of the annotations
BOXES = [(4, 8, 20, 16), (50, 20, 12, 24)]  # x, y, width, height
ORIENTATION = 0x0112
Change = Callable[[Image.Image, Path], None]


def halved(picture: Image.Image, path: Path) -> None:
    picture.resize((40, 24), Image.Resampling.NEAREST).save(path)


def enlarged(picture: Image.Image, path: Path) -> None:
    picture.resize((120, 72), Image.Resampling.NEAREST).save(path)


def tagged(orientation: int) -> Change:
    def save(picture: Image.Image, path: Path) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        picture.save(path, exif=exif)

    return save


def halved_and_tagged(picture: Image.Image, path: Path) -> None:
    tagged(6)(picture.resize((40, 24), Image.Resampling.NEAREST), path)


def write(root: Path, change: Change, runs: bool = False) -> Path:
    """A COCO file for white images with two dark objects, each saved by ``change`` after it was annotated."""
    (root / "images").mkdir(parents=True)
    pixels = np.full((*SIZE, 3), 255, dtype=np.uint8)
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "dark", "keypoints": ["a", "b"]}],
    }
    for x, y, width, height in BOXES:
        pixels[y : y + height, x : x + width] = 0
    for number in range(10):
        change(Image.fromarray(pixels), root / "images" / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        for x, y, width, height in BOXES:
            mask = np.zeros(SIZE, dtype=bool)
            mask[y : y + height, x : x + width] = True
            outline = [[x, y, x + width, y, x + width, y + height, x, y + height]]
            points = [x + 1, y + 1, 2, x + width / 2, y + height / 2, 2]
            one = {
                "id": len(content["annotations"]),
                "image_id": number,
                "category_id": 1,
                "bbox": [x, y, width, height],
            }
            shape = {"size": list(SIZE), "counts": Region.of(mask).runs.tolist()} if runs else outline
            more = {"segmentation": shape, "area": width * height, "keypoints": points, "num_keypoints": 2}
            content["annotations"].append({**one, **more})
    (root / "set.json").write_text(json.dumps(content))
    return root


CHANGES = [(halved, "scaled"), (enlarged, "scaled"), (halved_and_tagged, "turned")]
CHANGES += [(tagged(orientation), "turned") for orientation in (5, 6, 7, 8)]


def opened(root: Path, task: str) -> tuple[Index, np.ndarray]:
    """The data set, and the pixels of its first image."""
    index = open_data(root, task, "train")
    return index, read_image(index.path(0))


@pytest.mark.parametrize(("change", "done"), CHANGES, ids=range(len(CHANGES)))
def test_boxes_and_points_lie_on_their_object(tmp_path: Path, change: Change, done: str) -> None:
    root = write(tmp_path, change)
    index, image = opened(root, "detect")
    size = (image.shape[0], image.shape[1])
    column = index.columns["detect"]
    boxes = column.get(0, size).boxes.astype(int)
    dark = np.zeros(size, dtype=bool)
    for left, top, right, bottom in boxes:
        dark[top:bottom, left:right] = True
    np.testing.assert_array_equal(dark, image[..., 0] == 0)
    assert column.adapted(0, size) == done and not column.count_out_of_bounds(0, size)
    np.testing.assert_array_equal(column.take(np.array([3])).get(0, size).boxes, column.get(3, size).boxes)

    index, _ = opened(root, "keypoints")
    column = index.columns["keypoints"]
    objects = column.get(0, size)
    scale = (size[0] * size[1]) / (SIZE[0] * SIZE[1])
    np.testing.assert_allclose(objects.areas, [width * height * scale for _, _, width, height in BOXES], rtol=1e-6)
    np.testing.assert_array_equal(np.sort(objects.boxes, axis=0), np.sort(boxes, axis=0))
    for x, y in objects.points[..., :2].reshape(-1, 2):
        assert image[int(y), int(x), 0] == 0
    assert column.adapted(0, size) == done and not column.count_out_of_bounds(0, size)
    np.testing.assert_array_equal(column.take(np.array([3])).get(0, size).points, column.get(3, size).points)


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize(("change", "done"), CHANGES, ids=range(len(CHANGES)))
def test_masks_lie_on_their_object(tmp_path: Path, change: Change, done: str, runs: bool) -> None:
    index, image = opened(write(tmp_path, change, runs), "segment")
    size = (image.shape[0], image.shape[1])
    column = index.columns["segment"]
    np.testing.assert_array_equal(column.get(0, size).mask == 1, image[..., 0] == 0)
    np.testing.assert_array_equal(column.take(np.array([3])).get(0, size).mask, column.get(3, size).mask)
    assert column.adapted(0, size) == done


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_turn_as_pillow_turns_images(orientation: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (5, 9), dtype=np.uint8)
    picture = Image.fromarray(stored)
    picture.getexif()[ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(SizeChange((5, 9), (9, 5), orientation).mask(stored), upright)


def test_counted_by_the_check_and_by_training(tmp_path: Path) -> None:
    root = write(tmp_path, halved)
    report = check_data(root, "detect")
    assert report.sound and report.splits["train"].classes == {"detect": {"dark": 16}}
    found = [finding for finding in report.splits["train"].findings if finding.kind == "size"]
    assert [finding.count for finding in found] == [8] and "annotations are scaled" in found[0].message
    index = open_data(root, "detect", "train")
    data = MixedData(
        [Source(index, {"boxes": "detect"})], {"boxes": index.labels["detect"]}, ResizeSpec((32, 32)), None
    )
    batch = collate([data[SampleKey(0, row)] for row in range(4)], data.labels)
    data.record(batch.skipped, batch.adapted)
    data.record(batch.skipped, batch.adapted)
    expected = (
        "4 images whose annotations were made for another size or orientation were used with its annotations scaled"
    )
    assert data.notes()[-1].startswith(expected)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, lambda picture, path: picture.resize((60, 60)).save(path))
    message = (
        r"annotated for 48x80, but the image is 60x60 \(height x width\), which is neither that size scaled nor turned"
    )
    for task in ("detect", "segment", "keypoints"):
        with pytest.raises(DataError, match=message):
            open_data(root, task, "train").columns[task].get(0, (60, 60))
    report = check_data(root, "detect")
    assert not report.sound and "annotated for 48x80" in report.text()


def test_exchanged_sides_without_exif_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path, lambda picture, path: picture.transpose(Image.Transpose.ROTATE_90).save(path))
    with pytest.raises(DataError, match="annotated for 48x80, but the image is 80x48"):
        open_data(root, "detect", "train").columns["detect"].get(0, (80, 48))


def test_unknown_sizes_change_nothing(tmp_path: Path) -> None:
    sizes = AnnotatedSizes(tmp_path, np.array([b"a.jpg"] * 2), np.array([[0, 0], [48, 80]], dtype=np.int32))
    assert sizes.change(0, (7, 9)).done == "" and sizes.change(1, (48, 80)).done == ""
    assert sizes.change(1, (24, 40)).done == "scaled" and sizes.change(1, (25, 41)).done == "scaled"


def test_huge_run_lengths_are_not_drawn_to_be_scaled(tmp_path: Path) -> None:
    root = write(tmp_path, halved, runs=True)
    file = root / "set.json"
    content = json.loads(file.read_text())
    for image in content["images"]:
        image.update(height=600_000, width=1_000_000)
    for one in content["annotations"]:
        one["segmentation"] = {"size": [600_000, 1_000_000], "counts": [600_000 * 1_000_000]}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="run lengths for 600000x1000000 are too large"):
        open_data(root, "segment", "train").columns["segment"].get(0, (24, 40))


def test_sizes_of_voc_files(tmp_path: Path) -> None:
    coco = write(tmp_path / "coco", halved)
    (tmp_path / "voc" / "Annotations").mkdir(parents=True)
    (coco / "images").rename(tmp_path / "voc" / "JPEGImages")
    size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>"
    for number in range(10):
        boxes = "".join(
            f"<object><name>dark</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + width}</xmax>"
            f"<ymax>{y + height}</ymax></bndbox></object>"
            for x, y, width, height in BOXES
        )
        said = "<size><width>0</width><height>0</height></size>" if number == 1 else size
        (tmp_path / "voc" / "Annotations" / f"{number}.xml").write_text(f"<annotation>{said}{boxes}</annotation>")
    index = open_data(tmp_path / "voc", "detect", "train")
    names = [index.path(row).stem for row in range(len(index))]
    column = index.columns["detect"]
    assert column.get(names.index("2"), (24, 40)).boxes.tolist() == [[2, 4, 12, 12], [25, 10, 31, 22]]
    assert column.adapted(names.index("1"), (24, 40)) == ""
