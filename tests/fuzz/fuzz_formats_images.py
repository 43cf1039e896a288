"""Images: files of each format damaged in their bytes, and in the numbers of their headers."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from fuzz_damage import spoil_bytes
from fuzz_runner import Format
from PIL import Image

from vertebra.annotations.mask_files import read_mask
from vertebra.errors import DataError
from vertebra.preprocess.images import image_size, read_image

ZEROS = zlib.compress(b"\0" * 10_000_000)
EXTREMES = (0, 1, 2, 3, 255, 16383, 16384, 65535, 100_000, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)

# suffix, modes, and options of saving
KINDS: dict[str, tuple[str, tuple[str, ...], tuple[dict[str, Any], ...]]] = {
    "png": (".png", ("RGB", "L", "P", "RGBA", "I;16", "1", "LA"), ({}, {"optimize": True})),
    "jpeg": (".jpg", ("RGB", "L", "CMYK"), ({}, {"progressive": True}, {"quality": 95, "subsampling": 0})),
    "tiff": (
        ".tif",
        ("RGB", "L", "P", "I;16", "F", "1", "CMYK", "RGBA"),
        ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "packbits"}),
    ),
    "webp": (".webp", ("RGB", "RGBA"), ({}, {"lossless": True})),
    "bmp": (".bmp", ("RGB", "L", "P", "1"), ({},)),
    "gif": (".gif", ("P", "L"), ({}, {"interlace": 0})),
    "ppm": (".ppm", ("RGB", "L", "1"), ({},)),
    "jpeg2000": (".jp2", ("RGB", "L"), ({}, {"irreversible": True})),
    "avif": (".avif", ("RGB", "RGBA"), ({},)),
}


def _picture(mode: str) -> Image.Image:
    rows, columns = np.mgrid[0:40, 0:48]
    values = ((rows * 5 + columns * 3) % 256).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray((values * 200.0).astype(np.uint16))
    if mode == "F":
        return Image.fromarray(values.astype(np.float32))
    return Image.fromarray(np.stack([values, values.T[:40, :40].repeat(2, 1)[:, :48], values], axis=-1)).convert(mode)


def _write(folder: Path, kind: str) -> Path:
    """One file of each mode and way of saving; the one to open is the first."""
    suffix, modes, options = KINDS[kind]
    for number, (mode, how) in enumerate((mode, how) for mode in modes for how in options):
        _picture(mode).save(folder / f"{number:02}{suffix}", **how)
    if kind in ("gif", "webp", "tiff", "png"):
        frames = [Image.new("RGB", (48, 40), (value, 0, 0)) for value in (10, 90, 200)]
        frames[0].save(folder / f"99{suffix}", save_all=True, append_images=frames[1:])
    return folder / f"00{suffix}"


def _write_deep(folder: Path, kind: str) -> Path:
    """Files of 16 bits, floats and several bands, which Pillow does not write."""
    values = np.asarray(_picture("RGB")).astype(np.uint16) * 200
    if kind == "npy":
        for number, array in enumerate((values, values[:, :, 0], (values / 65535).astype(np.float32))):
            np.save(folder / f"{number}.npy", array)
        return folder / "0.npy"
    if kind == "png16":
        for number, color in enumerate((0, 2, 4, 6)):
            pixels = np.tile(values, 2)[:, :, : (1, 3, 2, 4)[number]]
            rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
            header = struct.pack(">IIBBBBB", 48, 40, 16, color, 0, 0, 0)
            body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
            (folder / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        return folder / "1.png"
    layouts: tuple[dict[str, Any], ...] = (
        {"photometric": "rgb"},
        {"photometric": "minisblack", "planarconfig": "contig"},
        {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"},
        {"photometric": "minisblack", "planarconfig": "contig", "tile": (16, 16)},
    )
    for number, layout in enumerate(layouts):
        tifffile.imwrite(folder / f"{number}.tif", values, **layout)
        tifffile.imwrite(folder / f"{number}f.tif", (values / 65535).astype(np.float32), **layout)
    tifffile.imwrite(folder / "pages.tif", np.moveaxis(values, -1, 0), photometric="minisblack")
    return folder / "1.tif"


def _spoil(rng: np.random.Generator, path: Path, kind: str) -> None:
    files = sorted(path.parent.iterdir())
    content = files[int(rng.integers(len(files)))].read_bytes()
    for _ in range(int(rng.integers(1, 4))):
        if rng.integers(2) and kind in _HEADERS:
            content = _HEADERS[kind](rng, content)
        else:
            content = spoil_bytes(rng, content)
    path.write_bytes(content)


def _extreme(rng: np.random.Generator) -> int:
    return EXTREMES[int(rng.integers(len(EXTREMES)))]


def _spoil_png(rng: np.random.Generator, content: bytes) -> bytes:
    """A number of the header, or a chunk more, with checksums that are right."""
    if rng.integers(2) or len(content) < 33:
        header = bytearray(content[16:29].ljust(13, b"\0"))
        at = int(rng.choice([0, 4, 8, 9, 12]))
        header[at : at + (4 if at < 8 else 1)] = struct.pack(">I", _extreme(rng))[0 if at < 8 else 3 :]
        return content[:8] + _chunk(b"IHDR", bytes(header)) + content[33:]
    body = [
        (b"zTXt", b"k\0\0" + ZEROS),
        (b"iCCP", b"k\0\0" + ZEROS),
        (b"tEXt", b"k\0" + b"x" * 100),
        (b"acTL", struct.pack(">II", _extreme(rng), 0)),
        (b"tRNS", rng.bytes(6)),
        (b"eXIf", rng.bytes(40)),
        (b"PLTE", rng.bytes(33)),
    ]
    name, data = body[int(rng.integers(len(body)))]
    return content[:33] + _chunk(name, data) * int(rng.integers(1, 4)) + content[33:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _spoil_tiff(rng: np.random.Generator, content: bytes) -> bytes:
    """One entry of the first directory: its tag, type, count or value."""
    data = bytearray(content)
    if len(data) < 16 or data[:2] != b"II":
        return content
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    if not count:
        return content
    entry = first + 2 + 12 * int(rng.integers(count))
    at, width = ((0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 4))[int(rng.integers(6))]
    value = int(rng.integers(254, 340)) if at == 0 else int(rng.integers(0, 20)) if at == 2 else _extreme(rng)
    data[entry + at : entry + at + width] = value.to_bytes(4, "little")[:width]
    return bytes(data)


def _spoil_at(rng: np.random.Generator, content: bytes, places: tuple[int, ...], width: int, order: Any) -> bytes:
    """An extreme number at one of these places of the header."""
    data = bytearray(content)
    at = places[int(rng.integers(len(places)))]
    data[at : at + width] = (_extreme(rng) % 256**width).to_bytes(width, order)
    return bytes(data)


def _spoil_jpeg(rng: np.random.Generator, content: bytes) -> bytes:
    """Height or width in the start of frame."""
    at = next((at for at in (content.find(b"\xff" + mark) for mark in (b"\xc0", b"\xc2")) if at > 0), 0)
    return _spoil_at(rng, content, (at + 5, at + 7), 2, "big")


def _spoil_pnm(rng: np.random.Generator, content: bytes) -> bytes:
    numbers = b"%d %d" % (_extreme(rng), _extreme(rng))
    return content.replace(b"48 40", numbers, 1).replace(content[:2], b"P%d" % rng.integers(1, 8), 1)


_HEADERS = {
    "png": _spoil_png,
    "tiff": _spoil_tiff,
    "jpeg": _spoil_jpeg,
    "ppm": _spoil_pnm,
    "webp": partial(_spoil_at, places=(24, 26, 27, 28), width=2, order="little"),
    "bmp": partial(_spoil_at, places=(10, 14, 18, 22, 28, 30, 34, 46), width=4, order="little"),
    "gif": partial(_spoil_at, places=(6, 8), width=2, order="little"),
}


def _read(path: Path, number: int) -> None:
    """As an image, by its header, and as a mask; refused where one of them is."""
    refused = None
    for read in (image_size, read_image, read_mask):
        try:
            read(path)
        except DataError as error:
            refused = error if read is not read_mask else refused  # a color picture is no mask, and so refused
    if refused:
        raise refused


FORMATS = {kind: Format(partial(_write, kind=kind), partial(_spoil, kind=kind), _read) for kind in KINDS}
FORMATS |= {
    kind: Format(partial(_write_deep, kind=kind), partial(_spoil, kind=headers), _read)
    for kind, headers in (("png16", "png"), ("tiff_bands", "tiff"), ("npy", "npy"))
}
