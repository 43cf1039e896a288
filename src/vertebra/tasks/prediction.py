"""The prediction of one image, the same interface for all tasks: a sequence of objects with named fields (numpy only)."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.table import Category
from vertebra.errors import ConfigError, MissingFieldError, UnknownName, install_command, shortened
from vertebra.keywords import check_fraction, strict_keywords
from vertebra.tasks.thresholds import OBJECT_THRESHOLD, ClassThresholds, ScoreThreshold, class_thresholds

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.base import LabelSpec
    from vertebra.tasks.picture import ImageLike

FIELDS = ("boxes", "scores", "class_ids", "class_names", "masks", "points")
OPTIONAL_FIELDS = ("track_ids",)
ClassChoice = str | int | Iterable[str | int]
MAX_NAMED = 3  # objects that a repr names
MAX_NAME_LENGTH = 24  # letters of a class name in a repr


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(ABC):
    """The objects of one image. What an object is depends on the task: a box, a pose, a class of the image, a class's pixels.

    ``len``, iteration and indexing go over the objects; an index is a number, a slice, a bool mask or an array of numbers,
    and returns a prediction of the selected objects, of the same type. A task has some of these fields, each with one row for
    each object; the others raise `vertebra.errors.MissingFieldError`:

    - ``boxes`` (M, 4) float32, xyxy in the original image's pixels.
    - ``scores`` (M,) float32 in 0..1.
    - ``class_ids`` (M,) int64, ``class_names`` a list of M names.
    - ``masks`` (M, H, W) bool, of the original image's size.
    - ``points`` (M, K, 2) float32 of x, y in the original image's pixels.
    - ``track_ids`` (M,) int64, the track of each object, from 1; None where objects were not tracked.

    Attributes:
        spec: the task's label specification, with the classes.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
        task: the task's name.
        thresholded: whether the score threshold of a predictor removes objects.
        per_object: fields with a row for each object.
        trackable: whether it has ``boxes`` and ``scores`` of objects, and ``track_ids``.
        annotation_kinds: the kinds of annotations that `annotate` adds, see `vertebra.annotations.table.KINDS`; empty for a task
            whose predictions cannot be saved as a data set.
        attached: whether the objects are the boxes of another branch, which has this prediction among its ``attributes``.
        attributes: by name, an `vertebra.tasks.box_attributes.types.AttributePrediction` with a row for each object.
    """

    task: ClassVar[str]
    thresholded: ClassVar[bool] = False
    per_object: ClassVar[tuple[str, ...]] = ()
    trackable: ClassVar[bool] = False
    annotation_kinds: ClassVar[frozenset[str]] = frozenset()
    attached: ClassVar[bool] = False

    attributes: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    if TYPE_CHECKING:  # at run time, fields that a task does not define reach `__getattr__`

        @property
        def spec(self) -> LabelSpec: ...
        @property
        def image(self) -> ImageLike | None: ...
        @property
        def boxes(self) -> np.ndarray: ...
        @property
        def scores(self) -> np.ndarray: ...
        @property
        def class_ids(self) -> np.ndarray: ...
        @property
        def masks(self) -> np.ndarray: ...
        @property
        def points(self) -> np.ndarray: ...
        @property
        def track_ids(self) -> np.ndarray | None: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name in FIELDS or name in OPTIONAL_FIELDS:
                raise MissingFieldError(self._missing(name))
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.class_ids)

    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | np.ndarray) -> Self:
        """The objects at an index: a number, a slice, a bool mask (M,) or numbers (N,).

        Raises:
            IndexError: there is no such object, or the mask has another length.
            TypeError: the index is something else.
        """
        return self._take(_rows(index, len(self)))

    def __iter__(self) -> Iterator[Self]:
        """The objects one by one, each as a prediction of one object."""
        return (self._take(np.array([row])) for row in range(len(self)))

    @property
    def class_names(self) -> list[str]:
        """The class name of each object."""
        return [self.spec.classes[class_id] for class_id in self.class_ids.tolist()]

    @classmethod
    def choose_threshold(cls, spec: LabelSpec, given: float | None, stored: ClassThresholds) -> ScoreThreshold | None:
        """The minimum score that a predictor applies: the user's, else those that the model stores, else the task's default.

        Args:
            spec: the task's label specification.
            given: the user's, for all classes; None for none.
            stored: those of the model, by class; empty for none.

        Returns:
            None where the task has no minimum score.
        """
        if not cls.thresholded or given is not None:
            return given if cls.thresholded else None
        return class_thresholds(stored, spec.classes, OBJECT_THRESHOLD) if stored else OBJECT_THRESHOLD

    def apply_threshold(self, threshold: ScoreThreshold) -> Self:
        """The objects whose score reaches a predictor's threshold, 0 to 1, of all classes or (K,) of each; all objects where the
        task has no threshold."""
        if not self.thresholded:
            return self
        return self._take(self._reaching(threshold), draw_threshold=float(np.min(threshold)))

    @strict_keywords
    def filter(self, *, min_score: float | None = None, classes: ClassChoice | None = None) -> Self:
        """Only the objects that meet all conditions.

        Args:
            min_score: minimum score of all classes, 0 to 1. It applies to the objects that are here: those that the predictor's
                threshold, or those that the model stores by class, left out do not come back, and stored ones play no part
                any more. For boxes and poses it also becomes the score threshold of `draw`.
            classes: names or ids of classes, or one of them.

        Raises:
            ConfigError: a score that is not within 0 and 1, or a class that does not exist (`UnknownName` with the nearest name).
            MissingFieldError: there are no scores.
        """
        kept = np.ones(len(self), dtype=bool)
        if min_score is not None:
            check_fraction("min_score", min_score)
            kept &= self.scores >= min_score
        if classes is not None:
            kept &= np.isin(self.class_ids, _class_ids(classes, self.spec.classes))
        changes = {} if min_score is None or not self.thresholded else {"draw_threshold": min_score}
        return self._take(np.flatnonzero(kept), **changes)

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with its objects.

        Args:
            image: the picture to draw on; by default the predicted image.

        Raises:
            DataError: there is no image, it cannot be read, or masks are of another size.
        """
        from vertebra.tasks.picture import open_picture

        return self._draw(open_picture(self.image if image is None else image))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``task`` and ``objects``, each with ``class_name``, ``class_id``, the fields of its task, and ``track_id``
        where objects were tracked."""
        tracks = {"track_id": self.track_ids.tolist()} if self.trackable and self.track_ids is not None else {}
        columns = {"class_name": self.class_names, "class_id": self.class_ids.tolist(), **tracks, **self._columns()}
        if self.attributes:
            summaries = {name: each.summaries() for name, each in self.attributes.items()}
            columns["attributes"] = _as_rows(summaries)
        return {"task": self.task, "objects": _as_rows(columns)}

    def to_coco(self, image_id: int | str, category_ids: Sequence[int | None] | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry for each object; ``attributes`` has the values of its attributes, as CVAT writes them.

        Args:
            image_id: the image's id in the COCO file.
            category_ids: the COCO file's category id of each class, None for a class that is left out; by default the class ids.

        Raises:
            MissingFieldError: COCO has no results for this task.
            ConfigError: the number of category ids is not the number of classes.
        """
        columns = self._coco_columns()
        if self.attributes:
            columns["attributes"] = self._attribute_values()
        ids = self.class_ids.tolist()
        if category_ids is not None:
            if len(category_ids) != len(self.spec.classes):
                raise ConfigError(
                    f"'category_ids' must have one id for each class: got {len(category_ids)} for {len(self.spec.classes)} classes"
                )
            known = [None if category is None else int(category) for category in category_ids]
            ids = [known[class_id] for class_id in ids]
        rows = _as_rows({"image_id": [image_id] * len(self), "category_id": ids, **columns})
        return rows if None not in ids else [row for row in rows if row["category_id"] is not None]

    def to_supervision(self) -> Any:
        """The prediction as a type of the package ``supervision``: ``Detections`` for boxes and masks, ``KeyPoints`` for poses,
        ``Classifications`` for classes of an image. The first two have class names in ``data["class_name"]``.

        Raises:
            ConfigError: the package is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ConfigError(
                f"to_supervision() needs the package 'supervision': {install_command('supervision')}"
            ) from error
        return self._to_supervision(supervision)

    @classmethod
    def categories(cls, spec: LabelSpec) -> list[Category]:
        """The classes as categories of a data set of predictions, without a background."""
        return [Category(name) for name in spec.classes if name not in spec.background_classes]

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the objects to the annotations of an image, each with its score as the attribute ``confidence``.

        Args:
            builder: has the image, and the `categories`.
            row: of the image.
            min_score: minimum score of an object, 0 to 1, where objects have scores.

        Raises:
            MissingFieldError: predictions of this task cannot be saved as a data set.
        """
        raise MissingFieldError(f"a {self.task} prediction cannot be saved as a data set; use to_dict()")

    def __repr__(self) -> str:
        """The number of objects, and the best score of the best classes: ``3 boxes: dog 0.93, cat 0.71, …``."""
        counted = f"{len(self) or 'no'} {self._noun(len(self))}"
        best: dict[str, str] = {}
        for name, value in self._ranked():
            best.setdefault(shortened(name, MAX_NAME_LENGTH), value)
            if len(best) == MAX_NAMED:
                break
        named = [f"{name} {value}" for name, value in best.items()]
        if not named:
            return counted
        return f"{counted}: {', '.join(named if len(named) == len(self) else [*named, '…'])}"

    def _take(self, rows: np.ndarray, **changes: Any) -> Self:
        """The objects at these indices (N,) int64, with changed values of other fields."""
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in self.per_object}
        if self.trackable and self.track_ids is not None:
            taken["track_ids"] = self.track_ids[rows]
        if self.attributes:
            taken["attributes"] = {name: each[rows] for name, each in self.attributes.items()}
        return replace(self, **taken, **changes)

    def _supervision_data(self) -> dict[str, np.ndarray]:
        """``data`` of the types of supervision: class names, and the values of attributes, several of an object as one text."""
        texts = {
            name: [", ".join(value) if isinstance(value, tuple) else value for value in each.values]
            for name, each in self.attributes.items()
        }
        return {
            name: np.asarray(values, dtype=str) for name, values in {**texts, "class_name": self.class_names}.items()
        }

    def _attribute_values(self) -> list[dict[str, Any]]:
        """For each object the values of its attributes by name; a list where it may have several."""
        if not self.attributes:
            return [{} for _ in range(len(self))]
        values = {name: _plain(each.values) for name, each in self.attributes.items()}
        return _as_rows(values)

    def _reaching(self, threshold: ScoreThreshold) -> np.ndarray:
        """The indices of the objects whose score is at least the minimum of their class."""
        limits = threshold[self.class_ids] if isinstance(threshold, np.ndarray) else threshold
        return np.flatnonzero(self.scores >= limits)

    def _missing(self, name: str) -> str:
        """The message of the error for a field that this prediction does not have."""
        known = {*dir(type(self)), *self.__dataclass_fields__}
        return f"a {self.task} prediction has no '{name}'; it has: {', '.join(field for field in FIELDS if field in known)}"

    def _ranked(self) -> Iterator[tuple[str, str]]:
        """Class name and score, as text, of each object, best first."""
        for row in np.argsort(-self.scores, kind="stable").tolist():
            yield self.spec.classes[self.class_ids[row]], f"{self.scores[row]:.2f}"

    def _coco_columns(self) -> dict[str, list[Any]]:
        """The fields of COCO results besides image and category: by key, a value for each object."""
        raise MissingFieldError(f"COCO has no results for a {self.task} prediction; use to_dict()")

    @abstractmethod
    def _noun(self, count: int) -> str:
        """The word for the objects, in singular or plural."""

    @abstractmethod
    def _columns(self) -> dict[str, list[Any]]:
        """The fields of `to_dict` besides the class: by key, a value for each object."""

    @abstractmethod
    def _draw(self, picture: Image.Image) -> Image.Image:
        """The objects on a picture (RGB)."""

    @abstractmethod
    def _to_supervision(self, supervision: Any) -> Any:
        """The prediction as a type of the module ``supervision``."""


