"""Labels of points."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vertebra.errors import ConfigError
from vertebra.tasks.base import LabelSpec

SIGMA = 0.05  # the geometric middle of COCO's smallest sigma (0.025, eyes) and its largest (0.107, hips)
COCO_POINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip

Pairs = tuple[tuple[int, int], ...]


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

    needed: ClassVar[tuple[str, ...]] = ("points",)

    points: tuple[str, ...] = ()
    skeleton: Pairs = ()
    flip_pairs: Pairs = ()
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        LabelSpec.__post_init__(self)
        for name in ("points", "skeleton", "flip_pairs", "sigmas"):  # lists of a config become tuples
            value = getattr(self, name)
            frozen = tuple(tuple(one) if isinstance(one, (list, tuple)) else one for one in value)
            object.__setattr__(self, name, frozen)
        self._check_points()
        self._check_pairs()

    def _check_points(self) -> None:
        if not self.points:
            raise ConfigError("a keypoints branch needs the names of its points; 'points' is empty")
        repeated = sorted(name for name, count in Counter(self.points).items() if count > 1)
        if repeated:
            raise ConfigError(f"point names must differ, but these stand twice in 'points': {', '.join(repeated)}")
        if self.sigmas and len(self.sigmas) != len(self.points):
            raise ConfigError(f"'sigmas' must have one value a point: got {len(self.sigmas)} for {len(self.points)}")
        if any(sigma <= 0 for sigma in self.sigmas):
            raise ConfigError(f"'sigmas' must be above 0, got {min(self.sigmas)}")

    def _check_pairs(self) -> None:
        strange = [i for pair in self.skeleton + self.flip_pairs for i in pair if not 0 <= i < len(self.points)]
        if strange:
            raise ConfigError(
                f"'skeleton' and 'flip_pairs' speak of point {strange[0]}, but there are {len(self.points)}, "
                "counted from 0"
            )
        flipped = [i for pair in self.flip_pairs for i in pair]
        twice = [self.points[i] for i, count in Counter(flipped).items() if count > 1]
        if twice:
            raise ConfigError(f"'flip_pairs' has point '{twice[0]}' twice; a point changes places with one other")

    @property
    def object_parts(self) -> tuple[str, ...]:
        """The points."""
        return self.points

    @property
    def falloffs(self) -> tuple[float, ...]:
        """The sigma of each point, defaults included."""
        if self.sigmas:
            return self.sigmas
        return COCO_SIGMAS if self.points == COCO_POINTS else (SIGMA,) * len(self.points)

    @property
    def mirrored(self) -> list[int]:
        """For each point the one that stands in its place when the image is mirrored."""
        order = list(range(len(self.points)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return order

    def fields_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that were not given; where other ``points`` were, those of them that are known, under their new ids."""
        missing = super().fields_for(given)
        points = tuple(given.get("points", self.points))
        if points == self.points:
            return missing
        ids = {name: place for place, name in enumerate(points)}
        new = [ids.get(name) for name in self.points]
        own: dict[str, Any] = {"skeleton": _renamed(self.skeleton, new), "flip_pairs": _renamed(self.flip_pairs, new)}
        own["flip_pairs"] = own["flip_pairs"] or pairs_by_name(points)
        known = dict(zip(self.points, self.falloffs, strict=True))
        sigmas = tuple(known.get(name, SIGMA) for name in points)
        own["sigmas"] = () if set(sigmas) == {SIGMA} else sigmas
        return {name: own[name] for name in missing if name in own}


def _renamed(pairs: Pairs, new: Sequence[int | None]) -> Pairs:
    """Pairs under new ids; those of which a point is gone are left out."""
    moved = [(new[first], new[second]) for first, second in pairs]
    return tuple((first, second) for first, second in moved if first is not None and second is not None)


def pairs_by_name(points: Sequence[str]) -> Pairs:
    """Left-right pairs by the points' names: left_eye and right_eye, leftear and rightear, l_paw and r_paw, paw_L and paw_R,
    earL and earR.

    Returns:
        (left, right) ids of each pair.
    """
    found: dict[str, dict[str, int]] = {}
    for place, name in enumerate(points):
        for side, pattern in (("left", _LEFT), ("right", _RIGHT)):
            rest, count = pattern.subn("", name, count=1)
            if count:
                found.setdefault(rest.lower(), {})[side] = place
                break
    return tuple((pair["left"], pair["right"]) for pair in found.values() if len(pair) == 2)


_LEFT = re.compile(r"(?i:left[_ -]?|[_ -]?left|^l[_ -]|[_ -]l$)|(?<=[a-z0-9])L$")
_RIGHT = re.compile(r"(?i:right[_ -]?|[_ -]?right|^r[_ -]|[_ -]r$)|(?<=[a-z0-9])R$")
