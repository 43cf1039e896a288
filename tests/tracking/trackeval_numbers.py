"""Writes trackeval_numbers.json, what TrackEval gives for the damaged sequences: python tests/tracking/trackeval_numbers.py

Needs an environment with the packages trackeval and numpy; Vertebra's own dependencies suffice besides.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.tracking.drawn_tracks import crossing_tracks, damaged  # noqa: E402

SEQUENCES = {"sparse": (4, 40, 3), "crowded": (14, 90, 4), "short": (6, 7, 5)}  # objects, frames, seed
FILE = Path(__file__).with_name("trackeval_numbers.json")


def sequence(name: str) -> tuple[list[Any], list[Any]]:
    """Ground truth and predicted tracks."""
    count, frames, seed = SEQUENCES[name]
    tracks = crossing_tracks(count, frames, seed)
    return [frame if number % 11 != 10 else type(frame)(frame.ids[:0], frame.boxes[:0])
            for number, frame in enumerate(tracks)], damaged(tracks, seed)  # fmt: skip


def trackeval_data(actual: list[Any], predicted: list[Any]) -> dict[str, Any]:
    """The input of TrackEval's metrics."""

    def rows(frames: list[Any]) -> tuple[list[np.ndarray], int, int]:
        known = np.unique(np.concatenate([frame.ids for frame in frames]))
        return [np.searchsorted(known, frame.ids) for frame in frames], len(known), sum(len(f.ids) for f in frames)

    def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        from trackeval.datasets._base_dataset import _BaseDataset

        return np.asarray(_BaseDataset._calculate_box_ious(first, second, box_format="x0y0x1y1"))

    gt_ids, num_gt_ids, num_gt_dets = rows(actual)
    tracker_ids, num_tracker_ids, num_tracker_dets = rows(predicted)
    return {
        "gt_ids": gt_ids, "num_gt_ids": num_gt_ids, "num_gt_dets": num_gt_dets,
        "tracker_ids": tracker_ids, "num_tracker_ids": num_tracker_ids, "num_tracker_dets": num_tracker_dets,
        "similarity_scores": [overlaps(first.boxes, second.boxes) for first, second in zip(actual, predicted, strict=True)],
        "num_timesteps": len(actual),
    }  # fmt: skip


def numbers() -> dict[str, dict[str, float]]:
    """The metrics of each sequence, and of all of them."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    metrics = {"clear": CLEAR({"PRINT_CONFIG": False}), "identity": Identity({"PRINT_CONFIG": False}), "hota": HOTA()}
    results: dict[str, dict[str, Any]] = {kind: {} for kind in metrics}
    for name in SEQUENCES:
        data = trackeval_data(*sequence(name))
        for kind, metric in metrics.items():
            results[kind][name] = metric.eval_sequence(data)
    for kind, metric in metrics.items():
        results[kind]["all"] = metric.combine_sequences(dict(results[kind]))
    return {
        name: {
            **{f"{key.lower()}": float(np.mean(results["hota"][name][key])) for key in ("HOTA", "DetA", "AssA", "LocA")},
            "mota": float(results["clear"][name]["MOTA"]), "motp": float(results["clear"][name]["MOTP"]),
            "true_positives": int(results["clear"][name]["CLR_TP"]), "false_positives": int(results["clear"][name]["CLR_FP"]),
            "false_negatives": int(results["clear"][name]["CLR_FN"]), "id_switches": int(results["clear"][name]["IDSW"]),
            "fragments": int(results["clear"][name]["Frag"]), "mostly_tracked": int(results["clear"][name]["MT"]),
            "mostly_lost": int(results["clear"][name]["ML"]), "idf1": float(results["identity"][name]["IDF1"]),
            "id_precision": float(results["identity"][name]["IDP"]), "id_recall": float(results["identity"][name]["IDR"]),
        }
        for name in (*SEQUENCES, "all")
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(numbers(), indent=1) + "\n")
