"""``vertebra demo``: from synthetic scenes to a trained model with five branches and a page with its results."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from vertebra.demo.animals import ANIMALS
from vertebra.demo.files import BACKGROUND, SceneCounts, write_scenes
from vertebra.demo.scenes import COLORS
from vertebra.demo.timing import Timing, needed_branches, one_pass_beside_several
from vertebra.export.evaluate import evaluate
from vertebra.inference.predictor import Predictor
from vertebra.inference.results import Result
from vertebra.model import VisionModel
from vertebra.report.blocks import charts_html
from vertebra.report.html_page import Picture, Section, drawing, gallery, paragraph, table, write_page
from vertebra.report.line_charts import line_chart
from vertebra.report.model_summary import model_summary_svg, model_summary_text, summarize_model
from vertebra.report.run_curves import loss_charts
from vertebra.strict_json import to_json
from vertebra.training.folder import free_folder
from vertebra.training.metrics_table import METRICS, read_table
from vertebra.training.run import train_raw
from vertebra.weights.model_file import load

SHOWN = ("animal/accuracy", "boxes/map_50", "masks/map_50", "color/accuracy", "regions/mean_iou")
COUNTS = SceneCounts(boxes=0, objects=480)
MEANING = {
    "animal/accuracy": "the scene's main animal is classified correctly",
    "boxes/map_50": "mean average precision of boxes at IoU 0.5",
    "masks/map_50": "mean average precision of the objects' masks at IoU 0.5",
    "color/accuracy": "the color of an object is right, of six",
    "regions/mean_iou": "mean intersection over union of the regions",
}


def demo_config(root: Path, seed: int, epochs: int) -> dict[str, Any]:
    """The config of the demo's run: one backbone, five branches, three data sets labeled for some of the branches each."""
    sources = {"animals": ["animal"], "objects": ["boxes", "masks", "color"], "regions": ["regions"]}
    return {
        "data": {"train": [{"path": str(root / folder), "branches": names} for folder, names in sources.items()]},
        "model": {
            "backbone": "test_resnet",  # timm's smallest ResNet: it trains from scratch within the demo's few minutes
            "branches": {
                "animal": {"decoder": "linear", "classes": list(ANIMALS)},
                "boxes": {"neck": "fpn", "decoder": "fcos", "classes": list(ANIMALS)},
                "masks": {
                    "neck": {"name": "fpn", "channels": 32},
                    "decoder": "condinst",
                    "boxes_from": "boxes",
                    "classes": list(ANIMALS),
                    "weight": 0.5,
                },
                "color": {"decoder": "roi_head", "boxes_from": "boxes", "classes": list(COLORS), "weight": 0.25},
                "regions": {"neck": "fpn", "decoder": "unet", "classes": [BACKGROUND, *ANIMALS]},
            },
        },
        "train": {
            "epochs": epochs,
            "evaluate_every": max(1, epochs // 2),
            "batch_size": 16,
            "image_size": [96, 128],
            "augment": "none",  # the scenes themselves are drawn at random
            "lr": 0.003,
            "workers": 1,
            "seed": seed,
        },
    }


def run_demo(
    out: Path, *, seed: int = 0, counts: SceneCounts | None = None, epochs: int = 18, pictures: int = 6
) -> Path:
    """Draws scenes, trains, evaluates on the held-out scenes, and writes ``index.html`` and ``metrics.json``.

    Args:
        out: the new folder; a number is appended to its name if it exists.

    Returns:
        The folder.
    """
    started = time.perf_counter()
    folder = free_folder(out)
    scenes = folder / "scenes"
    counts = counts or COUNTS
    _log(f"drawing scenes into {scenes}")
    write_scenes(scenes, counts, seed)
    run = train_raw(demo_config(scenes, seed, epochs), out=folder / "run").folder
    model = load(run)
    scores = evaluate(run, split="test", batch_size=24)
    _log(model_summary_text(summarize_model(model)))
    timing = one_pass_beside_several(model)
    drawn = _pictures(model, scenes, folder / "pictures", pictures)
    seconds = time.perf_counter() - started
    kept = {name: scores[name] for name in SHOWN}
    (folder / "metrics.json").write_text(
        to_json({**kept, "seconds": round(seconds, 1)}, indent=2)[0] + "\n", encoding="utf-8"
    )
    _write_index(folder, model, counts, scores, timing, drawn, seconds)
    for name, value in kept.items():
        print(f"{name:<18} {value:.3f}   {MEANING[name]}")
    print(f"{'seconds':<18} {seconds:.0f}")
    print(f"open {folder / 'index.html'}")
    return folder


def _pictures(model: VisionModel, scenes: Path, folder: Path, max_pictures: int) -> list[Picture]:
    """Pictures of held-out scenes, one for each branch, also saved as files."""
    files = sorted((scenes / "regions" / "images" / "test").glob("*.png"))
    chosen = files[:: len(files) // max_pictures + 1][:max_pictures] if len(files) > max_pictures else files
    folder.mkdir(parents=True)
    predictor = Predictor(model, threshold=0.4)
    return [picture for result in predictor.predict(chosen) for picture in _of_one(result, folder)]


def _of_one(result: Result, folder: Path) -> list[Picture]:
    name = result.path.stem if result.path else "image"
    pictures = []
    for branch, prediction in result.items():
        image = prediction.draw().convert("RGB")
        image.save(folder / f"{name}_{branch}.jpg", quality=92)
        pictures.append(Picture(image, f"{branch} of {name}"))
    return pictures


def _write_index(
    folder: Path,
    model: VisionModel,
    counts: SceneCounts,
    scores: dict[str, float],
    timing: Timing,
    pictures: list[Picture],
    seconds: float,
) -> None:
    rows = read_table(folder / "run" / METRICS)
    table_rows = [(name, scores[name], MEANING[name]) for name in SHOWN]
    times = [
        (f"one model with {len(model.branches)} branches", timing.together),
        *(
            (f"model with {' and '.join(needed_branches(model, name))} alone", value)
            for name, value in timing.single.items()
        ),
        ("the single models, one after the other", sum(timing.single.values())),
    ]
    sections = [
        Section(
            "Results",
            [
                paragraph(
                    f"Measured on {counts.test} held-out scenes that are labeled for everything. In training, {counts.classes} "
                    f"scenes had only their class, {counts.objects} only boxes, masks and colors of objects, {counts.masks} only "
                    "regions."
                ),
                table(["metric", "value", "meaning"], table_rows, label="results"),
            ],
        ),
        Section("Predictions", [gallery(pictures)]),
        Section("Architecture", [drawing(model_summary_svg(summarize_model(model)))]),
        Section(
            "One pass instead of several",
            [
                paragraph(
                    f"The backbone runs once for all branches: {timing.ratio:.2f} times as fast as {len(timing.single)} models "
                    f"in a row (median of {timing.repeats} passes, {torch.get_num_threads()} threads)."
                ),
                table(["model", "milliseconds for one image"], times, label="times"),
            ],
        ),
        Section("Losses", [charts_html(line_chart(chart) for chart in loss_charts(rows, model.branches))]),
    ]
    write_page(
        folder / "index.html", "One backbone, five branches", f"Drawn, trained, measured and shown in {seconds:.0f} seconds.",
        sections,
    )  # fmt: skip


def _log(text: str) -> None:
    print(text, file=sys.stderr)
