"""How many wrong keypoints of a data set are listed: left and right exchanged, two other points exchanged, and points moved.

python -m benchmarks.wrong_points --model RUN --data FOLDER [--lists FOLDER] [--share X ...] [--repeats N] [--out FILE]

A share of the annotated objects is damaged in each of the three ways; the model has not seen these images. The recall at 50 %
precision is the largest part of the damages in a head of the list of which at least half are damages. Wrong points that the data
set has of itself count as false alarms. cleanlab has no such list.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import vertebra
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.data.open import open_data
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.diagnosis import KeypointDiagnosis
from vertebra.tasks.keypoints.types import KeypointPrediction

KINDS = ("left and right exchanged", "two others exchanged", "moved")
SHIFTS = (0.2, 0.5)  # of the longer side of the object's box, in any direction


def read(
    model: Path, data: Path, splits: Sequence[str], lists: Path | None
) -> tuple[list[KeypointPrediction], list[KeypointAnnotation]]:
    """Predictions with all scores, and annotations, of all images of some splits."""
    loaded = vertebra.load(model)
    predictions: list[KeypointPrediction] = []
    annotations: list[KeypointAnnotation] = []
    for split in splits:
        index = open_data(data, "keypoints", split, lists=lists)
        files = [index.path(row) for row in range(len(index))]
        predictions += [next(iter(result.values())) for result in loaded.predict(files, threshold=0.0)]
        for row, file in enumerate(files):
            with Image.open(file) as picture:
                annotations.append(index.columns["keypoints"].get(row, picture.size[::-1]))
    return predictions, annotations


def damaged(
    annotations: Sequence[KeypointAnnotation], pairs: Sequence[tuple[int, int]], share: float, seed: int
) -> tuple[list[KeypointAnnotation], dict[tuple[int, int], int]]:
    """The annotations with damages; and the kind of damage of each damaged object, by its image and row."""
    draw = np.random.default_rng(seed)
    objects = np.array([(image, row) for image, each in enumerate(annotations) for row in np.flatnonzero(each.known)])
    count = max(1, round(share * len(objects)))
    kinds = [kind for kind in range(len(KINDS)) if pairs or KINDS[kind] != "left and right exchanged"]
    chosen = objects[draw.permutation(len(objects))[: count * len(kinds)]]
    changed = [replace(each, points=each.points.copy()) for each in annotations]
    damages: dict[tuple[int, int], int] = {}
    for number, (image, row) in enumerate(chosen.tolist()):
        kind, points = kinds[number % len(kinds)], changed[image].points[row]
        if damage(draw, points, changed[image].boxes[row], pairs, KINDS[kind]):
            damages[image, row] = kind
    return changed, damages


def damage(
    draw: np.random.Generator, points: np.ndarray, box: np.ndarray, pairs: Sequence[tuple[int, int]], kind: str
) -> bool:
    """Damages the points (K, 3) of one object; False where none of them can be."""
    labeled = np.flatnonzero(points[:, 2] > 0).tolist()
    both = [pair for pair in pairs if set(pair) <= set(labeled)]
    if kind == "moved" and labeled:
        angle, size = draw.uniform(0, 2 * np.pi), draw.uniform(*SHIFTS) * max(box[2:] - box[:2])
        points[draw.choice(labeled), :2] += size * np.array([np.cos(angle), np.sin(angle)])
        return True
    if kind == "two others exchanged":
        both = [(a, b) for a in labeled for b in labeled if a < b and (a, b) not in pairs and (b, a) not in pairs]
    if not both or kind == "moved":
        return False
    first, second = both[draw.integers(len(both))]
    points[[first, second]] = points[[second, first]]
    return True


def measure(
    predictions: Sequence[KeypointPrediction], annotations: Sequence[KeypointAnnotation], share: float, seed: int
) -> dict[str, float]:
    """Recall at 50 % precision, of all damages and of each kind; entries; and the part of damages in the whole list.

    An entry is right if its object is damaged; each object counts once.
    """
    labels = predictions[0].spec
    changed, damages = damaged(annotations, labels.flip_pairs or (), share, seed)
    diagnosis = KeypointDiagnosis(labels)
    diagnosis.update(predictions, changed)
    entries = diagnosis.compute().likely_wrong
    left, rows = dict(damages), []
    for entry in entries:
        boxes = changed[entry.image].boxes
        row = int(np.abs(boxes - np.array(entry.box)).sum(axis=1).argmin())
        rows.append(left.pop((entry.image, row), -1))
    hits = np.array(rows, dtype=np.int64)
    enough = np.flatnonzero(np.cumsum(hits >= 0) / np.arange(1, len(hits) + 1) >= 0.5)
    head = hits[: enough[-1] + 1] if len(enough) else hits[:0]
    totals = np.bincount(list(damages.values()), minlength=len(KINDS))
    by_kind = np.bincount(head[head >= 0], minlength=len(KINDS)) / np.maximum(totals, 1)
    return {
        "all": float((head >= 0).sum() / len(damages)),
        **dict(zip(KINDS, by_kind.tolist(), strict=True)),
        "listed": float((hits >= 0).sum() / len(damages)),
        "entries": float(len(entries)),
    }


def columns() -> Columns:
    """Of the table."""
    names = {"all": "recall at 50 % precision", **{kind: kind for kind in KINDS}, "listed": "recall of the whole list"}
    return {
        "data": lambda row: row["data"],
        "objects": lambda row: str(row["objects"]),
        "damaged in each way": lambda row: f"{row['share']:.1%}",
        **{
            title: lambda row, name=name: f"{statistics.mean(one[name] for one in row['repeats']):.2f}"
            for name, title in names.items()
        },
        "entries": lambda row: f"{statistics.mean(one['entries'] for one in row['repeats']):.0f}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=10)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lists", type=Path, help="folder with the lists of the splits")
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument("--share", type=float, nargs="+", default=[0.05, 0.1])
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    predictions, annotations = read(given.model, given.data, given.splits, given.lists)
    base = {"data": given.data.name, "objects": sum(int(each.known.sum()) for each in annotations)}
    rows: list[Row] = []
    for share in given.share:
        repeats = [measure(predictions, annotations, share, seed) for seed in range(given.repeats)]
        rows.append({**base, "share": share, "repeats": repeats})
    finish("wrong_points", rows, columns(), given)


if __name__ == "__main__":
    main()
