"""Mask files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.mask_files import read_mask
from vertebra.annotations.mask_sample import sample_masks
from vertebra.annotations.paths import path_column
from vertebra.errors import DataError
from vertebra.tasks.segment.mask_column import NOWHERE, UNKNOWN, MaskFileColumn

MASK = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)


def saved(array: np.ndarray, path: Path) -> Path:
    Image.fromarray(array).save(path)
    return path


def made_column(root: Path, names: list[str], multilabel: bool = False) -> MaskFileColumn:
    ids = np.full(257, UNKNOWN, dtype=np.int32)
    ids[:3] = [0, 1, 2] if not multilabel else [NOWHERE, 0, 1]
    ids[9] = 255
    return MaskFileColumn(root, path_column(names), ids, 3 if not multilabel else 2, multilabel, 255)


def test_index_palette_one_bit_and_gray_rgb_masks_are_read(tmp_path: Path) -> None:
    palette = Image.fromarray(MASK, mode=None).convert("L")
    indexed = Image.new("P", (3, 2))
    indexed.putdata(MASK.ravel().tolist())
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    indexed.save(tmp_path / "p.png")
    palette.save(tmp_path / "l.png")
    Image.merge("RGB", [palette] * 3).save(tmp_path / "rgb.png")
    for name in ("p", "l", "rgb"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), MASK)
    wide = saved(MASK.astype(np.uint16) * 300, tmp_path / "wide.png")
    assert read_mask(wide).max() == 600
    Image.new("1", (2, 2), 1).save(tmp_path / "one.png")
    assert read_mask(tmp_path / "one.png").tolist() == [[1, 1], [1, 1]]


def test_masks_that_are_none_are_named(tmp_path: Path) -> None:
    colors = saved(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8), tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png: a color picture; .*Save it as a gray or palette PNG"):
        read_mask(colors)
    with pytest.raises(DataError, match=r"none\.png: no such mask file"):
        read_mask(tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"bad\.png: this mask is damaged"):
        read_mask(tmp_path / "bad.png")
    Image.new("F", (2, 2)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match="masks hold whole numbers"):
        read_mask(tmp_path / "f.tif")


def test_values_become_class_ids_and_planes(tmp_path: Path) -> None:
    values = MASK.copy()
    values[0, 0] = 9
    saved(values, tmp_path / "a.png")
    mask = made_column(tmp_path, ["a.png"]).get(0, (2, 3)).mask
    assert mask.dtype == np.uint8 and mask.tolist() == [[255, 1, 2], [2, 1, 0]]
    planes = made_column(tmp_path, ["a.png"], multilabel=True).get(0, (2, 3)).mask
    assert planes.tolist() == [[[255, 1, 0], [0, 1, 0]], [[255, 0, 1], [1, 0, 0]]]


def test_masks_that_do_not_fit_are_named(tmp_path: Path) -> None:
    saved(MASK, tmp_path / "a.png")
    saved(MASK + 5, tmp_path / "b.png")
    saved(MASK.astype(np.uint16) + 1000, tmp_path / "c.png")
    column = made_column(tmp_path, ["a.png", "b.png", "c.png", ""])
    with pytest.raises(DataError, match=r"a\.png: this mask is 2x3, but its image is 3x3"):
        column.get(0, (3, 3))
    with pytest.raises(
        DataError, match=r"b\.png: values 5, 6, 7 of no class; classes have 0 to 2; set ignore_index: 5"
    ):
        column.get(1, (2, 3))
    with pytest.raises(DataError, match="values 1000, 1001, 1002 of no class"):
        column.get(2, (2, 3))
    assert column.labeled.tolist() == [True, True, True, False]
    assert column.take(np.array([3, 0])).labeled.tolist() == [False, True]


def test_occurring_values_and_where(tmp_path: Path) -> None:
    first = saved(MASK, tmp_path / "a.png")
    second = saved(MASK + 1, tmp_path / "b.png")
    (tmp_path / "bad.png").write_bytes(b"no")
    sample = sample_masks([first, tmp_path / "bad.png", second])
    assert sample.file_of == {0: first, 1: first, 2: first, 3: second}
    assert sum(sample.counts.values()) == 2 * MASK.size and sample.counts[3] == int((MASK == 2).sum())
    with pytest.raises(DataError, match="damaged"):
        sample_masks([tmp_path / "bad.png"])
