"""What calibration needs of the predictions for labeled images: one observer of an evaluation for each use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vertebra.evaluation.observers import MAX_PROBABILITY_BYTES
from vertebra.model_info import ModelInfo
from vertebra.tasks import get_task
from vertebra.tasks.object_scores import Confidences, ObjectScores


class ScoreCollector:
    """Collects the scores that decide about objects; see `vertebra.evaluation.observers.Observer`.

    Args:
        info: of the model.

    Attributes:
        images: by branch, the scores of each image.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.tasks = {name: get_task(task) for name, (task, _) in info.branches.items()}
        self.images: dict[str, list[ObjectScores]] = {name: [] for name in info.branches}

    def needs_probabilities(self, branch: str, size: tuple[int, int]) -> bool:
        """See `Observer`."""
        return False

    def add(self, branch: str, prediction: Any, ground_truth: Any, path: Path) -> None:
        """See `Observer`."""
        object_scores = self.tasks[branch].object_scores
        if object_scores is not None:
            self.images[branch].append(object_scores(prediction, ground_truth))


class ConfidenceCollector:
    """Collects predicted probabilities with what is right; see `vertebra.evaluation.observers.Observer`.

    Args:
        info: of the model.

    Attributes:
        images: by branch, the probabilities of each image.
        too_large: number of images whose pixels' probabilities would take too much memory, which are left out.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.branches = {name: (get_task(task), labels) for name, (task, labels) in info.branches.items()}
        self.images: dict[str, list[Confidences]] = {name: [] for name in info.branches}
        self.too_large = 0

    def needs_probabilities(self, branch: str, size: tuple[int, int]) -> bool:
        """See `Observer`."""
        task, labels = self.branches[branch]
        if task.from_decoded_with_probabilities is None:
            return False
        fits = 4 * labels.class_count * size[0] * size[1] <= MAX_PROBABILITY_BYTES
        self.too_large += not fits
        return fits

    def add(self, branch: str, prediction: Any, ground_truth: Any, path: Path) -> None:
        """See `Observer`."""
        task, _ = self.branches[branch]
        kept = task.from_decoded_with_probabilities is None or prediction.probabilities is not None
        if task.confidences is not None and kept:
            self.images[branch].append(task.confidences(prediction, ground_truth))
