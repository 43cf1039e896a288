"""Masks that are color pictures, and masks of one object or class a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.errors import DataError

Make = Callable[..., Path]
SIZE = (24, 32)
COLORS = np.array([[0, 0, 0], [128, 64, 128], [64, 0, 128], [10, 20, 30]], dtype=np.uint8)


def stripes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8)[np.arange(32) % len(values)][None].repeat(24, axis=0)


def box(left: int, top: int, value: int = 255) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[top : top + 6, left : left + 8] = value
    return mask


def save(mask: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def colored(root: Path, draw_image: Make, *values: int, suffix: str = "png") -> Path:
    for number in range(4):
        draw_image(root / "images" / f"{number}.jpg")
        save(COLORS[stripes(*values)] if number else COLORS[stripes(0)], root / "masks" / f"{number}.{suffix}")
    return root


def texts(index: Index) -> list[str]:
    return [str(note) for note in index.notes]


def all_of(root: Path, **options: object) -> dict[str, np.ndarray]:
    """The masks of all splits by image."""
    masks = {}
    for split in ("train", "val", "test"):
        index = open_data(root, "segment", split, **options)  # type: ignore[arg-type]
        masks |= {index.path(row).stem: index.columns["segment"].get(row, SIZE).mask for row in range(len(index))}
    return masks


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("class_dict.csv", "name,r,g,b\nsky,0,0,0\nroad,128,64,128\ncar 1,64,0,128\n"),
        ("class_dict.csv", "r, g, b, class\n0,0,0,sky\n128,64,128,road\n64,0,128,car 1\n"),
        ("label_colors.txt", "0 0 0\tsky\n128 64 128\t\troad\n64 0 128 car 1\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky:0,0,0::\nroad:128,64,128::\ncar 1:64,0,128::\n"),
        ("colors.txt", "sky 0 0 0\nroad 128 64 128\ncar 1 64 0 128\n"),
    ],
)
def test_files_of_colors(tmp_path: Path, draw_image: Make, file: str, content: str) -> None:
    root = colored(tmp_path, draw_image, 0, 1, 2)
    (root / file).write_text(content)
    index = open_data(root, "segment", "train")
    assert index.labels["segment"].classes == ("sky", "road", "car 1") and not [n for n in texts(index) if "color" in n]
    assert all_of(root)["2"][0, :4].tolist() == [0, 1, 2, 0]
    chosen = open_data(root, "segment", "train", classes=["car 1", "sky"])
    assert "1 class that is not listed was left out of the masks: road" in texts(chosen)
    assert all_of(root, classes=["car 1", "sky"])["2"][0, :3].tolist() == [1, 255, 0]


def test_void_is_ignored(tmp_path: Path, draw_image: Make) -> None:
    root = colored(tmp_path, draw_image, 0, 1)
    (root / "class_dict.csv").write_text("name,r,g,b\nroad,128,64,128\nVoid,0,0,0\n")
    assert open_data(root, "segment", "train").labels["segment"].classes == ("road",)
    assert all_of(root)["3"][0, :2].tolist() == [255, 0]
    assert "1 class called 'void' or alike was ignored: Void" in texts(open_data(root, "segment", "train"))
    (root / "class_dict.csv").write_text("name,r,g,b\nroad,128,64,128\nUnlabelled,0,0,0\n")
    assert open_data(root, "segment", "train").labels["segment"].classes == ("road",)


def test_a_color_of_no_class(tmp_path: Path, draw_image: Make) -> None:
    root = colored(tmp_path, draw_image, 0, 1, 3)
    (root / "class_dict.csv").write_text("name,r,g,b\nsky,0,0,0\nroad,128,64,128\n")
    with pytest.raises(
        DataError, match=r"1\.png: pixels of the color \(10, 20, 30\), which is that of no class; name its class"
    ):
        open_data(root, "segment", "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,r,g,b\nsky,0,0,300\n", "each of red, green and blue is 0 to 255"),
        ("name,r,g,b\nsky,0,0,0\nroad,0,0,0\n", r"'sky' and 'road' share the color \(0, 0, 0\)"),
        ("name,r,g,b\nsky,0,0,0\nsky,1,0,0\n", "class 'sky' is there twice"),
        ("name,r,g,b\nsky,0,0\n", "is no class with its color; write name,r,g,b"),
        ("name,r,g,b\n", "it names no class"),
        ("", "it names no class"),
    ],
)
def test_wrong_files_of_colors(tmp_path: Path, draw_image: Make, content: str, message: str) -> None:
    root = colored(tmp_path, draw_image, 0, 1)
    (root / "class_dict.csv").write_text(content)
    with pytest.raises(DataError, match=rf"class_dict\.csv: .*{message}"):
        open_data(root, "segment", "train")


def test_a_few_colors_without_names(tmp_path: Path, draw_image: Make) -> None:
    root = colored(tmp_path, draw_image, 0, 2, 1)
    index = open_data(root, "segment", "train")
    assert index.labels["segment"].classes == ("#000000", "#400080", "#804080")
    assert all_of(root)["1"][0, :3].tolist() == [0, 1, 2]
    assert "3 colors that no file names were taken as a class called by it: #000000, #400080, #804080" in texts(index)
    overlapping = open_data(root, "segment", "train", multilabel=True)
    assert overlapping.labels["segment"].classes == ("#400080", "#804080")
    assert all_of(root, multilabel=True)["1"][:, 0, :3].tolist() == [[0, 1, 0], [0, 0, 1]]


def test_many_colors_without_names_are_refused(tmp_path: Path, draw_image: Make) -> None:
    root = colored(tmp_path, draw_image, 0, 1, 2, suffix="jpg")
    with pytest.raises(
        DataError, match=r"color pictures of \d+ colors, which nobody named.*class_dict\.csv: name,r,g,b; they seem"
    ):
        open_data(root, "segment", "train")


def test_palettes_are_numbers_unless_their_colors_are_those_of_the_classes(tmp_path: Path, draw_image: Make) -> None:
    for number in range(4):
        draw_image(tmp_path / "images" / f"{number}.jpg")
        picture = Image.fromarray(stripes(0, 1, 2)).convert("P")
        picture.putpalette(COLORS.ravel().tolist())
        (tmp_path / "masks").mkdir(exist_ok=True)
        picture.save(tmp_path / "masks" / f"{number}.png")
    assert open_data(tmp_path, "segment", "train").labels["segment"].classes == ("0", "1", "2")
    colors = tmp_path / "class_dict.csv"
    colors.write_text("name,r,g,b\ncar,64,0,128\nroad,128,64,128\nsky,0,0,0\n")
    assert all_of(tmp_path)["0"][0, :3].tolist() == [2, 1, 0]
    colors.write_text("name,r,g,b\nsky,1,1,1\nroad,2,2,2\ncar,3,3,3\n")
    assert open_data(tmp_path, "segment", "train").labels["segment"].classes == ("sky", "road", "car")
    assert all_of(tmp_path)["0"][0, :3].tolist() == [0, 1, 2]


@pytest.mark.parametrize("pattern", ["masks/{0}_{1:02}.png", "masks/{0}/{1}.png", "masks/{0}_mask_{1}.png"])
def test_a_mask_for_each_object(tmp_path: Path, draw_image: Make, pattern: str) -> None:
    for name in "abcdef":
        draw_image(tmp_path / "images" / f"{name}.png")
        for number, (left, top) in enumerate([(2, 3), (6, 5), (20, 15)]):
            save(box(left, top), tmp_path / pattern.format(name, number))
    index = open_data(tmp_path, "detect", "train")
    assert index.labels["detect"].classes == ("object",)
    assert index.columns["detect"].get(0, SIZE).boxes.tolist() == [[2, 3, 10, 9], [6, 5, 14, 11], [20, 15, 28, 21]]
    masks = open_data(tmp_path, "segment", "train")
    assert masks.labels["segment"].classes == ("background", "object")
    union = box(2, 3) | box(6, 5) | box(20, 15)
    np.testing.assert_array_equal(masks.columns["segment"].get(0, SIZE).mask, union > 0)
    assert open_data(tmp_path, "detect", "train", classes=["cell"]).labels["detect"].classes == ("cell",)


def test_a_folder_for_each_image_with_its_masks(tmp_path: Path, draw_image: Make) -> None:
    for name in ("k1", "k2", "k3", "k4"):
        draw_image(tmp_path / "stage1_train" / name / "images" / f"{name}.png")
        for number in range(3):
            save(box(2 + 9 * number, 3), tmp_path / "stage1_train" / name / "masks" / f"{number}f{name}.png")
    index = open_data(tmp_path, "detect", "train")
    assert len(index.columns["detect"].get(0, SIZE).labels) == 3
    assert len(index) + len(open_data(tmp_path, "detect", "val")) == 4


@pytest.mark.parametrize("pattern", ["masks/{0}_{1}.png", "masks/{1}/{0}.png"])
def test_a_mask_for_each_class(tmp_path: Path, draw_image: Make, pattern: str) -> None:
    for name in "abcdef":
        draw_image(tmp_path / "images" / f"{name}.png")
        for label, left in (("cat", 2), ("dog", 15)):
            save(box(left, 3, 1), tmp_path / pattern.format(name, label))
    index = open_data(tmp_path, "segment", "train")
    assert index.labels["segment"].classes == ("background", "cat", "dog")
    np.testing.assert_array_equal(index.columns["segment"].get(0, SIZE).mask, box(2, 3, 1) + box(15, 3, 2))
    overlapping = open_data(tmp_path, "segment", "train", multilabel=True)
    assert overlapping.labels["segment"].classes == ("cat", "dog")
    with pytest.raises(DataError, match="has no labels for task 'detect'|of no known format"):
        open_data(tmp_path, "detect", "train")


def test_damaged_and_empty_masks_of_objects(tmp_path: Path, draw_image: Make) -> None:
    for name in "abcdef":
        draw_image(tmp_path / "images" / f"{name}.png")
        for number in range(2):
            save(box(2 + 9 * number, 3), tmp_path / "masks" / f"{name}_{number}.png")
    (tmp_path / "masks" / "a_0.png").write_bytes(b"no")
    save(np.zeros(SIZE, dtype=np.uint8), tmp_path / "masks" / "b_1.png")
    notes = texts(open_data(tmp_path, "detect", "train"))
    assert notes[:2] == [
        "1 mask that cannot be read was dropped: a_0.png",
        "1 mask without a pixel was left out: b_1.png",
    ]
