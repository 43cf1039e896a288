"""What the numbers of an image mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vertebra.errors import DataError
from vertebra.preprocess import number_range
from vertebra.preprocess.images import read_image
from vertebra.preprocess.number_range import stretched

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


def test_float_files_are_stretched(tmp_path: Path) -> None:
    values = np.array([[10.0, 20.0], [30.0, 15.0]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[:, :, 0].tolist() == [[0, 128], [255, 64]]
    Image.fromarray(values / 40).save(tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif")[:, :, 0].tolist() == [[64, 128], [191, 96]]


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
