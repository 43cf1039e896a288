"""Image files are opened in one place, by an allow list of formats, within limits that the header must promise."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from vertebra.annotations.mask_files import read_mask
from vertebra.errors import DataError
from vertebra.preprocess import image_files
from vertebra.preprocess.image_files import FORMATS, open_image
from vertebra.preprocess.images import image_size, read_image

SOURCE = Path(image_files.__file__).parents[1]
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\n%%EOF\n"
READ: tuple[Callable[[Any], Any], ...] = (read_image, image_size, read_mask)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int = 8, kind: int = 2, filler: int = 0) -> bytes:
    """A PNG file with this header, nearly no pixels, and so many bytes that mean nothing."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    more = chunk(b"teSt", bytes(filler)) if filler else b""
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + body + chunk(b"IEND", b"")


def test_postscript_is_not_run_whatever_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    path = tmp_path / "photo.jpg"
    path.write_bytes(POSTSCRIPT)
    with Image.open(path) as picture, pytest.raises(AssertionError):
        picture.load()  # what Pillow does by itself
    for read in READ:
        with pytest.raises(DataError, match=r"photo\.jpg: (not an image|this mask is damaged or no image)"):
            read(path)
    with pytest.raises(DataError, match="not an image that can be read"):
        read_image(POSTSCRIPT)
    with Image.open(path) as picture, pytest.raises(DataError, match="EPS is not a supported format"):
        read_image(picture)


@pytest.mark.parametrize("kind", ["PDF", "PSD", "ICO", "ICNS", "PCX", "SGI", "DDS", "TGA", "IM"])
def test_other_formats_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.png"
    if kind in ("PSD",):
        path.write_bytes(b"8BPS\0\1" + bytes(60))
    else:
        Image.new("RGB", (32, 32)).save(path, kind)
    with pytest.raises(
        DataError, match=r"photo\.png: not an image that can be read; remove it, or save it as JPEG or PNG"
    ):
        read_image(path)


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_formats_of_the_list_are_read(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (200, 10, 10)).save(buffer, kind)
    found = read_image(buffer.getvalue())
    assert found.shape == (10, 12, 3) and np.abs(found.astype(int) - [200, 10, 10]).max() < 12


def test_nobody_else_opens_images() -> None:
    pattern = re.compile(
        r"Image\.open\(|PIL\.open|imread\(|imdecode\(|read_file\(|decode_image\(|default_loader|ImageFolder(?!Reader|Writer)"
    )
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"preprocess/image_files.py"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", png(9000, 9000)),
        ("gray.png", png(13_000, 13_000, kind=0)),
        ("16bit.png", png(9000, 9000, bits=16, kind=0)),
    ],
    ids=["color", "gray", "16-bit"],
)
def test_small_files_of_many_pixels_are_refused_by_their_header(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in READ:
        with pytest.raises(DataError, match=r"in a file of only \d+ bytes, which may be a decompression bomb; cut the"):
            read(path)


@pytest.mark.parametrize(
    ("kind", "mode"), [("WEBP", "RGB"), ("TIFF", "RGB"), ("TIFF", "F"), ("JPEG", "L"), ("GIF", "P")]
)
def test_headers_of_other_formats_are_weighed(kind: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    options: dict[str, Any] = (
        {"lossless": True} if kind == "WEBP" else {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    )
    Image.new(mode, (600, 600)).save(buffer, kind, **options)
    assert read_image(buffer.getvalue()).shape == (600, 600, 3)
    monkeypatch.setattr(image_files, "MEMORY", 1_000_000)
    monkeypatch.setattr(image_files, "PIXELS_PER_BYTE", 1)
    with pytest.raises(DataError, match="may be a decompression bomb"):
        read_image(buffer.getvalue())
    monkeypatch.setattr(image_files, "PIXELS_PER_BYTE", 100_000)
    assert read_image(buffer.getvalue()).shape == (600, 600, 3)


def test_large_images_whose_files_are_large_are_read(tmp_path: Path) -> None:
    path = tmp_path / "satellite.png"
    path.write_bytes(png(9000, 9000, filler=9000 * 9000 // 60))
    assert image_size(path) == (9000, 9000)
    path.write_bytes(png(9000, 9000, kind=0))  # a mask of as many pixels takes little, however well it is packed
    assert image_size(path) == (9000, 9000)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_limits_of_pixels_and_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = png(20_000, 20_000, filler=10_000_000)
    with pytest.raises(DataError, match="more than 178956970 pixels; cut the image into smaller ones"):
        read_image(huge)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300_000_000)
    (tmp_path / "a.png").write_bytes(huge)
    assert image_size(tmp_path / "a.png") == (20_000, 20_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert image_size(tmp_path / "a.png") == (20_000, 20_000)
    with pytest.raises(DataError, match="2000000x1 pixels .* a side may have 1000000"):
        read_image(png(2_000_000, 1))
    with pytest.raises(DataError):
        read_image(png(0, 5))


def test_a_picture_in_many_strips_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    for mode in ("RGBA", "P", "L", "CMYK", "1"):
        picture = Image.fromarray(values).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(values)
        for channels in (1, 3, 4):
            monkeypatch.setattr("vertebra.preprocess.channels.STRIP", 2**22)
            whole = read_image(picture, channels=channels)
            monkeypatch.setattr("vertebra.preprocess.channels.STRIP", 100)
            np.testing.assert_array_equal(read_image(picture, channels=channels), whole)


def test_what_is_open_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(9000, 9000))
    with pytest.raises(DataError):
        open_image(path)  # a file that stays open would be a ResourceWarning, which is an error in these tests
    path.unlink()