def coco_boxes(boxes: np.ndarray) -> list[list[float]]:
    """Boxes (M, 4) xyxy as COCO writes them: x, y, width, height."""
    wide = boxes.astype(np.float64)
    wide[:, 2:] -= wide[:, :2]
    rows: list[list[float]] = wide.tolist()
    return rows


def _plain(values: Sequence[Any]) -> list[Any]:
    return [list(value) if isinstance(value, tuple) else value for value in values]


def _as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """One dictionary for each object, from lists by key."""
    keys = tuple(columns)
    return [dict(zip(keys, values)) for values in zip(*columns.values(), strict=True)]  # noqa: B905  # as many as keys


def _rows(index: Any, count: int) -> np.ndarray:
    """The row numbers of an index, each 0 to ``count`` - 1."""
    if isinstance(index, slice):
        return np.arange(count)[index]
    if isinstance(index, str):
        raise TypeError(f"objects are selected by number, slice or mask; for a class use filter(classes={index!r})")
    array = np.asarray(index)
    if array.ndim == 0 and array.dtype != bool and hasattr(index, "__index__"):
        array = np.array([operator.index(index)])
    if array.size == 0 and array.ndim == 1 and array.dtype != bool:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise TypeError(
            f"objects are selected by number, slice, bool mask or numbers, not by {type(index).__name__} {index!r}"
        )
    if array.dtype == bool:
        if len(array) != count:
            raise IndexError(f"the mask has {len(array)} values for {count} objects")
        return np.flatnonzero(array)
    wrong = array[(array < -count) | (array >= count)]
    if len(wrong):
        raise IndexError(f"there is no object {wrong[0]}: there are {count}, counted from 0")
    rows = array.astype(np.int64)  # an unsigned index, too
    return np.where(rows < 0, rows + count, rows)


def _class_ids(classes: ClassChoice, known: Sequence[str]) -> list[int]:
    """The ids of classes given by name or id."""
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    listed = list(classes) if isinstance(classes, Iterable) and not isinstance(classes, str) else [classes]
    ids = {name: number for number, name in enumerate(known)}
    chosen = []
    for entry in listed:
        if isinstance(entry, str):
            if entry not in ids:
                raise UnknownName("class", entry, known)
            chosen.append(ids[entry])
        elif isinstance(entry, int | np.integer) and not isinstance(entry, bool) and 0 <= entry < len(known):
            chosen.append(int(entry))
        else:
            raise ConfigError(f"unknown class {entry!r}: a class is a name, or an id from 0 to {len(known) - 1}")
    return chosen
