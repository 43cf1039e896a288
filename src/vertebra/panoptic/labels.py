"""Classes of panoptic segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.errors import ConfigError
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.segment.labels import SegmentLabels


@dataclass(frozen=True)
class PanopticLabels(LabelSpec):
    """Classes of segments: things, whose objects are counted one by one, and after them stuff.

    Attributes:
        thing_count: number of classes that are things, the first ones.
    """

    thing_count: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.thing_count <= self.class_count:
            raise ConfigError(f"'thing_count' must be 0 to {self.class_count}, got {self.thing_count}")

    @classmethod
    def of(cls, things: InstanceLabels, pixels: SegmentLabels) -> PanopticLabels:
        """The classes of a branch of instances, and those of a branch of pixels that the first one does not have, without a
        background.

        Raises:
            ConfigError: the classes of pixels may overlap.
        """
        if pixels.multilabel:
            raise ConfigError(
                "panoptic segmentation needs one class for each pixel; this 'segment' branch has classes that may overlap "
                "(multilabel: true)"
            )
        left_out = {*things.classes, *pixels.background_classes}
        stuff = tuple(name for name in pixels.classes if name not in left_out)
        return cls((*things.classes, *stuff), len(things.classes))

    @property
    def things(self) -> tuple[str, ...]:
        """The names of the things."""
        return self.classes[: self.thing_count]

    @property
    def stuff(self) -> tuple[str, ...]:
        """The names of the stuff."""
        return self.classes[self.thing_count :]

    def stuff_ids(self, pixels: SegmentLabels) -> np.ndarray:
        """(K,) int64, the class id of each class of pixels if it is stuff, else -1."""
        ids = {name: number for number, name in enumerate(self.classes) if number >= self.thing_count}
        return np.array([ids.get(name, -1) for name in pixels.classes], dtype=np.int64)
