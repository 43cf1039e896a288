"""Random features and targets of the right shape, for checks."""

from __future__ import annotations

import math
from typing import Any

import torch

from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.tasks import get_task, task_of_labels
from vertebra.tasks.base import LabelSpec


def fake_features(spec: FeatureSpec, canvas: tuple[int, int], batch: int = 2, multiple: int = 1) -> Features:
    """Random features of a backbone with this spec for a batch of full canvases.

    Args:
        multiple: the backbone's size multiple, to which the canvas is padded.
    """
    height, width = (multiple * math.ceil(side / multiple) for side in canvas)
    maps = tuple(
        torch.randn(batch, level.channels, math.ceil(height / level.stride), math.ceil(width / level.stride))
        for level in spec.levels
    )
    embedding = None if spec.embedding is None else torch.randn(batch, spec.embedding)
    return Features(maps, embedding, Frame(canvas, torch.tensor([canvas] * batch)))


def fake_labels(task: str, classes: int = 3, multilabel: bool = False) -> LabelSpec:
    """Labels with classes ``c0``, ``c1`` …"""
    return get_task(task).data.fake_labels([f"c{index}" for index in range(classes)], multilabel)


def fake_fields(task: str) -> dict[str, Any]:
    """The label fields of `fake_labels`, without the classes, as in a branch's config."""
    labels = fake_labels(task)
    return {name: getattr(labels, name) for name in labels.own_fields() if getattr(labels, name)}


def fake_targets(labels: LabelSpec, canvas: tuple[int, int], batch: int = 2) -> Any:
    """Targets of the labels' task: random classes and masks; for detect and keypoints two boxes in each image but the
    last, which has none if there are several, with random points inside."""
    return task_of_labels(labels).data.fake_targets(labels, canvas, batch)


def fake_proposals(labels: LabelSpec, canvas: tuple[int, int], batch: int = 2) -> Proposals:
    """Boxes for a decoder that reads them: three in each image but the last, which has none if there are several."""
    height, width = canvas
    corners = torch.rand(batch, 3, 2, 2).sort(dim=2).values * torch.tensor([width, height])
    count = torch.full((batch,), 3)
    if batch > 1:
        count[-1] = 0
    real = torch.arange(3) < count[:, None]
    return Proposals(
        boxes=torch.where(real[..., None], corners.flatten(2), 0.0),
        scores=torch.where(real, torch.rand(batch, 3), 0.0),
        labels=torch.where(real, torch.randint(0, labels.class_count, (batch, 3)), -1),
        count=count,
    )
