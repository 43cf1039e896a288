"""Panoptic quality of a model with a branch of instances and one of pixels, from the predictions of its evaluation."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.inference.pipeline import score_thresholds
from vertebra.model_info import ModelInfo
from vertebra.panoptic.branches import PanopticBranches, has_panoptic_branches, panoptic_branches
from vertebra.panoptic.ground_truth import true_segments
from vertebra.panoptic.panoptic_fpn import fuse
from vertebra.panoptic.quality import PanopticQuality, Segments
from vertebra.tasks.thresholds import ScoreThreshold

NAME = "panoptic"


class PanopticEvaluation:
    """An `vertebra.evaluation.observers.Observer` that fuses the predictions of both branches, with the thresholds and the rule of
    prediction, and compares them with the annotated segments.

    Args:
        info: of the model.
        branches: of the model.
        batch_size: largest number of images whose predictions of one branch come before those of the other.

    Attributes:
        images: number of images that were compared.
        refusal: why the data are not panoptic; empty while they are. Then nothing is compared any more.
    """

    def __init__(self, info: ModelInfo, branches: PanopticBranches, batch_size: int) -> None:
        self.branches, self.images, self.refusal = branches, 0, ""
        self._added = 0
        self.pixel_labels: Any = info.branches[branches.segment][1]
        threshold = score_thresholds(info, None)[branches.instances]
        assert threshold is not None, "objects with masks have a threshold"
        self.threshold: ScoreThreshold = threshold
        self.quality = PanopticQuality(branches.labels)
        self._waiting: dict[str, deque[tuple[Path, Any, Any]]] = {
            name: deque(maxlen=batch_size) for name in (branches.instances, branches.segment)
        }

    @classmethod
    def of(cls, info: ModelInfo, batch_size: int) -> PanopticEvaluation | None:
        """For a model with one branch of each kind; None for any other."""
        specs = {name: labels for name, (_, labels) in info.branches.items()}
        return cls(info, panoptic_branches(specs), batch_size) if has_panoptic_branches(specs) else None

    def needs_probabilities(self, branch: str, size: tuple[int, int]) -> bool:
        """Never."""
        return False

    def add(self, branch: str, prediction: Any, ground_truth: Any, path: Path) -> None:
        """Adds an image of a branch, and compares the image when both branches have it."""
        if branch not in self._waiting or self.refusal:
            return
        self._added += 1
        instances, segment = self.branches.instances, self.branches.segment
        waiting = self._waiting[segment if branch == instances else instances]
        other = next((entry for entry in waiting if entry[0] == path), None)
        if other is None:
            self._waiting[branch].append((path, prediction, ground_truth))
            return
        waiting.remove(other)
        mine = (path, prediction, ground_truth)
        (_, objects, true_objects), (_, pixels, true_pixels) = (mine, other) if branch == instances else (other, mine)
        actual = true_segments(true_objects, true_pixels, self.pixel_labels, self.branches.labels)
        if isinstance(actual, str):
            self.refusal = f"{path}: {actual}"
            return
        fused = fuse(objects.apply_threshold(self.threshold), pixels)
        self.quality.add(Segments(fused.ids, fused.class_ids, np.zeros(len(fused), dtype=bool)), actual)
        self.images += 1

    def scores(self) -> dict[str, float]:
        """The metrics as ``panoptic/pq`` and so on; none if the data are not panoptic."""
        if self.refusal or not self.images:
            return {}
        return {f"{NAME}/{name}": value for name, value in self.quality.compute().items()}

    def notes(self) -> list[str]:
        """Why there are no metrics, or of how many images there are none; empty if all images were compared."""
        if self.refusal:
            return [f"no panoptic quality, since the data are not panoptic: {self.refusal}"]
        alone = self._added - 2 * self.images
        if not alone:
            return []
        names = f"'{self.branches.instances}' and '{self.branches.segment}'"
        if not self.images:
            return [f"no panoptic quality, since no image has annotations of both branches, {names}"]
        have = "image has" if alone == 1 else "images have"
        compared = f"{self.images} image{'' if self.images == 1 else 's'}"
        return [f"panoptic quality is of {compared}; {alone} {have} annotations of one of the branches {names} only"]
