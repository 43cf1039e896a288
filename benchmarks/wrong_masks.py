"""How many wrong regions of masks are listed: objects of another class, missing ones and added ones; beside cleanlab.

python -m benchmarks.wrong_masks --model RUN --data FOLDER [--ignore-index V] [--cleanlab PYTHON] [--repeats N] [--out FILE]

In a share of the images one region of the mask is damaged; the model has not seen these images. The recall at 50 % precision is
the largest part of the damages in a head of the list of which at least half are damages: of the regions, by `HIT_OVERLAP`, and of
the images with a damage. Wrong regions that the data set has of itself count as false alarms. cleanlab gets the same probabilities
and masks, in which ignored pixels have the predicted class, since it knows no ignored ones; it ranks images and marks pixels, so
its regions are the connected marked pixels, the largest first. It is under the AGPL and no dependency: give the Python of an
environment that has it.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import vertebra
from benchmarks.report import Columns, Row, finish, options, set_threads
from benchmarks.wrong_labels import recall_at
from vertebra.annotations.connected_components import connected_components
from vertebra.data.open import open_data
from vertebra.tasks.box_iou import areas
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.diagnosis import SegmentDiagnosis
from vertebra.tasks.segment.types import SegmentPrediction

KINDS = ("another class", "missing", "added")
SIZES = (0.003, 0.1)  # of a damaged region, as a share of the image
RING = 3  # pixels around a region, whose most frequent class it gets if it is missing
HIT_OVERLAP = 0.5  # of an entry's box with the damage's, as a share of the smaller of both
CLEANLAB = """
import sys
import numpy as np
from cleanlab.segmentation.filter import find_label_issues
from cleanlab.segmentation.rank import get_label_quality_scores

