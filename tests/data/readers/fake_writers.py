"""Small writers of formats that are only read, each as the tool writes it; with boxes alone, or classes of images."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from vertebra.annotations.table import SPLITS, Annotations

Write = Callable[[Annotations, Path], None]
Box = tuple[str, float, float, float, float]


def images_of(annotations: Annotations) -> Iterator[tuple[str, str, tuple[int, int], list[Box]]]:
    """The name, split, (width, height) and boxes of each image."""
    objects = annotations.objects
    for row in range(len(annotations)):
        code = -1 if annotations.splits is None else int(annotations.splits[row])
        height, width = annotations.sizes[row].tolist()
        boxes: list[Box] = [
            (annotations.category_names[int(objects.categories[number])], *objects.boxes[number].tolist())
            for number in np.flatnonzero(objects.rows == row).tolist()
        ]
        yield os.fsdecode(annotations.images[row]), SPLITS[code] if code >= 0 else "", (width, height), boxes


def copy(annotations: Annotations, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(annotations.root / name, folder / name)


def dump(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_cvat(annotations: Annotations, folder: Path) -> None:
    """CVAT for images 1.1."""
    parts = []
    for number, (name, split, (width, height), boxes) in enumerate(images_of(annotations)):
        copy(annotations, folder / "images", name)
        inner = "".join(
            f'<box label={quoteattr(label)} source="manual" occluded="0" xtl="{x1!r}" ytl="{y1!r}" xbr="{x2!r}" ybr="{y2!r}" '
            'z_order="0"></box>'
            for label, x1, y1, x2, y2 in boxes
        )
        subset = f' subset="{split}"' if split else ""
        parts.append(
            f'<image id="{number}" name={quoteattr(name)}{subset} width="{width}" height="{height}">{inner}</image>'
        )
    labels = "".join(f"<label><name>{_escaped(name)}</name></label>" for name in annotations.category_names)
    meta = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{meta}{"".join(parts)}</annotations>'
    (folder / "annotations.xml").write_text(text, encoding="utf-8")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def write_via(annotations: Annotations, folder: Path) -> None:
    """VGG Image Annotator 2."""
    entries = {}
    for name, _, _, boxes in images_of(annotations):
        copy(annotations, folder, name)
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1},
                "region_attributes": {"class": label},
            }
            for label, x1, y1, x2, y2 in boxes
        ]
        entries[name + "123"] = {"filename": name, "size": 123, "regions": regions, "file_attributes": {}}
    dump(folder / "via_project.json", {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}})


def write_createml(annotations: Annotations, folder: Path) -> None:
    """Create ML, in a folder for each split."""
    entries: dict[str, list[Any]] = {}
    for name, split, _, boxes in images_of(annotations):
        copy(annotations, folder / split, name)
        coordinates = [
            {
                "label": label,
                "coordinates": {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1},
            }
            for label, x1, y1, x2, y2 in boxes
        ]
        entries.setdefault(split, []).append({"image": name, "annotations": coordinates})
    for split, listed in entries.items():
        dump(folder / split / "_annotations.createml.json", listed)


def write_label_studio(annotations: Annotations, folder: Path) -> None:
    """Label Studio's JSON."""
    tasks = []
    for number, (name, _, (width, height), boxes) in enumerate(images_of(annotations)):
        copy(annotations, folder, name)
        results = [
            {
                "id": f"r{index}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "value": {
                    "x": x1 / width * 100,
                    "y": y1 / height * 100,
                    "width": (x2 - x1) / width * 100,
                    "height": (y2 - y1) / height * 100,
                    "rotation": 0,
                    "rectanglelabels": [label],
                },
            }
            for index, (label, x1, y1, x2, y2) in enumerate(boxes)
        ]
        made = {"id": number, "was_cancelled": False, "result": results, "created_at": "2026-01-01T00:00:00Z"}
        tasks.append({"id": number, "annotations": [made], "data": {"image": name}})
    dump(folder / "project.json", tasks)


def write_supervisely(annotations: Annotations, folder: Path) -> None:
    """Supervisely, with a data set for each split."""
    classes = [{"title": name, "shape": "any", "color": "#ff0000"} for name in annotations.category_names]
    dump(folder / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    for name, split, (width, height), boxes in images_of(annotations):
        data_set = folder / (split or "ds0")
        copy(annotations, data_set / "img", name)
        objects = [
            {
                "classTitle": label,
                "geometryType": "rectangle",
                "tags": [],
                "points": {"exterior": [[x1, y1], [x2, y2]], "interior": []},
            }
            for label, x1, y1, x2, y2 in boxes
        ]
        size = {"height": height, "width": width}
        dump(data_set / "ann" / f"{name}.json", {"description": "", "tags": [], "size": size, "objects": objects})


def write_class_folders(annotations: Annotations, folder: Path) -> None:
    """A folder for each class, in folders of splits; images of one class only."""
    class_of = dict(annotations.labels.tolist())
    for row, (name, split, _, _) in enumerate(images_of(annotations)):
        target = folder / split / annotations.category_names[class_of[row]] / name.rpartition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(annotations.root / name, target)


FAKE_WRITERS: dict[str, Write] = {
    "fake cvat": write_cvat,
    "fake via": write_via,
    "fake createml": write_createml,
    "fake label_studio": write_label_studio,
    "fake supervisely": write_supervisely,
    "fake image_folder": write_class_folders,
}
