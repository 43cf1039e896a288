"""Writes what labeling tools write, by their documentation and exporters, for the tests of their readers."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.open import detect_format
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader

SIZE = (24, 32)


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    """Writes an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), len(path.name) % 256, dtype=np.uint8)).save(path)
    return path


def write_json(path: Path, content: Any, encoding: str = "utf-8") -> Path:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    return path


def png(mask: np.ndarray) -> bytes:
    """A mask as a PNG file of one bit."""
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, format="PNG")
    return stream.getvalue()


def labelme_mask(mask: np.ndarray) -> str:
    """A mask as LabelMe has it."""
    return base64.b64encode(png(mask)).decode()


def bitmap(mask: np.ndarray) -> str:
    """A mask as Supervisely has it: zlib data of a palette PNG."""
    stream = io.BytesIO()
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(stream, format="PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode()


def brush(mask: np.ndarray, *, literal: bool = False) -> list[int]:
    """A mask as Label Studio's brush has it, by the steps of its encoder; ``literal`` writes values without runs."""
    values = np.repeat(mask.reshape(-1) * 255, 4)
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    if literal:
        for at in range(0, len(values), 16):
            part = values[at : at + 16]
            bits += "0" + "01" + f"{len(part) - 1:04b}" + "".join(f"{value:08b}" for value in part)
    else:
        edges = np.flatnonzero(np.diff(values)) + 1
        for part in np.split(values, edges):
            length = len(part)
            kind, size = next((k, s) for k, s in enumerate((3, 4, 8, 16)) if length <= 2**s)
            bits += "1" + f"{kind:02b}" + f"{length - 1:0{size}b}" + f"{part[0]:08b}"
    bits += "0" * (8 - len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def load(path: Path, name: str, split: str | None = None) -> Annotations:
    """What the reader of a detected format gives."""
    assert detect_format(path) == name
    reader = all_readers()[name]
    assert isinstance(reader, AnnotationReader)
    return reader.load(path, split, ReadOptions())


def splits(path: Path, name: str) -> tuple[str, ...]:
    """The splits that a reader finds."""
    reader = all_readers()[name]
    assert isinstance(reader, AnnotationReader)
    return reader.splits(path)


def notes(annotations: Annotations) -> list[str]:
    """The notes as text."""
    return [str(note) for note in annotations.notes]


def names(annotations: Annotations) -> list[str]:
    """The classes of the objects."""
    return [annotations.category_names[number] for number in annotations.objects.categories]


def mask(annotations: Annotations, number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The pixels of an object."""
    assert annotations.objects.shapes is not None
    return annotations.objects.shapes.draw(number, size)


def outline(annotations: Annotations, number: int) -> list[list[float]]:
    """The outlines of an object."""
    shapes = annotations.objects.shapes
    assert shapes is not None
    first, last = shapes.outlines_of[number : number + 2]
    return [shapes.points[shapes.outlines[i] : shapes.outlines[i + 1]].tolist() for i in range(first, last)]


def points(annotations: Annotations, number: int) -> list[list[float]]:
    """The points of an object."""
    first, last = annotations.objects.point_offsets[number : number + 2]
    return annotations.objects.points[first:last].tolist()


Boxes = dict[str, list[tuple[str, tuple[float, float, float, float]]]]
"""Objects (class, xyxy) by the name of their image."""


def boxes_labelme(folder: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """A JSON file beside each image."""
    for name, objects in boxes.items():
        shapes = [
            {"label": label, "points": [box[:2], box[2:]], "group_id": None, "shape_type": "rectangle", "flags": {}}
            for label, box in objects
        ]
        fields = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
        fields |= {"imageHeight": size[0], "imageWidth": size[1]}
        write_json(folder / f"{Path(name).stem}.json", fields)


def boxes_cvat(folder: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """``annotations.xml``, with two digits after the point."""
    parts = []
    for number, (name, objects) in enumerate(boxes.items()):
        parts.append(f'<image id="{number}" name="{name}" width="{size[1]}" height="{size[0]}">')
        for label, box in objects:
            sides = " ".join(f'{key}="{side:.2f}"' for key, side in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True))
            parts.append(f'<box label="{label}" source="manual" occluded="0" {sides} z_order="0"></box>')
        parts.append("</image>")
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta></meta>{"".join(parts)}'
    (folder / "annotations.xml").write_text(f"{text}</annotations>")


def boxes_label_studio(folder: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """A project's export as JSON."""
    tasks = []
    scale = np.array([size[1], size[0]]) / 100
    for number, (name, objects) in enumerate(boxes.items()):
        results = []
        for index, (label, box) in enumerate(objects):
            corner, sides = (np.array(box[:2]) / scale).tolist(), (np.subtract(box[2:], box[:2]) / scale).tolist()
            value = {"x": corner[0], "y": corner[1], "width": sides[0], "height": sides[1], "rotation": 0}
            region = {"id": f"r{index}", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            region |= {"original_width": size[1], "original_height": size[0], "image_rotation": 0}
            results.append(region | {"value": value | {"rectanglelabels": [label]}})
        annotation = {"id": number, "completed_by": 1, "result": results, "was_cancelled": False}
        data = {"image": f"/data/upload/1/0a1b2c3d-{name}"}
        tasks.append({"id": number, "annotations": [annotation], "predictions": [], "data": data})
    write_json(folder / "project-1.json", tasks)


def boxes_supervisely(folder: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """A project of one data set, to which the images are moved."""
    labels = sorted({label for objects in boxes.values() for label, _ in objects})
    write_json(
        folder / "meta.json", {"classes": [{"title": label, "shape": "rectangle"} for label in labels], "tags": []}
    )
    (folder / "ds" / "img").mkdir(parents=True)
    for name, objects in boxes.items():
        figures = [
            {
                "classTitle": label,
                "geometryType": "rectangle",
                "points": {"exterior": [box[:2], box[2:]], "interior": []},
            }
            for label, box in objects
        ]
        content = {"description": "", "tags": [], "size": {"height": size[0], "width": size[1]}, "objects": figures}
        write_json(folder / "ds" / "ann" / f"{name}.json", content)
        (folder / name).rename(folder / "ds" / "img" / name)


def boxes_via(folder: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """A project."""
    entries = {}
    for name, objects in boxes.items():
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": x, "y": y, "width": right - x, "height": bottom - y},
                "region_attributes": {"class": label},
            }
            for label, (x, y, right, bottom) in objects
        ]
        entries[f"{name}1"] = {"filename": name, "size": 1, "regions": regions, "file_attributes": {}}
    write_json(folder / "via.json", {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}})


def boxes_createml(folder: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """Roboflow's file of a split."""
    entries = []
    for name, objects in boxes.items():
        marks = []
        for label, (x, y, right, bottom) in objects:
            sides = {"x": (x + right) / 2, "y": (y + bottom) / 2, "width": right - x, "height": bottom - y}
            marks.append({"label": label, "coordinates": sides})
        entries.append({"image": name, "annotations": marks})
    write_json(folder / "_annotations.createml.json", entries)


WRITERS = {
    "labelme": boxes_labelme,
    "cvat": boxes_cvat,
    "label_studio": boxes_label_studio,
    "supervisely": boxes_supervisely,
    "via": boxes_via,
    "createml": boxes_createml,
}
