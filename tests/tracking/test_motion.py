"""The filters equal Kalman filters with whole matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vertebra.tracking.motion import VALUE, VELOCITY, AreaMotion, HeightMotion, Motion

BOXES = np.array([[10, 20, 50, 100], [13, 22, 54, 101], [17, 23, 58, 104], [22, 26, 61, 108]], dtype=np.float64)


def height_coordinates(box: np.ndarray) -> np.ndarray:
    width, height = box[2:] - box[:2]
    return np.array([*(box[:2] + box[2:]) / 2, width / height, height])


def area_coordinates(box: np.ndarray) -> np.ndarray:
    width, height = box[2:] - box[:2]
    return np.array([*(box[:2] + box[2:]) / 2, width * height, width / height])


def height_noise(height: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start = np.array([height / 10, height / 10, 1e-2, height / 10, height / 16, height / 16, 1e-5, height / 16])
    step = np.array([height / 20, height / 20, 1e-2, height / 20, height / 160, height / 160, 1e-5, height / 160])
    return start**2, step**2, np.array([height / 20, height / 20, 1e-1, height / 20]) ** 2


def area_noise(_: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start = np.array([10.0, 10, 10, 10, 1e4, 1e4, 1e4, 0])
    return start, np.array([1.0, 1, 1, 1, 0.01, 0.01, 0.0001, 0]), np.array([1.0, 1, 10, 10])


@pytest.mark.parametrize(
    ("motion", "coordinates", "noise"),
    [(HeightMotion(), height_coordinates, height_noise), (AreaMotion(), area_coordinates, area_noise)],
    ids=["height", "area"],
)
def test_a_track_is_filtered_as_with_matrices(
    motion: Motion,
    coordinates: Callable[[np.ndarray], np.ndarray],
    noise: Callable[[float], tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    transition, observed = np.eye(8) + np.eye(8, k=4), np.eye(4, 8)
    mean = np.concatenate([coordinates(BOXES[0]), np.zeros(4)])
    covariance = np.diag(noise(float(mean[3]))[0])
    states = motion.start(np.stack([BOXES[0], BOXES[0] + 7]))
    for box in BOXES[1:]:
        step = noise(float(mean[3]))[1]
        mean, covariance = transition @ mean, transition @ covariance @ transition.T + np.diag(step)
        innovation = observed @ covariance @ observed.T + np.diag(noise(float(mean[3]))[2])
        gain = covariance @ observed.T @ np.linalg.inv(innovation)
        mean = mean + gain @ (coordinates(box) - observed @ mean)
        covariance = covariance - gain @ innovation @ gain.T
        states = motion.predict(states, np.zeros(2, dtype=bool))
        states = motion.correct(states, np.stack([box, box + 7]))
        np.testing.assert_allclose(states[0, VALUE], mean[:4], rtol=1e-9)
        np.testing.assert_allclose(states[0, VELOCITY], mean[4:], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(states[0, 2], np.diag(covariance)[:4], rtol=1e-9)
    np.testing.assert_allclose(coordinates(motion.boxes(states)[0]), mean[:4], rtol=1e-9)


@pytest.mark.parametrize("motion", [HeightMotion(), AreaMotion()])
def test_boxes_without_an_extent_give_finite_states(motion: Motion) -> None:
    states = motion.start(np.array([[5.0, 5, 5, 5], [9, 9, 4, 4]]))
    for _ in range(5):
        states = motion.correct(
            motion.predict(states, np.ones(2, dtype=bool)), np.array([[5.0, 5, 5, 9], [3, 3, 3, 3]])
        )
    assert np.isfinite(states).all() and np.isfinite(motion.boxes(states)).all()
