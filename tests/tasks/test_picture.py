"""What all pictures share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.errors import DataError
from vertebra.tasks.picture import enlarge, fit_text, open_picture, tag_size, text_width


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4), (5, 7, 6)])
def test_arrays_of_any_channels_become_rgb(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    picture = open_picture(array)
    assert (picture.mode, picture.size) == ("RGB", (7, 5))
    first = array if array.ndim == 2 else array[:, :, 0]
    assert np.array_equal(np.asarray(picture)[:, :, 0], first)


def test_other_depths() -> None:
    def gray(array: np.ndarray) -> list[int]:
        return np.asarray(open_picture(array))[0, :, 0].tolist()  # type: ignore[no-any-return]

    assert gray(np.asarray([[0, 257, 65535]], dtype=np.uint16)) == [0, 1, 255]
    assert gray(np.asarray([[0.0, 0.5]], dtype=np.float32)) == [0, 128]
    assert gray(np.asarray([[-100.0, 100.0, np.nan]])) == [0, 255, 128]
    assert gray(np.asarray([[True, False]])) == [255, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_pillow_modes_become_rgb(mode: str) -> None:
    assert open_picture(Image.new(mode, (4, 3))).mode == "RGB"


def test_a_file_is_opened_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (4, 8)
    assert open_picture(str(tmp_path / "turned.jpg")).size == (4, 8)


def test_an_array_file_of_many_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "bands.npy", np.zeros((5, 7, 6), dtype=np.uint16))
    assert open_picture(tmp_path / "bands.npy").size == (7, 5)


def test_errors_tell_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no image\. Pass one"):
        open_picture(None)
    for name in ("broken.png", "broken.npy"):
        (tmp_path / name).write_bytes(b"no image")
    for name in ("broken.png", "broken.npy", "none.npy"):
        with pytest.raises(DataError, match=rf"{name}: "):
            open_picture(tmp_path / name)
    with pytest.raises(DataError, match=r"\(H, W\) or \(H, W, C\), got \(0, 3, 3\)"):
        open_picture(np.zeros((0, 3, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("size", "enlarged"),
    [((1, 1), (320, 320)), ((64, 48), (427, 320)), ((640, 480), (640, 480)), ((1, 800), (2, 1600)), ((1, 3000),) * 2],
)
def test_small_pictures_are_enlarged(size: tuple[int, int], enlarged: tuple[int, int]) -> None:
    assert enlarge(Image.new("RGB", size)).size == enlarged


def test_text_is_cut_to_fit() -> None:
    assert fit_text("dog", 14, 200) == "dog"
    cut = fit_text("great white shark,\nman-eater, man-eating shark", 14, 100)
    assert cut.startswith("great") and cut.endswith("...") and text_width(cut, 14) <= 100
    assert fit_text("dog", 14, 1) == ""
    assert tag_size("고양이", 14)[0] > 14  # another font, or boxes where none is installed, but never a crash
