"""How many wrong boxes of a data set are listed: boxes that are taken away, of another class, moved, or added.

python -m benchmarks.wrong_boxes --model RUN --data FOLDER [--splits NAME ...] [--share X] [--repeats N] [--out FILE]

A share of the annotated boxes is damaged in each of the four ways; the model has not seen these images. The recall at 50 %
precision is the largest part of the damages in a head of the list of which at least half are damages. Wrong boxes that the
data set has of itself count as false alarms, so the true precision is higher.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import vertebra
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.data.open import open_data
from vertebra.tasks.box_iou import iou
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.diagnosis import DetectDiagnosis
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.diagnosis import LikelyWrongLabel

KINDS = ("taken away", "another class", "moved", "added")
SHIFTS = (0.15, 0.4)  # of a side along both axes, which leaves an IoU of 0.57 to 0.22
HIT_IOU = 0.5  # of an entry with the damage that it is about


class Damage(NamedTuple):
    """A damaged box: its image, its position (4,), and an index of `KINDS`."""

    image: int
    box: np.ndarray
    kind: int


def read(model: Path, data: Path, splits: Sequence[str]) -> tuple[list[DetectPrediction], list[DetectAnnotation]]:
    """Predictions with all scores, and annotations, of all images of some splits."""
    loaded = vertebra.load(model)
    predictions: list[DetectPrediction] = []
    annotations: list[DetectAnnotation] = []
    for split in splits:
        index = open_data(data, "detect", split)
        files = [index.path(row) for row in range(len(index))]
        predictions += [next(iter(result.values())) for result in loaded.predict(files, threshold=0.0)]
        for row, file in enumerate(files):
            with Image.open(file) as picture:
                annotations.append(index.columns["detect"].get(row, picture.size[::-1]))
    return predictions, annotations


def damaged(
    annotations: Sequence[DetectAnnotation], classes: int, share: float, seed: int
) -> tuple[list[DetectAnnotation], list[Damage]]:
    """The annotations with damages, and these."""
    draw = np.random.default_rng(seed)
    rows = np.array([(image, row) for image, each in enumerate(annotations) for row in range(len(each.labels))])
    count = round(share * len(rows))
    chosen = draw.permutation(len(rows))[: len(KINDS) * count].reshape(len(KINDS), count)
    boxes, labels = [each.boxes.copy() for each in annotations], [each.labels.copy() for each in annotations]
    kept = [np.ones(len(part), dtype=bool) for part in labels]
    damages: list[Damage] = []
    for kind, positions in enumerate(chosen):
        for image, row in rows[positions].tolist():
            box = boxes[image][row].copy()
            if KINDS[kind] == "taken away":
                kept[image][row] = False
            elif KINDS[kind] == "another class":
                labels[image][row] = (labels[image][row] + draw.integers(1, classes)) % classes
            elif KINDS[kind] == "moved":
                shift = draw.choice([-1, 1], 2) * draw.uniform(*SHIFTS, 2) * (box[2:] - box[:2])
                boxes[image][row] = box = box + np.tile(shift, 2).astype(box.dtype)
            else:
                box = elsewhere(draw, box, boxes[image])
                boxes[image] = np.concatenate([boxes[image], box[None]])
                labels[image] = np.append(labels[image], labels[image][row])
                kept[image] = np.append(kept[image], True)
            damages.append(Damage(image, box, kind))
    parts = zip(boxes, labels, kept, strict=True)
    return [DetectAnnotation(b[k], n[k], np.zeros(int(k.sum()), dtype=bool)) for b, n, k in parts], damages


def elsewhere(draw: np.random.Generator, box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """A box of the same size inside the extent of the others, where it overlaps them least of 50 draws."""
    low, high = others[:, :2].min(axis=0), np.maximum(others[:, 2:].max(axis=0) - (box[2:] - box[:2]), 1)
    corners = draw.uniform(low, np.maximum(high, low + 1), (50, 2))
    boxes = np.concatenate([corners, corners + (box[2:] - box[:2])], axis=1).astype(box.dtype)
    overlaps: np.ndarray = iou(boxes[:, None], others[None]).max(axis=1)
    drawn: np.ndarray = boxes[overlaps.argmin()]
    return drawn


def hits(entries: Sequence[LikelyWrongLabel], damages: Sequence[Damage]) -> np.ndarray:
    """For each entry the damage that it is about, each once; -1 for a false alarm."""
    left = list(range(len(damages)))
    rows = np.full(len(entries), -1)
    for number, entry in enumerate(entries):
        near = [row for row in left if damages[row].image == entry.image]
        overlaps = [float(iou(np.array(entry.box), damages[row].box)) for row in near]
        if overlaps and max(overlaps) >= HIT_IOU:
            rows[number] = near[int(np.argmax(overlaps))]
            left.remove(rows[number])
    return rows


def measure(
    predictions: Sequence[DetectPrediction], annotations: Sequence[DetectAnnotation], share: float, seed: int
) -> dict[str, float]:
    """Recall at 50 % precision, of all damages and of each kind; entries; and the part of entries that are damages."""
    labels = predictions[0].spec
    changed, damages = damaged(annotations, labels.class_count, share, seed)
    diagnosis = DetectDiagnosis(labels)
    diagnosis.update(predictions, changed)
    entries = diagnosis.compute().likely_wrong
    rows = hits(entries, damages)
    right = np.cumsum(rows >= 0)
    enough = np.flatnonzero(right / np.arange(1, len(rows) + 1) >= 0.5)
    head = rows[: enough[-1] + 1] if len(enough) else rows[:0]
    kinds = np.array([damage.kind for damage in damages])
    by_kind = np.bincount(kinds[head[head >= 0]], minlength=len(KINDS)) / np.bincount(kinds, minlength=len(KINDS))
    whole = {"all": float((head >= 0).sum() / len(damages)), "entries": float(len(entries))}
    return {
        **whole,
        "listed": float((rows >= 0).sum() / len(damages)),
        **dict(zip(KINDS, by_kind.tolist(), strict=True)),
    }


def columns() -> Columns:
    """Of the table."""
    names = {"all": "recall at 50 % precision", **{kind: kind for kind in KINDS}, "listed": "recall of the whole list"}
    return {
        "data": lambda row: row["data"],
        "images": lambda row: str(row["images"]),
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
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument("--share", type=float, nargs="+", default=[0.01, 0.025])
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    predictions, annotations = read(given.model, given.data, given.splits)
    base = {"data": given.data.name, "images": len(annotations), "objects": sum(len(a.labels) for a in annotations)}
    rows: list[Row] = []
    for share in given.share:
        repeats = [measure(predictions, annotations, share, seed) for seed in range(given.repeats)]
        rows.append({**base, "share": share, "repeats": repeats})
    finish("wrong_boxes", rows, columns(), given)


if __name__ == "__main__":
    main()