folder = sys.argv[1]
probabilities, labels = np.load(f"{folder}/probabilities.npy"), np.load(f"{folder}/labels.npy")
scores = get_label_quality_scores(labels, probabilities, method="softmin", verbose=False)[0]
issues = find_label_issues(labels, probabilities, n_jobs=1, verbose=False)
np.savez(f"{folder}/answer.npz", scores=scores, issues=issues)
"""


class Damage(NamedTuple):
    """A damaged region: its image, its box (4,), and an index of `KINDS`."""

    image: int
    box: np.ndarray
    kind: int


class Entry(NamedTuple):
    """A region of a list: its image and box."""

    image: int
    box: tuple[float, float, float, float]


def read(
    model: Path, data: Path, splits: Sequence[str], ignore_index: int | None
) -> tuple[list[SegmentPrediction], list[np.ndarray], int]:
    """Predictions with probabilities and masks of all images of some splits, and the value of ignored pixels."""
    loaded = vertebra.load(model)
    predictions: list[SegmentPrediction] = []
    masks: list[np.ndarray] = []
    for split in splits:
        index = open_data(data, "segment", split, ignore_index=ignore_index)
        files = [index.path(row) for row in range(len(index))]
        predictions += [next(iter(result.values())) for result in loaded.predict(files, probabilities=True)]
        for row, file in enumerate(files):
            with Image.open(file) as picture:
                masks.append(np.asarray(index.columns["segment"].get(row, picture.size[::-1]).mask).astype(np.int64))
    return predictions, masks, int(predictions[0].spec.ignore_index)


def bounds(region: np.ndarray) -> np.ndarray:
    """The box (4,) of a region (H, W) bool."""
    rows, columns = np.nonzero(region)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=float)


def damaged(
    draw: np.random.Generator, mask: np.ndarray, kind: int, classes: int, ignored: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """A mask with one damaged region, and its box; None for an image without a region of a fitting size."""
    regions = connected_components(np.where(mask == ignored, -1, mask))
    sizes = np.bincount(regions[regions >= 0]) / mask.size
    fitting = np.flatnonzero((sizes >= SIZES[0]) & (sizes <= SIZES[1]))
    if not len(fitting):
        return None
    region = regions == draw.choice(fitting)
    label = int(mask[region][0])
    changed = mask.copy()
    if KINDS[kind] == "another class":
        changed[region] = (label + draw.integers(1, classes)) % classes
    elif KINDS[kind] == "missing":
        around = grown(region) & ~region & (mask != ignored)
        if not around.any():
            return None
        changed[region] = np.bincount(mask[around]).argmax()
    else:
        shifts = draw.integers(-np.array(mask.shape), np.array(mask.shape), (50, 2))
        moved = [shifted(region, *shift) & (mask != ignored) for shift in shifts.tolist()]
        wrong = [(part & (mask != label)).sum() for part in moved]
        region = moved[int(np.argmax(wrong))] & (mask != label)
        if not region.any():
            return None
        changed[region] = label
    return changed, bounds(region)


def grown(region: np.ndarray) -> np.ndarray:
    """A region with the pixels around it."""
    padded = np.pad(region, RING)
    shape = region.shape
    return np.any(
        [padded[y : y + shape[0], x : x + shape[1]] for y in range(2 * RING + 1) for x in range(2 * RING + 1)], axis=0
    )


def shifted(region: np.ndarray, down: int, right: int) -> np.ndarray:
    """A region moved by some pixels; what leaves the image is cut."""
    rows, columns = np.nonzero(region)
    rows, columns = rows + down, columns + right
    inside = (rows >= 0) & (rows < region.shape[0]) & (columns >= 0) & (columns < region.shape[1])
    moved = np.zeros_like(region)
    moved[rows[inside], columns[inside]] = True
    return moved


def damages_of(
    masks: Sequence[np.ndarray], share: float, classes: int, ignored: int, seed: int
) -> tuple[list[np.ndarray], list[Damage]]:
    """The masks, a share of them damaged, each in one region; and the damages."""
    draw = np.random.default_rng(seed)
    changed, damages = list(masks), []
    for number, image in enumerate(draw.permutation(len(masks))[: round(share * len(masks))].tolist()):
        result = damaged(draw, masks[image], number % len(KINDS), classes, ignored)
        if result is not None:
            changed[image] = result[0]
            damages.append(Damage(image, result[1], number % len(KINDS)))
    return changed, damages


def hits(entries: Sequence[Entry], damages: Sequence[Damage]) -> np.ndarray:
    """For each entry the damage that it is about, each once; -1 for a false alarm."""
    left = {damage.image: row for row, damage in enumerate(damages)}
    rows = np.full(len(entries), -1)
    for number, entry in enumerate(entries):
        row = left.get(entry.image)
        if row is None:
            continue
        box, other = np.array(entry.box), damages[row].box
        sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
        if sides.min() > 0 and sides.prod() >= HIT_OVERLAP * min(areas(box), areas(other)):
            rows[number] = left.pop(entry.image)
    return rows


def scores(entries: Sequence[Entry], images: Sequence[int], damages: Sequence[Damage]) -> dict[str, float]:
    """Recall at 50 % precision of regions, of each kind in the same head, and of images; and the number of entries.

    Args:
        entries: the likeliest wrong first.
        images: in the order of a list, the likeliest wrong first.
        damages: all of them.
    """
    rows = hits(entries, damages)
    enough = np.flatnonzero(np.cumsum(rows >= 0) / np.arange(1, len(rows) + 1) >= 0.5)
    head = rows[: enough[-1] + 1] if len(enough) else rows[:0]
    kinds = np.array([damage.kind for damage in damages])
    by_kind = np.bincount(kinds[head[head >= 0]], minlength=len(KINDS)) / np.bincount(kinds, minlength=len(KINDS))
    wrong = np.zeros(max([*images, *(damage.image for damage in damages)]) + 1, dtype=bool)
    wrong[[damage.image for damage in damages]] = True
    return {
        "regions": float((head >= 0).sum() / len(damages)),
        **dict(zip(KINDS, by_kind.tolist(), strict=True)),
        "listed": float((rows >= 0).sum() / len(damages)),
        "images": recall_at(images, wrong),
        "entries": float(len(entries)),
    }


def ours(predictions: Sequence[SegmentPrediction], masks: Sequence[np.ndarray], damages: Sequence[Damage]) -> Row:
    """Our list; an image has the rank of its likeliest region."""
    diagnosis = SegmentDiagnosis(predictions[0].spec)
    diagnosis.update(predictions, [SegmentAnnotation(mask) for mask in masks])
    listed = diagnosis.compute().likely_wrong
    entries = [Entry(label.image, label.box) for label in listed if label.box is not None]
    return {"name": "ours", **scores(entries, list(dict.fromkeys(entry.image for entry in entries)), damages)}


def cleanlabs(
    python: Path,
    folder: Path,
    probabilities: np.ndarray,
    masks: Sequence[np.ndarray],
    ignored: int,
    damages: Sequence[Damage],
) -> Row:
    """cleanlab's ranking of images and its marked pixels, by another Python; ``folder`` has the probabilities."""
    labels = np.stack(masks)
    labels = np.where(labels == ignored, probabilities.argmax(axis=1), labels)
    np.save(folder / "labels.npy", labels)
    subprocess.run([python, "-c", CLEANLAB, folder], check=True, capture_output=True)
    with np.load(folder / "answer.npz") as answer:
        ranks, issues = np.argsort(answer["scores"], kind="stable").tolist(), answer["issues"]
    found: list[tuple[int, Entry]] = []
    for image, marked in enumerate(issues):
        regions = connected_components(np.where(marked, labels[image], -1))
        sizes = np.bincount(regions[regions >= 0])
        for region in np.argsort(-sizes)[:20].tolist():
            left, top, right, bottom = bounds(regions == region).tolist()
            found.append((int(sizes[region]), Entry(image, (left, top, right, bottom))))
    entries = [entry for _, entry in sorted(found, key=lambda pair: -pair[0])]
    return {"name": "cleanlab", **scores(entries, ranks, damages)}


