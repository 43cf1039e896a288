"""Attributes of objects in images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation, follow, numbered
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.mixing import DetectMixing
from vertebra.tasks.mixing import Mixing, MosaicTile, Paste, Rectangle

BOXES = DetectMixing()
OBJECTS = DetectLabels(("object",))


class AttributeMixing(Mixing):
    """Objects go where their boxes go, with their values; see `vertebra.tasks.detect.mixing.DetectMixing`."""

    operations = BOXES.operations
    follows_paste = True

    def mosaic(
        self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: AttributeLabels
    ) -> AttributeAnnotation:
        """The objects of all tiles."""
        annotations = [tile.annotation for tile in tiles]
        boxes = [tile._replace(annotation=each) for tile, each in zip(tiles, numbered(annotations), strict=True)]
        return follow(BOXES.mosaic(boxes, canvas, OBJECTS), annotations)

    def mixup(
        self, first: AttributeAnnotation, second: AttributeAnnotation, share: float, labels: AttributeLabels
    ) -> AttributeAnnotation:
        """The objects of both."""
        below, above = numbered([first, second])
        return follow(BOXES.mixup(below, above, share, OBJECTS), [first, second])

    def cutmix(
        self,
        first: AttributeAnnotation,
        second: AttributeAnnotation,
        rectangle: Rectangle,
        share: float,
        labels: AttributeLabels,
    ) -> AttributeAnnotation:
        """Objects of the first beside the rectangle, and of the second inside it."""
        beside, inside = numbered([first, second])
        return follow(BOXES.cutmix(beside, inside, rectangle, share, OBJECTS), [first, second])

    def follow_paste(
        self, first: AttributeAnnotation, second: AttributeAnnotation, paste: Paste, labels: AttributeLabels
    ) -> AttributeAnnotation:
        """What remains visible of the first image's objects, and the pasted objects."""
        below, above = numbered([first, second])
        return follow(BOXES.follow_paste(below, above, paste, OBJECTS), [first, second])
