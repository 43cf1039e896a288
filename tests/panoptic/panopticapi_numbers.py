"""Writes panopticapi_numbers.json, what panopticapi gives for drawn images: python tests/panoptic/panopticapi_numbers.py

Needs the package panopticapi (https://github.com/cocodataset/panopticapi) in the environment or on PYTHONPATH; it is not on PyPI.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.panoptic.drawn_segments import LABELS, drawn_pair, written  # noqa: E402
from vertebra.panoptic.quality import PanopticQuality  # noqa: E402

SEEDS = {"few": (3, 1), "some": (40, 2), "many": (400, 3)}  # images, seed
FILE = Path(__file__).with_name("panopticapi_numbers.json")


def peer_scores(true: Path, predicted: Path) -> dict[str, float]:
    """What panopticapi gives, by the names of ours; classes that do not occur are left out."""
    from panopticapi.evaluation import pq_compute

    results: dict[str, Any] = pq_compute(str(true), str(predicted))
    groups = {"All": "", "Things": "_things", "Stuff": "_stuff"}
    scores = {f"{name}{suffix}": results[key][name] for key, suffix in groups.items() for name in ("pq", "sq", "rq")}
    for number, each in results["per_class"].items():
        scores |= {f"{name}/{LABELS.classes[number - 1]}": each[name] for name in ("pq", "sq", "rq")}
    return {name: float(value) for name, value in scores.items()}


def main() -> None:
    """Compares, and writes the numbers."""
    numbers, largest = {}, 0.0
    for name, (count, seed) in SEEDS.items():
        rng = np.random.default_rng(seed)
        pairs = [drawn_pair(rng) for _ in range(count)]
        with tempfile.TemporaryDirectory() as folder:
            numbers[name] = peer_scores(*written(pairs, Path(folder)))
        quality = PanopticQuality(LABELS)
        for pair in pairs:
            quality.add(*pair)
        ours = quality.compute()
        largest = max(largest, *(abs(numbers[name][key] - ours.get(key, 0.0)) for key in numbers[name]))
    FILE.write_text(json.dumps(numbers, indent=1) + "\n")
    print(f"largest difference {largest:.3g} over {sum(count for count, _ in SEEDS.values())} images")


if __name__ == "__main__":
    main()
