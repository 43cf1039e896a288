"""``vertebra export``: a model as a file for another runtime, compared with the model."""

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
        None, "--to", help="onnx, openvino, torch or executorch; by default chosen by the end of the file's name."
    ),
    precision: str = typer.Option("fp32", help="fp32, fp16, or int8, which is calibrated with images."),
    calibrate: str | None = typer.Option(
        None, help="Images or a data set to calibrate and compare with; by default the run's own training images."
    ),
    data: str | None = typer.Option(
        None,
        help="A labeled data set on which the file's metrics must be the model's; 'run' for the run's validation data.",
    ),
    input: str | None = typer.Option(
        None,
        help="pixels: images of any size, preprocessed in the file; canvas: preprocessed before. By default pixels where possible.",
    ),
    canvas: str = typer.Option(
        "auto", help="With --input canvas: free leaves its height and width free; auto: free where the model allows it."
    ),
    class_map: bool = typer.Option(
        False,
        "--class-map",
        help="Of segmentation: give the class of each pixel in 8 bits, not the probabilities of all.",
    ),
    tolerance: float = typer.Option(
        1e-4, min=0.0, help="fp32: largest difference from PyTorch allowed, as a part of an output's largest value."
    ),
    agreement: float | None = typer.Option(
        None,
        min=0.0,
        max=1.0,
        help="fp16, int8: minimum agreement with PyTorch's predictions; by default 0.97 and 0.9.",
    ),
    metric_loss: float | None = typer.Option(
        None, min=0.0, help="How far a main metric may fall with --data; 0.001, 0.005 for fp16, 0.01 for int8."
    ),
) -> None:
    """Write a model as one file for another runtime, and compare the file with the model."""
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
    print(*described(report), f"{out}: any batch size, {_size(report)}", sep="\n", file=sys.stderr)


def _labeled(source: str, model: VisionModel, data: str) -> Iterable[Batch]:
    """Labeled batches for the metrics.

    Args:
        source: the run folder or model file.
        model: what it holds.
        data: a data set, or "run" for the run's own validation data.
    """
    from vertebra.inference.predictor import model_info
    from vertebra.training.labeled_data import labeled

    path = None if data == "run" else data
    return labeled(source, model_info(model), model.config, split="val", data=path, batch_size=8)


def _size(report: Mapping[str, Any]) -> str:
    """What sizes the file takes, and why not all."""
    canvas = "any canvas" if report["free_canvas"] else "the model's own canvas"
    size = "images of any size" if report["input"] == "pixels" else canvas
    return size + (f" ({report['why_fixed']})" if report["why_fixed"] else "")


def described(report: Mapping[str, Any]) -> list[str]:
    """A report in lines; all real images share one line."""
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
