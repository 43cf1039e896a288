"""16-bit, float and multi-band images are read as their files have them, and scaled by one stated range."""

from __future__ import annotations

import io
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.preprocess.image_samples import chunk, numbers, png16, tiff
from vertebra.errors import DataError
from vertebra.preprocess import image_files, tiff_files
from vertebra.preprocess.images import decoded_size, image_size, read_image, read_picture

FULL = (0.0, 65535.0)


def to_8_bit(array: np.ndarray, low: float = 0, high: float = 65535) -> np.ndarray:
    return ((array.astype(float) - low) / (high - low) * 255).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_equal_numbers_are_equal_gray_levels_in_all_images(tmp_path: Path, name: str) -> None:
    """Each image used to be stretched by itself, so 20000 and 40000 counts were the same."""
    levels = []
    for count in (20_000, 40_000):
        values = np.full((4, 5), count, dtype=np.uint16)
        values[0, 0] = 0
        Image.fromarray(values).save(tmp_path / name)
        for source in (tmp_path / name, values):
            levels.append(read_image(source)[1, 1].tolist())
    assert levels == [[78] * 3, [78] * 3, [156] * 3, [156] * 3]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tiff", "zlib", "big endian", "planes"])
def test_16_bit_color_keeps_its_low_bytes(channels: int, kind: str) -> None:
    values = numbers((7, 9, channels))
    options: dict[str, Any] = {"zlib": {"compression": "zlib"}, "big endian": {"byteorder": ">"}}.get(kind, {})
    if kind == "planes" and channels > 1:
        content = tiff(np.moveaxis(values, -1, 0), planarconfig="separate", photometric="rgb")
    else:
        content = png16(values) if kind == "png" else tiff(values if channels > 1 else values[:, :, 0], **options)
    for scale in (FULL, (1000.0, 1500.0)):
        np.testing.assert_array_equal(
            read_image(content, channels, scale=scale)[:, :, :3], to_8_bit(values, *scale)[:, :, :3]
        )
    assert (read_image(content, channels)[:, :, :3] == to_8_bit(values)[:, :, :3]).all()


