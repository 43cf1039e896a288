"""Writes scenes as three data sets in ordinary formats, each labeled for one task only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from vertebra.demo.animals import ANIMALS
from vertebra.demo.scenes import Scene, SceneStyle, draw_scene

BACKGROUND = "background"


@dataclass(frozen=True)
class SceneCounts:
    """The number of scenes.

    Attributes:
        classes: training scenes labeled only with their main animal.
        boxes: training scenes labeled only with boxes.
        masks: training scenes labeled only with masks.
        val: scenes of the validation split, labeled for everything.
        test: held-out scenes, labeled for everything.
    """

    classes: int = 640
    boxes: int = 480
    masks: int = 400
    val: int = 40
    test: int = 120


def write_scenes(root: Path, counts: SceneCounts, seed: int = 0, style: SceneStyle | None = None) -> None:
    """Draws all scenes and writes them below ``root``.

    ``animals/`` is an image folder, ``boxes/`` Pascal VOC, ``regions/`` a mask folder. A training scene is in one of them
    only; a scene of val or test is in all three.
    """
    for name in ("classes", "boxes", "masks", "val", "test"):
        for number in range(getattr(counts, name)):
            scene = draw_scene([seed, *name.encode(), number], number % len(ANIMALS), style)
            split = name if name in ("val", "test") else "train"
            stem = f"{name}_{number:04d}"
            if name == "classes" or split != "train":
                _save(scene.image, root / "animals" / split / scene.main / f"{stem}.png")
            if name == "boxes" or split != "train":
                _write_boxes(scene, root / "boxes", split, stem)
            if name == "masks" or split != "train":
                _save(scene.image, root / "regions" / "images" / split / f"{stem}.png")
                _save(scene.mask, root / "regions" / "masks" / split / f"{stem}.png")
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
