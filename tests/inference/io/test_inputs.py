"""What may be passed to `predict`: each kind of image gives the same result, alone and mixed, and a refusal names the culprit."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.inference.painted import Painted, paint
from vertebra.errors import DataError

PIXELS = paint((40, 60), [(5, 5, 20, 20, 1)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


KINDS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": str,
    "folder": lambda path: path.parent,
    "pattern": lambda path: str(path.parent / "*.png"),
    "Pillow image": Image.open,
    "bytes": Path.read_bytes,
    "array": lambda _: PIXELS,
    "floats": lambda _: PIXELS / np.float32(255),
    "arrays": lambda _: PIXELS[None],
    "tensor": lambda _: torch.from_numpy(PIXELS).permute(2, 0, 1),
    "tensor of floats": lambda _: torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
    "tensors": lambda _: torch.from_numpy(PIXELS).permute(2, 0, 1)[None],
    "list": lambda path: [path],
    "tuple in a list": lambda path: [(PIXELS,)],
}


def assert_found(result: Any) -> None:
    assert result.size == (40, 60)
    np.testing.assert_array_equal(result["boxes"].boxes, [[5, 5, 20, 20]])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind(path: Path, kind: str) -> None:
    model = Painted((40, 60))
    (result,) = model.predict(KINDS[kind](path))
    assert_found(result)
    assert model.batches == [1]


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"tile": 100}])
def test_all_kinds_mixed(path: Path, options: dict[str, Any]) -> None:
    results = Painted((40, 60), ["boxes"], **options).predict([make(path) for make in KINDS.values()])
    assert len(results) == len(KINDS)
    for result in results:
        assert_found(result)


def test_batches_are_several_images() -> None:
    batch = np.stack([PIXELS, PIXELS[::-1], PIXELS[:, ::-1]])
    alone = Painted((40, 60)).predict(list(batch))
    for images in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2)):
        for result, expected in zip(Painted((40, 60)).predict(images), alone, strict=True):
            np.testing.assert_array_equal(result["boxes"].boxes, expected["boxes"].boxes)
    assert Painted((40, 60)).predict(batch[:0]) == [] and Painted((40, 60)).predict([]) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.zeros((3, 40, 60), dtype=np.uint8),
            r"ndarray of shape \(3, 40, 60\) \(images\[1\], taken for an array \(H, W, C\)\): it has 60 channels, and the model "
            r"takes 3; arrays are \(H, W, C\), and tensors \(C, H, W\)",
        ),
        (
            torch.zeros(40, 60, 3, dtype=torch.uint8),
            r"Tensor of shape \(40, 60, 3\) \(images\[1\], taken for a tensor \(C, H, W\)\): it has 40 channels",
        ),
        (np.zeros(5), r"ndarray of shape \(5,\) \(images\[1\], .*must be \(H, W\) or \(H, W, C\)"),
        (np.full((4, 4), -3.5), r"images\[1\], taken for an array \(H, W\)\): it holds float64 .* give 8-bit values"),
        (
            b"abc",
            r"image of 3 bytes \(images\[1\], taken for the content of an image file\): not an image that can be read",
        ),
        (None, r"NoneType \(images\[1\]\) is not an image; give a file"),
        (
            {"a": 1},
            r"dict \(images\[1\]\) is not an image; give a file, .* an array \(H, W, C\) or a tensor \(C, H, W\)",
        ),
        ("nowhere.png", r"nowhere\.png: no such image, video or folder \(images\[1\], taken for a path\)"),
        ("nowhere/*.png", r"this pattern matches nothing .* \(images\[1\], taken for a path\)"),
        (
            "ftp://host/a.png",
            r"ftp://host/a\.png: no such address \(images\[1\], taken for a path\); images come from http",
        ),
        ([PIXELS, "nowhere"], r"nowhere: .*images\[1\]\[1\]"),
        (np.zeros((2, 3, 4, 5), dtype=np.uint8), r"images\[1\]\[0\], taken for an array"),
    ],
    ids=str,
)
def test_a_refusal_names_the_position_and_the_kind(image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        Painted((40, 60)).predict([PIXELS, image])
    assert "\n" not in str(refused.value)


def test_alone_there_is_no_position() -> None:
    for image in (np.zeros((3, 40, 60), dtype=np.uint8), "nowhere.png", None):
        for images in (image, [image]):
            with pytest.raises(DataError) as refused:
                Painted((40, 60)).predict(images)
            assert "images[" not in str(refused.value)


def test_a_stream_of_images_names_them_too() -> None:
    model = Painted((40, 60), skip_unreadable=True)
    assert len(list(model.stream(iter([PIXELS, None, PIXELS])))) == 2
    (skipped,) = model.skipped
    assert skipped.source == "NoneType (images[1])" and skipped.reason.startswith(
        "NoneType (images[1]) is not an image"
    )


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"tuple in a list"}))
def test_a_stream_of_one_entry(path: Path, kind: str) -> None:
    (result,) = Painted((40, 60)).stream(KINDS[kind](path))
    assert_found(result)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("", "the name of an image is empty; for the images of the working directory give '.'"),
        (["", "a.png"], r"the name of an image is empty \(images\[0\]\)"),
        (torch.zeros(3, 4, 4, dtype=torch.bfloat16), "bfloat16 is not supported; convert it to float32"),
        (torch.zeros(3, 4, 4, device="meta"), "cannot be converted to an array .*no data"),
        (io.BytesIO(b"file"), r"BytesIO is an open file; give its content: file\.read\(\)"),
        ([[0, 1], [2, 3]], r"int \(images\[0\]\[0\]\) is a number, not an image; .* np\.array"),
    ],
    ids=["empty", "empty in a list", "bfloat16", "meta", "open file", "numbers"],
)
def test_objects_that_cannot_be_read_say_what_would_be_right(image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Painted((40, 60)).predict(image)
