"""Whether promised operating points keep their promise: thresholds chosen on random halves of real predictions.

python -m benchmarks.calibration [--classes FOLDER --weights FILE] [--run RUN] [--repeats N] [--out FILE]

``--classes`` is a folder of class folders: a linear probe on the frozen MobileNetV2 predicts each image from the others, in five
folds. ``--run`` is a trained run for objects, which predicts on the images of its splits val and test. Each image is predicted on
once. Then the images are halved at random, many times: thresholds are chosen on one half (``vertebra calibrate``).

The promise is about the images that those for calibration are drawn from: here all images of the table. "kept" is the share of the
halvings in which no more than the promised share of these is missed; it must be at least the promised probability. The other
half has only few images, whose share of missed objects scatters around that of all images, so that it is now and then above a
promise that is kept; that share is in the table too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import Columns, Row, finish, options, set_threads
from benchmarks.wrong_labels import out_of_sample, read
from vertebra.calibration.labeled_images import LabeledImages
from vertebra.calibration.measured_images import ScoreCollector
from vertebra.calibration.operating_points import ClassScores, mean_share, operating_point, scores_by_class
from vertebra.model_info import model_info
from vertebra.tasks import get_task
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.object_scores import object_scores
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.object_scores import ObjectScores
from vertebra.weights.model_file import load

CONFIDENCE = 0.95
MISSES = (0.1, 0.2, 0.3)


def classified(folder: Path, weights: Path | None) -> tuple[list[ObjectScores], list[str]]:
    """The scores of a linear probe's out-of-sample predictions, and the classes."""
    embeddings, labels, names = read(folder, weights)
    probabilities = out_of_sample(embeddings, labels, len(names), 0)
    spec = ClassifyLabels(tuple(names))
    images = [
        object_scores(ClassifyPrediction(row.astype(np.float32), spec), ClassifyAnnotation(int(label)))
        for row, label in zip(probabilities, labels, strict=True)
    ]
    return images, names


def detected(run: Path) -> tuple[list[ObjectScores], list[str], bool]:
    """The scores of a run's first branch on its images of val and test, the classes, and whether the task is of whole images."""
    model = load(run)
    info = model_info(model)
    branch, (task, labels) = next(iter(info.branches.items()))
    collector = ScoreCollector(info)
    for split in ("val", "test"):
        LabeledImages(run, model, [branch], None, split, 8).measure(model, collector)
    return collector.images[branch], list(labels.classes), get_task(task).image_level


def halvings(scores: ClassScores, name: str, miss: float, repeats: int, *, binary: bool) -> Row:
    """Thresholds of one class, chosen on random halves of the images."""
    realized, held_out, thresholds = [], [], []
    for seed in range(repeats):
        chosen = np.random.default_rng(seed).permutation(scores.images) < scores.images // 2
        part = chosen[scores.rows]
        half = ClassScores(int(chosen.sum()), scores.rows[part], scores.scores[part], np.zeros(0))
        threshold = operating_point(name, half, miss, CONFIDENCE, binary=binary).threshold
        if threshold is None:
            continue
        missed = scores.scores < threshold
        thresholds.append(threshold)
        realized.append(mean_share(missed, scores.rows))
        held_out.append(mean_share(missed[~part], scores.rows[~part]))
    row: Row = {
        "class": name,
        "miss": miss,
        "images": len(np.unique(scores.rows)),
        "objects": len(scores.rows),
        "halvings": repeats,
        "stored": len(thresholds),
    }
    if thresholds:
        row |= {
            "threshold": float(np.mean(thresholds)),
            "realized": float(np.mean(realized)),
            "kept": float(np.mean(np.array(realized) <= miss)),
            "held_out": float(np.mean(held_out)),
            "held_out_kept": float(np.mean(np.array(held_out) <= miss)),
        }
    return row


def compare(
    data: str, images: Sequence[ObjectScores], names: Sequence[str], repeats: int, *, binary: bool
) -> list[Row]:
    """A row for each class and promise."""
    by_class = scores_by_class(images, len(names))
    return [
        {"data": data, **halvings(scores, name, miss, repeats, binary=binary)}
        for name, scores in zip(names, by_class, strict=True)
        for miss in MISSES
    ]


COLUMNS: Columns = {
    "data": lambda row: row["data"],
    "class": lambda row: row["class"],
    "images": lambda row: str(row["images"]),
    "objects": lambda row: str(row["objects"]),
    "promise": lambda row: f"{row['miss']:g}",
    "with a threshold": lambda row: f"{row['stored']} of {row['halvings']}",
    "mean threshold": lambda row: f"{row['threshold']:.3f}",
    "mean share missed": lambda row: f"{row['realized']:.3f}",
    "kept": lambda row: f"{row['kept']:.3f}",
    "of the other half": lambda row: f"{row['held_out']:.3f}",
    "kept there": lambda row: f"{row['held_out_kept']:.3f}",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=200)
    parser.add_argument("--classes", type=Path, help="folder of class folders, or of splits with them")
    parser.add_argument("--weights", type=Path, help="of MobileNetV2")
    parser.add_argument("--run", type=Path, help="run folder")
    given = parser.parse_args(arguments)
    if given.classes is None and given.run is None:
        parser.error("give --classes, --run or both")
    set_threads(given.threads)
    rows: list[Row] = []
    if given.classes is not None:
        rows += compare(given.classes.name, *classified(given.classes, given.weights), given.repeats, binary=True)
    if given.run is not None:
        images, names, binary = detected(given.run)
        rows += compare(given.run.name, images, names, given.repeats, binary=binary)
    notes = (
        f"Each threshold promises that at most the share in the column promise is missed, with a probability of {CONFIDENCE}.",
        "Kept: share of the halvings with a threshold in which this holds for all images, and for those not used.",
    )
    finish("calibration", rows, COLUMNS, given, notes)


if __name__ == "__main__":
    main()