def columns() -> Columns:
    """Of the table."""
    names = {"regions": "recall at 50 % precision", **{kind: kind for kind in KINDS}}
    names |= {"listed": "recall of the whole list", "images": "of images, recall at 50 % precision"}
    return {
        "data": lambda row: row["data"],
        "images": lambda row: str(row["images"]),
        "damaged": lambda row: f"{row['share']:.0%}",
        "list": lambda row: row["name"],
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
    parser.add_argument("--ignore-index", type=int)
    parser.add_argument("--share", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--cleanlab", type=Path, help="Python of an environment with cleanlab")
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    predictions, masks, ignored = read(given.model, given.data, given.splits, given.ignore_index)
    classes = predictions[0].spec.class_count
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        probabilities = np.zeros(0)
        if given.cleanlab is not None:
            probabilities = np.stack([prediction.probabilities for prediction in predictions])
            np.save(Path(name) / "probabilities.npy", probabilities)
        for share in given.share:
            repeats: dict[str, list[Row]] = {}
            for seed in range(given.repeats):
                changed, damages = damages_of(masks, share, classes, ignored, seed)
                results = [ours(predictions, changed, damages)]
                if given.cleanlab is not None:
                    results.append(cleanlabs(given.cleanlab, Path(name), probabilities, changed, ignored, damages))
                for result in results:
                    repeats.setdefault(result.pop("name"), []).append(result)
            base = {"data": given.data.name, "images": len(masks), "share": share}
            rows += [{**base, "name": list_name, "repeats": each} for list_name, each in repeats.items()]
    given.cleanlab = given.cleanlab is not None
    finish("wrong_masks", rows, columns(), given)


if __name__ == "__main__":
    main()
