"""Fuses objects with masks and classes of pixels into segments that do not overlap (numpy only).

The rule is that of Kirillov et al., Panoptic Segmentation, CVPR 2019, arXiv:1801.00868, section 7, which Panoptic FPN (Kirillov et
al., CVPR 2019, arXiv:1901.02446) uses: objects by descending score; one of which too much is covered by better ones is dropped,
any other keeps its pixels that are still free. Then stuff fills the free pixels of its class, if there are enough of them.

Differences: the least area of stuff is a share of the image, so that it suits images of any size; and the score threshold is that
of the predictor, which leaves out objects before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vertebra.annotations.run_lengths import Region
from vertebra.keywords import check_fraction
from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.types import PanopticPrediction

if TYPE_CHECKING:
    from vertebra.tasks.instances.types import InstancePrediction
    from vertebra.tasks.segment.types import SegmentPrediction


@dataclass(frozen=True)
class FusionRule:
    """When segments are kept.

    Attributes:
        max_overlap: an object of which a larger share is covered by better ones is dropped.
        min_stuff_share: stuff on a smaller share of the image is dropped; by default 4096 pixels of COCO's usual 640x480.
    """

    max_overlap: float = 0.5
    min_stuff_share: float = 4096 / (640 * 480)

    def __post_init__(self) -> None:
        for name in ("max_overlap", "min_stuff_share"):
            check_fraction(name, getattr(self, name))


DEFAULT_RULE = FusionRule()


def fuse(objects: InstancePrediction, pixels: SegmentPrediction, rule: FusionRule = DEFAULT_RULE) -> PanopticPrediction:
    """The segments of an image from the predictions of two branches of one model.

    Classes of both are matched by name: those of ``objects`` are things, all others of ``pixels`` but a background are stuff.

    Args:
        objects: with masks.
        pixels: the class of each pixel.
        rule: when segments are kept.

    Raises:
        ConfigError: the classes of pixels may overlap.
    """
    labels = PanopticLabels.of(objects.spec, pixels.spec)
    ids, kept = paste_objects(objects.rles.tolist(), objects.scores, objects.size, rule.max_overlap)
    class_map = pixels.mask
    minimum = rule.min_stuff_share * class_map.size
    to_class = labels.stuff_ids(pixels.spec)
    stuff = fill_stuff(ids, class_map, to_class, minimum, first=len(kept) + 1)
    scores = np.full(len(stuff), np.nan, dtype=np.float32)
    if pixels.probabilities is not None:
        for row, (number, source) in enumerate(stuff.items()):
            scores[row] = pixels.probabilities[source][ids == number].mean()
    stuff_classes = to_class[np.array(list(stuff.values()), dtype=np.int64)]
    return PanopticPrediction.of(
        ids,
        np.concatenate([objects.class_ids[kept], stuff_classes]),
        np.concatenate([objects.scores[kept], scores]),
        labels,
        pixels.image,
    )


def paste_objects(
    rles: Sequence[Region], scores: np.ndarray, size: tuple[int, int], max_overlap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes masks by descending score, each on the pixels that are still free.

    Args:
        rles: M masks of an image of (height, width).
        scores: (M,).
        size: (height, width).
        max_overlap: a mask of which a larger share is covered is left out, as is one without a pixel.

    Returns:
        (H, W) int32, the number of the object at each pixel, from 1 in the order of ``kept``, 0 for none; and ``kept`` (N,)
        int64, the rows of the objects.
    """
    ids = np.zeros(size, dtype=np.int32)
    kept: list[int] = []
    for row in np.argsort(-np.asarray(scores), kind="stable").tolist():
        mask, left, top = rles[row].patch()
        part = ids[top : top + mask.shape[0], left : left + mask.shape[1]]
        area = int(np.count_nonzero(mask))
        free = mask & (part == 0)
        visible = int(np.count_nonzero(free))
        if not visible or area - visible > max_overlap * area:
            continue
        kept.append(row)
        part[free] = len(kept)
    return ids, np.array(kept, dtype=np.int64)


def fill_stuff(
    ids: np.ndarray, class_map: np.ndarray, stuff_ids: np.ndarray, min_area: float, first: int
) -> dict[int, int]:
    """Fills the free pixels of each class of stuff with a segment, in place.

    Args:
        ids: (H, W) int32, the segment of each pixel, 0 for none; changed.
        class_map: (H, W) class of each pixel.
        stuff_ids: (K,) not negative for classes that are stuff.
        min_area: smallest area of a segment in pixels.
        first: the id of the first new segment.

    Returns:
        The class of each new segment, by its id.
    """
    free = ids == 0
    counts = np.bincount(class_map[free], minlength=len(stuff_ids))[: len(stuff_ids)]
    chosen = np.flatnonzero((stuff_ids >= 0) & (counts > 0) & (counts >= min_area))
    numbers = np.zeros(int(class_map.max(initial=0)) + 1 + len(stuff_ids), dtype=np.int32)
    numbers[chosen] = np.arange(first, first + len(chosen))
    ids[free] = numbers[class_map[free]]
    return dict(zip(range(first, first + len(chosen)), chosen.tolist(), strict=True))
