"""What an evaluation shows beside its metrics: the diagnosis of each branch, and pictures of some images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from vertebra.errors import DataError
from vertebra.inference.pipeline import score_thresholds
from vertebra.model_info import ModelInfo
from vertebra.report.example_pictures import draw_object, draw_sides
from vertebra.report.measured import Box, Sides
from vertebra.tasks import get_task
from vertebra.tasks.diagnosis import Diagnoser, Diagnosis

MAX_PROBABILITY_BYTES = 2**28  # of the probabilities of one image; predictions of larger ones have none


class Observer(Protocol):
    """Gets each prediction of an evaluation."""

    def needs_probabilities(self, branch: str, size: tuple[int, int]) -> bool:
        """Whether the prediction of an image of this (height, width) is to keep its probabilities."""

    def add(self, branch: str, prediction: Any, ground_truth: Any, path: Path) -> None:
        """Adds one image of a branch: its prediction, annotation and file."""


class Diagnoses:
    """Diagnoses each branch of a model.

    Args:
        info: of the model.
        probabilities: whether predictions can keep probabilities.

    Attributes:
        paths: for each branch, the files of its images in the order in which they were added.
    """

    def __init__(self, info: ModelInfo, *, probabilities: bool = True) -> None:
        self.paths: dict[str, list[Path]] = {name: [] for name in info.branches}
        self._diagnosers: dict[str, Diagnoser] = {}
        self._classes: dict[str, int] = {}
        for name, (task_name, labels) in info.branches.items():
            task = get_task(task_name)
            if task.diagnoser is not None:
                self._diagnosers[name] = task.diagnoser(labels)
                if probabilities and task.from_decoded_with_probabilities is not None:
                    self._classes[name] = labels.class_count

    def needs_probabilities(self, branch: str, size: tuple[int, int]) -> bool:
        """See `Observer`."""
        return branch in self._classes and 4 * self._classes[branch] * size[0] * size[1] <= MAX_PROBABILITY_BYTES

    def add(self, branch: str, prediction: Any, ground_truth: Any, path: Path) -> None:
        """See `Observer`."""
        self.paths[branch].append(path)
        if branch in self._diagnosers:
            self._diagnosers[branch].update([prediction], [ground_truth])

    def compute(self) -> dict[str, Diagnosis | None]:
        """The diagnosis of each branch; None for a branch without images, or whose task has none."""
        return {
            name: self._diagnosers[name].compute() if paths and name in self._diagnosers else None
            for name, paths in self.paths.items()
        }


class Drawings:
    """Draws some images with their ground truth and prediction; an image that can no longer be read has no picture.

    Args:
        info: of the model; its thresholds decide which objects of a prediction are drawn, as those of a predictor do.
        to_draw: the files to draw, by branch.
        objects: boxes (x1, y1, x2, y2) of objects to draw, by branch and file; None for the whole image.

    Attributes:
        sides: the pictures, by branch and file.
        objects_drawn: the pictures of the objects, by branch, file and box.
    """

    def __init__(
        self,
        info: ModelInfo,
        to_draw: Mapping[str, Sequence[Path]],
        objects: Mapping[str, Mapping[Path, Sequence[Box | None]]],
    ) -> None:
        self.branches, self.thresholds = info.branches, score_thresholds(info, None)
        self.to_draw = {name: set(paths) for name, paths in to_draw.items()}
        self.objects = objects
        self.sides: dict[tuple[str, Path], Sides] = {}
        self.objects_drawn: dict[tuple[str, Path, Box | None], Mapping[str, Image.Image]] = {}

    def needs_probabilities(self, branch: str, size: tuple[int, int]) -> bool:
        """See `Observer`."""
        return False

    def add(self, branch: str, prediction: Any, ground_truth: Any, path: Path) -> None:
        """See `Observer`."""
        task_name, labels = self.branches[branch]
        threshold = self.thresholds[branch]
        prediction = prediction if threshold is None else prediction.apply_threshold(threshold)
        try:
            if path in self.to_draw.get(branch, ()):
                self.sides[branch, path] = draw_sides(get_task(task_name), labels, prediction, ground_truth, path)
            for box in self.objects.get(branch, {}).get(path, ()):
                self.objects_drawn[branch, path, box] = draw_object(
                    get_task(task_name), labels, prediction, ground_truth, path, box
                )
        except DataError:  # the file was removed since it was evaluated
            return
