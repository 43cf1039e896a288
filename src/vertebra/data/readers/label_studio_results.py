"""The results of one annotation of Label Studio as objects and classes of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra.annotations.drawing import box_outline, ellipse_outline
from vertebra.data.readers.label_studio_rle import brush_mask
from vertebra.data.readers.tool_objects import (
    Problems,
    ToolImage,
    ToolObject,
    coordinates,
    encode_masks,
    number,
    size_of,
    text,
)

ANONYMOUS = "object"  # the class of points without an object
LABELS = ("rectanglelabels", "polygonlabels", "keypointlabels", "brushlabels", "ellipselabels", "labels")
SHAPES = (
    "rectangle",
    "polygon",
    "keypoint",
    "brush",
    "ellipse",
    *LABELS,
)  # types of results that a region has one of, or two
OF_REGIONS = ("textarea", "number", "rating", "taxonomy", "datetime")  # types of results about a region
_GEOMETRY = ("x", "points", "rle", "vertices")


def image_of_results(name: str, results: Sequence[Any], problems: Problems) -> ToolImage:
    """An image from the results of its annotation.

    Args:
        name: of the image.
        results: as the export has them.
        problems: gets what is wrong or of no use.
    """
    image = ToolImage(name)
    entries = [one for one in results if isinstance(one, dict) and isinstance(one.get("value"), dict)]
    for _ in range(len(results) - len(entries)):
        problems.drop("without a value", name)
    labels = _labels_by_region(entries)
    objects: dict[str, ToolObject] = {}
    points: list[tuple[str, ToolObject]] = []
    attributes: dict[str, dict[str, Any]] = {}
    regions: set[str] = set()
    for index, entry in enumerate(entries):
        value, region = entry["value"], text(entry.get("id")) or f"number {index}"
        drawn = any(key in value for key in _GEOMETRY)
        if not drawn and text(entry.get("type")) == "choices":
            image.labels += [
                text(one) for one in _list(value.get("choices")) if text(one) and text(one) not in image.labels
            ]
        elif drawn and "choices" in value:
            attributes.setdefault(region, {})[text(entry.get("from_name")) or "choices"] = value["choices"]
        elif drawn and region not in regions and text(entry.get("type")) not in OF_REGIONS:
            regions.add(region)
            image.size = size_of(entry.get("original_height"), entry.get("original_width")) or image.size
            one = _object(entry, labels.get(region, []), image, problems)
            if one is not None and one.points:
                points.append((text(entry.get("parentID")), one))
            elif one is not None:
                objects[region] = one
        elif not drawn or text(entry.get("type")) not in SHAPES:
            problems.add("result", f"of type {text(entry.get('type'))[:40] or 'unknown'}", "left out", name)
    for region, values in attributes.items():
        if region in objects:
            objects[region].attributes |= values
        else:
            problems.add("choice", "of a region that is not read", "left out", name)
    image.objects = list(objects.values())
    _set_points(image, objects, points, problems)
    encode_masks(image, problems)
    return image


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _labels_by_region(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The labels of each region, which may be in a separate result."""
    labels: dict[str, list[str]] = {}
    for index, entry in enumerate(entries):
        region = text(entry.get("id")) or f"number {index}"
        for key in LABELS:
            for label in _list(entry["value"].get(key) or []):
                if text(label) and text(label) not in labels.setdefault(region, []):
                    labels[region].append(text(label))
    return labels


def _object(entry: Mapping[str, Any], labels: Sequence[str], image: ToolImage, problems: Problems) -> ToolObject | None:
    """One region; None if it is wrong or of no use."""
    if len(labels) != 1:
        problems.drop("without a label" if not labels else "of several labels", image.name)
        return None
    if number(entry.get("image_rotation", 0), 0.0) % 360:
        problems.drop("drawn on an image that was turned in Label Studio", image.name)
        return None
    if not all(image.size):
        problems.drop("without original_width and original_height, of which its numbers are percent", image.name)
        return None
    one = ToolObject(labels[0])
    if not _draw(one, entry["value"], entry, image, problems):
        problems.drop("without finite numbers of a box, ellipse, polygon, point or brush", image.name)
        return None
    return one


def _draw(
    one: ToolObject, value: Mapping[str, Any], entry: Mapping[str, Any], image: ToolImage, problems: Problems
) -> bool:
    """Sets an object's box, outline, mask or point; False if the numbers do not fit."""
    height, width = image.size
    scale = np.array([width, height]) / 100
    if "rle" in value:
        mask = brush_mask(value["rle"], image.size)
        if mask is None:
            return False
        one.patches.append((mask, 0, 0))
        return True
    if "points" in value:
        outline = coordinates(value["points"])
        if outline is None or len(outline) < 6 or len(outline) % 2:
            return False
        one.outlines.append((outline.reshape(-1, 2) * scale).reshape(-1))
        return True
    corner = coordinates([value.get("x"), value.get("y")], 2)
    angle = math.radians(number(value.get("rotation", 0)))
    if corner is None or math.isnan(angle):
        return False
    corner = corner * scale
    if "keypointlabels" in value or text(entry.get("type")).startswith("keypoint"):
        one.points[one.name] = (*corner.tolist(), 2.0)
        return True
    ellipse = "radiusX" in value
    sides = coordinates([value.get(key) for key in (("radiusX", "radiusY") if ellipse else ("width", "height"))], 2)
    if sides is None:
        return False
    sides = sides * scale
    if ellipse:
        one.outlines.append(ellipse_outline(corner.tolist(), sides.tolist(), angle))
        return bool(sides.min() > 0)
    box = (*corner.tolist(), *(corner + sides).tolist())
    if angle % (2 * math.pi):
        one.outlines.append(box_outline(box, angle, corner.tolist()))
        problems.add("turned box", "", "read as an outline of four corners", image.name)
    else:
        one.box = (box[0], box[1], box[2], box[3])
    return True


def _set_points(
    image: ToolImage, objects: Mapping[str, ToolObject], points: Sequence[tuple[str, ToolObject]], problems: Problems
) -> None:
    """Gives points to the objects that they are in; those without one are one object, if each label is there once at most."""
    loose: dict[str, tuple[float, float, float]] = {}
    twice = 0
    for parent, one in points:
        target = objects[parent].points if parent in objects else loose
        if one.name in target:
            twice += 1
            problems.add("point", "of a label that its object already has", "dropped", image.name)
        else:
            target |= one.points
    if not loose:
        return
    if twice:
        for _ in loose:
            problems.add("point", "without an object, of an image with several of one label,", "left out", image.name)
        return
    image.objects.append(ToolObject(ANONYMOUS, points=loose))
    problems.add("image", "with points without an object", f"read as one object of class '{ANONYMOUS}'", image.name)
