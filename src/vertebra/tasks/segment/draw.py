"""Pictures of segmentations: translucent colors with thin contours, and a legend below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vertebra.errors import DataError
from vertebra.tasks.palette import Color, color
from vertebra.tasks.picture import enlarge, line_width, with_legend
from vertebra.tasks.segment.labels import is_background

if TYPE_CHECKING:
    from vertebra.tasks.segment.labels import SegmentLabels
    from vertebra.tasks.segment.types import SegmentPrediction

OPACITY = 0.5
BLACK: Color = (0, 0, 0)


def draw_segmentation(prediction: SegmentPrediction, picture: Image.Image) -> Image.Image:
    """The picture with its classes' colors overlaid, and a legend of the classes that occur and their shares.

    A class named "background" is not painted and takes no color, so the classes after it have the same colors as in a branch
    without it.

    Args:
        prediction: the mask to draw.
        picture: RGB, of the mask's size; a small one is enlarged, and the mask with it.

    Raises:
        DataError: the picture has another size than the mask.
    """
    height, width = prediction.mask.shape[-2:]
    if picture.size != (width, height):
        raise DataError(
            f"the mask is {width}x{height} pixels and the image {picture.width}x{picture.height}; "
            "draw on the image that was predicted on"
        )
    canvas = enlarge(picture)
    painted = np.array(canvas, dtype=np.float32)
    edge_width = max(1, line_width(canvas) // 2)
    for class_id in _shown_classes(prediction):
        region = _enlarged(prediction.region(class_id), canvas.size)
        ink = np.asarray(class_color(prediction.spec, class_id), dtype=np.float32)
        painted[region] = (1 - OPACITY) * painted[region] + OPACITY * ink
        painted[_edge(region, edge_width)] = 0.8 * ink + 0.2 * 255
    return _with_legend(Image.fromarray(painted.round().astype(np.uint8)), prediction)


def _shown_classes(prediction: SegmentPrediction) -> list[int]:
    """Ids of the classes that occur, without the background; the largest first, so small ones are drawn on top."""
    share = prediction.share
    classes = prediction.spec.classes
    shown = [i for i in prediction.class_ids.tolist() if not is_background(classes[i])]
    return sorted(shown, key=lambda i: -share[classes[i]])


def class_color(labels: SegmentLabels, class_id: int) -> Color:
    """The color of a class in pictures and masks."""
    return color(class_id - sum(map(is_background, labels.classes[:class_id])))


def mask_colors(labels: SegmentLabels) -> list[Color]:
    """The color of each class in mask files, as in pictures; black for the background of exclusive classes."""
    background = labels.background_classes if not labels.multilabel else ()
    return [
        BLACK if name in background else class_color(labels, class_id) for class_id, name in enumerate(labels.classes)
    ]


def _enlarged(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if region.shape[::-1] == size:
        return region
    return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.NEAREST))


def _edge(region: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a region (H, W) within ``width`` pixels of its edge; the picture's border is not an edge."""
    inner = region
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(region & ~inner)


def _with_legend(picture: Image.Image, prediction: SegmentPrediction) -> Image.Image:
    share, classes = prediction.share, prediction.spec.classes
    entries = [
        (f"{classes[i]} {100 * share[classes[i]]:.1f} %", class_color(prediction.spec, i))
        for i in _shown_classes(prediction)
    ]
    return with_legend(picture, entries)
