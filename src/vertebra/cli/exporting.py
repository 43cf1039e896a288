"""``vertebra export``: a model as a file for another runtime, compared with the model."""

from __future__ import annotations

import sys

import typer


def export(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    out: str = typer.Option(..., "--out", help="The file to write, such as cells.onnx."),
    to: str = typer.Option("onnx", "--to", help="The kind of file: onnx."),
    canvas: str = typer.Option(
        "auto",
        help="free leaves the canvas' height and width free, fixed does not; auto: free where the model allows it.",
    ),
    tolerance: float = typer.Option(
        1e-4, min=0.0, help="Largest difference from PyTorch that is allowed, as a part of an output's largest value."
    ),
) -> None:
    """Write a model as one file for ONNX Runtime, and check that it says the same."""
    from vertebra.errors import UnknownName
    from vertebra.export.onnx import export_onnx
    from vertebra.weights.model_file import load

    for name, value, known in (("kind of file", to, ["onnx"]), ("canvas", canvas, ["auto", "fixed", "free"])):
        if value not in known:
            raise UnknownName(name, value, known)
    report = export_onnx(load(source), out, canvas=canvas, tolerance=tolerance)  # type: ignore[arg-type]
    for case, worst in report["differences"].items():
        print(f"same as PyTorch within {worst:.1e} of the largest value: {case}", file=sys.stderr)
    size = "any canvas" if report["free_canvas"] else "the model's own canvas"
    reason = f" ({report['why_fixed']})" if report["why_fixed"] else ""
    print(f"{out}: any batch size, {size}{reason}", file=sys.stderr)
