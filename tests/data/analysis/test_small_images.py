"""Images at reduced scale, and the facts of their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.data.analysis.small_images import read_small
from vertebra.errors import DataError


def ramp(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(np.linspace(0, 255, width), (height, width)).astype(np.uint8)


def test_the_longer_side_is_256(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        Image.fromarray(np.stack([ramp(600, 1200)] * 3, axis=2)).save(tmp_path / name)
        small = read_small(tmp_path / name)
        assert small.image.shape == (128, 256, 3) and small.image.dtype == np.uint8
        assert (small.size, small.mode, small.channels, small.bits) == ((600, 1200), "RGB", 3, 8)
        assert np.abs(small.image[64, :, 0] - np.linspace(0, 255, 256)).max() < 3


def test_small_images_stay(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_small(tmp_path / "a.png").image, pixels)


def test_turned_photographs_are_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(ramp(40, 80)).convert("RGB").save(tmp_path / "a.jpg", exif=tags)
    small = read_small(tmp_path / "a.jpg")
    assert small.size == (80, 40) and small.image.shape == (80, 40, 3)
    assert small.image[70].mean() > small.image[5].mean() + 100


@pytest.mark.parametrize(
    ("mode", "channels", "bits"),
    [("L", 1, 8), ("RGBA", 4, 8), ("LA", 2, 8), ("P", 3, 8), ("1", 1, 1), ("I;16", 1, 16)],
)
def test_kinds_of_png_files(tmp_path: Path, mode: str, channels: int, bits: int) -> None:
    picture = Image.fromarray(ramp(300, 600))
    if mode == "I;16":
        picture = Image.fromarray(ramp(300, 600).astype(np.uint16) * 200)
    picture = picture if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "a.png")
    small = read_small(tmp_path / "a.png")
    assert (small.mode, small.channels, small.bits) == (mode, channels, bits)
    assert small.image.shape == (128, 256, 3)
    assert np.abs(small.image[:, :, 0].mean() - 127) < 5


def test_color_of_16_bits_is_told(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    import struct
    import zlib

    rows = b"".join(b"\0" + np.full((8, 3), 1000, dtype=">u2").tobytes() for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    small = read_small(tmp_path / "a.png")
    assert (small.mode, small.channels, small.bits) == ("RGB", 3, 16)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg: not an image that can be read"):
        read_small(tmp_path / "a.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"b\.png: damaged or cut off"):
        read_small(tmp_path / "b.png")
