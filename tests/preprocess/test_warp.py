"""The projective map: points, boxes, masks and pixels go to the same position."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.warp import Warp, homography, rotation
from vertebra.recipe.augment import MAX_PERSPECTIVE

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def image(height: int = 40, width: int = 60, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def turned(degrees: float) -> Warp:
    """A rotation around the center of an image of 40x60."""
    return Warp(rotation(degrees, (30, 20)), (40, 60), (40, 60))


def test_a_rotation_is_counterclockwise() -> None:
    np.testing.assert_allclose(turned(90).points(np.array([40.0, 20.0])), [30, 10], atol=1e-5)
    np.testing.assert_allclose(turned(30).points(np.array([30.0, 20.0])), [30, 20], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_no_rotation_leaves_the_image_as_it_is(channels: int) -> None:
    pixels = image(channels=channels)
    warp = Warp(np.eye(3), (40, 60), (40, 60))
    np.testing.assert_array_equal(warp.resample(pixels, (9,) * channels), pixels)
    np.testing.assert_array_equal(warp.labels(pixels[:, :, 0], (40, 60), 255), pixels[:, :, 0])


def test_a_quarter_turn_is_numpys() -> None:
    pixels = image()
    matrix = CropWindow(0, 0, 40, 60, (60, 40), turns=1).matrix
    warp = Warp(matrix, (40, 60), (60, 40))
    np.testing.assert_array_equal(warp.resample(pixels, (0, 0, 0)), np.rot90(pixels))
    np.testing.assert_array_equal(warp.labels(pixels[:, :, 0], (60, 40), 255), np.rot90(pixels[:, :, 0]))


def test_outside_the_image_is_fill() -> None:
    warp = turned(45)
    pixels, mask = warp.resample(image(), (1, 2, 3)), warp.labels(image()[:, :, 0] // 4, (50, 70), 255)
    assert pixels[0, 0].tolist() == [1, 2, 3] and mask.shape == (50, 70)
    np.testing.assert_array_equal(mask[:40, :60] == 255, (pixels == (1, 2, 3)).all(axis=2))
    assert (mask[40:] == 255).all() and (mask[:, 60:] == 255).all()


@given(st.floats(-180, 180))
def test_a_rotation_and_its_reverse_are_the_identity(degrees: float) -> None:
    points = np.array([[3.0, 5.0], [50.0, 30.0]])
    np.testing.assert_allclose(turned(-degrees).points(turned(degrees).points(points)), points, atol=1e-3)
    assert turned(degrees).area_scale == pytest.approx(1) and not turned(degrees).mirrored


def test_the_box_of_a_rotated_box_is_around_its_corners() -> None:
    boxes = turned(45).boxes(np.array([[25, 15, 35, 25]], dtype=np.float32))
    side = 10 / np.sqrt(2)
    np.testing.assert_allclose(boxes, [[30 - side, 20 - side, 30 + side, 20 + side]], rtol=1e-5)
    assert turned(45).boxes(np.zeros((0, 4), dtype=np.float32)).shape == (0, 4)


def test_a_mirrored_map_is_known() -> None:
    for mirror, flip in itertools.product((False, True), repeat=2):
        window = CropWindow(5, 5, 30, 40, (60, 80), mirror, flip, turns=1)
        warp = Warp(rotation(20, (30, 40)) @ window.matrix, (40, 60), (60, 80))
        assert warp.mirrored == window.mirrored == (mirror != flip)
        assert warp.area_scale == pytest.approx(window.area_scale)


def test_strong_reduction_averages() -> None:
    pixels = np.zeros((80, 80, 3), dtype=np.uint8)
    pixels[:, ::2] = 200  # stripes of one pixel
    small = Warp(rotation(10, (10, 10)) @ np.diag([0.25, 0.25, 1.0]), (80, 80), (20, 20)).resample(pixels, (0, 0, 0))
    assert np.abs(small[6:14, 6:14].astype(int) - 100).max() <= 2


def test_the_corners_of_a_homography() -> None:
    moved = CORNERS + np.array([[0.1, 0.2], [-0.1, 0.0], [0.0, 0.1], [-0.2, 0.1]])
    warp = Warp(homography(CORNERS, moved), (1, 1), (1, 1))
    np.testing.assert_allclose(warp.points(CORNERS), moved, atol=1e-6)


def test_with_the_largest_shifts_the_whole_canvas_is_in_front_of_the_camera() -> None:
    for signs in itertools.product((-MAX_PERSPECTIVE, MAX_PERSPECTIVE), repeat=8):
        inverse = np.linalg.inv(homography(CORNERS, CORNERS + np.array(signs).reshape(4, 2)))
        depth = CORNERS @ inverse[2, :2] + inverse[2, 2]  # it is linear, so it is least at a corner
        assert (depth / depth.mean()).min() > 0.2


def test_what_is_behind_the_camera_is_not_seen() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-0.1, 0, 1]])  # the depth is 0 at x = 10
    warp = Warp(matrix, (8, 8), (8, 8))
    assert np.isneginf(warp.points(np.array([20.0, 4.0]))).all()
    seen, crossing, hidden = warp.boxes(np.array([[0, 0, 2, 8], [2, 0, 20, 8], [12, 0, 20, 8]], dtype=np.float32))
    np.testing.assert_allclose(seen, [0, 0, 2.5, 10], rtol=1e-5)
    assert crossing[0] == pytest.approx(2.5) and crossing[2] > 1000 and (hidden == 0).all()


def test_the_nearest_plain_transform_has_the_same_center_and_scale() -> None:
    warp = Warp(rotation(30, (60, 40)) @ np.diag([2.0, 2.0, 1.0]), (40, 60), (80, 120))
    transform = warp.transform(ResizeSpec((100, 120)), (40, 60))
    assert transform.size == (80, 120) and transform.scale_x == pytest.approx(2) == pytest.approx(transform.scale_y)
    np.testing.assert_allclose(transform.points_to_canvas(np.array([30, 20])), [60, 40], atol=1)
