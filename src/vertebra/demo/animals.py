"""Animals of simple shape, as outlines in a unit square around the origin, facing right, y downwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANIMALS = ("bird", "crab", "fish", "snail")


@dataclass(frozen=True)
class Shape:
    """One piece of an animal.

    Attributes:
        outline: (P, 2) points of a polygon.
        shade: brightness relative to the animal's color; 1 is the color itself, 0 black, above 1 lighter.
    """

    outline: np.ndarray
    shade: float


def ellipse(x: float, y: float, width: float, height: float, turn: float = 0.0, points: int = 40) -> np.ndarray:
    """Outline of an ellipse with these half axes, turned by ``turn`` radians."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    local = np.stack([width * np.cos(angle), height * np.sin(angle)], axis=1)
    cosine, sine = np.cos(turn), np.sin(turn)
    turned: np.ndarray = local @ np.array([[cosine, sine], [-sine, cosine]]) + (x, y)
    return turned


def stroke(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """Outline of a straight limb."""
    first, last = np.array(start), np.array(end)
    along = (last - first) / np.linalg.norm(last - first)
    side = np.array([-along[1], along[0]]) * width / 2
    return np.stack([first + side, last + side, last - side, first - side])


def eye(x: float, y: float, size: float) -> list[Shape]:
    """A light eye with a dark pupil."""
    return [Shape(ellipse(x, y, size, size), 2.2), Shape(ellipse(x + size / 4, y, size / 2, size / 2), 0.1)]


def bird(draw: np.random.Generator) -> list[Shape]:
    """A bird on two legs, with a beak, a tail and a wing."""
    lift = draw.uniform(-0.12, 0.12)
    tail = np.array([(-0.45, 0.02), (-0.95, -0.22 + lift), (-0.98, 0.02 + lift), (-0.5, 0.22)])
    return [
        Shape(stroke((-0.08, 0.4), (-0.12, 0.85), 0.07), 0.5),
        Shape(stroke((0.12, 0.4), (0.14, 0.85), 0.07), 0.5),
        Shape(tail, 0.75),
        Shape(ellipse(-0.05, 0.1, 0.55, 0.38, -0.25), 1.0),
        Shape(ellipse(0.48, -0.32, 0.25, 0.24), 1.0),
        Shape(np.array([(0.68, -0.4), (1.0, -0.28), (0.68, -0.2)]), 1.7),
        Shape(ellipse(-0.15, 0.06, 0.34, 0.18, -0.35 + lift), 0.7),
        *eye(0.54, -0.36, 0.07),
    ]


def crab(draw: np.random.Generator) -> list[Shape]:
    """A crab: a wide shell, three legs at each side and two claws."""
    raise_claws = draw.uniform(-0.2, 0.15)
    legs = [
        Shape(stroke((side * 0.4, 0.15), (side * (0.7 + 0.1 * n), 0.35 + 0.18 * n), 0.09), 0.7)
        for side in (-1, 1)
        for n in range(3)
    ]
    claws = []
    for side in (-1, 1):
        at = (side * 0.78, -0.42 + raise_claws)
        claws.append(Shape(stroke((side * 0.45, -0.05), at, 0.11), 0.8))
        claws.append(Shape(ellipse(*at, 0.2, 0.16, side * 0.6), 1.1))
        claws.append(Shape(np.array([at, (at[0] + side * 0.04, at[1] - 0.24), (at[0] - side * 0.1, at[1] - 0.2)]), 0.3))
    eyes = [shape for side in (-1, 1) for shape in eye(side * 0.16, -0.32, 0.08)]
    return [*legs, *claws, Shape(ellipse(0, 0.08, 0.58, 0.38), 1.0), Shape(ellipse(0, 0.0, 0.4, 0.2), 1.2), *eyes]


def fish(draw: np.random.Generator) -> list[Shape]:
    """A fish: a long body, a forked tail, fins and stripes."""
    wave = draw.uniform(-0.12, 0.12)
    tail = np.array([(-0.5, 0.0), (-0.98, -0.38 + wave), (-0.82, wave), (-0.98, 0.38 + wave)])
    stripes = [Shape(ellipse(x, 0.0, 0.05, 0.27 - 0.25 * abs(x)), 0.6) for x in draw.uniform(-0.35, 0.2, 2)]
    return [
        Shape(tail, 0.8),
        Shape(np.array([(-0.2, -0.25), (0.0, -0.58), (0.3, -0.24)]), 0.7),
        Shape(np.array([(-0.05, 0.25), (0.0, 0.52), (0.22, 0.24)]), 0.7),
        Shape(ellipse(0.1, 0.0, 0.72, 0.36), 1.0),
        *stripes,
        *eye(0.52, -0.08, 0.09),
    ]


def snail(draw: np.random.Generator) -> list[Shape]:
    """A snail: a flat foot, a round shell with rings and two feelers."""
    lean = draw.uniform(-0.1, 0.1)
    foot = np.array([(-0.95, 0.62), (-0.5, 0.42), (0.55, 0.4), (0.72, 0.0), (0.95, -0.02), (0.92, 0.42), (0.7, 0.62)])
    rings = [Shape(ellipse(-0.1 + 0.03 * n, -0.02 + 0.03 * n, 0.5 - 0.15 * n, 0.48 - 0.15 * n), shade)
             for n, shade in enumerate((1.0, 0.6, 1.15, 0.55))]  # fmt: skip
    feelers = [Shape(stroke((0.8, 0.05), (0.82 + x + lean, -0.38), 0.05), 0.8) for x in (-0.1, 0.12)]
    tips = [Shape(ellipse(0.82 + x + lean, -0.4, 0.06, 0.06), 0.2) for x in (-0.1, 0.12)]
    return [*feelers, *tips, Shape(foot, 0.75), *rings]


DRAWERS = {"bird": bird, "crab": crab, "fish": fish, "snail": snail}
