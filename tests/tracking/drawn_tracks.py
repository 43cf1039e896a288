"""Sequences with known tracks: objects that cross and are hidden for a short time, their detections, and damaged tracks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertebra.tracking.sequence_pairs import TrackedFrame

SIZE = (480, 640)
PILLAR = (300.0, 0.0, 336.0, 480.0)  # hides what is behind it


class DetectedFrame(NamedTuple):
    """The detections of a frame: boxes (M, 4), scores (M,) and class ids (M,)."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


def crossing_tracks(count: int = 10, frames: int = 120, seed: int = 0) -> list[TrackedFrame]:
    """Objects that walk from side to side at different heights and speeds; those with higher numbers are nearer."""
    rng = np.random.default_rng(seed)
    sides = np.column_stack([rng.uniform(24, 44, count), rng.uniform(60, 110, count)])
    starts = np.column_stack([rng.uniform(30, SIZE[1] - 30, count), np.linspace(90, SIZE[0] - 90, count)])
    speeds = np.column_stack([rng.uniform(2.5, 5.5, count) * np.where(np.arange(count) % 2, 1, -1), np.zeros(count)])
    tracks = []
    for frame in range(frames):
        centers = starts + speeds * frame
        centers[:, 0] = np.abs((centers[:, 0] + SIZE[1]) % (2 * SIZE[1]) - SIZE[1])  # they turn at the sides
        centers[:, 1] += 4 * np.sin(frame / 6 + np.arange(count))
        boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
        tracks.append(TrackedFrame(np.arange(1, count + 1), np.clip(boxes, 0, [SIZE[1], SIZE[0]] * 2)))
    return tracks


def visible_part(boxes: np.ndarray) -> np.ndarray:
    """(M,) the part of each box that no nearer box and not the pillar covers, at least."""
    covers = np.concatenate([boxes, [PILLAR]])
    low = np.maximum(boxes[:, None, :2], covers[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], covers[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    nearer = np.arange(len(covers)) > np.arange(len(boxes))[:, None]
    covered = np.where(nearer, common, 0).max(axis=1) / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return 1 - covered


def detect(tracks: list[TrackedFrame], seed: int = 1) -> list[DetectedFrame]:
    """What a detector gives: jittered boxes, low scores of covered objects, none of hidden ones, and a few that are wrong."""
    rng = np.random.default_rng(seed)
    detections = []
    for _, boxes in tracks:
        visible = visible_part(boxes)
        scores = np.clip(0.15 + 0.8 * visible + rng.normal(0, 0.04, len(boxes)), 0.02, 0.99)
        jittered = boxes + rng.normal(0, 1.5, boxes.shape)
        kept = (visible > 0.25) & (rng.random(len(boxes)) > 0.02)
        corners = rng.uniform(0, 400, (2, 2))
        wrong = np.concatenate([corners, corners + rng.uniform(20, 80, (2, 2))], axis=1)
        detections.append(
            DetectedFrame(
                np.concatenate([jittered[kept], wrong]),
                np.concatenate([scores[kept], rng.uniform(0.1, 0.45, 2)]),
                np.zeros(int(kept.sum()) + 2, dtype=np.int64),
            )
        )
    return detections


def damaged(tracks: list[TrackedFrame], seed: int) -> list[TrackedFrame]:
    """Predicted tracks with every kind of error: shifted, missing, wrong and exchanged boxes, new ids, empty frames."""
    rng = np.random.default_rng(seed)
    result = []
    names = np.arange(1, len(tracks[0].ids) + 1) * 10
    for number, (ids, boxes) in enumerate(tracks):
        if rng.random() < 0.06:
            first, second = rng.choice(len(names), 2, replace=False)
            names[[first, second]] = names[[second, first]]
        if rng.random() < 0.06:
            names[rng.integers(len(names))] = 1000 + number
        kept = rng.random(len(ids)) > (1.0 if number % 29 == 28 else 0.15)
        shifted = boxes[kept] + rng.normal(0, 4, (int(kept.sum()), 4))
        corner = rng.uniform(0, 400, 2)
        wrong = np.concatenate([corner, corner + 40])[None]
        extra = rng.random(1) < 0.3
        result.append(
            TrackedFrame(
                np.concatenate([names[kept], [5000 + number // 7]])[: len(shifted) + int(extra[0])],
                np.concatenate([shifted, wrong])[: len(shifted) + int(extra[0])],
            )
        )
    return result
