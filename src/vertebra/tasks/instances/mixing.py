"""Objects of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vertebra.annotations.run_lengths import Region, union
from vertebra.tasks.detect.data import MIN_VISIBLE_FRACTION
from vertebra.tasks.instances.annotation import InstanceAnnotation, joined
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.mixing import Mixing, MosaicTile, Paste, Rectangle


class InstanceMixing(Mixing):
    """The objects of all images, without what others cover; objects of which too little is visible are left out."""

    operations = frozenset({"mosaic", "mixup", "cutmix", "copy_paste"})

    def mosaic(
        self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: InstanceLabels
    ) -> InstanceAnnotation:
        """The objects of all tiles."""
        parts = []
        for tile in tiles:
            annotation = tile.annotation
            shown = [region.shifted(0, 0, tile.size) for region in annotation.rles]
            rles = [region.shifted(tile.left, tile.top, canvas) for region in shown]
            parts.append(
                InstanceAnnotation.of(rles, annotation.labels, annotation.crowd, canvas, annotation.exhaustive)
            )
        return joined(parts, canvas)

    def mixup(
        self, first: InstanceAnnotation, second: InstanceAnnotation, share: float, labels: InstanceLabels
    ) -> InstanceAnnotation:
        """The objects of both."""
        return joined([first, second], first.size)

    def cutmix(
        self,
        first: InstanceAnnotation,
        second: InstanceAnnotation,
        rectangle: Rectangle,
        share: float,
        labels: InstanceLabels,
    ) -> InstanceAnnotation:
        """Objects of the first beside the rectangle, and of the second inside it."""
        beside = _changed(first, [_without(region, _inside(region, rectangle)) for region in first.rles])
        pasted = _changed(second, [_inside(region, rectangle) for region in second.rles])
        return joined([beside, pasted], first.size)

    def copy_paste(
        self, first: InstanceAnnotation, second: InstanceAnnotation, draw: np.random.Generator, labels: InstanceLabels
    ) -> tuple[Paste, InstanceAnnotation]:
        """Pastes a random half of the second image's objects, crowds left out, over the objects of the first one. Of these, one
        that is hidden by more than three quarters is left out.

        Ghiasi et al., Simple Copy-Paste, CVPR 2021, arXiv 2012.07177; difference: the pasted pixels are not blended.
        """
        candidates = np.flatnonzero(~second.crowd)
        chosen = np.zeros(len(second.labels), dtype=bool)
        chosen[draw.permutation(candidates)[: (len(candidates) + 1) // 2]] = True
        pasted = second.take(chosen)
        covered = union(pasted.rles, first.size)
        left = [_without(region, covered) for region in first.rles]
        kept = _visible_enough(first, left)
        rest = _changed(first, left)
        after = np.full((len(kept), 4), np.nan)
        after[kept] = rest.boxes
        return Paste(covered.mask(), first.boxes, after, pasted.boxes), joined([rest, pasted], first.size)


def _visible_enough(annotation: InstanceAnnotation, rles: Sequence[Region]) -> np.ndarray:
    """(M,) bool, the objects of which enough is left in these masks."""
    left = np.array([region.area for region in rles], dtype=np.float64)
    enough: np.ndarray = (left > 0) & (left >= MIN_VISIBLE_FRACTION * annotation.areas)
    return enough


def _changed(annotation: InstanceAnnotation, rles: Sequence[Region]) -> InstanceAnnotation:
    """The objects with what is left of their masks, without those of which too little is left."""
    changed = replace(annotation, rles=tuple(rles)).take(_visible_enough(annotation, rles))
    return InstanceAnnotation.of(changed.rles, changed.labels, changed.crowd, changed.size, changed.exhaustive)


def _inside(region: Region, rectangle: Rectangle) -> Region:
    """The part of a region that lies in a rectangle."""
    left, top, right, bottom = rectangle
    return region.shifted(-left, -top, (bottom - top, right - left)).shifted(left, top, region.size)


def _without(region: Region, part: Region) -> Region:
    """The pixels of a region that are not of another one: runs that begin or end together cancel each other."""
    both = union([region, part], region.size)
    return Region.of_edges(np.concatenate([both.edges, part.edges]), region.size)
