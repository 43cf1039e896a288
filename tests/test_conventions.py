"""The pixel convention of ``docs/glossary.md``, number by number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vertebra
from vertebra.data.open import open_data
from vertebra.geometry.boxes import box_area, clip_boxes
from vertebra.geometry.points import cell_points
from vertebra.layers.resample import upsample
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply, read_image, resize, resize_labels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction

PAGE = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")


def says(sentence: str) -> None:
    """The page has these words, in whatever lines: what is checked here is what is written there."""
    assert sentence in " ".join(PAGE.split()), f"docs/glossary.md no longer has: {sentence}"


def image_file(path: Path, height: int = 24, width: int = 32) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 99, dtype=np.uint8)).save(path)
    return path.name


def test_the_first_pixel_covers_0_to_1() -> None:
    says("The first pixel of a row covers x from 0 to 1, and its center is at 0.5.")
    assert cell_points(1, 3, 1, device=torch.device("cpu")).tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]]


def test_cells() -> None:
    says("its center is ((j + 0.5) * s, (i + 0.5) * s). At stride 8 the first center is (4, 4).")
    points = cell_points(2, 3, 8, device=torch.device("cpu")).reshape(2, 3, 2)
    assert points[0, 0].tolist() == [4, 4]
    assert points[1, 2].tolist() == [(2 + 0.5) * 8, (1 + 0.5) * 8]


def test_ends_are_exclusive() -> None:
    says("a box around the columns 2, 3 and 4 is left 2, right 5; its width is right - left = 3.")
    row = np.arange(8)
    assert row[2:5].tolist() == [2, 3, 4]
    assert box_area(torch.tensor([2.0, 0.0, 5.0, 1.0])).item() == 3


def test_the_box_of_a_whole_image() -> None:
    says("The box of a whole image is (0, 0, W, H).")
    clipped = clip_boxes(torch.tensor([[[-9.0, -9.0, 99.0, 99.0]]]), torch.tensor([[24, 32]]))
    assert clipped.tolist() == [[[0, 0, 32, 24]]]


def test_from_the_image_to_the_canvas() -> None:
    says(
        "An image of 50x50 pixels on a letterbox canvas of 100x200 (height x width) has scale 2 and offset 0, so that (10, 20)"
    )
    transform = ResizeSpec((100, 200), "letterbox").transform(50, 50)
    assert (transform.scale_x, transform.scale_y, transform.left, transform.top) == (2, 2, 0, 0) and transform.size == (
        100,
        100,
    )
    assert transform.points_to_canvas(np.array([10, 20])).tolist() == [20, 40]
    assert transform.points_to_image(np.array([20, 40])).tolist() == [10, 20]


def test_mirroring() -> None:
    says("A box (2, 1, 5, 4) in an image 10 pixels wide becomes (5, 1, 8, 4).")
    window = CropWindow(0, 0, 6, 10, (6, 10), mirror=True)
    assert window.boxes(np.array([[2, 1, 5, 4]])).tolist() == [[5, 1, 8, 4]]
    image = np.zeros((6, 10), dtype=np.uint8)
    image[1:4, 2:5] = 1
    assert (image[:, ::-1][1:4, 5:8] == 1).all(), "where the pixels go, the box goes"


def test_resizing_is_aligned_at_half_pixels() -> None:
    says("aligned at half pixels (torch's `align_corners=False`)")
    ramp = np.repeat(np.array([[[0], [100]]], dtype=np.uint8), 3, axis=2)
    assert resize(ramp, (1, 4))[0, :, 0].tolist() == [0, 25, 75, 100]
    assert upsample(torch.tensor([[[[0.0, 100.0]]]]), 2)[0, 0, 0].tolist() == [0, 25, 75, 100]


def test_a_mask_takes_the_class_under_the_center() -> None:
    says("A mask takes the class of the pixel under each new pixel's center.")
    mask = np.array([[1, 2, 3, 4, 5, 6]])
    assert resize_labels(mask, (1, 2)).tolist() == [[2, 5]], "the centers are at 1.5 and 4.5"


def test_predicted_boxes_are_clipped_and_points_are_not() -> None:
    says("Predicted boxes are clipped to the image: 0 <= x <= W. Predicted points are not.")
    transform = ResizeSpec((100, 200), "letterbox").transform(50, 50)
    assert transform.boxes_to_image(np.array([-10, 0, 120, 40])).tolist() == [0, 0, 50, 20]
    assert transform.points_to_image(np.array([-10, 120])).tolist() == [-5, 60]


def test_a_letterbox_canvas_has_its_image_at_the_top_left() -> None:
    says("the part of a canvas that shows the image, at its top left; the rest is fill")
    resize_spec = ResizeSpec((4, 8), "letterbox")
    canvas = apply(resize_spec, np.full((2, 2, 3), 200, dtype=np.uint8))
    assert (canvas[:, :4] == 200).all() and (canvas[:, 4:] == resize_spec.fill).all()


def test_normalization_is_the_first_layer_of_the_model() -> None:
    says("The first layer of the model does this, so that you pass 0 to 255.")
    backbone = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=32).backbone
    assert backbone.mean.max() > 1 and backbone.mean.max() < 255, "of values in 0..255"
    with pytest.raises(vertebra.VertebraError, match="the model takes 0 to 255"):
        vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=32)(
            torch.rand(1, 3, 32, 32)
        )


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    says("upright (the rotation tag of a photo is applied)")
    picture, tags = Image.new("RGB", (32, 24)), Image.Exif()
    tags[0x0112] = 6  # the camera was held on its side
    picture.save(tmp_path / "a.jpg", exif=tags)
    assert read_image(tmp_path / "a.jpg").shape == (32, 24, 3)


def test_boxes_and_points_of_coco(tmp_path: Path) -> None:
    says("`bbox` [x, y, width, height] = [1, 2, 20, 10] | box (1, 2, 21, 12)")
    says("`keypoints` [3, 4, 2] | point (3, 4), visible; not moved by half a pixel")
    one = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 20, 10], "area": 90, "iscrowd": 0, "keypoints": [3, 4, 2]}
    content = {
        "images": [{"id": 1, "file_name": image_file(tmp_path / "a.png"), "height": 24, "width": 32}],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose"], "skeleton": []}],
        "annotations": [{"id": 1, **one}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    detect = open_data(tmp_path / "train.json", "detect", "train").columns["detect"].get(0, (24, 32))
    assert detect.boxes.tolist() == [[1, 2, 21, 12]]
    keypoints = open_data(tmp_path / "train.json", "keypoints", "train").columns["keypoints"].get(0, (24, 32))
    assert keypoints.points.tolist() == [[[3, 4, 2]]]


def test_boxes_of_voc(tmp_path: Path) -> None:
    says("`xmin` 1, `ymin` 2, `xmax` 21, `ymax` 12 | box (1, 2, 21, 12)")
    image_file(tmp_path / "JPEGImages" / "a.png")
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>21</xmax><ymax>12</ymax></bndbox>"
    size = "<size><width>32</width><height>24</height></size>"
    (tmp_path / "Annotations").mkdir()
    text = f"<annotation>{size}<object><name>cat</name>{box}</object></annotation>"
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    found = open_data(tmp_path, "detect", "train").columns["detect"].get(0, (24, 32))
    assert found.boxes.tolist() == [[1, 2, 21, 12]]


def test_points_of_deeplabcut(tmp_path: Path) -> None:
    says("x 3.5, y 4 | point (3.5, 4)")
    rows = ["scorer,me,me", "bodyparts,nose,nose", "coords,x,y"]
    rows += [f"{image_file(tmp_path / f'{number}.png')},3.5,4" for number in range(4)]
    (tmp_path / "CollectedData_me.csv").write_text("\n".join(rows) + "\n")
    found = open_data(tmp_path, "keypoints", "train").columns["keypoints"].get(0, (24, 32))
    assert found.points[0, 0, :2].tolist() == [3.5, 4]


def test_coco_results() -> None:
    says("box (1, 2, 21, 12) | `bbox` [1, 2, 20, 10]")
    boxes, scores = np.array([[1, 2, 21, 12]], dtype=np.float32), np.array([0.5], dtype=np.float32)
    prediction = DetectPrediction(boxes, scores, np.array([0]), DetectLabels(("cat",)))
    assert prediction.to_coco(7)[0]["bbox"] == [1, 2, 20, 10]
