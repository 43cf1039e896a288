"""Images of every kind become upright 8-bit arrays; one resize rule."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply, apply_labels, image_size, read_image, resize, resize_labels, stack

RED_BLUE = np.array([[[200, 0, 0], [0, 0, 200]]], dtype=np.uint8).repeat(4, axis=0)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_color_from_everything_is_the_same(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RED_BLUE), tmp_path / "a.png")
    tensor = torch.from_numpy(RED_BLUE).permute(2, 0, 1)
    for source in (path, str(path), path.read_bytes(), Image.open(path), RED_BLUE, tensor):
        array = read_image(source)
        assert array.dtype == np.uint8 and array.flags.c_contiguous
        np.testing.assert_array_equal(array, RED_BLUE)


def test_gray_gets_equal_channels_and_back() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_image(Image.fromarray(gray)), np.repeat(gray[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(read_image(gray, channels=1), gray[:, :, None])
    assert read_image(RED_BLUE, channels=1)[0, :, 0].tolist() == [60, 23]


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[200, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    for source in (saved(Image.fromarray(pixels), tmp_path / "a.png"), pixels):
        assert read_image(source)[0].tolist() == [[200, 0, 0], [255, 255, 255], [127, 127, 127]]
    np.testing.assert_array_equal(read_image(pixels, channels=4), pixels)


def test_palette_gives_its_colors(tmp_path: Path) -> None:
    picture = Image.fromarray(RED_BLUE).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_image(saved(picture, tmp_path / "a.png")), RED_BLUE)
    clear = saved(picture, tmp_path / "b.png", transparency=picture.getpixel((0, 0)))
    assert read_image(clear)[0].tolist() == [[255, 255, 255], [0, 0, 200]]


def test_floats_and_bools() -> None:
    assert read_image(np.array([[0.0, 0.5]]))[0, :, 0].tolist() == [0, 128]
    assert read_image(np.array([[0.0, 50.0]]))[0, :, 0].tolist() == [0, 50]
    assert read_image(np.array([[False, True]]))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16] = 250
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = Image.fromarray(upright)
    stored = picture.transpose(undo[orientation]) if orientation > 1 else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(stored, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_size(path) == (16, 32)


def test_cmyk_and_one_bit(tmp_path: Path) -> None:
    assert read_image(saved(Image.new("CMYK", (8, 8)), tmp_path / "a.jpg")).min() >= 250
    assert read_image(saved(Image.new("1", (2, 2), 1), tmp_path / "b.png")).tolist() == [[[255] * 3] * 2] * 2


def test_bad_files_are_named_in_one_line(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), tmp_path / "whole.jpg").read_bytes()
    cases = {
        "cut.jpg": (whole[: len(whole) // 2], "damaged or cut off"),
        "text.png": (b"hello", "not an image that can be read"),
        "empty.png": (b"", "not an image that can be read"),
        "header.png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "damaged or cut off|not an image"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            read_image(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none\.png: no such image file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="a folder, not an image file"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="image of 3 bytes: not an image"):
        read_image(b"abc")
    with pytest.raises(DataError, match="no such image file"):
        image_size(tmp_path / "none.png")


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(DataError, match=r"must be \(H, W\) or \(H, W, C\)"):
        read_image(np.zeros((2, 3, 4, 5), dtype=np.uint8))
    with pytest.raises(DataError, match="not empty"):
        read_image(np.zeros((0, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="has 5 channels, and the model takes 3"):
        read_image(np.zeros((2, 3, 5), dtype=np.uint8))
    with pytest.raises(DataError, match="is not an image"):
        read_image(object())
    assert read_image(np.zeros((2, 3, 5), dtype=np.uint8), channels=5).shape == (2, 3, 5)


def test_file_for_a_model_of_many_channels_is_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RED_BLUE), tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: it has 3 channels, and the model takes 6; .*in_channels=3"):
        read_image(path, channels=6)


@pytest.mark.parametrize("size", [(31, 47), (97, 150), (20, 200)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_rule_is_torchvisions(size: tuple[int, int], channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (67, 91, channels), dtype=np.uint8)
    ours = resize(image, size)
    theirs = F.resize(torch.from_numpy(image).permute(2, 0, 1), list(size), antialias=True).permute(1, 2, 0).numpy()
    assert ours.shape == (*size, channels)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_apply_fills_beside_the_image() -> None:
    image = np.full((10, 20, 3), 7, dtype=np.uint8)
    canvas = apply(ResizeSpec((20, 20)), image)
    assert (canvas[:10] == 7).all() and (canvas[10:] == (124, 116, 104)).all()
    crop = np.zeros((10, 30, 3), dtype=np.uint8)
    crop[:, 10:20] = 9
    assert (apply(ResizeSpec((10, 10), "center_crop"), crop) == 9).all()
    assert (apply(ResizeSpec((30, 12), "resize"), image) == 7).all()


def test_labels_lie_under_the_image() -> None:
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[13:27, 20:44] = 1
    picture = np.repeat(mask[:, :, None] * 255, 3, axis=2)
    for resize_spec in (
        ResizeSpec((31, 37)),
        ResizeSpec((90, 70)),
        ResizeSpec((33, 33), "center_crop"),
        ResizeSpec((20, 90), "resize"),
    ):
        labels = apply_labels(resize_spec, mask, 255)
        gray = apply(resize_spec, picture)[:, :, 0]
        valid = labels != 255
        assert ((gray > 200)[valid] <= (labels == 1)[valid]).all()
        assert ((gray < 55)[valid] <= (labels == 0)[valid]).all()
    layers = resize_labels(np.stack([mask, 1 - mask]), (11, 17))
    np.testing.assert_array_equal(layers[0], 1 - layers[1])
    assert resize_labels(np.array([[1, 2], [3, 4]]), (4, 4)).tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2


def test_animated_and_in_memory_images() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert read_image(buffer.getvalue()).max() == 10


def test_canvases_of_several_sizes_become_one_batch() -> None:
    resize_spec = ResizeSpec((8, 16), "shortest_edge")
    canvases = [
        apply(resize_spec, np.full((rows, columns, 3), 9, dtype=np.uint8)) for rows, columns in ((8, 12), (16, 8))
    ]
    batch = stack(canvases, resize_spec)
    assert batch.shape == (2, 16, 12, 3)
    assert (batch[0, :8] == 9).all() and (batch[1, :, :8] == 9).all()
    assert (batch[0, 8:] == resize_spec.fill).all() and (batch[1, :, 8:] == resize_spec.fill).all()
