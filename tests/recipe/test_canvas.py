"""The canvas by the sizes of images and objects."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.recipe.canvas import ObjectSizes, choose_canvas

NONE = ObjectSizes(None, np.zeros(0), np.zeros(0, dtype=np.int64))


def shapes(*sizes: tuple[int, int]) -> np.ndarray:
    return np.array(sizes)


def objects(*sides: float, by: str = "boxes") -> ObjectSizes:
    return ObjectSizes(by, np.array(sides), np.zeros(len(sides), dtype=np.int64))


@pytest.mark.parametrize(
    ("image", "branches", "canvas"),
    [
        ((480, 640), {"masks": NONE}, (480, 640)),
        ((1080, 1920), {"masks": NONE}, (352, 640)),
        ((100, 120), {"masks": NONE}, (96, 128)),
        ((480, 640), {"boxes": objects(200, 200, 200)}, (192, 256)),  # large: the smallest canvas
        ((480, 640), {"boxes": objects(80, 80, 80)}, (288, 384)),
        ((480, 640), {"boxes": objects(10, 10, 10)}, (704, 960)),  # small: larger than the images
        ((3000, 4000), {"boxes": objects(10, 10, 10)}, (768, 1024)),  # tiny: the largest canvas
        ((480, 640), {"boxes": objects(100), "masks": NONE}, (480, 640)),
        ((480, 640), {"boxes": objects(100), "points": objects(160, by="points")}, (288, 384)),
        ((480, 640), {"boxes": objects()}, (480, 640)),  # no objects at all
        ((200, 160), {"boxes": objects(150)}, (192, 160)),
    ],
)
def test_the_largest_need_decides(
    image: tuple[int, int], branches: dict[str, ObjectSizes], canvas: tuple[int, int]
) -> None:
    assert choose_canvas(shapes(image, image, image), branches)[0] == canvas


def test_the_recipe_changes_the_size() -> None:
    image, branches = shapes((480, 640)), {"boxes": objects(80)}
    assert choose_canvas(image, branches, "fast")[0] == (224, 288)
    assert choose_canvas(image, branches, "best")[0] == (352, 480)
    assert choose_canvas(shapes((1080, 1920)), {"masks": NONE}, "fast")[0] == (256, 480)


def test_objects_of_larger_images_are_smaller_on_the_canvas() -> None:
    images = shapes((480, 640), (480, 640), (960, 1280))
    same = ObjectSizes("boxes", np.array([160.0]), np.array([0]))
    in_large = ObjectSizes("boxes", np.array([160.0]), np.array([2]))
    assert choose_canvas(images, {"boxes": same})[0] == (192, 256)
    assert choose_canvas(images, {"boxes": in_large})[0] == (288, 384)
    assert choose_canvas(images, {"boxes": in_large})[1] == (
        "the median of 3 images is 480x640; of 1 objects 10% are smaller than 48 pixels on it"
    )
