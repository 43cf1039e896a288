"""Kalman filters of many tracks at once: a box that moves with a constant velocity.

Both methods describe a box by four coordinates, whose noise is independent. So the filter of a box is four filters of two
numbers, a coordinate and its velocity, and needs no matrix.

A state is an array (N, 5, 4) float64 of N tracks and four coordinates: the coordinate, its velocity, the variance of the
coordinate, the covariance of both, and the variance of the velocity.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

VALUE, VELOCITY, VARIANCE, COVARIANCE, VELOCITY_VARIANCE = range(5)
MIN_SIDE = 1e-3  # pixels; of boxes without an extent, whose coordinates would be undefined


class Motion(Protocol):
    """Moves boxes (N, 4) xyxy from frame to frame."""

    def start(self, boxes: np.ndarray) -> np.ndarray:
        """The states (N, 5, 4) of new tracks with these boxes."""

    def predict(self, states: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """The states one frame later.

        Args:
            states: (N, 5, 4)
            lost: (N,) bool, whether a track had no detection in the last frame.
        """

    def correct(self, states: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The states after each track's detection in the current frame."""

    def boxes(self, states: np.ndarray) -> np.ndarray:
        """The boxes (N, 4) xyxy of states."""


class HeightMotion:
    """Center, aspect ratio and height; noise in parts of the height.

    Wojke et al., Simple Online and Realtime Tracking with a Deep Association Metric, ICIP 2017, arXiv 1703.07402; ByteTrack uses
    it. The height of a lost track stays as it is.
    """

    def start(self, boxes: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        values = _center_aspect_height(boxes)
        states = np.zeros((len(boxes), 5, 4))
        states[:, VALUE] = values
        states[:, VARIANCE] = _squared(values[:, 3], 1 / 10, 1e-2)
        states[:, VELOCITY_VARIANCE] = _squared(values[:, 3], 1 / 16, 1e-5)
        return states

    def predict(self, states: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        states = states.copy()
        states[lost, VELOCITY, 3] = 0
        height = states[:, VALUE, 3]
        return _one_step(states, _squared(height, 1 / 20, 1e-2), _squared(height, 1 / 160, 1e-5))

    def correct(self, states: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        return _corrected(states, _center_aspect_height(boxes), _squared(states[:, VALUE, 3], 1 / 20, 1e-1))

    def boxes(self, states: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        x, y, aspect, height = states[:, VALUE].T
        return _around(x, y, aspect * height, height)


class AreaMotion:
    """Center, area and aspect ratio, which is constant.

    Bewley et al., Simple Online and Realtime Tracking, ICIP 2016, arXiv 1602.00763; OC-SORT uses it.
    """

    _START = np.array([10.0, 10.0, 10.0, 10.0])
    _START_VELOCITY = np.array([1e4, 1e4, 1e4, 0.0])
    _NOISE = np.array([1.0, 1.0, 1.0, 1.0])
    _VELOCITY_NOISE = np.array([1e-2, 1e-2, 1e-4, 0.0])
    _MEASUREMENT = np.array([1.0, 1.0, 10.0, 10.0])

    def start(self, boxes: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        states = np.zeros((len(boxes), 5, 4))
        states[:, VALUE] = _center_area_aspect(boxes)
        states[:, VARIANCE], states[:, VELOCITY_VARIANCE] = self._START, self._START_VELOCITY
        return states

    def predict(self, states: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        states = states.copy()
        vanishing = states[:, VALUE, 2] + states[:, VELOCITY, 2] <= 0
        states[vanishing, VELOCITY, 2] = 0
        return _one_step(states, self._NOISE, self._VELOCITY_NOISE)

    def correct(self, states: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        return _corrected(states, _center_area_aspect(boxes), self._MEASUREMENT)

    def boxes(self, states: np.ndarray) -> np.ndarray:
        """See `Motion`."""
        x, y, area, aspect = states[:, VALUE].T
        width = np.sqrt(np.maximum(area * aspect, MIN_SIDE**2))
        return _around(x, y, width, area / width)


def _one_step(states: np.ndarray, noise: np.ndarray, velocity_noise: np.ndarray) -> np.ndarray:
    """Moves states, in place, by one frame, with the variance that a frame adds."""
    states[:, VALUE] += states[:, VELOCITY]
    states[:, VARIANCE] += 2 * states[:, COVARIANCE] + states[:, VELOCITY_VARIANCE] + noise
    states[:, COVARIANCE] += states[:, VELOCITY_VARIANCE]
    states[:, VELOCITY_VARIANCE] += velocity_noise
    return states


def _corrected(states: np.ndarray, measured: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """States after measurements (N, 4) with a variance."""
    variance, covariance = states[:, VARIANCE], states[:, COVARIANCE]
    gain, velocity_gain = variance / (variance + noise), covariance / (variance + noise)
    error = measured - states[:, VALUE]
    after = np.empty_like(states)
    after[:, VALUE] = states[:, VALUE] + gain * error
    after[:, VELOCITY] = states[:, VELOCITY] + velocity_gain * error
    after[:, VARIANCE] = (1 - gain) * variance
    after[:, COVARIANCE] = (1 - gain) * covariance
    after[:, VELOCITY_VARIANCE] = states[:, VELOCITY_VARIANCE] - velocity_gain * covariance
    return after


def _squared(height: np.ndarray, part: float, aspect: float) -> np.ndarray:
    """Variances (N, 4) of center, aspect ratio and height, from standard deviations in parts of the height."""
    deviations = np.repeat((part * height)[:, None], 4, axis=1)
    deviations[:, 2] = aspect
    squared: np.ndarray = deviations**2
    return squared


def _centers_and_sides(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centers (N, 2) and sides (N, 2), which are above 0."""
    boxes = boxes.astype(np.float64)
    return (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], MIN_SIDE)


def _center_aspect_height(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) of center x, y, width / height, height."""
    centers, sides = _centers_and_sides(boxes)
    return np.column_stack([centers, sides[:, 0] / sides[:, 1], sides[:, 1]])


def _center_area_aspect(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) of center x, y, area, width / height."""
    centers, sides = _centers_and_sides(boxes)
    return np.column_stack([centers, sides[:, 0] * sides[:, 1], sides[:, 0] / sides[:, 1]])


def _around(x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) xyxy around centers."""
    return np.column_stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
