"""Pictures of segmentations: translucent colors with thin contours, and a legend below."""

from __future__ import annotations

from collections.abc import Iterator
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
    shown = _shown_classes(prediction)
    inks = np.array([(0, 0, 0), *(class_color(prediction.spec, class_id) for class_id in shown)], dtype=np.uint8)
    layers = (_enlarged(layer, canvas.size) for layer in _layers(prediction, shown))
    edge_width = max(1, line_width(canvas) // 2)
    if prediction.mask.ndim == 2:
        painted = _painted_once(np.asarray(canvas), next(layers), inks, edge_width)
    else:
        several = np.array(canvas, dtype=np.float32)
        for layer in layers:
            several = _painted(several, layer, inks.astype(np.float32), edge_width)
        painted = several.round().astype(np.uint8)
    return _with_legend(Image.fromarray(painted), prediction)


def _layers(prediction: SegmentPrediction, shown: list[int]) -> Iterator[np.ndarray]:
    """(H, W) uint16 layers, the lowest first: the position of a class in ``shown`` from 1, 0 for none. Classes that exclude
    each other are one layer."""
    if prediction.mask.ndim == 3:
        yield from (prediction.region(class_id) * np.uint16(number) for number, class_id in enumerate(shown, 1))
        return
    numbers = np.zeros(max(256, int(prediction.mask.max(initial=0)) + 1), dtype=np.uint16)
    numbers[shown] = np.arange(1, len(shown) + 1)
    yield numbers[prediction.mask]


def _painted(picture: np.ndarray, layer: np.ndarray, inks: np.ndarray, edge_width: int) -> np.ndarray:
    """A picture (H, W, 3) float32 with the regions of a layer (H, W) in their inks (n, 3), and their edges brighter."""
    ink = inks[layer]
    painted = np.where((layer > 0)[:, :, None], (1 - OPACITY) * picture + OPACITY * ink, picture)
    edge = (layer > 0) & _edge(layer, edge_width)
    painted[edge] = 0.8 * ink[edge] + 0.2 * 255
    return painted


def _painted_once(picture: np.ndarray, layer: np.ndarray, inks: np.ndarray, edge_width: int) -> np.ndarray:
    """What `_painted` gives for one layer, rounded: (H, W, 3) uint8, in whole numbers, which is faster."""
    ink = inks[layer]
    doubled = picture.astype(np.uint16) + ink
    half = doubled >> 1
    half += half & doubled & 1  # a half is rounded to the even number, as numpy rounds
    painted = np.where((layer > 0)[:, :, None], half.astype(np.uint8), picture)
    edge = (layer > 0) & _edge(layer, edge_width)
    painted[edge] = (0.8 * inks.astype(np.float32) + 0.2 * 255).round().astype(np.uint8)[layer[edge]]
    return painted


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


def _enlarged(layer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if layer.shape[::-1] == size:
        return layer
    return np.asarray(Image.fromarray(layer).resize(size, Image.Resampling.NEAREST))


def _edge(layer: np.ndarray, width: int) -> np.ndarray:
    """The pixels within ``width`` pixels of the edge of their region in a layer (H, W); the picture's border is not an edge."""
    down, across = layer[1:] != layer[:-1], layer[:, 1:] != layer[:, :-1]
    edge = np.zeros(layer.shape, dtype=bool)
    for _ in range(width):
        wider = edge.copy()
        wider[1:] |= down | edge[:-1]
        wider[:-1] |= down | edge[1:]
        wider[:, 1:] |= across | edge[:, :-1]
        wider[:, :-1] |= across | edge[:, 1:]
        edge = wider
    return edge


def _with_legend(picture: Image.Image, prediction: SegmentPrediction) -> Image.Image:
    share, classes = prediction.share, prediction.spec.classes
    entries = [
        (f"{classes[i]} {100 * share[classes[i]]:.1f} %", class_color(prediction.spec, i))
        for i in _shown_classes(prediction)
    ]
    return with_legend(picture, entries)
