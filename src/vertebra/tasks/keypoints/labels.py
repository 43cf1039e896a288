"""Labels of points."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.errors import ConfigError
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class KeypointLabels(LabelSpec):
    """Named points on an object.

    Attributes:
        points: names of the points, in order.
        skeleton: pairs of point ids that a picture joins with a line.
        flip_pairs: pairs of point ids that change places when the image is mirrored (left eye, right eye).
        sigmas: fall-off of each point in object keypoint similarity, as COCO defines it; empty for equal sigmas.
    """

    points: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        LabelSpec.__post_init__(self)
        if not self.points:
            raise ConfigError("a keypoints branch needs the names of its points; 'points' is empty")
        if self.sigmas and len(self.sigmas) != len(self.points):
            raise ConfigError(f"'sigmas' must have one value a point: got {len(self.sigmas)} for {len(self.points)}")
        highest = max((i for pair in self.skeleton + self.flip_pairs for i in pair), default=-1)
        if highest >= len(self.points):
            raise ConfigError(f"'skeleton' and 'flip_pairs' speak of point {highest}, but there are {len(self.points)}")
