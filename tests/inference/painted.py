"""A model that knows painted rectangles by their color, so that what it must find is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra.inference.pipeline import Pipeline
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.segment.labels import SegmentLabels

KEEP = 12
CORNERS = KeypointLabels(("a", "b"), ("left_top", "right_top", "bottom"), flip_pairs=((0, 1),))
BRANCHES: dict[str, tuple[str, Any]] = {
    "bright": ("classify", ClassifyLabels(("dark", "light"))),
    "boxes": ("detect", DetectLabels(("a", "b"))),
    "corners": ("keypoints", CORNERS),
    "paint": ("segment", SegmentLabels(("nothing", "a", "b"))),
    "layers": ("segment", SegmentLabels(("a", "b"), multilabel=True)),
}
Rectangle = tuple[int, int, int, int, int]


def paint(size: tuple[int, int], rectangles: Sequence[Rectangle]) -> np.ndarray:
    """A black image (H, W, 3) with rectangles (left, top, right, bottom, class); each has a green of its own."""
    image = np.zeros((*size, 3), dtype=np.uint8)
    for number, (left, top, right, bottom, label) in enumerate(rectangles, start=1):
        image[top:bottom, left:right] = (100 * (label + 1), 10 * number, 255 - number)
    return image


class Painted(Pipeline):
    """Finds what `paint` paints. A corner that touches the canvas' edge is not sure. It notes the size of each batch."""

    def __init__(
        self,
        canvas: tuple[int, int],
        names: Sequence[str] = tuple(BRANCHES),
        thresholds: Mapping[str, Mapping[str, float]] | None = None,
        **options: Any,
    ) -> None:
        branches = {name: BRANCHES[name] for name in names}
        info = ModelInfo(ResizeSpec(canvas, fill=(0, 0, 0)), 3, branches, frozenset({"bright"} & set(names)))
        info = info._replace(thresholds=thresholds or {})
        super().__init__(info, **options)
        self.batches: list[int] = []

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        self.batches.append(len(canvases))
        assert len(canvases) <= self.batch_size
        each = [
            self._see(canvas[:height, :width], canvas.shape[:2])
            for canvas, (height, width) in zip(canvases, sizes, strict=True)
        ]
        return {
            name: [np.stack(field) for field in zip(*(one[name] for one in each), strict=True)]
            for name in self.info.branches
        }

    def _see(self, image: np.ndarray, canvas: tuple[int, ...]) -> dict[str, list[np.ndarray]]:
        share = np.float32((image[..., 2] > 200).mean())
        kinds = np.where(image[..., 2] > 200, image[..., 0] // 100, 0)
        maps = np.zeros((3, *canvas), dtype=np.float32)
        maps[:, : image.shape[0], : image.shape[1]] = np.arange(3)[:, None, None] == kinds
        boxes, points = np.zeros((KEEP, 4), np.float32), np.zeros((KEEP, 3, 2), np.float32)
        sure, scores, labels = np.zeros((KEEP, 3), np.float32), np.zeros(KEEP, np.float32), np.full(KEEP, -1)
        found = [color for color in np.unique(image.reshape(-1, 3), axis=0) if self._known(color)]
        found.sort(key=lambda color: int(color[1]))
        for row, color in enumerate(found):
            ys, xs = np.nonzero((image == color).all(axis=-1))
            left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
            boxes[row], labels[row] = (left, top, right, bottom), color[0] // 100 - 1
            scores[row] = 0.9 - 0.003 * color[1]
            points[row] = [[left, top], [right, top], [(left + right) / 2, bottom]]
            cuts = left == 0, top == 0, right == image.shape[1], bottom == image.shape[0]
            sure[row] = [0.1 if cuts[0] or cuts[1] else 1, 0.1 if cuts[2] or cuts[1] else 1, 0.1 if any(cuts) else 1]
        count = np.int64(len(found))
        return {
            "bright": [np.array([1 - share, share])],
            "boxes": [boxes, scores, labels, count],
            "corners": [points, sure, boxes, scores, labels, count],
            "paint": [maps],
            "layers": [maps[1:]],
        }

    def _known(self, color: np.ndarray) -> bool:
        number = 255 - int(color[2])
        return color[0] in (100, 200) and color[1] == 10 * number  # others are blends of two
