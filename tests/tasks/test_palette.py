"""Colors of classes."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.tasks.palette import SIZE, _views, color, palette, text_color


def test_all_colors_differ_and_are_stable() -> None:
    assert len(set(palette())) == SIZE
    assert color(0) == (86, 180, 233)
    assert color(SIZE + 3) == color(3)


def test_the_first_colors_differ_for_every_observer() -> None:
    views = _views(np.asarray(palette()[:12]))
    distance = np.linalg.norm(views[:, :, None] - views[:, None], axis=-1).min(axis=0)
    assert distance[~np.eye(12, dtype=bool)].min() > 0.06  # Oklab; 0.02 is about just noticeable


def test_oklab_of_white_and_red() -> None:
    white, red = _views(np.asarray([(255, 255, 255), (255, 0, 0)]))[0]
    assert white == pytest.approx([1, 0, 0], abs=1e-3)
    assert red == pytest.approx([0.6279, 0.2249, 0.1258], abs=1e-3)


def test_color_blind_eyes_see_gray_as_gray() -> None:
    gray = _views(np.asarray([(128, 128, 128)]))
    assert np.allclose(gray, gray[0], atol=1e-3)


def test_text_is_read_on_light_and_dark() -> None:
    assert text_color((240, 228, 66)) == (0, 0, 0)
    assert text_color((20, 30, 90)) == (255, 255, 255)
