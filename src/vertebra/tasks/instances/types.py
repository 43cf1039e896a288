"""The prediction of the instances task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.run_lengths import Region
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.tracing import mask_outlines
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class InstancePrediction(Prediction):
    """The objects of an image with their masks, best first.

    Masks are kept as run lengths, which need little memory for images of any size; `masks` and `polygons` are computed on
    request.

    Attributes:
        rles: (M,) objects of `vertebra.annotations.run_lengths.Region`, the mask of each, of the original image's size; masks
            may overlap.
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        scores: (M,) float32 in 0..1.
        class_ids: (M,) int64.
        size: (height, width) of the original image in pixels.
        spec: the classes.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
        draw_threshold: minimum score of an object that `draw` shows; see `vertebra.DetectPrediction`.
        track_ids: (M,) int64, the track of each object by its box, from 1; None where objects were not tracked, see
            `vertebra.Tracker`.
    """

    task: ClassVar[str] = "instances"
    thresholded: ClassVar[bool] = True
    trackable: ClassVar[bool] = True
    per_object: ClassVar[tuple[str, ...]] = ("rles", "boxes", "scores", "class_ids")
    annotation_kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "outlines"})

    rles: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    size: tuple[int, int]
    spec: InstanceLabels
    image: ImageLike | None = None
    draw_threshold: float = OBJECT_THRESHOLD
    track_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        expected = ((count,), (count, 4), (count,), (count,))
        shapes = tuple(getattr(self, name).shape for name in self.per_object)
        if shapes != expected:
            raise ValueError(f"masks, boxes, scores and class ids must be {expected}, got {shapes}")
        sizes = {region.size for region in self.rles}
        if sizes - {self.size}:
            raise ValueError(f"all masks must have the image's size {self.size}, got {sorted(sizes)}")
        if self.track_ids is not None and self.track_ids.shape != (count,):
            raise ValueError(f"track ids must be ({count},), got {self.track_ids.shape}")

    @property
    def masks(self) -> np.ndarray:
        """(M, H, W) bool, the pixels of each object; a new array, one byte for each pixel and object."""
        masks = np.zeros((len(self), *self.size), dtype=bool)
        for row, region in enumerate(self.rles):
            masks[row] = region.mask()
        return masks

    @cached_property
    def run_lengths(self) -> list[dict[str, Any]]:
        """The mask of each object as COCO's compressed run lengths, ``size`` (height, width) and ``counts``, which
        ``pycocotools.mask.decode`` reads."""
        return [region.to_coco() for region in self.rles]

    @property
    def polygons(self) -> list[list[np.ndarray]]:
        """The borders of the mask of each object along its pixels: (P, 2) float32 of x, y in pixels, one polygon around each part
        of the object, clockwise, and one around each hole, counterclockwise."""
        return [_polygons(region) for region in self.rles]

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the objects with their boxes and masks; see `Prediction.annotate`."""
        for name, box, region, score in zip(
            self.class_names, self.boxes.tolist(), self.rles, self.scores.tolist(), strict=True
        ):
            if score >= min_score:
                shape = Segmentation(runs=region.runs, size=region.size)
                builder.object(row, name, box=box, shape=shape, attributes={"confidence": score})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``size`` (height, width), and ``objects``, each with its class, ``score``, ``box``, and ``mask`` as
        `run_lengths`."""
        whole = super().to_dict()
        return {"task": whole["task"], "size": list(self.size), "objects": whole["objects"]}

    def _noun(self, count: int) -> str:
        return "object" if count == 1 else "objects"

    def _columns(self) -> dict[str, list[Any]]:
        return {"score": self.scores.tolist(), "box": self.boxes.tolist(), "mask": self.run_lengths}

    def _coco_columns(self) -> dict[str, list[Any]]:
        """``segmentation`` as compressed run lengths; without ``bbox``, whose area COCO's evaluation would take."""
        return {"segmentation": self.run_lengths, "score": self.scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.tasks.instances.draw import draw_instances

        return draw_instances(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks,
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            tracker_id=None if self.track_ids is None else self.track_ids.copy(),
            data={"class_name": np.asarray(self.class_names, dtype=str)},
        )


def region_array(rles: Sequence[Region]) -> np.ndarray:
    """Masks as an array (M,) of objects, which is indexed as other arrays are."""
    array = np.empty(len(rles), dtype=object)
    array[:] = rles
    return array


def _polygons(region: Region) -> list[np.ndarray]:
    mask, left, top = region.patch()
    corner = np.array([left, top], dtype=np.float64)
    return [(outline.reshape(-1, 2) + corner).astype(np.float32) for outline in mask_outlines(mask)]
