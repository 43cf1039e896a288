"""The prediction of the segment task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.run_lengths import RunLengths, of_classes, of_region

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class SegmentPrediction:
    """The class of each pixel of an image.

    Attributes:
        mask: where classes are exclusive (H, W) of class ids, else (K, H, W) bool; of the original image's size.
        spec: the classes.
        probabilities: (K, H, W) float32 of the original image's size, where they were asked for.
        image: what was predicted on (a path, an array or a Pillow image), for `draw`; None where it is not known.
    """

    mask: np.ndarray
    spec: SegmentLabels
    probabilities: np.ndarray | None = None
    image: ImageLike | None = None

    def __post_init__(self) -> None:
        wanted = "(H, W) of class ids" if self.spec.exclusive else f"({self.spec.class_count}, H, W) of bool"
        layers = () if self.spec.exclusive else (self.spec.class_count,)
        if self.mask.ndim != len(layers) + 2 or self.mask.shape[:-2] != layers:
            raise ValueError(f"the mask must be {wanted}, got shape {self.mask.shape}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.mask.shape[-2:]
        return height, width

    def region(self, class_id: int) -> np.ndarray:
        """Where a class is: (H, W) bool."""
        return np.asarray(self.mask == class_id if self.spec.exclusive else self.mask[class_id] != 0)

    @cached_property
    def share(self) -> dict[str, float]:
        """The share of the image's pixels that each class covers, by name; overlapping classes may sum to over 1."""
        pixels = self.mask.shape[-2] * self.mask.shape[-1]
        if self.spec.exclusive:
            ids = self.mask[(self.mask >= 0) & (self.mask < self.spec.class_count)]
            counts = np.bincount(ids.ravel().astype(np.int64), minlength=self.spec.class_count)
        else:
            counts = np.count_nonzero(self.mask, axis=(1, 2))
        return {name: float(count / pixels) for name, count in zip(self.spec.classes, counts, strict=True)}

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image under its classes' colors, with a legend below.

        Args:
            image: what to draw on; by default the image that was predicted on.

        Raises:
            DataError: there is no image, it cannot be read, or it has another size than the mask.
        """
        from vertebra.tasks.picture import open_picture
        from vertebra.tasks.segment.draw import draw_segmentation

        return draw_segmentation(self, open_picture(self.image if image is None else image))

    def with_threshold(self, threshold: float) -> SegmentPrediction:
        """The prediction as it is: it has no objects to leave out."""
        return self

    @cached_property
    def run_lengths(self) -> dict[str, RunLengths]:
        """Where each class that occurs is, by name: its mask as COCO's compressed run lengths, ``size`` (height, width) and
        ``counts``, which ``pycocotools.mask.decode`` reads.
        """
        found = [class_id for class_id, name in enumerate(self.spec.classes) if self.share[name] > 0]
        if self.spec.exclusive:
            own = of_classes(self.mask, found)
        else:
            own = {class_id: of_region(self.region(class_id)) for class_id in found}
        return {self.spec.classes[class_id]: lengths for class_id, lengths in own.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``size`` (height, width), and by class name the ``share`` of pixels and the `run_lengths`."""
        return {
            "task": "segment",
            "size": list(self.size),
            "share": dict(self.share),
            "run_lengths": dict(self.run_lengths),
        }

    def to_coco(self, image_id: int | str, category_ids: Sequence[int | None] | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry for each class that occurs, ``segmentation`` as compressed run lengths.

        Args:
            image_id: the image's id in the COCO file.
            category_ids: the category id of each class, None for a class that is left out; by default the class ids.
        """
        ids: Sequence[int | None] = range(self.spec.class_count) if category_ids is None else category_ids
        return [
            {"image_id": image_id, "category_id": category_id, "segmentation": self.run_lengths[name], "score": 1.0}
            for name, category_id in zip(self.spec.classes, ids, strict=True)
            if name in self.run_lengths and category_id is not None
        ]
