"""``vertebra export``: a model as a file for another runtime, compared with the model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping


def export(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    out: str = typer.Option(
        ..., "--out", help="The file to write: .onnx, .xml (OpenVINO), .pt2 (torch) or .pte (ExecuTorch)."
    ),
    to: str | None = typer.Option(
        None, "--to", help="onnx, openvino, torch or executorch; by default what the file's name says."
    ),
    precision: str = typer.Option("fp32", help="fp32, fp16, or int8, which is calibrated with images."),
    calibrate: str | None = typer.Option(
        None, help="Images or a data set to calibrate and compare with; by default the run's own training images."
    ),
    data: str | None = typer.Option(
        None, help="A labeled data set: the file's metrics must be the model's. 'run' takes the run's validation data."
    ),
    input: str | None = typer.Option(
        None,
        help="pixels: images of any size, preprocessing in the file; canvas: it is done before. pixels if it can be.",
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
        None, min=0.0, max=1.0, help="fp16, int8: how far what is said of an image must agree; 0.97 and 0.9."
    ),
    metric_loss: float | None = typer.Option(
        None, min=0.0, help="How far a main metric may fall with --data; 0.001, 0.005 for fp16, 0.01 for int8."
    ),
) -> None:
    """Write a model as one file for another runtime, and check that it says the same."""
    from vertebra.export.calibration_images import calibration_images
    from vertebra.export.export_model import ExportTolerances, export_model
    from vertebra.inference.predictor import model_info
    from vertebra.training.labeled_data import labeled
    from vertebra.weights.model_file import load

    model = load(source)
    batches = None
    if data is not None:
        own = None if data == "run" else data
        batches = labeled(source, model_info(model), model.config, split="val", data=own, batch_size=8)
    report = export_model(
        model,
        out,
        to=to,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        input=input,  # type: ignore[arg-type]
        canvas=canvas,  # type: ignore[arg-type]
        class_map=class_map,
        images=calibration_images(source, model, calibrate),
        labeled=batches,
        tolerances=ExportTolerances(tolerance, agreement, metric_loss),
        tell=lambda line: print(line, file=sys.stderr),
    )
    for line in described(report):
        print(line, file=sys.stderr)
    if report["input"] == "pixels":
        size = "images of any size"
    else:
        size = "any canvas" if report["free_canvas"] else "the model's own canvas"
    reason = f" ({report['why_fixed']})" if report["why_fixed"] else ""
    print(f"{out}: any batch size, {size}{reason}", file=sys.stderr)


def described(report: Mapping[str, Any]) -> list[str]:
    """A report in lines, the real images in one."""
    lines = []
    for key, said, worst in (
        ("differences", "same as PyTorch within {:.1e} of the largest value", max),
        ("agreement", "agrees with PyTorch by {:.3f}", min),
    ):
        found = dict(report.get(key, {}))
        real = [found.pop(name) for name in list(found) if name.startswith("real image")]
        lines += [f"{said.format(value)}: {name}" for name, value in found.items()]
        if real:
            lines.append(f"{said.format(worst(real))}: {len(real)} real images")
    for name, value in report.get("pixels", {}).items():
        lines.append(f"same with preprocessing inside, within {value:.1e}: {name}")
    for name, (before, after) in report["metrics"].items():
        lines.append(f"{name}: {before:.4f} in PyTorch, {after:.4f} with the file")
    return lines
