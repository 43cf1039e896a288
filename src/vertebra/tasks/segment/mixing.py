"""Masks of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.mixing import Mixing, MosaicTile, Paste, Rectangle
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.scope import of_several


class SegmentMixing(Mixing):
    """The mask of each pixel's image; pixels without one are ignored."""

    operations = frozenset({"mosaic", "cutmix", "copy_paste"})
    follows_paste = True

    def mosaic(self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: SegmentLabels) -> SegmentAnnotation:
        """The masks of all tiles."""
        masks = [tile.annotation.mask for tile in tiles]
        mask = np.full((*masks[0].shape[:-2], *canvas), labels.ignore_index, dtype=np.result_type(*masks))
        for tile, part in zip(tiles, masks, strict=True):
            height, width = tile.size
            mask[..., tile.top : tile.top + height, tile.left : tile.left + width] = part[..., :height, :width]
        return of_several(mask, [tile.annotation for tile in tiles], labels)

    def cutmix(
        self,
        first: SegmentAnnotation,
        second: SegmentAnnotation,
        rectangle: Rectangle,
        share: float,
        labels: SegmentLabels,
    ) -> SegmentAnnotation:
        """The first mask with a rectangle of the second one."""
        left, top, right, bottom = rectangle
        mask = first.mask.astype(np.result_type(first.mask, second.mask))
        mask[..., top:bottom, left:right] = second.mask[..., top:bottom, left:right]
        return of_several(mask, [first, second], labels)

    def copy_paste(
        self, first: SegmentAnnotation, second: SegmentAnnotation, draw: np.random.Generator, labels: SegmentLabels
    ) -> tuple[Paste, SegmentAnnotation]:
        """Pastes the pixels of a random half of the second image's classes, the background left out.

        Olsson et al., ClassMix, WACV 2021, arXiv 2007.07936; differences: with labels in place of pseudo labels, and a
        background class is not pasted.
        """
        backgrounds = [labels.classes.index(name) for name in labels.background_classes]
        foreground = np.setdiff1d(np.arange(labels.class_count), backgrounds)
        mask = second.mask
        if mask.ndim == 2:
            foreground = foreground[np.isin(foreground, np.unique(mask))]
        else:
            foreground = foreground[(mask[foreground] == 1).any(axis=(1, 2))]
        pasted = draw.permutation(foreground)[: (len(foreground) + 1) // 2]
        region = np.isin(mask, pasted) if mask.ndim == 2 else (mask[pasted] == 1).any(axis=0)
        return Paste(region), of_several(np.where(region, mask, first.mask), [first, second], labels)

    def follow_paste(
        self, first: SegmentAnnotation, second: SegmentAnnotation, paste: Paste, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The second mask in the pasted pixels."""
        return of_several(np.where(paste.region, second.mask, first.mask), [first, second], labels)
