"""The figures of Supervisely as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertebra.annotations.drawing import drawn_patch
from vertebra.annotations.table import Category
from vertebra.data.readers.tool_masks import base64_bytes, picture_mask, unzipped
from vertebra.data.readers.tool_objects import Problems, ToolImage, ToolObject, coordinates, text
from vertebra.errors import DataError

_WITHOUT_AREA = ("line", "point", "cuboid", "cuboid_2d", "polyline_3d")


@dataclass
class SuperviselyMeta:
    """The classes of a project, the names of the points of graphs by class and id, and its tags' kinds of values."""

    categories: list[Category]
    points: dict[str, dict[str, str]]
    tags: dict[str, str]


def tags_of(holder: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and values of tags; early projects have names only."""
    tags = holder.get("tags")
    pairs = [
        (text(tag.get("name")), tag.get("value")) if isinstance(tag, dict) else (text(tag), None)
        for tag in (tags if isinstance(tags, list) else ())
    ]
    return [(name, value) for name, value in pairs if name]


def figure_object(entry: Any, image: ToolImage, meta: SuperviselyMeta, problems: Problems) -> ToolObject | None:
    """One object; None if it is wrong or of no use."""
    label = text(entry.get("classTitle")) if isinstance(entry, dict) else ""
    if not label:
        problems.drop("without a class", image.name)
        return None
    points = entry.get("points")
    exterior = points.get("exterior") if isinstance(points, dict) else None
    kind = text(entry.get("geometryType")) or _kind(entry, exterior)
    if kind in _WITHOUT_AREA:
        problems.add("object", f"drawn as {kind}, without a box or an area,", "left out", image.name)
        return None
    one = ToolObject(label, id=entry.get("id") if isinstance(entry.get("id"), (int, str)) else None)
    one.attributes = {name: True if value is None else value for name, value in tags_of(entry)}
    if text(entry.get("description")):
        one.attributes["description"] = text(entry["description"])
    if not _draw(one, kind, entry, exterior, image, meta, problems):
        problems.drop(f"without finite coordinates of a {kind[:40]}", image.name)
        return None
    return one


def _kind(entry: Mapping[str, Any], exterior: Any) -> str:
    """The kind of a figure in early projects, which do not name it."""
    if isinstance(entry.get("bitmap"), dict):
        return "bitmap"
    if isinstance(entry.get("nodes"), dict):
        return "graph"
    return "rectangle" if isinstance(exterior, list) and len(exterior) == 2 else "polygon"


def _draw(
    one: ToolObject,
    kind: str,
    entry: Mapping[str, Any],
    exterior: Any,
    image: ToolImage,
    meta: SuperviselyMeta,
    problems: Problems,
) -> bool:
    """Sets an object's box, outline, mask or points; False if the numbers do not fit."""
    if kind == "rectangle":
        corners = coordinates(exterior, 4)
        if corners is None:
            return False
        pairs = corners.reshape(2, 2)
        one.box = (*pairs.min(axis=0).tolist(), *pairs.max(axis=0).tolist())
        return True
    if kind in ("bitmap", "alpha_mask"):
        return _draw_bitmap(one, entry.get(kind), image.size)
    if kind == "graph":
        return _set_points(one, entry.get("nodes"), meta)
    outline = coordinates(exterior)
    if kind != "polygon" or outline is None or len(outline) < 6 or len(outline) % 2:
        return False
    interior = entry["points"].get("interior") or []
    if not isinstance(interior, list):
        return False
    holes = [coordinates(hole) for hole in interior]
    drawn = [hole for hole in holes if hole is not None and len(hole) >= 6 and len(hole) % 2 == 0]
    if len(drawn) < len(holes):
        return False
    one.outlines.append(outline)
    return _cut_holes(one, drawn, image, problems) if drawn else True


def _cut_holes(one: ToolObject, holes: list[np.ndarray], image: ToolImage, problems: Problems) -> bool:
    """Makes a mask of a polygon with holes, which outlines do not have; False if the image's size is unknown."""
    if not all(image.size):
        return False
    try:
        mask = drawn_patch(one.outlines, image.size)[0] & ~drawn_patch(holes, image.size)[0]
    except DataError:
        return False
    one.outlines, one.patches = [], [(mask, 0, 0)]
    problems.add("polygon", "with holes", "read as pixels", image.name)
    return True


def _draw_bitmap(one: ToolObject, bitmap: Any, size: tuple[int, int]) -> bool:
    if not isinstance(bitmap, dict):
        return False
    origin = coordinates(bitmap.get("origin"), 2)
    packed = base64_bytes(bitmap.get("data"))
    content = None if packed is None else unzipped(packed, size)
    mask = None if content is None else picture_mask(content)
    if mask is None or origin is None:
        return False
    left, top = np.rint(origin).astype(int).tolist()
    one.patches.append((mask, left, top))
    return True


def _set_points(one: ToolObject, nodes: Any, meta: SuperviselyMeta) -> bool:
    names = meta.points.get(one.name, {})
    for key, node in nodes.items() if isinstance(nodes, dict) else ():
        spot = coordinates(node.get("loc"), 2) if isinstance(node, dict) else None
        if spot is None:
            return False
        one.points[names.get(key) or str(key)] = (*spot.tolist(), 1.0 if node.get("disabled") else 2.0)
    return bool(one.points)
