"""Vertebra's default beside what a user would do otherwise: the same data, split, backbone weights, image size and time.

python -m benchmarks.training [--task TASK ...] [--data FOLDER] [--weights FILE] [--minutes M] [--seeds N] [--size H W]
    [--peer NAME ...] [--workers N] [KEY=VALUE ...]

For each seed Vertebra trains first, with everything as it chooses it; the peers then train for the seconds that this took, with the
canvas that it chose (`benchmarks/training_peers.py` has their recipes). The time is that of training, from its start with the
reading of the data; evaluations do not count. At some moments all are measured on the test split by the same code. Vertebra ends
with the weights that its validation selects, a peer with its last ones.

Without ``--data`` each task has a drawn set. ``--minutes`` is a cap: a trial of some steps then decides how many epochs fit. A data
set without splits is split by the seed; name lists (``data.lists=FOLDER``, see ``vertebra data split``) for the same splits.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks.decoders import BACKBONE
from benchmarks.drawn_sets import write_set
from benchmarks.report import Columns, Row, finish, options, set_threads
from benchmarks.training_clock import Curve, plain, seconds_to
from benchmarks.training_loop import Peer, PeerData, predictions, train
from benchmarks.training_ours import Trained, fitted_epochs, headline, raw_config, train_ours
from benchmarks.training_peers import PEERS
from vertebra.config import Config
from vertebra.data.loaders import Loader
from vertebra.data.open_datasets import open_split
from vertebra.evaluation.measure import measure_predictions
from vertebra.model_info import ModelInfo
from vertebra.tasks import get_task
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.segment.types import SegmentPrediction
from vertebra.training.loaders import choose_workers

DRAWN = {
    "detect": "few_gray_boxes",
    "segment": "few_regions",
    "classify": "few_gray_classes",
    "keypoints": "gray_arms",
}


def train_peer(
    build: Any, data: PeerData, seconds: float, seed: int, workers: int, task: str, loader: Loader, info: ModelInfo
) -> Trained:
    """A peer that trains for some seconds, measured by our metrics."""
    labels = info.branches[task][1]

    def predict(peer: Peer, files: Sequence[Path]) -> Any:
        return [{task: as_prediction(task, output, labels)} for output in predictions(peer, files)]

    def measure(peer: Peer) -> dict[str, float]:
        return headline(task, measure_predictions(info, loader, partial(predict, peer)))

    curve = Curve(measure)
    train(lambda: build(data), seconds, curve, seed, workers)
    return Trained(curve.points[-1].seconds, curve.points[-1].metrics, curve.points)


def as_prediction(task: str, output: Any, labels: Any) -> Prediction:
    """A peer's prediction of an image, as ours."""
    if task == "classify":
        return ClassifyPrediction(output, labels)
    if task == "segment":
        return SegmentPrediction(output, labels)
    if task == "detect":
        return DetectPrediction(output["boxes"], output["scores"], output["labels"], labels)
    box = np.concatenate([output.min(axis=0), output.max(axis=0)])[None]
    one = np.ones(1, dtype=np.float32)
    return KeypointPrediction(output[None], np.ones((1, len(output)), np.float32), box, one, np.zeros(1, int), labels)


def peer_data(config: Config, task: str, weights: Path | None) -> PeerData:
    """The training split of a run in plain values.

    Raises:
        SystemExit: the peers have no recipe for classes that overlap.
    """
    opened = open_split(config, "train")
    labels: Any = opened.labels[task]
    if getattr(labels, "multilabel", False):
        raise SystemExit(f"{task}: the peers' recipes are for exclusive classes, not for multilabel ones")
    files, targets = [], []
    for source in opened.sources:
        for row in np.flatnonzero(source.index.columns[task].labeled).tolist():
            files.append(source.index.path(row))
            with Image.open(files[-1]) as image:
                size = ImageOps.exif_transpose(image).size[::-1]
            targets.append(plain_target(task, source.index.columns[task].get(row, size)))
    shown = [row for row, target in enumerate(targets) if target is not None]
    return PeerData(
        [files[row] for row in shown],
        [targets[row] for row in shown],
        labels.class_count,
        tuple(config.train.image_size),  # type: ignore[arg-type]
        getattr(labels, "ignore_index", 255),
        weights,
    )


def plain_target(task: str, annotation: Any) -> Any:
    """An annotation as `PeerData` has it; None for an image without an object that counts, whose points cannot be regressed."""
    if task == "classify":
        return int(annotation.label)
    if task == "segment":
        return np.asarray(annotation.mask)
    if task == "detect":
        return annotation.boxes[~annotation.crowd], annotation.labels[~annotation.crowd]
    known = np.flatnonzero(annotation.known)
    return annotation.points[known[0]] if len(known) else None


