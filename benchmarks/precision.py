"""Whether training in mixed bfloat16 ends where training in float32 does: the test split's metric of both, seed by seed.

python -m benchmarks.precision TASK --data FOLDER --weights FILE [--decoder NAME] [--epochs N] [--repeats N] [--device cuda]
    [KEY=VALUE ...]

A repeat is a seed: everything but the precision is the same, the order of images and what is drawn of them included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vertebra
from benchmarks.decoders import BACKBONE, METRICS, RECIPES, model_with
from benchmarks.ours import ACCELERATORS
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.config import override

PRECISIONS = ("32", "bf16-mixed")
DECODERS = {"detect": "retinanet", "segment": "unet", "keypoints": "heatmap", "classify": "linear"}


def train(given: argparse.Namespace, decoder: str, precision: str, seed: int) -> tuple[float, float]:
    """One run: the test split's metric, and the minutes that training took."""
    recipe = {**RECIPES[given.task], "accelerator": ACCELERATORS[given.device], "devices": 1}
    raw: dict[str, Any] = {
        "data": {"path": str(given.data)},
        "model": model_with(decoder, given.task, given.weights),
        "train": {**recipe, "epochs": given.epochs, "seed": seed, "precision": precision},
    }
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trained = vertebra.train(override(raw, given.overrides), out=Path(folder) / "run")
        minutes = (time.perf_counter() - start) / 60
        scores = vertebra.evaluate(trained, split="test")
    return scores[f"{given.task}/{METRICS[given.task]}"], minutes


def measure(given: argparse.Namespace) -> list[Row]:
    """A row for each precision; the precisions alternate, so that whatever else the machine does is shared."""
    decoder = given.decoder or DECODERS[given.task]
    rows: list[Row] = [{"decoder": decoder, "precision": name, "metric": [], "minutes": []} for name in PRECISIONS]
    for seed in range(given.repeats):
        for row in rows:
            metric, minutes = train(given, decoder, row["precision"], seed)
            row["metric"].append(metric)
            row["minutes"].append(minutes)
            print(f"{row['precision']}, seed {seed}: {metric:.4f} in {minutes:.1f} minutes", flush=True)
    return rows


def columns(task: str) -> Columns:
    """Of the table."""
    return {
        "decoder": lambda row: f"`{row['decoder']}`",
        "precision": lambda row: str(row["precision"]),
        f"{METRICS[task]}, mean": lambda row: f"{statistics.fmean(row['metric']):.4f}",
        "of the seeds": lambda row: ", ".join(f"{value:.4f}" for value in row["metric"]),
        "minutes": lambda row: f"{statistics.fmean(row['minutes']):.1f}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, prints and writes."""
    parser = options(__doc__, 3, gpu=True)
    parser.add_argument("task", choices=METRICS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help=f"of {BACKBONE}; left out, it begins at random")
    parser.add_argument("--decoder", help="; ".join(f"{name} for {task}" for task, name in DECODERS.items()))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(arguments)
    set_threads(given.threads)
    rows = measure(given)
    apart = statistics.fmean(rows[1]["metric"]) - statistics.fmean(rows[0]["metric"])
    spread = max(max(row["metric"]) - min(row["metric"]) for row in rows)
    finish(
        f"precision_{given.task}",
        rows,
        columns(given.task),
        given,
        [f"The means are {apart:+.4f} apart; the seeds of one precision {spread:.4f} at most."],
    )


if __name__ == "__main__":
    main()
