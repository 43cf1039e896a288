"""Writes scenes as data sets in ordinary formats, each labeled for some of the tasks only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from vertebra.annotations.run_lengths import Region
from vertebra.demo.animals import ANIMALS
from vertebra.demo.scenes import Scene, SceneStyle, draw_scene

BACKGROUND = "background"


@dataclass(frozen=True)
class SceneCounts:
    """The number of scenes.

    Attributes:
        classes: training scenes labeled only with their main animal.
        boxes: training scenes labeled only with boxes.
        objects: training scenes labeled only with the boxes, masks and colors of their animals.
        masks: training scenes labeled only with masks.
        val: scenes of the validation split, labeled for everything.
        test: held-out scenes, labeled for everything.
    """

    classes: int = 640
    boxes: int = 480
    masks: int = 400
    val: int = 40
    test: int = 120
    objects: int = 0


def write_scenes(root: Path, counts: SceneCounts, seed: int = 0, style: SceneStyle | None = None) -> None:
    """Draws all scenes and writes them below ``root``.

    ``animals/`` is an image folder, ``boxes/`` Pascal VOC, ``regions/`` a mask folder, ``objects/`` COCO with an attribute, color.
    A training scene is in one of them only; a scene of val or test is in all, but ``objects/`` is written only if it has training
    scenes.
    """
    coco: dict[str, list[tuple[Scene, str]]] = {}
    for name in ("classes", "boxes", "masks", "objects", "val", "test"):
        for number in range(getattr(counts, name)):
            scene = draw_scene([seed, *name.encode(), number], number % len(ANIMALS), style)
            split = name if name in ("val", "test") else "train"
            stem = f"{name}_{number:04d}"
            if name == "classes" or split != "train":
                _save(scene.image, root / "animals" / split / scene.main / f"{stem}.png")
            if name == "boxes" or split != "train":
                _write_boxes(scene, root / "boxes", split, stem)
            if name == "objects" or (counts.objects and split != "train"):
                _save(scene.image, root / "objects" / split / f"{stem}.png")
                coco.setdefault(split, []).append((scene, stem))
            if name == "masks" or split != "train":
                _save(scene.image, root / "regions" / "images" / split / f"{stem}.png")
                _save(scene.mask, root / "regions" / "masks" / split / f"{stem}.png")
    for part, scenes in coco.items():
        _write_objects(scenes, root / "objects", part)
    (root / "regions" / "classes.txt").write_text("\n".join([BACKGROUND, *ANIMALS]) + "\n", encoding="utf-8")


def _save(values: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, compress_level=1)


def _write_boxes(scene: Scene, root: Path, split: str, stem: str) -> None:
    """One scene as VOC: the image, its XML file, and its name in the split's list."""
    _save(scene.image, root / "JPEGImages" / f"{stem}.png")
    tree = ElementTree.Element("annotation")
    ElementTree.SubElement(tree, "filename").text = f"{stem}.png"
    size = ElementTree.SubElement(tree, "size")
    for key, value in zip(("height", "width", "depth"), scene.image.shape, strict=True):
        ElementTree.SubElement(size, key).text = str(value)
    for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
        marked = ElementTree.SubElement(tree, "object")
        ElementTree.SubElement(marked, "name").text = ANIMALS[label]
        bounds = ElementTree.SubElement(marked, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(bounds, key).text = f"{value:g}"
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(tree).write(path)
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    with listed.open("a", encoding="utf-8") as file:
        file.write(stem + "\n")


def _write_objects(scenes: list[tuple[Scene, str]], root: Path, split: str) -> None:
    """The scenes of a split as a COCO file; masks are run lengths."""
    images = [
        {"id": number, "file_name": f"{stem}.png", "height": scene.image.shape[0], "width": scene.image.shape[1]}
        for number, (scene, stem) in enumerate(scenes, start=1)
    ]
    annotations: list[dict[str, Any]] = []
    for number, (scene, _) in enumerate(scenes, start=1):
        for row, (box, label, color) in enumerate(
            zip(scene.boxes.tolist(), scene.labels.tolist(), scene.colors, strict=True)
        ):
            region = Region.of(scene.numbers == row + 1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": region.area,
                    "iscrowd": 0,
                    "segmentation": region.to_coco(),
                    "attributes": {"color": color},
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(ANIMALS, start=1)]
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")
