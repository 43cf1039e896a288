"""COCO's box scores of some thousand made-up images: our metric, torchmetrics' default, and pycocotools itself.

python -m benchmarks.scoring [--images N] [--repeats N] [--out FILE]
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.metrics import build_metric
from vertebra.tasks.detect.types import DetectPrediction

SIZE = (480, 640)
CLASSES = 80
MOST = 100  # detections of an image
OBJECTS = 7.0  # of an image, in the mean
CLOSE = 1e-5
Scores = dict[str, float]
KEYS = {"map": 0, "map_50": 1, "map_75": 2, "map_small": 3, "map_medium": 4, "map_large": 5, "mar_100": 8}
"""Where pycocotools keeps what we call so."""


class Image(NamedTuple):
    """The objects of an image, and what was found: boxes xyxy (M, 4) and (D, 4) float32, labels, and scores of what was found."""

    boxes: np.ndarray
    labels: np.ndarray
    found: np.ndarray
    found_labels: np.ndarray
    scores: np.ndarray


def make(count: int) -> list[Image]:
    """Images with about seven objects each, of all sizes. Three of four are found, most of them in several boxes of which some are
    near; the rest of up to 100 boxes lies anywhere, with lower scores."""
    draw = np.random.default_rng(0)
    return [_image(draw) for _ in range(count)]


def _image(draw: np.random.Generator) -> Image:
    objects = draw.poisson(OBJECTS)
    boxes, labels = _boxes(draw, objects), draw.integers(0, CLASSES, objects)
    which = np.repeat(np.arange(objects), draw.integers(0, 4, objects))
    sides = np.tile(boxes[which, 2:] - boxes[which, :2], 2)
    near = boxes[which] + draw.normal(0, 0.12, (len(which), 4)) * sides
    named = np.where(draw.random(len(which)) < 0.85, labels[which], draw.integers(0, CLASSES, len(which)))
    spare = max(0, min(MOST, draw.poisson(70)) - len(which))
    found = np.concatenate([near, _boxes(draw, spare)])[:MOST]
    scores = np.concatenate([draw.beta(4, 2, len(which)), draw.beta(1, 6, spare)])[:MOST]
    found_labels = np.concatenate([named, draw.integers(0, CLASSES, spare)])[:MOST]
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    return Image(boxes, labels, found.astype(np.float32), found_labels, scores.astype(np.float32))


def _boxes(draw: np.random.Generator, count: int) -> np.ndarray:
    height, width = SIZE
    sides = np.exp(draw.uniform(np.log(8), np.log(320), (count, 2)))
    corner = draw.random((count, 2)) * np.maximum(np.array([width, height]) - sides, 1)
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


def ours(images: Sequence[Image]) -> Scores:
    """As `vertebra eval` scores."""
    labels = DetectLabels(tuple(f"class_{number}" for number in range(CLASSES)))
    metric = build_metric(labels)
    metric.update(
        [DetectPrediction(own.found, own.scores, own.found_labels, labels) for own in images],
        [DetectAnnotation(own.boxes, own.labels, np.zeros(len(own.labels), dtype=bool)) for own in images],
    )
    return {key: value for key, value in metric.compute().items() if key in KEYS}


def torchmetrics(images: Sequence[Image]) -> Scores:
    """`MeanAveragePrecision` as it comes, which asks pycocotools."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision()
    tensors = [[torch.from_numpy(value) for value in own] for own in images]
    metric.update(
        [{"boxes": found, "labels": labels, "scores": scores} for _, _, found, labels, scores in tensors],
        [{"boxes": boxes, "labels": labels} for boxes, labels, *_ in tensors],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        results = metric.compute()
    return {key: float(results[key]) for key in KEYS}


def pycocotools(images: Sequence[Image]) -> Scores:
    """COCO's own code, on the annotations and detections as its files hold them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {
            "images": [],
            "annotations": [],
            "categories": [{"id": number} for number in range(CLASSES)],
        }
        found: list[np.ndarray] = []
        for number, own in enumerate(images, start=1):
            ground_truth.dataset["images"].append({"id": number})
            ground_truth.dataset["annotations"] += _annotations(
                own, number, 1 + len(ground_truth.dataset["annotations"])
            )
            found.append(_detections(own, number))
        ground_truth.createIndex()
        run = COCOeval(ground_truth, ground_truth.loadRes(np.concatenate(found)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {key: float(run.stats[place]) for key, place in KEYS.items()}


def _annotations(own: Image, number: int, first: int) -> list[dict[str, Any]]:
    placed = _placed(own.boxes)
    return [
        {
            "id": first + row,
            "image_id": number,
            "category_id": int(label),
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for row, (label, box) in enumerate(zip(own.labels, placed.tolist(), strict=True))
    ]


def _detections(own: Image, number: int) -> np.ndarray:
    """(D, 7): image, x, y, width, height, score, class."""
    numbers = np.full((len(own.found), 1), float(number))
    return np.concatenate([numbers, _placed(own.found), own.scores[:, None], own.found_labels[:, None]], axis=1)


def _placed(boxes: np.ndarray) -> np.ndarray:
    """From corners to corner, width and height, in double precision."""
    wide = boxes.astype(np.float64)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1)


SCORERS: dict[str, Callable[[Sequence[Image]], Scores]] = {
    "pycocotools": pycocotools,
    "torchmetrics": torchmetrics,
    "ours": ours,
}


def compare(images: Sequence[Image], repeats: int) -> Row:
    """Scores of all three, and the seconds that each takes.

    Raises:
        AssertionError: our average precisions differ from pycocotools' by more than 1e-5.
    """
    scores: dict[str, Scores] = {}

    def keep(name: str) -> Callable[[], None]:
        def run() -> None:
            scores[name] = SCORERS[name](images)

        return run

    seconds = in_turns({name: keep(name) for name in SCORERS}, repeats, warm=0)
    exact = scores["pycocotools"]
    apart = {name: max(abs(own[key] - exact[key]) for key in KEYS) for name, own in scores.items()}
    assert apart["ours"] <= CLOSE, f"our scores differ from pycocotools' by {apart['ours']:.1e}: {scores}"
    return {
        "images": len(images),
        "detections": sum(len(own.found) for own in images),
        "objects": sum(len(own.boxes) for own in images),
        "milliseconds": milliseconds(seconds),
        "times": {name: seconds[name].median / seconds["ours"].median for name in SCORERS},
        "scores": scores,
        "difference": apart,
    }


def spread(row: Row) -> list[Row]:
    """A row of the table for each scorer."""
    return [{**{key: row[key] for key in ("images", "detections")}, "name": name, **_of(row, name)} for name in SCORERS]


def _of(row: Row, name: str) -> Row:
    own = {key: row[key][name] for key in ("times", "scores", "difference")}
    return {**own, "seconds": row["milliseconds"][name]["median"] / 1e3}


COLUMNS: Columns = {
    "scorer": lambda row: row["name"],
    "images": lambda row: str(row["images"]),
    "detections": lambda row: str(row["detections"]),
    "seconds": lambda row: f"{row['seconds']:.1f}",
    "ours is faster by": lambda row: f"{row['times']:.2f}",
    "AP": lambda row: f"{row['scores']['map']:.6f}",
    "AP50": lambda row: f"{row['scores']['map_50']:.6f}",
    "largest difference of a score from pycocotools": lambda row: f"{row['difference']:.1e}",
}
NOTES = (
    "torchmetrics rounds its thresholds to float32, by which its scores may differ a little. Ours gives the precision of each "
    "class besides. Each begins with arrays in memory.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=1)
    parser.add_argument("--images", type=int, default=5000)
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    row = compare(make(given.images), given.repeats)
    finish("scoring", spread(row), COLUMNS, given, NOTES)


if __name__ == "__main__":
    main()
