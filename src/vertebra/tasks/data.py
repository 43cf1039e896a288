"""Operations on a task's annotations, from a data set to a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.ranges import classes_of_objects
from vertebra.annotations.table import Annotations
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.class_counts import class_counts
from vertebra.tasks.column import Column

if TYPE_CHECKING:
    from PIL import Image


class TaskData(ABC):
    """Operations on the annotations of one task; all in numpy except `stack` and `fake_targets`.

    Attributes:
        whole_image: whether an annotation also holds for any part of the image, as a class does; such images may be cropped.
        source_kinds: kinds of annotations (`vertebra.annotations.table.KINDS`) that the task's labels can be made from; none for a
            task whose data only its own readers read.
        direct_kinds: those of them that mean this task where no task is named.
        annotates_boxes: whether objects have boxes, which `object_boxes` returns.
        sized_by: what must be large enough on the canvas, "boxes" or the "points" in them, so that the canvas is chosen by the
            sizes of `object_boxes`, see `vertebra.recipe.defaults.OBJECT_PX`; None if it is chosen by the images alone.
        steps_factor: how many training steps the task needs, relative to others, see `vertebra.recipe.defaults.STEPS_PER_ROOT`.
    """

    whole_image: bool = False
    source_kinds: frozenset[str] = frozenset()
    direct_kinds: frozenset[str] = frozenset()
    annotates_boxes: bool = False
    sized_by: str | None = None
    steps_factor: float = 1.0

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """This task's part of the annotations of a data set.

        Args:
            annotations: of some images; at least one kind of `source_kinds` occurs.
            options: the same for all formats.
            notes: gets notes about what was dropped or derived.

        Returns:
            The annotations of all images, and their labels.

        Raises:
            DataError: they cannot be used for this task; the message names the file and a fix.
        """
        raise NotImplementedError(f"{type(self).__name__} has no 'read', which tasks with 'source_kinds' need")

    @abstractmethod
    def to_canvas(self, annotation: Any, resize_spec: ResizeSpec, transform: ImageTransform, labels: Any) -> Any:
        """The annotation in canvas pixels, with the image on the canvas as in prediction."""

    @abstractmethod
    def cut(self, annotation: Any, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: Any) -> Any:
        """The annotation of a part of the image, in canvas pixels, cropped, mirrored and turned as the image is."""

    def object_boxes(self, annotation: Any) -> np.ndarray:
        """(M, 4) the boxes of the objects, for crops that keep objects; none if not ``annotates_boxes``."""
        return np.zeros((0, 4), dtype=np.float32)

    @abstractmethod
    def relabel(self, annotation: Any, ids: np.ndarray, source_labels: Any, labels: Any) -> Any:
        """The annotation in a branch's labels.

        Args:
            ids: (K,) int64, the branch's class id of each of the data set's classes, -1 for classes that the branch does not have.
            source_labels: the data set's labels.
            labels: the branch's.
        """

    @abstractmethod
    def occurrences(self, annotation: Any, classes: int) -> np.ndarray:
        """(classes,) the number of objects of each class, or 1 for each class in the image."""

    @abstractmethod
    def counted(self, annotation: Any, labels: Any) -> int:
        """How many items of an annotation count in the metrics: its objects that must be detected, or 1 for the whole image."""

    def advice(self, labels: Any, column: Any) -> list[str]:
        """Suggestions for labels that the user should add to a data set, one sentence each.

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
        """Labels with these classes, for checks of parts; ``multilabel`` for tasks that have both."""

    @abstractmethod
    def fake_targets(self, labels: Any, canvas: tuple[int, int], batch: int) -> Any:
        """Random ``Targets`` for a batch of full canvases of (height, width), for checks of parts."""

    def pixel_counts(self, annotation: Any, labels: Any) -> np.ndarray | None:
        """(K + 1,) int64, the pixels of each class in an image, and last the ignored ones; None for a task without such classes."""
        return None

    def draw(self, annotation: Any, labels: Any, picture: Image.Image) -> Image.Image:
        """A picture with an annotation in its pixels; by default the picture as it is.

        Args:
            picture: RGB.
        """
        return picture

    def uses_scope(self, multilabel: bool) -> bool:
        """Whether annotations can be limited to some classes, see `vertebra.annotations.scope`.

        Args:
            multilabel: whether classes may overlap.
        """
        return False

    def partly_annotated(self, column: Any) -> np.ndarray | None:
        """(n,) bool, the images of a column in which not all classes are annotated; None for none."""
        return None

    def usable(self, annotation_labels: LabelSpec, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n,) bool, which images of a column can be used for training after mapping classes by ``ids``."""
        return np.asarray(column.labeled, dtype=bool)

    def measurable(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n,) bool, which images of a column have annotations that count in the task's metrics.

        Args:
            column: a data set's annotations.
            ids: (K,) int64, the branch's class id of each of the data set's classes, -1 for classes that the branch does not have.
        """
        return np.asarray(column.labeled, dtype=bool)

    def class_presence(self, column: Any, class_count: int) -> np.ndarray | None:
        """(n, class_count) bool, the classes that each image has; None if that is known only from its pixels."""
        return None

    def strata(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """What a random division spreads over all splits in proportion: (n,) int64, a class number for each image, -1 for none; or
        (n, K), how often each of K classes occurs in it.

        By default images that count in the metrics and the others; see `measurable` for the arguments.
        """
        empty: np.ndarray = ~self.measurable(column, ids)
        return empty.astype(np.int64)


class ObjectData(TaskData):
    """Objects with ``boxes`` (M, 4), ``labels`` (M,) and ``crowd`` (M,) in an annotation, and flat ``labels`` and ``crowd`` with
    ``offsets`` in a column."""

    def object_boxes(self, annotation: Any) -> np.ndarray:
        """The boxes that do not mark a crowd."""
        boxes: np.ndarray = annotation.boxes[~annotation.crowd]
        return boxes

    def occurrences(self, annotation: Any, classes: int) -> np.ndarray:
        """The number of objects of each class."""
        counts: np.ndarray = np.bincount(annotation.labels, minlength=classes)
        return counts

    def measurable(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """Images with an object of the branch's classes that is not a crowd."""
        return images_of(column, ~column.crowd & (ids[column.labels] >= 0))

    def strata(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n, K + 1), the objects of each class, and 1 for an image without any."""
        return class_counts(column, ~column.crowd & (ids[column.labels] >= 0), len(ids))

    def class_presence(self, column: Any, class_count: int) -> np.ndarray | None:
        """The classes of the objects in each image, without crowds."""
        return classes_of_objects(column.offsets, column.labels, ~column.crowd, class_count)

    def counted(self, annotation: Any, labels: Any) -> int:
        """The number of objects that do not mark a crowd."""
        return int((~annotation.crowd).sum())


def images_of(column: Any, objects: np.ndarray) -> np.ndarray:
    """(n,) bool, the labeled images of a column that have at least one of these objects, (B,) bool."""
    rows = np.repeat(np.arange(len(column.labeled)), np.diff(column.offsets))
    has_objects = np.zeros(len(column.labeled), dtype=bool)
    has_objects[rows[objects]] = True
    both: np.ndarray = has_objects & column.labeled
    return both
