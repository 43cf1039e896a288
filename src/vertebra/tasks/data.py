"""Annotations of a task on their way from a data set to a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.base import LabelSpec


class TaskData(ABC):
    """Operations on the annotations of one task; all in numpy but `stack` and `fake_targets`.

    Attributes:
        whole_image: whether an annotation is true of any part of the image, as a class is; such images may be cropped.
    """

    whole_image: bool = False

    @abstractmethod
    def to_canvas(self, annotation: Any, resize_spec: ResizeSpec, transform: ImageTransform, labels: Any) -> Any:
        """The annotation in canvas pixels, as prediction places the image."""

    @abstractmethod
    def cut(self, annotation: Any, window: CropWindow, resize_spec: ResizeSpec, labels: Any) -> Any:
        """The annotation of a window of the image, in canvas pixels, turned as the window is."""

    @abstractmethod
    def relabel(self, annotation: Any, ids: np.ndarray, source_labels: Any, labels: Any) -> Any:
        """The annotation in a branch's labels.

        Args:
            ids: (K,) int64, the branch's class id of each of the data set's classes, -1 for classes that it has not.
            source_labels: the data set's labels.
            labels: the branch's.
        """

    @abstractmethod
    def occurrences(self, annotation: Any, classes: int) -> np.ndarray:
        """(classes,) how many objects each class has, or whether it is in the image."""

    @abstractmethod
    def counted(self, annotation: Any, labels: Any) -> int:
        """How much of an annotation counts in the metrics: its objects that must be detected, or 1 for the image as a whole."""

    def advice(self, labels: Any, column: Any) -> list[str]:
        """What the user should add to the labels of a data set, in one sentence each.

        Args:
            labels: the data set's.
            column: the annotations of its training images.
        """
        return []

    @abstractmethod
    def stack(self, annotations: Sequence[Any], labels: Any) -> Any:
        """The task's ``Targets`` (tensors) of at least one annotation in canvas pixels."""

    @abstractmethod
    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> LabelSpec:
        """Labels with these classes, for checks of parts; ``multilabel`` where the task knows both."""

    @abstractmethod
    def fake_targets(self, labels: Any, canvas: tuple[int, int], batch: int) -> Any:
        """Random ``Targets`` for a batch of full canvases of (height, width), for checks of parts."""

    def usable(self, annotation_labels: LabelSpec, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n,) bool, which images of a column can be learned from when classes are renamed by ``ids``."""
        return np.asarray(column.labeled, dtype=bool)

    def measurable(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n,) bool, which images of a column have something that the task's metrics compare predictions with.

        Args:
            column: a data set's annotations.
            ids: (K,) int64, the branch's class id of each of the data set's classes, -1 for classes that it has not.
        """
        return np.asarray(column.labeled, dtype=bool)