def compare(given: argparse.Namespace, task: str, data: Path) -> list[Row]:
    """A row for each peer of a task, with all seeds."""
    names = given.peer or list(PEERS[task])[:1]
    metric = get_task(task).monitor
    rows: list[Row] = [
        {"task": task, "data": data.name, "peer": name, "metric": metric, "ours": [], "theirs": [], "faster": []}
        for name in names
    ]
    with tempfile.TemporaryDirectory() as folder:
        fitted: dict[str, Any] = {}
        if given.minutes is not None:
            fitted["epochs"] = fitted_epochs(given, task, data, Path(folder) / "trial")
        for seed in range(given.repeats):
            raw = raw_config(given, task, data, seed, **fitted)
            ours, config, loader, info = train_ours(raw, task, Path(folder) / f"run_{seed}")
            plain_data = peer_data(config, task, given.weights)
            for row in rows:
                build = PEERS[task][row["peer"]]
                theirs = train_peer(build, plain_data, ours.seconds, seed, given.workers, task, loader, info)
                reached = seconds_to(ours.points, metric, theirs.metrics[metric])
                row.update(size=list(plain_data.size), images=len(plain_data.files), epochs=config.train.epochs)
                row["ours"].append({**ours._asdict(), "points": plain(ours.points)})
                row["theirs"].append({**theirs._asdict(), "points": plain(theirs.points)})
                row["faster"].append(None if reached is None else ours.seconds / reached)
                print(f"{row['peer']}, seed {seed}, {ours.seconds:.0f} s: {ours.metrics}, {theirs.metrics}", flush=True)
    return rows


def spread(side: str, name: str, row: Row) -> str:
    """The mean of a metric, and its standard deviation where there are several seeds."""
    values = [trained["metrics"][name] for trained in row[side]]
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{deviation}"


def all_metrics(side: str, row: Row) -> str:
    """All shown metrics of a side."""
    return ", ".join(f"{name} {spread(side, name, row)}" for name in row[side][0]["metrics"])


def faster(row: Row) -> str:
    """How many times faster we were where the peer ended, by seed."""
    return ", ".join("not reached" if ratio is None else f"{ratio:.1f}" for ratio in row["faster"])


COLUMNS: Columns = {
    "task": lambda row: row["task"],
    "data": lambda row: f"{row['data']}, {row['images']} images",
    "canvas": lambda row: "x".join(map(str, row["size"])),
    "training": lambda row: f"{statistics.fmean(trained['seconds'] for trained in row['ours']):.0f} s",
    "Vertebra": partial(all_metrics, "ours"),
    "peer": lambda row: row["peer"],
    "peer's": partial(all_metrics, "theirs"),
    "times faster to the peer's end": faster,
}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; leaves with a message where they do not fit."""
    parser = options(__doc__, 3)
    parser.add_argument("--task", nargs="+", choices=list(PEERS), default=list(PEERS), help="all by default")
    parser.add_argument(
        "--data", type=Path, help="a data set with the split test, for one task; a drawn one by default"
    )
    parser.add_argument("--weights", type=Path, help=f"of {BACKBONE}, with torchvision's names; random by default")
    parser.add_argument("--minutes", type=float, help="cap of a training; by default as long as Vertebra chooses")
    parser.add_argument("--seeds", type=int, dest="repeats", default=argparse.SUPPRESS, help="the same as --repeats")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="canvas; by default as chosen")
    parser.add_argument("--peer", nargs="+", help="; ".join(f"{task}: {', '.join(PEERS[task])}" for task in PEERS))
    parser.add_argument("--workers", type=int, default=choose_workers(None), help="processes that load images")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_intermixed_args(arguments)
    if len(given.task) > 1 and (given.data or given.peer):
        parser.error("--data and --peer need one --task")
    unknown = [name for name in given.peer or [] if name not in PEERS[given.task[0]]]
    if unknown:
        parser.error(f"no peer '{unknown[0]}' for {given.task[0]}; there are {', '.join(PEERS[given.task[0]])}")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, prints and writes."""
    given = parsed(arguments)
    set_threads(given.threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for task in given.task:
            data = given.data
            if data is None:
                data = Path(folder) / DRAWN[task]
                write_set(DRAWN[task], data)
            rows += compare(given, task, data)
    notes = [
        "± is the standard deviation over seeds. A ratio is the time of a whole training over that until our metric on the test "
        "split, measured at some moments, first was the peer's last one; 'not reached': it never was."
    ]
    finish("training", rows, COLUMNS, given, notes)


if __name__ == "__main__":
    sys.exit(main())
