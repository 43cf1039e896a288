"""Labels of points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vertebra.errors import ConfigError, suggest
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.keypoints.flip_pairs_by_name import Pairs, pairs_by_name

SIGMA = 0.05  # the geometric mean of COCO's smallest sigma (0.025, eyes) and its largest (0.107, hips)
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
        skeleton: pairs of point ids that pictures connect with a line.
        flip_pairs: pairs of point ids that are exchanged when the image is mirrored (left eye, right eye). None if they are
            unknown: then images with these points are never mirrored. Empty if mirroring exchanges no points.
        sigmas: fall-off of each point in object keypoint similarity, as COCO defines it; empty for COCO's sigmas if the points
            are COCO's, and `SIGMA` for each otherwise.
    """

    needed: ClassVar[tuple[str, ...]] = ("points",)

    points: tuple[str, ...] = ()
    skeleton: Pairs = ()
    flip_pairs: Pairs | None = None
    sigmas: tuple[float, ...] = ()

    @classmethod
    def option_types(cls) -> dict[str, Any]:
        """In a config a point may also be given by its name."""
        pairs = tuple[tuple[int | str, int | str], ...]
        return {**super().option_types(), "skeleton": pairs, "flip_pairs": pairs | None}

    @classmethod
    def implied(cls, branch_fields: Mapping[str, Any]) -> dict[str, Any]:
        """The pairs that the points' names determine."""
        return {} if "flip_pairs" in branch_fields else {"flip_pairs": pairs_by_name(branch_fields.get("points", ()))}

    def __post_init__(self) -> None:
        LabelSpec.__post_init__(self)
        for name in ("points", "skeleton", "flip_pairs", "sigmas"):  # lists of a config become tuples
            value = getattr(self, name)
            if value is not None:
                frozen = tuple(tuple(item) if isinstance(item, (list, tuple)) else item for item in value)
                object.__setattr__(self, name, frozen)
        self._check_points()
        for name in ("skeleton", "flip_pairs"):
            self._number(name)
        self._check_pairs()

    def _check_points(self) -> None:
        if not self.points:
            raise ConfigError("a keypoints branch needs the names of its points; 'points' is empty")
        repeated = sorted(name for name, count in Counter(self.points).items() if count > 1)
        if repeated:
            raise ConfigError(f"point names must differ, but these are repeated in 'points': {', '.join(repeated)}")
        if self.sigmas and len(self.sigmas) != len(self.points):
            raise ConfigError(
                f"'sigmas' must have one value for each point: got {len(self.sigmas)} for {len(self.points)}"
            )
        if any(sigma <= 0 for sigma in self.sigmas):
            raise ConfigError(f"'sigmas' must be above 0, got {min(self.sigmas)}")

    def _number(self, field: str) -> None:
        """Turns names of points in pairs into their ids."""
        pairs: Sequence[Sequence[int | str]] | None = getattr(self, field)
        if pairs is None:
            return
        ids: dict[int | str, int] = {name: number for number, name in enumerate(self.points)}
        for point in (point for pair in pairs for point in pair if isinstance(point, str) and point not in ids):
            raise ConfigError(f"'{field}' has point '{point}', which is not in 'points'. {suggest(point, self.points)}")
        object.__setattr__(self, field, tuple(tuple(ids.get(point, point) for point in pair) for pair in pairs))

    def _check_pairs(self) -> None:
        pairs = self.skeleton + (self.flip_pairs or ())
        unknown = [i for pair in pairs for i in pair if not 0 <= i < len(self.points)]
        if unknown:
            raise ConfigError(
                f"'skeleton' or 'flip_pairs' has point {unknown[0]}, but there are {len(self.points)} points, "
                "counted from 0"
            )
        flipped = [i for pair in self.flip_pairs or () for i in pair]
        twice = [self.points[i] for i, count in Counter(flipped).items() if count > 1]
        if twice:
            raise ConfigError(f"'flip_pairs' has point '{twice[0]}' twice; a point has at most one partner")

    @property
    def object_parts(self) -> tuple[str, ...]:
        """The points."""
        return self.points

    @property
    def oks_sigmas(self) -> tuple[float, ...]:
        """The sigma of each point, defaults included."""
        if self.sigmas:
            return self.sigmas
        return COCO_SIGMAS if self.points == COCO_POINTS else (SIGMA,) * len(self.points)

    @property
    def mirror_refusal(self) -> str | None:
        """Why images with these points must not be mirrored, and how to allow it; None where mirroring is safe."""
        if self.flip_pairs is not None:
            return None
        return (
            "the left-right pairs of the points are unknown; set flip_pairs: [[LEFT, RIGHT], ...], by name or number, or "
            "flip_pairs: [] if mirroring exchanges no points"
        )

    @property
    def mirrored(self) -> list[int]:
        """For each point the point that replaces it when the image is mirrored.

        Raises:
            ValueError: the pairs are unknown.
        """
        if self.flip_pairs is None:
            raise ValueError(f"points cannot be mirrored: {self.mirror_refusal}")
        order = list(range(len(self.points)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return order

    def fields_for(self, branch_fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that the branch lacks; for a branch with other ``points``, with the new ids of the points that it has."""
        missing = super().fields_for(branch_fields)
        points = tuple(branch_fields.get("points", self.points))
        if points == self.points:
            return missing
        ids = {name: number for number, name in enumerate(points)}
        new = [ids.get(name) for name in self.points]
        fields: dict[str, Any] = {
            "skeleton": _renamed(self.skeleton, new),
            "flip_pairs": self._pairs_of(points, new),
        }
        known = dict(zip(self.points, self.oks_sigmas, strict=True))
        sigmas = tuple(known.get(name, SIGMA) for name in points)
        fields["sigmas"] = () if set(sigmas) == {SIGMA} else sigmas
        return {name: fields[name] for name in missing if name in fields}

    def _pairs_of(self, points: tuple[str, ...], new: Sequence[int | None]) -> Pairs | None:
        """The pairs of other points: the known pairs with their new ids, or else those that the names determine.

        If the partner of a point is missing, the point would be on the wrong side in a mirrored image, so the result is None.
        """
        if self.flip_pairs is None or not set(points) <= set(self.points):
            return pairs_by_name(points)
        broken = any((new[first] is None) != (new[second] is None) for first, second in self.flip_pairs)
        return None if broken else _renamed(self.flip_pairs, new)


def _renamed(pairs: Pairs, new: Sequence[int | None]) -> Pairs:
    """Pairs with new ids; pairs with a missing point are left out."""
    renumbered = [(new[first], new[second]) for first, second in pairs]
    return tuple((first, second) for first, second in renumbered if first is not None and second is not None)
