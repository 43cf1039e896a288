"""Every decoder of a task on one data set, from the same weights and with the same short budget.

python -m benchmarks.decoders TASK --data FOLDER --weights FILE [--epochs N] [--only NAME ...] [KEY=VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import vertebra
from vertebra.config import override
from vertebra.parts import describe, names

BACKBONE = "mobilenetv2_100"
METRICS = {"detect": "map_50", "segment": "mean_iou", "keypoints": "pck", "classify": "accuracy"}
RECIPES: dict[str, dict[str, Any]] = {
    "detect": {"batch_size": 8, "image_size": [320, 416]},
    "segment": {"batch_size": 4, "image_size": [352, 480], "lr": 0.002},
    "keypoints": {"batch_size": 8, "image_size": [256, 320]},
    "classify": {"batch_size": 16},
}
FPN = {"neck": "fpn"}
COMPANIONS: dict[str, dict[str, Any]] = {
    "retinanet": FPN,
    "fcos": FPN,
    "faster_rcnn": FPN,
    "ssd": {"neck": "ssd_extra"},
    "ssdlite": {"neck": "ssd_extra"},
    "yolox": {"neck": "pafpn"},
    "tood": {"neck": "pafpn"},
    "detr": {},
    "rt_detr": {"encoder": "hybrid"},
    "heatmap": FPN,
    "unet": FPN,
    "unetplusplus": FPN,
    "fpn": FPN,
    "deeplabv3": {"encoder": "aspp", "output_stride": 16},
    "deeplabv3plus": {"encoder": "aspp"},
    "fcn": {"output_stride": 16},
    "pspnet": {"output_stride": 16},
}
"""What comes before a decoder as in its paper; the others read the backbone alone."""


def model_with(decoder: str, task: str, weights: Path | None) -> dict[str, Any]:
    """The model of a decoder, as a config has it.

    Args:
        decoder, task: names.
        weights: of the backbone; None: it begins at random.
    """
    companions = dict(COMPANIONS.get(decoder, {}))
    backbone: dict[str, Any] = {"name": BACKBONE}
    if weights is not None:
        backbone["pretrained"] = str(weights)
    if "output_stride" in companions:
        backbone["output_stride"] = companions.pop("output_stride")
    return {"backbone": backbone, "decoder": decoder, "task": task, **companions}


def run(
    task: str, data: Path, weights: Path, only: list[str], epochs: int, overrides: list[str]
) -> list[dict[str, Any]]:
    """Trains each decoder and measures it on the test split.

    Returns:
        A row for each: decoder, companions, metric, minutes, parameters (of all but the backbone, in millions).
    """
    rows = []
    for decoder in only or [name for name in names("decoder") if describe("decoder", name).task == task]:
        recipe = {**RECIPES[task], "epochs": epochs}
        raw = {"data": {"path": str(data)}, "model": model_with(decoder, task, weights), "train": recipe}
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            trained = vertebra.train(override(raw, overrides), out=Path(folder) / "run")
            minutes = (time.perf_counter() - start) / 60
            scores = vertebra.evaluate(trained, split="test")
            built = vertebra.load(trained)
        own = sum(value.numel() for name, value in built.named_parameters() if not name.startswith("backbone."))
        rows.append({"decoder": decoder, **COMPANIONS.get(decoder, {}), "minutes": minutes, "own_millions": own / 1e6})
        rows[-1]["scores"] = {name: value for name, value in scores.items() if name.count("/") == 1}
        rows[-1]["metric"] = scores[f"{task}/{METRICS[task]}"]
        print(json.dumps(rows[-1]), flush=True)
    return rows


def show(task: str, rows: list[dict[str, Any]]) -> None:
    """A Markdown table, best first."""
    print(f"| decoder | with | {METRICS[task]} | minutes | parameters beside the backbone |\n|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: -row["metric"]):
        beside = (
            ", ".join(f"{kind} {row[kind]}" for kind in ("neck", "encoder", "output_stride") if kind in row)
            or "backbone alone"
        )
        print(
            f"| `{row['decoder']}` | {beside} | {row['metric']:.3f} | {row['minutes']:.1f} | {row['own_millions']:.2f} M |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=METRICS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    show(given.task, run(given.task, given.data, given.weights, given.only, given.epochs, given.overrides))
