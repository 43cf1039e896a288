"""Labels of points."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vertebra.errors import ConfigError
from vertebra.tasks.base import LabelSpec

SIGMA = 0.05  # about the middle of COCO's sigmas of bodies (0.025 for eyes to 0.107 for hips)
COCO_POINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip


@dataclass(frozen=True)
class KeypointLabels(LabelSpec):
    """Named points on an object.

    Attributes:
        points: names of the points, in order.
        skeleton: pairs of point ids that a picture joins with a line.
        flip_pairs: pairs of point ids that change places when the image is mirrored (left eye, right eye).
        sigmas: fall-off of each point in object keypoint similarity, as COCO defines it; empty for COCO's own where the
            points are COCO's, and `SIGMA` for each otherwise.
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
        if any(sigma <= 0 for sigma in self.sigmas):
            raise ConfigError(f"'sigmas' must be above 0, got {min(self.sigmas)}")
        for name in ("points", "skeleton", "flip_pairs", "sigmas"):  # lists of a config become tuples
            value = getattr(self, name)
            frozen = tuple(tuple(one) if isinstance(one, (list, tuple)) else one for one in value)
            object.__setattr__(self, name, frozen)

    @property
    def falloffs(self) -> tuple[float, ...]:
        """The sigma of each point, defaults included."""
        if self.sigmas:
            return self.sigmas
        return COCO_SIGMAS if self.points == COCO_POINTS else (SIGMA,) * len(self.points)


def pairs_by_name(points: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Left-right pairs by the points' names: left_eye and right_eye, leftear and rightear, l_paw and r_paw, paw_L and paw_R.

    Returns:
        (left, right) ids of each pair.
    """
    found: dict[str, dict[str, int]] = {}
    for place, name in enumerate(points):
        for side, pattern in (("left", _LEFT), ("right", _RIGHT)):
            rest, count = pattern.subn("", name.lower(), count=1)
            if count:
                found.setdefault(rest, {})[side] = place
                break
    return tuple((pair["left"], pair["right"]) for pair in found.values() if len(pair) == 2)


_LEFT = re.compile(r"left[_ -]?|[_ -]?left|^l[_ -]|[_ -]l$")
_RIGHT = re.compile(r"right[_ -]?|[_ -]?right|^r[_ -]|[_ -]r$")
