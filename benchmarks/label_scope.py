"""What a label scope gains: a third of the training images has the boxes of one class only, the next third of another, and so on.

python -m benchmarks.label_scope --data FOLDER [--weights FILE] [--epochs N] [--repeats N] [--out FILE]

Three trainings of equal length: "full" has all boxes; "naive" takes what is not annotated for background; "scoped" lists the
annotated class of each third. The share is (scoped - naive) / (full - naive) of mAP@50 on the test split, whose boxes are all
there.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vertebra
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.data.open import open_data

KINDS = ("full", "naive", "scoped")
BACKBONE = "mobilenetv2_100"
CANVAS = [160, 224]


def write_lists(data: Path, folder: Path, seed: int) -> dict[str, Path]:
    """A list file with a random part of the training images for each class, as large as that of any other."""
    index = open_data(data, "detect", "train")
    classes = index.labels["detect"].classes
    rows = np.random.default_rng(seed).permutation(len(index))
    lists = {}
    for name, part in zip(classes, np.array_split(rows, len(classes)), strict=True):
        lists[name] = folder / f"{name}.txt"
        lists[name].write_text("".join(f"{index.path(int(row)).relative_to(index.root)}\n" for row in sorted(part)))
    return lists


def sources(data: Path, lists: Mapping[str, Path], kind: str) -> list[dict[str, Any]]:
    """The training data of one of `KINDS`: the images of each list, of which only one class is annotated unless they are full."""
    listed = []
    for name, file in lists.items():
        options_of_kind: dict[str, Any] = {
            "full": {},
            "naive": {"drop_classes": [other for other in lists if other != name]},
            "scoped": {"annotated": [name]},
        }[kind]
        listed.append({"path": str(data), "lists": str(file), **options_of_kind})
    return listed


def measure(data: Path, weights: Path | None, epochs: int, seed: int, kinds: Sequence[str] = KINDS) -> dict[str, float]:
    """mAP@50 of each kind of training on the test split."""
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        lists = write_lists(data, Path(folder), seed)
        for kind in kinds:
            run = vertebra.train(
                {
                    "data": {
                        "train": sources(data, lists, kind),
                        "val": [{"path": str(data), "split": "val"}],
                        "test": [{"path": str(data), "split": "test"}],
                    },
                    "model": {
                        "backbone": {"name": BACKBONE, "pretrained": str(weights) if weights else False},
                        "task": "detect",
                        "neck": "fpn",
                        "decoder": "retinanet",
                        "classes": list(lists),
                    },
                    "train": {
                        "epochs": epochs,
                        "batch_size": 8,
                        "image_size": CANVAS,
                        "evaluate_every": epochs,
                        "seed": seed,
                        "workers": 0,
                    },
                },
                out=Path(folder) / kind,
            )
            scores[kind] = vertebra.evaluate(run, split="test")["detect/map_50"]
            print(f"{kind}, seed {seed}: mAP@50 {scores[kind]:.3f}", flush=True)
    return scores


def share(scores: Mapping[str, float]) -> float:
    """(scoped - naive) / (full - naive); nan where full is not better than naive."""
    gap = scores["full"] - scores["naive"]
    return (scores["scoped"] - scores["naive"]) / gap if gap > 0 else float("nan")


def columns() -> Columns:
    """Of the table."""

    def mean(name: str) -> Any:
        return lambda row: f"{statistics.mean(one[name] for one in row['repeats']):.3f}"

    names = {f"mAP@50, {kind}": mean(kind) for kind in KINDS}
    return {"data": lambda row: row["data"], "epochs": lambda row: str(row["epochs"]), **names, "share": mean("share")}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=1)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="of the backbone; random ones by default")
    parser.add_argument("--epochs", type=int, default=24)
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    repeats = []
    for seed in range(given.repeats):
        scores = measure(given.data, given.weights, given.epochs, seed)
        repeats.append({**scores, "share": share(scores)})
    row: Row = {"data": given.data.name, "epochs": given.epochs, "repeats": repeats}
    finish("label_scope", [row], columns(), given)


if __name__ == "__main__":
    main()
