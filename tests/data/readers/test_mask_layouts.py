"""Masks in other folders, lists, files and numbers than one PNG of class numbers for each image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.data.check.run import check_data
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.errors import DataError

Make = Callable[..., Path]
SIZE = (24, 32)


def stripes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8)[np.arange(32) % len(values)][None].repeat(24, axis=0)


def box(value: int = 255, left: int = 8, top: int = 6) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[top : top + 12, left : left + 16] = value
    return mask


def save(mask: np.ndarray, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, **options)
    return path


def texts(index: Index) -> list[str]:
    """What a reader says, other than how it divided a set without splits."""
    return [str(note) for note in index.notes if note.which != "without a given split"]


def mask_of(index: Index, row: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask: np.ndarray = index.columns["segment"].get(row, size).mask
    return mask


@pytest.mark.parametrize(
    ("images", "folder"),
    [
        ("img_dir/{}", "ann_dir/{}"),
        ("Images/{}", "Masks/{}"),
        ("{}/IMAGE", "{}/LABEL"),
        ("{}/imgs", "{}/annots"),
        ("images/{}", "annotations/{}"),
        ("{}", "{}_GT"),
        ("JPEGImages/{}", "gt/{}"),
    ],
)
def test_folders_of_other_names(tmp_path: Path, draw_image: Make, images: str, folder: str) -> None:
    for split, names in (("train", "ab"), ("val", "c")):
        for name in names:
            draw_image(tmp_path / images.format(split) / f"{name}.jpg")
            save(stripes(0, 1), tmp_path / folder.format(split) / f"{name}.png")
    parts = [open_data(tmp_path, "segment", split) for split in ("train", "val")]
    assert [len(part) for part in parts] == [2, 1] and not parts[0].notes
    assert mask_of(parts[0])[0, :2].tolist() == [0, 1]


def test_splits_of_other_words_in_both_folders(tmp_path: Path, draw_image: Make) -> None:
    for split, other in (("training", "train"), ("validation", "val")):
        draw_image(tmp_path / "images" / split / "a.jpg")
        save(stripes(0, 1), tmp_path / "annotations" / other / "a.png")
    assert [len(open_data(tmp_path, "segment", split)) for split in ("train", "val")] == [1, 1]


def test_masks_among_other_annotations(tmp_path: Path, draw_image: Make) -> None:
    for name in "abcd":
        draw_image(tmp_path / "images" / f"{name}.jpg")
        save(stripes(1, 2, 3), tmp_path / "annotations" / "trimaps" / f"{name}.png")
    (tmp_path / "annotations" / "xmls").mkdir()
    assert open_data(tmp_path, "segment", "train").labels["segment"].classes == ("1", "2", "3")


@pytest.mark.parametrize("ending", ["_mask", "_segmentation", "_manual1", ""])
def test_endings(tmp_path: Path, draw_image: Make, ending: str) -> None:
    for name in ("a", "b", "a1"):
        draw_image(tmp_path / "images" / f"{name}.jpg")
        save(stripes(0, 1), tmp_path / "masks" / f"{name}{ending}.png")
    assert sum(len(open_data(tmp_path, "segment", split)) for split in ("train", "val")) == 3


@pytest.mark.parametrize("line", ["images/{0}.jpg masks/{0}.png", "images/{0}.jpg\tmasks/{0}.png", "images/{0}.jpg,masks/{0}.png",
                                  "{0}", "{0}.jpg", "images/{0}.jpg", "images\\{0}.jpg masks\\{0}.png"])  # fmt: skip
def test_lists_of_names_with_spaces(tmp_path: Path, draw_image: Make, line: str) -> None:
    names = [f"my photo {number}" for number in range(6)]
    for name in names:
        draw_image(tmp_path / "images" / f"{name}.jpg")
        save(stripes(0, 1), tmp_path / "masks" / f"{name}.png")
    parts = {"train": names[:1], "val": names[1:3], "test": names[3:]}
    for split, part in parts.items():
        (tmp_path / f"{split}.txt").write_text("".join(line.format(name) + "\n" for name in part))
    for split, part in parts.items():
        index = open_data(tmp_path, "segment", split)
        assert [index.path(row).stem for row in range(len(index))] == part
        assert not [note for note in texts(index) if "left out" in note]


def test_a_list_that_is_not_understood_is_an_error(tmp_path: Path, draw_image: Make) -> None:
    for number in range(6):
        draw_image(tmp_path / "images" / f"{number}.jpg")
        save(stripes(0, 1), tmp_path / "masks" / f"{number}.png")
    (tmp_path / "train.txt").write_text("first\nsecond\n")
    with pytest.raises(
        DataError, match=r"train\.txt: none of its 2 lines names a file of this data set \(the first is 'first'\)"
    ):
        open_data(tmp_path, "segment", "train")
    (tmp_path / "train.txt").write_text("0\n1\nlost\n")
    (tmp_path / "val.txt").write_text("2\n")
    assert texts(open_data(tmp_path, "segment", "train")) == [
        "1 listed image without a file or a mask was left out: lost",
        "3 images that no list names were left out: images/3.jpg, images/4.jpg, images/5.jpg",
    ]


def binary(root: Path, draw_image: Make, kind: str, count: int = 6) -> Path:
    for number in range(count):
        draw_image(root / "images" / f"{number}.png")
        mask = Image.fromarray(box(left=4 + number))
        if kind == "jpg":
            save(np.asarray(mask), root / "masks" / f"{number}.jpg", quality=85)
            continue
        bigger = mask.resize((64, 48), Image.Resampling.BILINEAR).resize((32, 24), Image.Resampling.BILINEAR)
        save(np.asarray(bigger), root / "masks" / f"{number}.png")
    return root


@pytest.mark.parametrize("kind", ["jpg", "soft"])
@pytest.mark.parametrize("classes", [(), ("background", "thing")])
def test_binary_masks_with_soft_edges(tmp_path: Path, draw_image: Make, kind: str, classes: tuple[str, ...]) -> None:
    root = binary(tmp_path, draw_image, kind)
    if classes:
        (root / "classes.txt").write_text("\n".join(classes))
    index = open_data(root, "segment", "train")
    assert index.labels["segment"].classes == (classes or ("background", "foreground"))
    for row in range(len(index)):
        left = 4 + int(index.path(row).stem)
        np.testing.assert_array_equal(mask_of(index, row), box(1, left=left))
    counted = sum(((mask != 0) & (mask != 255)).sum() for mask in map(_read, sorted((root / "masks").iterdir())))
    assert texts(index)[0].startswith(
        f"{counted} pixels other than 0 and 255, at soft or lossy borders of masks, were taken as 0"
    )
    planes = open_data(root, "segment", "train", multilabel=True)
    assert planes.labels["segment"].classes == (classes or ("background", "foreground"))[1:]
    np.testing.assert_array_equal(mask_of(planes)[0], mask_of(index))


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_lossy_masks_that_are_not_binary_are_refused(tmp_path: Path, draw_image: Make) -> None:
    for number in range(4):
        draw_image(tmp_path / "images" / f"{number}.png")
        save(box(80) + box(90, 4, 2), tmp_path / "masks" / f"{number}.jpg", quality=80)
    with pytest.raises(DataError, match="these seem to be masks saved with loss .*; save them as PNG"):
        open_data(tmp_path, "segment", "train")


def test_soft_masks_of_three_named_classes_are_refused(tmp_path: Path, draw_image: Make) -> None:
    root = binary(tmp_path, draw_image, "soft")
    (root / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(
        DataError, match=r"seem to be masks saved with loss.* name two classes for masks of 0 and 255 \(here: 3\)"
    ):
        open_data(root, "segment", "train")


def test_values_at_borders_of_classes_are_no_soft_edges(tmp_path: Path, draw_image: Make) -> None:
    """A border of 255 around each object marks ignored pixels, as in VOC."""
    for number in range(4):
        mask = box(255)
        mask[8:16, 10:22] = 1
        draw_image(tmp_path / "images" / f"{number}.png")
        save(mask, tmp_path / "masks" / f"{number}.png")
    index = open_data(tmp_path, "segment", "train")
    assert index.labels["segment"].classes == ("0", "1") and not texts(index)
    share = (mask_of(index) == 255).mean()
    report = check_data(tmp_path, "segment").text()
    assert f"{share:.0%} of the pixels are ignored" in report


def test_many_values_without_names(tmp_path: Path, draw_image: Make) -> None:
    values = np.arange(24 * 32).reshape(SIZE) % 12
    for number in range(4):
        draw_image(tmp_path / "images" / f"{number}.png")
        save(values.astype(np.uint8), tmp_path / "masks" / f"{number}.png")
    index = open_data(tmp_path, "segment", "train")
    assert index.labels["segment"].class_count == 12
    assert texts(index) == ["12 classes that no file names were named by the values in the masks: 0, 1, 2, …"]
    save((values * 17).astype(np.uint8), tmp_path / "masks" / "0.png")
    with pytest.raises(
        DataError, match=r"masks hold \d+ values that nobody named \(.*\)\. Name the classes in classes\.txt"
    ):
        open_data(tmp_path, "segment", "train")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.float64, np.uint16])
def test_masks_of_numpy(tmp_path: Path, draw_image: Make, dtype: type) -> None:
    (tmp_path / "masks").mkdir()
    for number in range(4):
        draw_image(tmp_path / "images" / f"{number}.png")
        np.save(tmp_path / "masks" / f"{number}.npy", stripes(0, 1).astype(dtype))
    assert mask_of(open_data(tmp_path, "segment", "train"))[0, :4].tolist() == [0, 1, 0, 1]
    (tmp_path / "masks" / "0.npy").write_bytes(b"\x93NUMPY broken")
    for split in ("train", "val", "test"):
        index = open_data(tmp_path, "segment", split)
        for row in range(len(index)):
            if index.path(row).stem == "0":
                with pytest.raises(DataError, match=r"0\.npy: damaged, or no array of numpy"):
                    mask_of(index, row)


def test_pickled_arrays_are_refused(tmp_path: Path, draw_image: Make) -> None:
    draw_image(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy: damaged, or no array of numpy"):
        open_data(tmp_path, "segment", "train")


def test_masks_of_matlab(tmp_path: Path, draw_image: Make) -> None:
    from scipy.io import savemat

    (tmp_path / "masks").mkdir()
    for number in range(4):
        draw_image(tmp_path / "images" / f"{number}.png")
        content = [{"x": stripes(0, 1)}, {"GTcls": {"Segmentation": stripes(0, 1), "Boundaries": np.zeros((2, 2))}}]
        content += [{"mask": stripes(0, 1), "score": np.ones((3, 4))}, {"labels": stripes(0, 1).astype(float)}]
        savemat(tmp_path / "masks" / f"{number}.mat", content[number])
    file = tmp_path / "masks" / "1.mat"
    masks = {
        index.path(row).stem: mask_of(index, row)
        for index in (open_data(tmp_path, "segment", "train"),)
        for row in range(2)
    }
    assert all(mask[0, :2].tolist() == [0, 1] for mask in masks.values())
    savemat(file, {"a": stripes(0, 1), "b": stripes(0, 1)})
    with pytest.raises(DataError, match=r"1\.mat: one mask is expected, .* here are a, b"):
        _read_mask(file)
    file.write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"1\.mat: a \.mat file of version 7\.3; save it with -v7"):
        _read_mask(file)
    file.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(100) + b"damaged" * 30)
    with pytest.raises(DataError, match=r"1\.mat"):
        _read_mask(file)


def _read_mask(file: Path) -> np.ndarray:
    from vertebra.annotations.mask_files import read_mask

    return read_mask(file)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_of_photos_that_are_turned(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((24, 40, 3), dtype=np.uint8)
    stored[:8, :20] = 200
    for number in range(4):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(stored, tmp_path / "images" / f"{number}.jpg", exif=exif, quality=95)
        save((stored[..., 0] > 100).astype(np.uint8), tmp_path / "masks" / f"{number}.png")
    from vertebra.preprocess.images import read_image

    index = open_data(tmp_path, "segment", "train")
    image = read_image(index.path(0))
    if orientation < 5:
        assert not texts(index)
        return
    assert image.shape[:2] == (40, 24)
    np.testing.assert_array_equal(mask_of(index, 0, (40, 24)), image[..., 0] > 100)
    assert texts(index)[0].startswith("4 masks drawn on its photo as it is stored were turned as the photo is: ")
    assert mask_of(index.take(np.array([1])), 0, (40, 24)).shape == (40, 24)
