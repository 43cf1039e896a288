"""Drawn panoptic data: true and predicted segments, and data sets of scenes in COCO's panoptic form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vertebra.annotations.mask_files import segment_colors
from vertebra.demo.animals import ANIMALS
from vertebra.demo.scenes import SceneStyle, draw_scene
from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.quality import Segments

LABELS = PanopticLabels(("cat", "dog", "cow", "sky", "grass", "road"), 3)
STUFF = ("sky", "grass")
SIZE = (64, 96)


def drawn_pair(rng: np.random.Generator) -> tuple[Segments, Segments]:
    """Predicted and true segments of an image: touching objects, crowds, void, and errors of all kinds."""
    size = (int(rng.integers(12, 40)), int(rng.integers(12, 40)))
    actual = np.zeros(size, dtype=np.int64)
    classes: list[int] = []
    bounds = np.sort(rng.integers(0, size[0] + 1, 2))
    for class_id, rows in ((3, slice(0, bounds[0])), (4, slice(bounds[0], bounds[1])), (5, slice(bounds[1], None))):
        actual[rows] = _numbered(classes, class_id)
    for _ in range(int(rng.integers(0, 8))):
        actual[_rectangle(rng, size)] = _numbered(classes, int(rng.integers(0, 3)))
    numbers, classes = _compact(actual, np.array(classes))
    crowd = (classes < 3) & (rng.random(len(classes)) < 0.25)
    predicted, predicted_classes = numbers.copy(), classes.copy()
    predicted = np.roll(predicted, tuple(rng.integers(-2, 3, 2)), axis=(0, 1))
    wrong = rng.random(len(classes)) < 0.2
    predicted_classes[wrong] = rng.integers(0, 6, int(wrong.sum()))
    extra = predicted_classes.tolist()
    for _ in range(int(rng.integers(0, 4))):
        predicted[_rectangle(rng, size)] = _numbered(extra, int(rng.integers(0, 6)))
    for array in (numbers, predicted):
        for _ in range(int(rng.integers(0, 3))):
            array[_rectangle(rng, size)] = 0
    true_numbers, kept = _relabeled(numbers)
    predicted_numbers, shown = _relabeled(predicted)
    return (
        Segments(predicted_numbers, np.array(extra)[shown], np.zeros(len(shown), dtype=bool)),
        Segments(true_numbers, classes[kept], crowd[kept]),
    )


def written(pairs: list[tuple[Segments, Segments]], folder: Path) -> tuple[Path, Path]:
    """The pairs as two sets of COCO panoptic files: the true ones and the predicted ones."""
    categories = [
        {"id": number + 1, "name": name, "isthing": int(number < LABELS.thing_count)}
        for number, name in enumerate(LABELS.classes)
    ]
    files = []
    for kind, segments in (("true", [pair[1] for pair in pairs]), ("predicted", [pair[0] for pair in pairs])):
        (folder / kind).mkdir(parents=True)
        entries = []
        for number, each in enumerate(segments):
            Image.fromarray(segment_colors(each.numbers)).save(folder / kind / f"{number}.png")
            areas = np.bincount(each.numbers.reshape(-1), minlength=len(each.class_ids) + 1)[1:]
            infos = [
                {"id": row + 1, "category_id": class_id + 1, "iscrowd": int(crowd), "area": area}
                for row, (class_id, crowd, area) in enumerate(
                    zip(each.class_ids.tolist(), each.crowd.tolist(), areas.tolist(), strict=True)
                )
            ]
            entries.append({"image_id": number, "file_name": f"{number}.png", "segments_info": infos})
        file = folder / f"{kind}.json"
        file.write_text(json.dumps({"annotations": entries, "categories": categories}))
        files.append(file)
    return files[0], files[1]


def write_scenes(root: Path, counts: dict[str, int]) -> Path:
    """A COCO panoptic data set of drawn animals on grass below a sky, with an unlabeled border and a crowd."""
    names = [*ANIMALS, *STUFF]
    categories = [
        {"id": number + 1, "name": name, "supercategory": "drawn", "isthing": int(name not in STUFF)}
        for number, name in enumerate(names)
    ]
    for split, count in counts.items():
        folder = root / f"annotations/panoptic_{split}"
        for path in (folder, root / split):
            path.mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            scene = draw_scene([number, len(split)], style=SceneStyle(size=SIZE))
            ids = 1000 * scene.numbers.astype(np.int64)
            ids[(ids == 0) & (np.arange(SIZE[0]) < SIZE[0] // 2)[:, None]] = 7
            ids[ids == 0] = 70_000
            ids[:, -3:] = 0
            labels = {1000 * row: label for row, label in enumerate(scene.labels.tolist(), 1)}
            labels |= {7: len(ANIMALS), 70_000: len(ANIMALS) + 1}
            infos = [_info(ids, key, label + 1, key == 2000) for key, label in labels.items() if (ids == key).any()]
            name = f"{split}{number}"
            Image.fromarray(scene.image).save(root / split / f"{name}.png")
            Image.fromarray(segment_colors(ids)).save(folder / f"{name}.png")
            images.append({"id": 10 + number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]})
            annotations.append({"image_id": 10 + number, "file_name": f"{name}.png", "segments_info": infos})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(content))
    return root


def _info(ids: np.ndarray, key: int, category: int, crowd: bool) -> dict[str, Any]:
    rows, columns = np.nonzero(ids == key)
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
    return {"id": key, "category_id": category, "bbox": box, "area": len(rows), "iscrowd": int(crowd)}


def _numbered(classes: list[int], class_id: int) -> int:
    classes.append(class_id)
    return len(classes)


def _rectangle(rng: np.random.Generator, size: tuple[int, int]) -> tuple[slice, slice]:
    top, left = int(rng.integers(0, size[0] - 2)), int(rng.integers(0, size[1] - 2))
    return slice(top, top + int(rng.integers(2, 14))), slice(left, left + int(rng.integers(2, 14)))


def _compact(numbers: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    relabeled, kept = _relabeled(numbers)
    return relabeled, classes[kept]


def _relabeled(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from 1 without gaps, and the old number less 1 of each."""
    values, positions = np.unique(numbers, return_inverse=True)
    kept = values[values > 0] - 1
    first = int(values[0] > 0)
    return positions.reshape(numbers.shape) + first, kept
