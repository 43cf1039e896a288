"""The geometry of preprocessing."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.errors import ConfigError, UnknownName
from vertebra.preprocess.image_transform import MODES, ResizeSpec

sides = st.integers(1, 900)


def test_letterbox_keeps_the_aspect_at_the_top_left() -> None:
    transform = ResizeSpec((320, 416)).transform(480, 640)
    assert transform.size == transform.resized == (312, 416)
    assert (transform.top, transform.left) == (0, 0)
    assert transform.scale_y == transform.scale_x == 0.65
    boxes = transform.boxes_to_canvas(np.array([[0, 0, 640, 480], [100, 200, 300, 400]]))
    np.testing.assert_allclose(boxes, [[0, 0, 416, 312], [65, 130, 195, 260]], rtol=1e-6)


def test_resize_stretches() -> None:
    transform = ResizeSpec((100, 300), "resize").transform(50, 50)
    assert transform.size == (100, 300)
    np.testing.assert_allclose(transform.points_to_canvas(np.array([10, 20])), [60, 40])


def test_center_crop_covers_and_cuts_both_sides() -> None:
    transform = ResizeSpec((100, 100), "center_crop").transform(200, 400)
    assert transform.resized == (100, 200)
    assert (transform.top, transform.left, transform.size) == (0, -50, (100, 100))
    np.testing.assert_allclose(transform.boxes_to_canvas(np.array([[100, 0, 300, 200]])), [[0, 0, 100, 100]])


def test_center_crop_may_show_a_part() -> None:
    transform = ResizeSpec((224, 224), "center_crop", crop=0.875).transform(512, 768)
    assert transform.resized == (256, 384)
    assert (transform.top, transform.left) == (-16, -80)


def test_shortest_edge_gives_each_image_a_canvas_of_its_own() -> None:
    resize_spec = ResizeSpec((800, 1333), "shortest_edge")
    assert resize_spec.transform(480, 640).canvas == resize_spec.transform(480, 640).size == (800, 1067)
    assert resize_spec.transform(640, 480).canvas == (1067, 800)
    assert resize_spec.transform(200, 800).canvas == (333, 1333)


@given(rows=sides, columns=sides, height=sides, width=sides, mode=st.sampled_from(MODES))
def test_there_and_back(rows: int, columns: int, height: int, width: int, mode: str) -> None:
    transform = ResizeSpec((rows, columns), mode).transform(height, width)  # type: ignore[arg-type]
    if mode != "shortest_edge":
        assert all(1 <= side <= limit for side, limit in zip(transform.size, (rows, columns), strict=True))
    boxes = np.array(
        [[0, 0, width, height], [0.25 * width, 0.5 * height, 0.75 * width, 0.75 * height]], dtype=np.float32
    )
    back = transform.boxes_to_image(transform.boxes_to_canvas(boxes))
    np.testing.assert_allclose(back, boxes, atol=1e-3 * max(height, width))
    points = boxes.reshape(2, 2, 2)
    np.testing.assert_allclose(
        transform.points_to_image(transform.points_to_canvas(points)), points, atol=1e-3 * max(height, width)
    )
    if mode != "center_crop":
        whole = transform.boxes_to_canvas(boxes[:1])
        np.testing.assert_allclose(whole, [[0, 0, transform.size[1], transform.size[0]]], rtol=1e-4)


def test_boxes_come_back_clipped_points_do_not() -> None:
    transform = ResizeSpec((64, 64)).transform(32, 64)
    np.testing.assert_allclose(transform.boxes_to_image(np.array([-4.0, 2, 80, 60])), [0, 2, 64, 32])
    np.testing.assert_allclose(transform.points_to_image(np.array([-4.0, 60])), [-4, 60])
    assert transform.boxes_to_image(np.zeros((0, 4))).shape == (0, 4)


def test_plan_survives_json() -> None:
    for mode in MODES:
        resize_spec = ResizeSpec((32, 48), mode, (1, 2, 3))  # type: ignore[arg-type]
        assert ResizeSpec.from_dict(json.loads(json.dumps(resize_spec.to_dict()))) == resize_spec


def test_wrong_plans_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(height, width\) in whole pixels"):
        ResizeSpec((32, 0))
    with pytest.raises(ConfigError, match=r"\(height, width\) in whole pixels"):
        ResizeSpec((32.0, 64))  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="Did you mean 'letterbox'"):
        ResizeSpec((32, 32), "leterbox")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="gray levels of 0 to 255"):
        ResizeSpec((32, 32), fill=(300,))
    for mode, crop in (("letterbox", 0.9), ("center_crop", 0.0)):
        with pytest.raises(ConfigError, match="crop must be above 0"):
            ResizeSpec((32, 32), mode, crop=crop)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs 'size', 'mode' and 'fill'"):
        ResizeSpec.from_dict({"size": [3, 4]})


def test_fill_fits_any_number_of_channels() -> None:
    resize_spec = ResizeSpec((8, 8))
    assert resize_spec.fill_for(3) == (124, 116, 104)
    assert resize_spec.fill_for(1) == (115,)
    assert resize_spec.fill_for(5) == (115,) * 5


def test_no_torch_is_loaded() -> None:
    code = "import sys, vertebra.preprocess.images; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("mode", MODES)
def test_a_scaled_plan_has_another_canvas_and_nothing_else(mode: str) -> None:
    resize_spec = ResizeSpec((64, 101), mode, fill=(1, 2, 3), crop=0.9 if mode == "center_crop" else 1.0)
    assert resize_spec.scaled(1) is resize_spec
    assert resize_spec.scaled(0.8).to_dict() == {**resize_spec.to_dict(), "size": [51, 81]}
    assert ResizeSpec((2, 3)).scaled(0.1).size == (1, 1)
