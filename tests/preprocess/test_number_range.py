"""What the numbers of an image mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vertebra.errors import ConfigError, DataError
from vertebra.preprocess import number_range
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import read_image
from vertebra.preprocess.number_range import RangeUse, parse_scale, stretched

BYTES = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_within_0_and_1_are_that_range(kind: Any) -> None:
    floats = (BYTES / 255).astype(kind)
    np.testing.assert_array_equal(read_image(floats), BYTES)
    np.testing.assert_array_equal(read_image(torch.from_numpy(floats).permute(2, 0, 1)), BYTES)
    dark = np.full((4, 4), 0.25, dtype=kind)  # the range is 0..1, not that of the image
    assert (read_image(dark) == 64).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32, np.int64, np.uint32])
def test_whole_numbers_within_0_and_255_are_8_bit(kind: Any) -> None:
    narrow = BYTES // 4 + 30
    for source in (narrow.astype(kind), torch.from_numpy(narrow.astype(kind, copy=True)).permute(2, 0, 1)):
        np.testing.assert_array_equal(read_image(source), narrow)


@pytest.mark.parametrize("values", [[-2.1, 2.6], [0.0, 1.5], [10.25, 45.1], [0, 256.0], [-1, 1]])
def test_floats_of_another_range_are_refused(values: list[float]) -> None:
    with pytest.raises(
        DataError, match=r"ndarray of shape \(1, 2\): it holds float64 from .* or floats from 0 to 1"
    ) as caught:
        read_image(np.array([values], dtype=np.float64))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="it holds int64 from -1 to 700"):
        read_image(np.array([[-1, 700]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float) -> None:
    values = np.full((8, 8), 0.5, dtype=np.float32)
    values[2, 3] = bad
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    for source in (path, path.read_bytes(), values, Image.open(path)):
        with pytest.raises(DataError, match="1 of its 64 values are NaN or infinite; replace them by numbers first"):
            read_image(source)


def test_float_files_of_another_range_need_scale(tmp_path: Path) -> None:
    values = np.array([[10.0, 20.0], [30.0, 15.0]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(
        DataError, match=r"a\.tif: it holds float32 from 10 to 30, .* state the range .* scale: \[low, high\]"
    ):
        read_image(tmp_path / "a.tif")  # whole numbers in a file may be counts
    assert read_image(tmp_path / "a.tif", scale=(10.0, 30.0))[:, :, 0].tolist() == [[0, 128], [255, 64]]
    Image.fromarray(values / 40).save(tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif")[:, :, 0].tolist() == [[64, 128], [191, 96]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_a_stated_range_is_the_same_for_all_types(dtype: Any) -> None:
    values = np.array([[100, 200], [300, 400], [50, 500]]).astype(dtype)
    for source in (values, torch.from_numpy(values.astype(np.float64)), Image.fromarray(values.astype(np.float32))):
        assert read_image(source, 1, scale=(100.0, 400.0))[:, :, 0].tolist() == [[0, 85], [170, 255], [0, 255]]
    assert (read_image(BYTES, scale=(0.0, 4095.0)) == BYTES).all()  # 8 bit has one range


@pytest.mark.parametrize(
    ("option", "expected"),
    [("auto", "auto"), (255, (0, 255)), (65535, (0, 65535)), ([-1024, 3071], (-1024, 3071)), ((0, 0.5), (0, 0.5))],
)
def test_a_range_is_an_option(option: Any, expected: Any) -> None:
    spec = ResizeSpec((8, 8), scale=option)
    assert spec.scale == expected == parse_scale(option)
    assert ResizeSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "option", ["min-max", 0, -5, [1, 1], [5, 2], [1, 2, 3], True, None, [0, "x"], float("nan"), {}]
)
def test_wrong_ranges_are_refused(option: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"scale must be auto, the number of white \(255 or 65535\), or \[low, high\]"
    ):
        parse_scale(option)


def test_the_use_of_a_range_is_counted() -> None:
    use = RangeUse()
    for highest in (900, 4000):
        read_image(np.full((3, 3), highest, dtype=np.uint16), use=use)
    read_image(BYTES, use=use)
    [line] = use.warnings()
    assert line.startswith("2 of 3 images hold numbers up to 4000 of 0..65535, so the model gets 16 of 256 gray levels")
    assert "scale: [0, 4095]" in line
    assert use.notes() == ["1 of 3 images are of 8 bit; 'scale' does not change them"]
    read_image(np.full((3, 3), 30_000, dtype=np.uint16), use=use)  # a bright image: the others are dark by themselves
    assert not use.warnings()
    use = RangeUse((0.0, 4095.0))
    for highest in (4000, 5000):
        read_image(np.full((3, 3), highest), scale=use.scale, use=use)
    assert use.warnings() == [
        "1 of 2 images hold numbers outside scale: [0, 4095], which are clipped (they reach from 4000 to 5000)"
    ]
    assert not use.notes() and not RangeUse().warnings() and not RangeUse().notes()


def test_far_numbers_are_computed_without_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.array([[-3e38, 0], [3e38, 1.5e38]], dtype=np.float32)
    assert stretched(wide, "a").tolist() == [[0, 128], [255, 191]]
    assert stretched(np.array([[2**31 - 1, 2**31 - 256]], dtype=np.int64), "a").tolist() == [[255, 0]]
    with pytest.raises(DataError, match="a: its values are too far apart"):
        stretched(np.array([[-1.7e308, 1.7e308]]), "a")
    monkeypatch.setattr(number_range, "BLOCK", 4)  # rows by themselves give the same
    assert stretched(wide, "a").tolist() == [[0, 128], [255, 191]]
    np.testing.assert_array_equal(read_image(BYTES.astype(float)), BYTES)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="must hold numbers, got complex128"):
        read_image(np.zeros((2, 2), dtype=complex))
