"""The panoptic prediction of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from vertebra.annotations.run_lengths import Region, label_regions
from vertebra.keywords import check_fraction
from vertebra.panoptic.labels import PanopticLabels
from vertebra.tasks.prediction import ClassChoice, Prediction

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from vertebra.tasks.picture import ImageLike


class Segment(NamedTuple):
    """A segment of an image.

    Attributes:
        id: of its pixels in the map of ids, from 1.
        class_name: of its class.
        class_id: of its class.
        score: in 0..1; NaN for stuff, unless the prediction kept probabilities.
        area: number of pixels.
        is_thing: whether it is a single object.
    """

    id: int
    class_name: str
    class_id: int
    score: float
    area: int
    is_thing: bool


@dataclass(frozen=True, eq=False, repr=False)
class PanopticPrediction(Prediction):
    """The segments of an image, each pixel of one at most: things by descending score, then stuff by class.

    Attributes:
        ids: (H, W) int32, the id of the segment at each pixel of the original image, 0 for none. It holds all segments,
            including those that an index or a filter left out.
        segment_ids: (M,) int64, the ids of the segments.
        class_ids: (M,) int64.
        scores: (M,) float32 in 0..1; NaN for stuff, unless the prediction kept probabilities.
        areas: (M,) int64, pixels of each segment.
        spec: the classes.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
    """

    task: ClassVar[str] = "panoptic"
    per_object: ClassVar[tuple[str, ...]] = ("segment_ids", "class_ids", "scores", "areas")

    ids: np.ndarray
    segment_ids: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    spec: PanopticLabels
    image: ImageLike | None = None

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        class_ids: np.ndarray,
        scores: np.ndarray,
        spec: PanopticLabels,
        image: ImageLike | None = None,
    ) -> PanopticPrediction:
        """The prediction of a map whose ids are the numbers of the segments from 1."""
        count = len(class_ids)
        areas = np.bincount(ids.reshape(-1), minlength=count + 1)[1:].astype(np.int64)
        numbers = np.arange(1, count + 1)
        return cls(ids, numbers, class_ids.astype(np.int64), scores.astype(np.float32), areas, spec, image)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.ids.shape
        return height, width

    @property
    def is_thing(self) -> np.ndarray:
        """(M,) bool, whether each segment is a single object."""
        things: np.ndarray = self.class_ids < self.spec.thing_count
        return things

    @property
    def segments(self) -> list[Segment]:
        """The segments one by one."""
        columns = (self.segment_ids, self.class_names, self.class_ids, self.scores, self.areas, self.is_thing)
        rows = (column if isinstance(column, list) else column.tolist() for column in columns)
        return [Segment(*row) for row in zip(*rows, strict=True)]

    @cached_property
    def rles(self) -> list[Region]:
        """M masks as run lengths."""
        regions = label_regions(self.ids, int(self.ids.max(initial=0)))
        return [regions[number - 1] for number in self.segment_ids.tolist()]

    @property
    def masks(self) -> np.ndarray:
        """(M, H, W) bool, the pixels of each segment; a new array, one byte for each pixel and segment."""
        return np.asarray(self.ids == self.segment_ids[:, None, None])

    @cached_property
    def boxes(self) -> np.ndarray:
        """(M, 4) float32, xyxy in the original image's pixels, the smallest boxes around the segments."""
        return np.array([region.bounds() for region in self.rles], dtype=np.float32).reshape(-1, 4)

    @cached_property
    def run_lengths(self) -> list[dict[str, Any]]:
        """The mask of each segment as COCO's compressed run lengths, ``size`` (height, width) and ``counts``, which
        ``pycocotools.mask.decode`` reads."""
        return [region.to_coco() for region in self.rles]

    def filter(self, *, min_score: float | None = None, classes: ClassChoice | None = None) -> Self:
        """Only the segments that meet all conditions; those without a score meet any ``min_score``. See `Prediction.filter`."""
        kept = super().filter(classes=classes)
        if min_score is None:
            return kept
        check_fraction("min_score", min_score)
        return kept[~(kept.scores < min_score)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``size`` (height, width), and ``objects``, each with its class, ``segment_id``, ``score`` (None for one
        without), ``area``, ``is_thing``, ``box``, and ``mask`` as `run_lengths`."""
        whole = super().to_dict()
        return {"task": whole["task"], "size": list(self.size), "objects": whole["objects"]}

    def _take(self, rows: np.ndarray, **changes: Any) -> Self:
        return replace(self, **{name: getattr(self, name)[rows] for name in self.per_object}, **changes)

    def _noun(self, count: int) -> str:
        return "segment" if count == 1 else "segments"

    def _ranked(self) -> Iterator[tuple[str, str]]:
        for row in np.argsort(-self.areas, kind="stable").tolist():
            yield self.spec.classes[self.class_ids[row]], f"{self.areas[row] / self.ids.size:.1%}"

    def _columns(self) -> dict[str, list[Any]]:
        return {
            "segment_id": self.segment_ids.tolist(),
            "score": [None if np.isnan(score) else score for score in self.scores.tolist()],
            "area": self.areas.tolist(),
            "is_thing": self.is_thing.tolist(),
            "box": self.boxes.tolist(),
            "mask": self.run_lengths,
        }

    def _coco_columns(self) -> dict[str, list[Any]]:
        """``segmentation`` as compressed run lengths; the score is 1 for segments without one."""
        scores = np.where(np.isnan(self.scores), 1.0, self.scores)
        return {"segmentation": self.run_lengths, "score": scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.panoptic.draw import draw_panoptic

        return draw_panoptic(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks,
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.asarray(self.class_names, dtype=str)},
        )
