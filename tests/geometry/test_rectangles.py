"""Rotated boxes: corners, areas, intersections and enclosing rectangles, the same in numpy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vertebra.geometry import rectangles
from vertebra.geometry.nms import greedy_mask

UNIT = np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])


def turned(count: int, seed: int = 0, span: float = 60.0) -> np.ndarray:
    """(count, 4, 2) random rectangles of any angle."""
    draw = np.random.default_rng(seed)
    angle = draw.uniform(0, 2 * np.pi, count)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    corners: np.ndarray = rectangles.corners_of(
        draw.uniform(0, span, (count, 2)), draw.uniform(1, 50, (count, 2)), direction
    )
    return corners


def one(x: float, y: float, width: float, height: float, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    corners: np.ndarray = rectangles.corners_of(
        np.array([x, y]), np.array([width, height]), np.array([np.cos(angle), np.sin(angle)])
    )
    return corners


def clipped_area(first: np.ndarray, second: np.ndarray) -> float:
    """The area of the intersection of convex polygons, clipped side by side (Sutherland and Hodgman), corner by corner."""
    points = [tuple(point) for point in first]
    for start, end in zip(second, np.roll(second, -1, axis=0), strict=True):
        side = [(end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0]) for x, y in points]
        kept = []
        for number, (point, value) in enumerate(zip(points, side, strict=True)):
            after, next_value = points[(number + 1) % len(points)], side[(number + 1) % len(points)]
            if value >= 0:
                kept.append(point)
            if (value >= 0) != (next_value >= 0):
                share = value / (value - next_value)
                kept.append((point[0] + share * (after[0] - point[0]), point[1] + share * (after[1] - point[1])))
        points = kept
        if not points:
            return 0.0
    x, y = np.array(points).T
    return float(abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2)


def test_hand_cases() -> None:
    octagon = 2 * (np.sqrt(2) - 1)  # of a unit square and the same turned by 45 degrees
    cases = [
        (UNIT, UNIT, 1.0),
        (UNIT, UNIT[::-1], 1.0),
        (UNIT, UNIT + [0.5, 0], 0.5),
        (UNIT, UNIT + [1, 0], 0.0),
        (UNIT, UNIT + [3, 3], 0.0),
        (UNIT, one(0.5, 0.5, 1, 1, 45), octagon),
        (UNIT, one(0.5, 0.5, 0.2, 0.1, 30), 0.02),
        (one(0, 0, 10, 2, 90), one(0, 0, 10, 2, 0), 4.0),
        (one(0, 0, 10, 2, 20), one(0, 0, 10, 2, -160), 20.0),
        (np.zeros((4, 2)), UNIT, 0.0),
        (UNIT, np.full((4, 2), 0.5), 0.0),
    ]
    for first, second, expected in cases:
        assert rectangles.intersections(first[None], second[None])[0, 0] == pytest.approx(expected, abs=1e-12)
    assert rectangles.rotated_iou(one(0, 0, 10, 2, 90)[None], one(0, 0, 10, 2, 0)[None])[0, 0] == pytest.approx(4 / 36)
    assert rectangles.rotated_iou(np.zeros((1, 4, 2)), np.zeros((1, 4, 2)))[0, 0] == 0


def test_intersections_of_random_rectangles_equal_polygon_clipping() -> None:
    first, second = turned(20), turned(25, 1)
    expected = np.array([[clipped_area(a, b) for b in second] for a in first])
    np.testing.assert_allclose(rectangles.intersections(first, second), expected, atol=1e-9)
    assert (expected > 1).mean() > 0.3 and (expected == 0).any()


@pytest.mark.parametrize("function", [rectangles.rotated_iou, rectangles.intersections])
def test_tensors_give_the_same(function: Any) -> None:
    first, second = turned(12).reshape(2, 6, 4, 2), turned(10, 1).reshape(2, 5, 4, 2)
    got = function(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(got.numpy(), function(first, second), atol=1e-12)
    single = function(torch.from_numpy(first + 2000).float(), torch.from_numpy(second + 2000).float())
    relative = 1 if function is rectangles.rotated_iou else rectangles.areas(first).max()
    assert float((single.double() - got).abs().max()) < 1e-3 * relative


def test_corners_and_back() -> None:
    corners = turned(30)
    np.testing.assert_allclose(rectangles.corners_of(*rectangles.center_sides_direction(corners)), corners, atol=1e-9)
    np.testing.assert_allclose(rectangles.hulls(corners), [[*c.min(0), *c.max(0)] for c in corners])
    np.testing.assert_allclose(rectangles.upright_corners(np.array([[0, 0, 1, 1]])), UNIT[None])


@pytest.mark.parametrize(
    ("degrees", "expected"), [(0, 0), (30, 30), (-30, -30), (90, -90), (100, -80), (180, 0), (210, 30), (359, -1)]
)
def test_angles_are_those_of_the_long_side(degrees: float, expected: float) -> None:
    for corners in (one(5, 5, 8, 2, degrees), one(5, 5, 2, 8, degrees - 90)):
        for order in (corners, corners[::-1], np.roll(corners, 1, axis=0)):
            angle = float(rectangles.degrees(order[None])[0])
            assert min(abs(angle - expected), 180 - abs(angle - expected)) == pytest.approx(0, abs=1e-9)
            assert -90 <= angle < 90


def test_enclosing_rectangles() -> None:
    corners = turned(20)
    shuffled = corners[:, [2, 0, 3, 1]]
    for points in (corners, shuffled):
        enclosed = rectangles.enclosing_rectangles(points)
        np.testing.assert_allclose(rectangles.rotated_iou(corners, enclosed).diagonal(), 1, atol=1e-9)
    trapezoid = np.array([[[0.0, 0], [10, 0], [8, 4], [2, 4]]])
    np.testing.assert_allclose(rectangles.areas(rectangles.enclosing_rectangles(trapezoid)), 40)
    flat = np.array([[[1.0, 1], [3, 1], [3, 1], [1, 1]]])
    got = rectangles.enclosing_rectangles(flat)
    assert np.isfinite(got).all() and rectangles.areas(got)[0] == 0
    many = torch.from_numpy(corners)
    assert torch.allclose(
        rectangles.enclosing_rectangles(many), torch.from_numpy(rectangles.enclosing_rectangles(corners))
    )


def test_clipped_rectangles_keep_their_angle() -> None:
    corners = turned(40, 2)
    clipped, shown = rectangles.clipped_rectangles(corners, (50, 40))
    frame = np.array([[0.0, 0], [40, 0], [40, 50], [0, 50]])
    np.testing.assert_allclose(shown, [clipped_area(frame, each) for each in corners], atol=1e-6)
    inside = np.isclose(shown, rectangles.areas(corners))
    np.testing.assert_allclose(clipped[inside], corners[inside].astype(np.float32))
    part = (shown > 1) & ~inside
    assert part.any()
    turn = rectangles.degrees(clipped[part]) - rectangles.degrees(corners[part])
    np.testing.assert_allclose(np.sin(np.radians(2 * turn)), 0, atol=1e-3)
    wide = clipped[part].astype(np.float64)
    np.testing.assert_allclose(rectangles.intersections(frame[None], wide)[0], shown[part], rtol=1e-4)
    assert (rectangles.areas(wide) <= rectangles.areas(corners[part]) * 1.0001).all()


def test_suppression_is_greedy() -> None:
    corners, draw = turned(40, 3, span=30), np.random.default_rng(0)
    scores, labels = draw.permutation(40) / 40 + 0.01, draw.integers(0, 2, 40)
    overlap = rectangles.rotated_iou(corners, corners)
    kept: list[int] = []
    for row in np.argsort(-scores):
        if not any(labels[row] == labels[other] and overlap[row, other] > 0.3 for other in kept):
            kept.append(int(row))
    tensors = torch.from_numpy(overlap)[None] > 0.3, torch.from_numpy(scores)[None], torch.from_numpy(labels)[None]
    assert greedy_mask(*tensors)[0].nonzero()[:, 0].tolist() == sorted(kept)
