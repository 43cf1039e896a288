"""Mask folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.data.open import open_data
from vertebra.errors import DataError

Make = Callable[..., Path]
SIZE = (24, 32)


def flat(*values: int) -> np.ndarray:
    """A mask in stripes of these values."""
    return np.array(values, dtype=np.uint8)[np.arange(32) % len(values)][None].repeat(24, axis=0)


def train_and_val(*values: int) -> dict[str, np.ndarray]:
    return {"train/a": flat(*values), "train/b": flat(values[0]), "val/c": flat(*values)}


def opened(root: Path, split: str = "train", **options: Any) -> tuple[tuple[str, ...], np.ndarray]:
    index = open_data(root, "segment", split, **options)
    return index.labels["segment"].classes, index.columns["segment"].get(0, SIZE).mask


def test_parallel_folders_with_splits_inside(masks: Make) -> None:
    root = masks(train_and_val(0, 1, 2))
    classes, mask = opened(root)
    assert classes == ("0", "1", "2") and mask[0, :4].tolist() == [0, 1, 2, 0]
    index = open_data(root, "segment", "train")
    assert index.path(1) == root / "images" / "train" / "b.jpg" and len(index) == 2


def test_split_folders_with_parallel_folders_inside(masks: Make) -> None:
    for split in ("train", "val"):
        root = masks({"a": flat(0, 1)}, images=f"{split}/images", labels=f"{split}/masks")
    assert opened(root, "val")[0] == ("0", "1")


def test_masks_folders_beside_the_splits(masks: Make) -> None:
    for split in ("train", "val", "test"):
        root = masks({"a": flat(0, 1)}, images=split, labels=f"{split}annot")
    assert len(open_data(root, "segment", "test")) == 1


def test_without_splits_everything_is_divided(masks: Make) -> None:
    root = masks({f"{number:02}": flat(0, 1) for number in range(20)}, ending="_mask")
    assert [len(open_data(root, "segment", split)) for split in ("train", "val", "test")] == [16, 2, 2]


def test_list_files(masks: Make) -> None:
    root = masks({"a": flat(0, 1), "b": flat(0)}, images="x", labels="y")
    (root / "train.txt").write_text("x/a.jpg y/a.png\n\n")
    (root / "val.txt").write_text("x/b.jpg y/b.png\n")
    assert opened(root)[1][0, :2].tolist() == [0, 1]
    assert len(open_data(root / "val.txt", "segment", "train")) == 1
    (root / "train.txt").write_text("x/a.jpg y/lost.png\n")
    with pytest.raises(DataError, match=r"train\.txt: 1 of its 1 masks do not exist, the first is .*lost\.png"):
        open_data(root, "segment", "train")
    (root / "train.txt").write_text("x/a.jpg y/a.png\nx/b.jpg\n")
    with pytest.raises(DataError, match=r"train\.txt: line 2 must be 'image mask', got 'x/b\.jpg'"):
        open_data(root, "segment", "train")


def test_binary_masks(masks: Make) -> None:
    root = masks(train_and_val(0, 255))
    classes, mask = opened(root)
    assert classes == ("background", "foreground") and mask[0, :2].tolist() == [0, 1]
    classes, planes = opened(root, multilabel=True)
    assert classes == ("foreground",) and planes[:, 0, :2].tolist() == [[0, 1]]
    assert opened(root, classes=["ground", "road"])[1][0, :2].tolist() == [0, 1]
    assert opened(root, ignore_index=255)[1][0, :2].tolist() == [0, 255]


def test_255_is_ignored_beside_other_values(masks: Make) -> None:
    classes, mask = opened(masks(train_and_val(0, 1, 255)))
    assert classes == ("0", "1") and mask[0, :3].tolist() == [0, 1, 255]


def test_ignore_index(masks: Make) -> None:
    root = masks(train_and_val(0, 1, 11))
    classes, mask = opened(root, ignore_index=11)
    assert classes == ("0", "1") and mask[0, :3].tolist() == [0, 1, 255]
    assert opened(root)[0] == ("0", "1", "11")
    assert opened(root, "val", classes=["0", "1", "11"])[1][0, :3].tolist() == [0, 1, 2]


def test_names_from_a_file_and_from_the_user(masks: Make) -> None:
    root = masks(train_and_val(0, 2))
    (root / "classes.txt").write_text("sky\nroad\ncar\n\n")
    classes, mask = opened(root)
    assert classes == ("sky", "road", "car") and mask[0, :2].tolist() == [0, 2]
    notes = [str(note) for note in open_data(root, "segment", "train").notes]
    assert notes == ["1 class that no image has was kept: road"]
    assert opened(root, classes=["a", "b", "c"])[0] == ("a", "b", "c")
    planes = opened(root, multilabel=True, classes=["a", "b"])
    assert planes[1][:, 0, :2].tolist() == [[0, 0], [0, 1]]


def test_a_value_of_no_class_is_named(masks: Make) -> None:
    root = masks({**train_and_val(0, 1), "train/b": flat(0, 7)})
    with pytest.raises(DataError, match=r"b\.png: value 7 of no class; classes have 0, 1\. Set ignore_index: 7"):
        open_data(root, "segment", "train", classes=["a", "b"])


def test_unpaired_files_are_named(masks: Make, draw_image: Make) -> None:
    root = masks(train_and_val(0, 1))
    draw_image(root / "images" / "train" / "alone.jpg")
    (root / "images" / "train" / "b.jpg").unlink()
    notes = [str(note) for note in open_data(root, "segment", "train").notes]
    assert notes == ["1 image without a mask was left out: alone.jpg", "1 mask without an image was left out: b.png"]
    for path in (root / "masks" / "train").iterdir():
        path.rename(path.with_name(f"other_{path.name}"))
    with pytest.raises(DataError, match=r"no image has a mask of its name in .*masks"):
        open_data(root, "segment", "train")


def test_damaged_masks(masks: Make) -> None:
    root = masks(train_and_val(0, 1))
    (root / "masks" / "train" / "b.png").write_bytes(b"no")
    assert len(open_data(root, "segment", "train")) == 2
    with pytest.raises(DataError, match=r"b\.png: this mask is damaged"):
        open_data(root, "segment", "train").columns["segment"].get(1, SIZE)


def test_names_that_are_numbers_which_no_mask_holds(masks: Make) -> None:
    """A barcode as a name is a name: nothing is as large as its number."""
    root = masks(train_and_val(0, 1))
    barcodes = ["4006381333931", "9999999999999999999999"]
    classes, mask = opened(root, classes=barcodes)
    assert classes == tuple(barcodes) and mask[0, :2].tolist() == [0, 1]
    (root / "classes.txt").write_text("\n".join(barcodes))
    assert opened(root)[0] == tuple(barcodes)
    (root / "classes.txt").write_text("\n \n# none\n")
    with pytest.raises(DataError, match=r"classes\.txt: it names no class"):
        opened(root)
    (root / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"classes\.txt: not text in UTF-8"):
        opened(root)


def test_a_pixel_of_two_billion_is_named(masks: Make) -> None:
    root = masks({**train_and_val(0, 1), "train/a": flat(0, 1)})
    values = flat(0, 1).astype(np.int32)
    values[3, 4] = 2**31 - 1
    file = root / "masks" / "train" / "b.tif"
    file.with_suffix(".png").unlink()
    Image.fromarray(values).save(file)
    with pytest.raises(
        DataError, match=r"b\.tif: it holds the value 2147483647, but masks hold class numbers from 0 to 65535"
    ):
        opened(root)
    values[3, 4] = 65535
    Image.fromarray(values).save(file)
    assert opened(root)[0] == ("0", "1", "65535")
    column = open_data(root, "segment", "train", classes=["a", "b"], ignore_index=65535).columns["segment"]
    assert column.get(1, SIZE).mask[3, :5].tolist() == [0, 1, 0, 1, 255]
    values[3, 4] = 2**31 - 1
    Image.fromarray(values).save(file)
    with pytest.raises(
        DataError, match="value 2147483647 of no class; classes have 0, 1, at most 65535; save the mask"
    ):
        column.get(1, SIZE)


def test_16_bit_masks_are_looked_up(masks: Make) -> None:
    root = masks(
        {name: np.minimum(values.astype(np.uint16) * 7, 700) for name, values in train_and_val(0, 1, 100).items()}
    )
    classes, mask = opened(root)
    assert classes == ("0", "7", "700") and mask[0, :3].tolist() == [0, 1, 2]


def test_more_overlapping_classes_than_a_byte_holds(masks: Make) -> None:
    with pytest.raises(DataError, match="256 classes; at most 255 may overlap. Set multilabel: false, or name fewer"):
        opened(masks(train_and_val(0, 1)), multilabel=True, classes=[f"c{number}" for number in range(256)])


def test_doubled_lines_of_lists(masks: Make) -> None:
    root = masks({"a": flat(0, 1), "b": flat(0)}, images="x", labels="y")
    (root / "train.txt").write_text("x/a.jpg y/a.png\nx/b.jpg y/b.png\nx/a.jpg y/a.png\n")
    (root / "val.txt").write_text("x/b.jpg y/b.png\n")
    index = open_data(root, "segment", "train")
    assert len(index) == 2
    assert str(index.notes[0]) == "1 line of train.txt, a copy of another, was left out: x/a.jpg"
    (root / "train.txt").write_text("x/a.jpg y/a.png\nx/a.jpg y/b.png\n")
    with pytest.raises(DataError, match=r"train\.txt: image x/a\.jpg has two masks, y/a\.png and y/b\.png; keep one"):
        open_data(root, "segment", "train")


def test_real_streets(assets: Path) -> None:
    root = assets / "segmentation" / "camvid"
    parts = {split: open_data(root, "segment", split, ignore_index=11) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 77, "val": 26, "test": 40}
    assert parts["train"].labels["segment"].classes == tuple(str(value) for value in range(11))
    mask = parts["test"].columns["segment"].get(0, (360, 480)).mask
    assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {*range(11), 255}