def test_16_bit_transparency_is_laid_on_white() -> None:
    gray = np.array([[[1000, 65535], [1000, 0]]], dtype=np.uint16)
    color = np.array([[[1000, 0, 0, 65535], [1000, 0, 0, 0]]], dtype=np.uint16)
    for values, expected in ((gray, [255] * 3), (color, [255, 0, 0])):
        assert read_image(png16(values), scale=(0.0, 1000.0))[0].tolist() == [expected, [255] * 3]
    key = png16(color[:, :, :3] + np.array([[[0], [1]]], np.uint16), chunk(b"tRNS", struct.pack(">HHH", 1001, 1, 1)))
    assert read_image(key, scale=(0.0, 1000.0))[0].tolist() == [[255, 0, 0], [255] * 3]
    np.testing.assert_array_equal(read_image(png16(color), 4, scale=(0.0, 1000.0))[0, 1], [255, 0, 0, 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bands", [1, 2, 4, 5, 16])
def test_bands_and_pages_are_channels(dtype: Any, bands: int, compression: Any) -> None:
    values = numbers((6, 8, bands), dtype, 200)
    scale = (0.0, 400.0)
    expected = values if dtype == np.uint8 else to_8_bit(values, *scale)
    options = {"photometric": "minisblack", "compression": compression}
    contents = [
        tiff(values, planarconfig="contig", **options) if bands > 1 else tiff(values[:, :, 0], **options),
        tiff(np.moveaxis(values, -1, 0), **options),  # a page for each band
        tiff(np.moveaxis(values, -1, 0), planarconfig="separate", **options) if bands > 1 else tiff(values[:, :, 0]),
    ]
    array = io.BytesIO()
    np.save(array, values)
    for content in (*contents, array.getvalue()):
        np.testing.assert_array_equal(read_image(content, bands, scale=scale), expected)
        assert read_picture(content).shape == (6, 8, 3)


def test_a_fourth_band_is_transparency_only_where_it_is_declared() -> None:
    values = numbers((5, 6, 4), np.uint8, 256)
    declared = tiff(values, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(declared), read_image(values))
    for content in (
        tiff(values, photometric="rgb", extrasamples=["unspecified"]),
        tiff(values, photometric="minisblack", planarconfig="contig"),
        tiff(np.moveaxis(values, -1, 0), photometric="minisblack"),
    ):
        np.testing.assert_array_equal(read_image(content, 4), values)
        with pytest.raises(DataError, match=r"4 channels.*, and the model takes 3; .*model\.backbone\.in_channels=4"):
            read_image(content)
    np.testing.assert_array_equal(read_image(declared, 4), values)


def test_premultiplied_colors_are_divided_by_their_alpha() -> None:
    values = np.array([[[0.25, 0.5, 0.0, 0.5], [0, 0, 0, 0]]], dtype=np.float32)
    content = tiff(values, photometric="rgb", extrasamples=["assocalpha"])
    assert read_image(content)[0].tolist() == [[191, 255, 127], [255, 255, 255]]


def test_pages_that_are_no_bands_are_refused(tmp_path: Path) -> None:
    color = [Image.new("RGB", (8, 6), value) for value in ("red", "green")]
    path = tmp_path / "scan.tif"
    color[0].save(path, save_all=True, append_images=color[1:])
    with pytest.raises(
        DataError, match=r"scan\.tif: its 2 pages have 6 channels in all, and the model takes 3; save each"
    ):
        read_image(path)
    assert read_image(path, 6)[0, 0].tolist() == [255, 0, 0, 0, 128, 0]
    Image.new("L", (8, 6)).save(path, save_all=True, append_images=[Image.new("L", (9, 6))])
    with pytest.raises(DataError, match="its 2 pages have different sizes"):
        read_image(path, 2)
    Image.new("L", (8, 6)).save(path, save_all=True, append_images=[Image.fromarray(numbers((6, 8)))])
    with pytest.raises(DataError, match="its 2 pages are of uint16 and uint8"):
        read_image(path, 2)
    assert image_size(path) == (6, 8)


def test_reduced_copies_and_masks_among_the_pages_are_left_out() -> None:
    import tifffile

    values, content = numbers((8, 10, 5), high=60_000), io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        file.write(values, photometric="minisblack", planarconfig="contig")
        file.write(values[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1)
    np.testing.assert_array_equal(read_image(content.getvalue(), 5), to_8_bit(values))
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        file.write(values[:, :, 0])
        file.write(values[::2, ::2, 0], subfiletype=1)
    np.testing.assert_array_equal(read_image(content.getvalue(), 1), to_8_bit(values[:, :, :1]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_many_bands(tmp_path: Path, orientation: int) -> None:
    values = numbers((4, 7, 5), np.uint8, 256)
    path = tmp_path / "a.tif"
    path.write_bytes(
        tiff(values, photometric="minisblack", planarconfig="contig", extratags=[(274, 3, 1, orientation, True)])
    )
    upright = read_image(path, 5)
    turned = values.swapaxes(0, 1) if orientation > 4 else values
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    np.testing.assert_array_equal(upright, turned[::-1] if orientation in (3, 4, 7, 8) else turned)
    assert image_size(path) == upright.shape[:2] == decoded_size(path)
    for compression in (None, "zlib"):
        gray = tmp_path / f"{compression}.tif"
        gray.write_bytes(tiff(values[:, :, 0], extratags=[(274, 3, 1, orientation, True)], compression=compression))
        np.testing.assert_array_equal(upright[:, :, :1], read_image(gray, 1))
        assert image_size(gray) == upright.shape[:2]


def test_white_is_zero() -> None:
    values = numbers((4, 5))
    content = tiff(values, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(content, 1)[:, :, 0], to_8_bit(65535 - values))


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs is installed")
def test_compressions_that_need_a_package_name_it() -> None:
    content = bytearray(tiff(numbers((6, 8, 5)), photometric="minisblack", planarconfig="contig"))
    at = content.index(struct.pack("<HHI", 259, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", 5)
    with pytest.raises(DataError, match=r"its compression LZW needs the package 'imagecodecs'; install it: .*\[tiff\]"):
        read_image(bytes(content), 5)
    picture = io.BytesIO()  # Pillow has the codec, so 16-bit gray and color need no package
    Image.fromarray(numbers((6, 8))).save(picture, "TIFF", compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(picture.getvalue(), 1)[:, :, 0], to_8_bit(numbers((6, 8))))


def test_limits_hold_for_all_bands_and_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((200, 200, 8), dtype=np.uint16)
    bands = tiff(zeros, photometric="minisblack", planarconfig="contig", compression="zlib")
    pages = tiff(np.moveaxis(zeros, -1, 0), compression="zlib", photometric="minisblack")
    for content in (bands, pages):
        assert read_image(content, 8).shape == (200, 200, 8)
    monkeypatch.setattr(image_files, "MEMORY", 1_000_000)
    monkeypatch.setattr(image_files, "PIXELS_PER_BYTE", 1)
    for content in (bands, pages):
        with pytest.raises(DataError, match="may be a decompression bomb"):
            read_image(content, 8)
    monkeypatch.setattr(tiff_files, "MAX_PAGES", 5)
    with pytest.raises(DataError, match="it has 8 pages, and an image may have 5"):
        read_image(pages, 8)


def test_arrays_in_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, numbers((4, 6, 3), high=4096))
    np.testing.assert_array_equal(
        read_image(path, scale=(0.0, 4095.0)), to_8_bit(numbers((4, 6, 3), high=4096), 0, 4095)
    )
    assert image_size(path) == decoded_size(path) == (4, 6)
    np.save(path, numbers((3, 40, 60)))
    with pytest.raises(DataError, match=r"a\.npy: it has 60 channels, and the model takes 3; arrays are \(H, W, C\)"):
        read_image(path)
    np.save(path, np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npy: damaged or cut off"):
        read_image(path)
    np.save(path, np.zeros(5))
    with pytest.raises(DataError, match=r"must be \(H, W\) or \(H, W, C\)"):
        read_image(path)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_cut_off_files_are_refused(keep: float) -> None:
    values = numbers((40, 50, 5))
    contents = [
        png16(values[:, :, :3]),
        tiff(values, photometric="minisblack", planarconfig="contig", compression="zlib"),
    ]
    array = io.BytesIO()
    np.save(array, values)
    for content in (*contents, array.getvalue()):
        with pytest.raises(DataError, match=r"image of \d+ bytes: (damaged or cut off|not an image)"):
            read_image(content[: int(len(content) * keep)], 5)


def test_pictures_to_look_at_are_stretched() -> None:
    values = np.array([[1000, 1500], [2000, 1250]], dtype=np.uint16)
    for source in (values, tiff(values)):
        assert read_picture(source)[:, :, 0].tolist() == [[0, 128], [255, 64]]
    bands = numbers((4, 5, 6), np.float32)
    assert (read_picture(tiff(bands, photometric="minisblack", planarconfig="contig")) == read_picture(bands)).all()
    assert read_picture(np.full((2, 2), 7)).max() == 7
