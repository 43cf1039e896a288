"""Random features and truths of the right shape, for checks."""

from __future__ import annotations

import math
from typing import Any

import torch

from vertebra.features import Features, FeatureSpec, Frame, Regions
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.targets import ClassifyTargets
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.targets import KeypointTargets
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentTargets

POINTS = 4


def made_features(spec: FeatureSpec, canvas: tuple[int, int], batch: int = 2, multiple: int = 1) -> Features:
    """Random features as a backbone with this spec gives them for a batch of full canvases.

    Args:
        multiple: the backbone's size multiple; the maps are those of the canvas padded to it.
    """
    height, width = (multiple * math.ceil(side / multiple) for side in canvas)
    maps = tuple(
        torch.randn(batch, level.channels, math.ceil(height / level.stride), math.ceil(width / level.stride))
        for level in spec.levels
    )
    vector = None if spec.vector is None else torch.randn(batch, spec.vector)
    return Features(maps, vector, Frame(canvas, torch.tensor([canvas] * batch)))


def made_labels(task: str, classes: int = 3, exclusive: bool = True) -> LabelSpec:
    """Labels with classes ``c0``, ``c1`` …"""
    names = tuple(f"c{index}" for index in range(classes))
    if task == "classify":
        return ClassifyLabels(names, exclusive)
    if task == "segment":
        return SegmentLabels(names, exclusive)
    if task == "keypoints":
        return KeypointLabels(names, points=tuple(f"p{index}" for index in range(POINTS)))
    return DetectLabels(names)


def made_targets(labels: LabelSpec, canvas: tuple[int, int], batch: int = 2) -> Any:
    """Targets of the labels' task: random classes and masks; for detect and keypoints two boxes in each image but the
    last, which has none if there are several, with random points inside."""
    count = labels.class_count
    height, width = canvas
    if isinstance(labels, ClassifyLabels):
        if labels.exclusive:
            return ClassifyTargets(torch.randint(0, count, (batch,)))
        return ClassifyTargets(torch.randint(0, 2, (batch, count)).float())
    if isinstance(labels, SegmentLabels):
        if labels.exclusive:
            masks = torch.randint(0, count, (batch, height, width))
        else:
            masks = torch.randint(0, 2, (batch, count, height, width), dtype=torch.uint8)
        masks[..., : max(1, height // 8), :] = labels.ignore_index
        return SegmentTargets(masks)
    box = torch.tensor(
        [[0.1 * width, 0.1 * height, 0.6 * width, 0.7 * height], [0.3 * width, 0.2 * height, 0.9 * width, 0.9 * height]]
    )
    boxes = box.repeat(batch, 1, 1)
    counts = torch.full((batch,), 2)
    ids = torch.randint(0, count, (batch, 2))
    if batch > 1:
        boxes[-1], ids[-1], counts[-1] = 0, -1, 0
    if isinstance(labels, KeypointLabels):
        parts = torch.rand(batch, 2, len(labels.points), 2)
        places = boxes[..., None, :2] + parts * (boxes[..., 2:] - boxes[..., :2])[..., None, :]
        seen = torch.randint(0, 3, (*parts.shape[:-1], 1)).float()
        seen[..., 0, :] = 2
        known = torch.arange(2)[:, None, None] < counts[:, None, None, None]
        points = torch.where(known, torch.cat([places, seen], dim=-1), 0.0)
        return KeypointTargets(points, boxes, ids, counts)
    return DetectTargets(boxes, ids, torch.zeros(batch, 2, dtype=torch.bool), counts)


def made_regions(labels: LabelSpec, canvas: tuple[int, int], batch: int = 2) -> Regions:
    """Boxes for a decoder that reads them: three in each image but the last, which has none if there are several."""
    height, width = canvas
    corners = torch.rand(batch, 3, 2, 2).sort(dim=2).values * torch.tensor([width, height])
    count = torch.full((batch,), 3)
    if batch > 1:
        count[-1] = 0
    real = torch.arange(3) < count[:, None]
    return Regions(
        boxes=torch.where(real[..., None], corners.flatten(2), 0.0),
        scores=torch.where(real, torch.rand(batch, 3), 0.0),
        labels=torch.where(real, torch.randint(0, labels.class_count, (batch, 3)), -1),
        count=count,
    )
