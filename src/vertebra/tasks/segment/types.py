"""The prediction of the segment task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.segmentations import parse_segmentation
from vertebra.errors import MissingFieldError
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.run_lengths import RunLengths, of_classes, of_region
from vertebra.tasks.thresholds import CLASS_THRESHOLD, ClassThresholds, ScoreThreshold, class_thresholds

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.base import LabelSpec
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class SegmentPrediction(Prediction):
    """The class of each pixel of an image. Its objects are the classes that occur, in the order of their ids.

    Attributes:
        mask: (H, W) of class ids for exclusive classes, else (K, H, W) bool; of the original image's size. It holds all
            classes, including those not in ``picked``.
        spec: the classes.
        probabilities: (K, H, W) float32 of the original image's size; None if they were not kept.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
        picked: (M,) ids of the classes that are objects; None for all that occur.
    """

    task: ClassVar[str] = "segment"
    annotation_kinds: ClassVar[frozenset[str]] = frozenset({"outlines"})

    mask: np.ndarray
    spec: SegmentLabels
    probabilities: np.ndarray | None = None
    image: ImageLike | None = None
    picked: np.ndarray | None = None

    def __post_init__(self) -> None:
        expected = "(H, W) of class ids" if not self.spec.multilabel else f"({self.spec.class_count}, H, W) of bool"
        layers = () if not self.spec.multilabel else (self.spec.class_count,)
        if self.mask.ndim != len(layers) + 2 or self.mask.shape[:-2] != layers:
            raise ValueError(f"the mask must be {expected}, got shape {self.mask.shape}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.mask.shape[-2:]
        return height, width

    @cached_property
    def class_ids(self) -> np.ndarray:
        """(M,) int64."""
        if self.picked is not None:
            return self.picked
        return np.flatnonzero([self.share[name] > 0 for name in self.spec.classes])

    @property
    def masks(self) -> np.ndarray:
        """(M, H, W) bool, the pixels of each class; a new array, one byte for each pixel and class."""
        masks = np.zeros((len(self), *self.size), dtype=bool)
        for row, class_id in enumerate(self.class_ids.tolist()):
            masks[row] = self.region(class_id)
        return masks

    @cached_property
    def boxes(self) -> np.ndarray:
        """(M, 4) float32, the smallest box around the pixels of each class: xyxy, up to the far edges of its last pixels."""
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        for row, class_id in enumerate(self.class_ids.tolist()):
            region = self.region(class_id)
            columns, lines = np.flatnonzero(region.any(axis=0)), np.flatnonzero(region.any(axis=1))
            boxes[row] = columns[0], lines[0], columns[-1] + 1, lines[-1] + 1
        return boxes

    @cached_property
    def scores(self) -> np.ndarray:
        """(M,) float32, the mean probability of each class over its pixels.

        Raises:
            MissingFieldError: the prediction was made without probabilities.
        """
        if self.probabilities is None:
            raise MissingFieldError(self._missing("scores"))
        means = [self.probabilities[i][self.region(i)].mean() for i in self.class_ids.tolist()]
        return np.asarray(means, dtype=np.float32)

    def region(self, class_id: int) -> np.ndarray:
        """The pixels of a class: (H, W) bool."""
        return np.asarray(self.mask == class_id if not self.spec.multilabel else self.mask[class_id] != 0)

    @cached_property
    def share(self) -> dict[str, float]:
        """The share of the image's pixels that each class covers, by name; overlapping classes may sum to over 1."""
        pixels = self.mask.shape[-2] * self.mask.shape[-1]
        if not self.spec.multilabel:
            ids = self.mask[(self.mask >= 0) & (self.mask < self.spec.class_count)]
            counts = np.bincount(ids.ravel().astype(np.int64), minlength=self.spec.class_count)
        else:
            counts = np.count_nonzero(self.mask, axis=(1, 2))
        return {name: float(count / pixels) for name, count in zip(self.spec.classes, counts, strict=True)}

    @cached_property
    def run_lengths(self) -> list[RunLengths]:
        """The mask of each object as COCO's compressed run lengths, ``size`` (height, width) and ``counts``, which
        ``pycocotools.mask.decode`` reads.
        """
        ids = self.class_ids.tolist()
        if self.spec.multilabel:
            return [of_region(self.region(class_id)) for class_id in ids]
        by_class = of_classes(self.mask, ids)
        return [by_class[class_id] for class_id in ids]

    @classmethod
    def choose_threshold(cls, spec: LabelSpec, given: float | None, stored: ClassThresholds) -> ScoreThreshold | None:
        """The minimum probability of overlapping classes at a pixel, where the model stores one. A given one is for objects: then
        stored ones are not used either, and pixels have the default."""
        overlapping = isinstance(spec, SegmentLabels) and spec.multilabel
        return (
            class_thresholds(stored, spec.classes, CLASS_THRESHOLD)
            if overlapping and stored and given is None
            else None
        )

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the pixels of each class but a background as an object, without a score and whatever ``min_score`` is."""
        for name, run_lengths in zip(self.class_names, self.run_lengths, strict=True):
            if name not in self.spec.background_classes:
                builder.object(row, name, shape=parse_segmentation(run_lengths))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``size`` (height, width), and ``objects``, each with its class, ``share`` of pixels, and ``mask`` as
        `run_lengths`; ``score`` where there are probabilities.
        """
        whole = super().to_dict()
        return {"task": whole["task"], "size": list(self.size), "objects": whole["objects"]}

    def _take(self, rows: np.ndarray, **changes: Any) -> Self:
        return replace(self, picked=self.class_ids[rows], **changes)

    def _missing(self, name: str) -> str:
        if name == "scores":
            return "a segment prediction has 'scores' only if it was made with probabilities; 'share' has each class's part"
        return super()._missing(name)

    def _noun(self, count: int) -> str:
        return "class" if count == 1 else "classes"

    def _ranked(self) -> Iterator[tuple[str, str]]:
        for name in sorted(self.class_names, key=lambda name: -self.share[name]):
            yield name, f"{self.share[name]:.1%}"

    def _columns(self) -> dict[str, list[Any]]:
        scores = {} if self.probabilities is None else {"score": self.scores.tolist()}
        shares = [self.share[name] for name in self.class_names]
        return {**scores, "share": shares, "mask": self.run_lengths}

    def _coco_columns(self) -> dict[str, list[Any]]:
        """``segmentation`` as compressed run lengths; the score is 1 without probabilities."""
        scores = [1.0] * len(self) if self.probabilities is None else self.scores.tolist()
        return {"segmentation": self.run_lengths, "score": scores}

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.tasks.segment.draw import draw_segmentation

        return draw_segmentation(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks,
            confidence=None if self.probabilities is None else self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.asarray(self.class_names, dtype=str)},
        )
