"""``vertebra export``: exports a model to a file for another runtime, and compares it with the model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vertebra.data.batches import Batch
    from vertebra.model import VisionModel


def export(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    out: str = typer.Option(
        ..., "--out", help="The file to write: .onnx, .xml (OpenVINO), .pt2 (torch) or .pte (ExecuTorch)."
    ),
    to: str | None = typer.Option(
        None, "--to", help="onnx, openvino, torch or executorch; by default chosen by the suffix of the file."
    ),
    precision: str = typer.Option("fp32", help="fp32, fp16, or int8 (calibrated with images)."),
    calibrate: str | None = typer.Option(
        None, help="Images or a data set to calibrate and compare with; by default the run's training images."
    ),
    data: str | None = typer.Option(
        None,
        help="A labeled data set on which to compare the metrics of file and model; 'run' for the run's validation data.",
    ),
    input: str | None = typer.Option(
        None,
        help="pixels: images of any size, preprocessed in the file; canvas: preprocessed images. By default pixels if possible.",
    ),
    canvas: str = typer.Option(
        "auto", help="With --input canvas: free leaves height and width free; fixed; auto: free if the model allows it."
    ),
    class_map: bool = typer.Option(
        False,
        "--class-map",
        help="For segmentation: output the class of each pixel in 8 bits instead of all probabilities.",
    ),
    tolerance: float = typer.Option(
        1e-4, min=0.0, help="fp32: largest allowed difference from PyTorch, relative to an output's largest value."
    ),
    agreement: float | None = typer.Option(
        None,
        min=0.0,
        max=1.0,
        help="fp16, int8: minimum agreement with PyTorch's predictions; by default 0.97 and 0.9.",
    ),
    metric_loss: float | None = typer.Option(
        None, min=0.0, help="Largest allowed fall of a main metric with --data; 0.001, 0.005 for fp16, 0.01 for int8."
    ),
) -> None:
    """Export a model to one file for another runtime, and compare the file with the model."""
    from vertebra.export.calibration_images import calibration_images
    from vertebra.export.export_model import export_model
    from vertebra.export.job import ExportTolerances
    from vertebra.weights.model_file import load

    model = load(source)
    options: dict[str, Any] = {"to": to, "precision": precision, "input": input, "canvas": canvas}
    report = export_model(
        model,
        out,
        **options,
        class_map=class_map,
        images=calibration_images(source, model, calibrate),
        labeled=None if data is None else _labeled(source, model, data),
        tolerances=ExportTolerances(tolerance, agreement, metric_loss),
        progress=lambda line: print(line, file=sys.stderr),
    )
    print(*report_lines(report), f"{out}: any batch size, {_size(report)}", sep="\n", file=sys.stderr)


def _labeled(source: str, model: VisionModel, data: str) -> Iterable[Batch]:
    """Labeled batches for the metrics.

    Args:
        source: the run folder or model file.
        model: the loaded model.
        data: a data set, or "run" for the run's own validation data.
    """
    from vertebra.model_info import model_info
    from vertebra.training.labeled_data import labeled

    path = None if data == "run" else data
    return labeled(source, model_info(model), model.config, split="val", data=path, batch_size=8)


def _size(report: Mapping[str, Any]) -> str:
    """The image sizes that the file accepts, and the reason for a fixed size."""
    canvas = "any canvas" if report["free_canvas"] else "the model's own canvas"
    size = "images of any size" if report["input"] == "pixels" else canvas
    return size + (f" ({report['why_fixed']})" if report["why_fixed"] else "")


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The lines of a report; all real images share one line."""
    lines = []
    for key, words, worst in (
        ("differences", "same as PyTorch within {:.1e} of the largest value", max),
        ("agreement", "agrees with PyTorch by {:.3f}", min),
    ):
        compared = dict(report.get(key, {}))
        real = [compared.pop(name) for name in list(compared) if name.startswith("real image")]
        lines += [f"{words.format(value)}: {name}" for name, value in compared.items()]
        if real:
            lines.append(f"{words.format(worst(real))}: {len(real)} real images")
    for name, value in report.get("pixels", {}).items():
        lines.append(f"same with preprocessing inside, within {value:.1e}: {name}")
    for name, (before, after) in report["metrics"].items():
        lines.append(f"{name}: {before:.4f} in PyTorch, {after:.4f} with the file")
    return lines
