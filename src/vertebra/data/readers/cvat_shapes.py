"""The shapes of CVAT's XML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from xml.etree import ElementTree

import numpy as np

from vertebra.annotations.drawing import MAX_PIXELS, box_outline, ellipse_outline
from vertebra.annotations.values import flag, whole_number
from vertebra.data.readers.tool_objects import Problems, ToolObject, coordinates, number

KINDS = ("box", "polygon", "polyline", "points", "ellipse", "mask", "skeleton", "cuboid")
_WITHOUT_AREA = ("polyline", "points", "cuboid")
_SIDES = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "width", "height"),
}


@dataclass
class CvatShape:
    """One shape.

    Attributes:
        kind: one of `KINDS`.
        numbers: xyxy of a box; center and radii of an ellipse; left, top, width, height of a mask; x, y, x, y … otherwise.
        angle: of a box or an ellipse, in degrees, clockwise.
        occluded: whether something hides a part of it; None where the file does not have it.
        outside: whether it has left the image.
        frame: its number in a video.
        points: of a skeleton, x and y and visibility by name.
        runs: of a mask, run lengths of 0, 1, 0 … along its rows.
        group: the group_id, "" for none.
        attributes: by name.
    """

    kind: str
    numbers: np.ndarray
    angle: float = 0.0
    occluded: bool | None = None
    outside: bool = False
    frame: int = 0
    points: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    runs: np.ndarray | None = None
    group: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


def parse_shape(element: ElementTree.Element) -> CvatShape | None:
    """A shape from its element; None if it is damaged."""
    kind = element.tag
    numbers, angle = _numbers(element), number(element.get("rotation", "0"))
    frame = whole_number(element.get("frame", "0"))
    runs = _runs(element, numbers) if kind == "mask" and numbers is not None else None
    if numbers is None or math.isnan(angle) or frame is None or (kind == "mask" and runs is None):
        return None
    points = {}
    for part in element.findall("points") if kind == "skeleton" else ():
        spot = _listed(part.get("points"))
        if spot is None or len(spot) != 2 or not part.get("label"):
            return None
        hidden, gone = flag(part.get("occluded", "0")), flag(part.get("outside", "0"))
        points[part.get("label", "")] = (*spot.tolist(), 0.0 if gone else 1.0 if hidden else 2.0)
    return CvatShape(
        kind,
        numbers,
        angle,
        None if element.get("occluded") is None else bool(flag(element.get("occluded", "0"))),
        bool(flag(element.get("outside", "0"))),
        frame,
        points,
        runs,
        element.get("group_id", ""),
        {part.get("name", ""): (part.text or "").strip() for part in element.findall("attribute")},
    )


def tool_object(shape: CvatShape | None, label: str, image: str, problems: Problems) -> ToolObject | None:
    """The object of a shape; None if it is damaged or of no use."""
    if shape is None or not label:
        problems.drop("without a label or finite coordinates", image)
        return None
    if shape.kind in _WITHOUT_AREA:
        problems.add("shape", f"drawn as {shape.kind}, without a box or an area,", "left out", image)
        return None
    attributes = dict(shape.attributes) | ({} if shape.occluded is None else {"occluded": shape.occluded})
    one = ToolObject(label, attributes=attributes | ({"group_id": shape.group} if shape.group else {}))
    match shape.kind:
        case "skeleton":
            one.points = shape.points
        case "mask" if shape.runs is not None:
            left, top, width, height = shape.numbers.astype(np.int64).tolist()
            mask = np.repeat(np.arange(len(shape.runs)) % 2 == 1, shape.runs).reshape(height, width)
            one.patches.append((mask, left, top))
        case "ellipse":
            center, radii = shape.numbers[:2].tolist(), shape.numbers[2:].tolist()
            one.outlines.append(ellipse_outline(center, radii, math.radians(shape.angle)))
        case "box" if shape.angle % 360:
            center = ((shape.numbers[:2] + shape.numbers[2:]) / 2).tolist()
            one.outlines.append(box_outline(shape.numbers.tolist(), math.radians(shape.angle), center))
            problems.add("turned box", "", "read as an outline of four corners", image)
        case "box":
            left, top, right, bottom = shape.numbers.tolist()
            one.box = (left, top, right, bottom)
        case _:
            one.outlines.append(shape.numbers)
    return one


def _numbers(element: ElementTree.Element) -> np.ndarray | None:
    kind = element.tag
    if kind in _SIDES:
        numbers = coordinates([element.get(side, "") for side in _SIDES[kind]])
        return None if numbers is None or (kind == "ellipse" and numbers[2:].min() <= 0) else numbers
    if kind in ("skeleton", "cuboid"):
        return np.zeros(0)
    numbers = _listed(element.get("points"))
    least = 6 if kind == "polygon" else 2
    return None if numbers is None or len(numbers) % 2 or len(numbers) < least else numbers


def _listed(pairs: str | None) -> np.ndarray | None:
    """The numbers of ``x,y;x,y``."""
    return coordinates((pairs or "").replace(";", ",").split(","))


def _runs(element: ElementTree.Element, sides: np.ndarray) -> np.ndarray | None:
    """The run lengths of a mask; None if they do not fit its (left, top, width, height)."""
    runs, (width, height) = _listed(element.get("rle")), sides[2:].tolist()
    if runs is None or (sides != np.rint(sides)).any() or (runs != np.rint(runs)).any() or min(width, height) < 1:
        return None
    fits = width * height <= MAX_PIXELS and runs.min() >= 0 and runs.sum() == width * height
    return runs.astype(np.int64) if fits else None
