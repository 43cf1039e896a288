"""What mirrored training images cost where left and right keypoints are not known: drawn faces with five unnamed points.

python -m benchmarks.mirroring [--repeats N] [--out FILE]

The same training three times: with pairs unknown (nothing is mirrored), with ``flip_pairs: []`` (every image may be mirrored
and each point keeps its number), and with the right pairs. A repeat is a seed. Figures are of the test split.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import vertebra
from benchmarks.report import Columns, Row, finish, options, set_threads

SIDE = 64
LABELS: Mapping[str, dict[str, Any]] = {
    "unknown": {},
    "[]": {"flip_pairs": []},
    "named": {"flip_pairs": [[0, 1], [3, 4]]},
}
"""By name, the pairs in the config."""


def write_faces(folder: Path, count: int) -> None:
    """Drawn faces, and a table of their points: eyes, nose, corners of the mouth. Only the place of a point shows its side."""
    draw = np.random.default_rng(0)
    names = ",".join(f"p{number},p{number}" for number in range(5))
    lines = [f"scorer{',me' * 10}", f"bodyparts,{names}", f"coords{',x,y' * 5}"]
    for number in range(count):
        x, y, size = draw.uniform(24, 40), draw.uniform(24, 40), draw.uniform(10, 16)
        points = np.array([[-0.6, -0.6], [0.6, -0.6], [0, 0], [-0.5, 0.7], [0.5, 0.7]]) * size + [x, y]
        picture = Image.new("RGB", (SIDE, SIDE), (210, 200, 190))
        pen = ImageDraw.Draw(picture)
        pen.ellipse((x - 1.3 * size, y - 1.3 * size, x + 1.3 * size, y + 1.3 * size), fill=(150, 110, 80))
        for eye in points[:2]:
            pen.ellipse((*(eye - 2), *(eye + 2)), fill=(20, 20, 90))
        pen.line([tuple(points[3]), tuple(points[4])], fill=(160, 20, 20), width=2)
        picture.save(folder / f"{number:03}.png")
        lines.append(",".join([f"{number:03}.png", *(f"{value:.2f}" for value in points.reshape(-1))]))
    (folder / "CollectedData_me.csv").write_text("\n".join(lines), encoding="utf-8")


def train(data: Path, labels: Mapping[str, Any], seed: int, epochs: int) -> dict[str, float]:
    """One run: the metrics of the test split."""
    recipe = {"epochs": epochs, "batch_size": 8, "image_size": [SIDE, SIDE], "lr": 3e-3, "ema": 0.95, "precision": "32"}
    raw = {
        "data": str(data),
        "model": {
            "backbone": "resnet10t",
            "task": "keypoints",
            "decoder": {"name": "heatmap", "channels": 8},
            **labels,
        },
        "train": {**recipe, "evaluate_every": epochs, "seed": seed, "workers": 0, "accelerator": "cpu"},
    }
    with tempfile.TemporaryDirectory() as folder:
        return vertebra.evaluate(vertebra.train(raw, out=Path(folder) / "run"), split="test", device="cpu")


def compare(repeats: int, count: int = 150, epochs: int = 30) -> list[Row]:
    """A row for each of `LABELS`, whose runs take turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in LABELS}
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder), count)
        for seed in range(repeats):
            for name, labels in LABELS.items():
                found[name].append(train(Path(folder), labels, seed, epochs))
    return [
        {"name": name, **{key: [scores[f"keypoints/{key}"] for scores in runs] for key in ("nme", "pck")}}
        for name, runs in found.items()
    ]


COLUMNS: Columns = {
    "flip_pairs": lambda row: row["name"],
    "NME": lambda row: f"{statistics.mean(row['nme']):.3f}",
    "PCK": lambda row: f"{statistics.mean(row['pck']):.3f}",
    "NME of the seeds": lambda row: ", ".join(f"{value:.3f}" for value in row["nme"]),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = options(__doc__, repeats=1).parse_args(arguments)
    set_threads(given.threads)
    finish("mirroring", compare(given.repeats), COLUMNS, given)


if __name__ == "__main__":
    main()
