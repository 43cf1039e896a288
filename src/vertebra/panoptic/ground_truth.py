"""The annotated segments of an image, from the annotations of a branch of instances and one of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.panoptic_fpn import fill_stuff
from vertebra.panoptic.quality import Segments

if TYPE_CHECKING:
    from vertebra.tasks.instances.annotation import InstanceAnnotation
    from vertebra.tasks.segment.annotation import SegmentAnnotation
    from vertebra.tasks.segment.labels import SegmentLabels


def true_segments(
    objects: InstanceAnnotation, pixels: SegmentAnnotation, pixel_labels: SegmentLabels, labels: PanopticLabels
) -> Segments | str:
    """The segments of an image; or why its annotations are not panoptic.

    They are where objects do not overlap, and the pixels of things are those of the objects. All pixels of a class of stuff are
    one segment; ignored ones are void.

    Args:
        objects, pixels: annotations of the same image, in its own pixels.
        pixel_labels: the classes of ``pixels``.
        labels: the classes of both.
    """
    if pixel_labels.background_classes:
        return "a background class is neither a thing nor stuff"
    if pixels.exhaustive is not None:
        return "not all classes are annotated"
    if objects.size != pixels.mask.shape:
        return "masks and objects have different sizes"
    numbers = np.zeros(objects.size, dtype=np.int32)
    covered = 0
    for number, region in enumerate(objects.rles, 1):
        mask, left, top = region.patch()
        numbers[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = number
        covered += region.area
    if covered != np.count_nonzero(numbers):
        return "objects overlap"
    if not _agree(numbers, objects.labels, pixels.mask, pixel_labels, labels):
        return "the pixels of objects have other classes"
    to_class = labels.stuff_ids(pixel_labels)
    stuff = fill_stuff(numbers, pixels.mask, to_class, 1, first=len(objects.rles) + 1)
    stuff_classes = to_class[np.array(list(stuff.values()), dtype=np.int64)]
    crowd = np.concatenate([objects.crowd, np.zeros(len(stuff), dtype=bool)])
    return Segments(numbers, np.concatenate([objects.labels, stuff_classes]), crowd)


def _agree(
    numbers: np.ndarray,
    object_classes: np.ndarray,
    mask: np.ndarray,
    pixel_labels: SegmentLabels,
    labels: PanopticLabels,
) -> bool:
    """Whether each pixel's class is that of its object, or ignored; and no pixel has the class of a thing without an object."""
    ids = {name: number for number, name in enumerate(labels.things)}
    table = np.full(max(int(mask.max(initial=0)) + 1, pixel_labels.class_count), -1, dtype=np.int64)
    table[: pixel_labels.class_count] = [ids.get(name, labels.class_count) for name in pixel_labels.classes]
    of_pixels = table[mask]
    of_objects = np.concatenate([[-1], object_classes])[numbers]
    inside = numbers > 0
    apart = np.where(
        inside, (of_pixels >= 0) & (of_pixels != of_objects), (of_pixels >= 0) & (of_pixels < labels.class_count)
    )
    return not apart.any()
