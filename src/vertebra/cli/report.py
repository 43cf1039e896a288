"""``vertebra report``: an HTML page about a trained model, or about several side by side."""

from __future__ import annotations

from pathlib import Path

import typer


def report(
    sources: list[str] = typer.Argument(
        ..., metavar="RUN...", help="A run folder, a model file, or an exported file; several are compared."
    ),
    split: str = typer.Option("val", help="train, val or test."),
    data: str | None = typer.Option(None, help="A data set; by default the run's."),
    out: Path | None = typer.Option(
        None,
        help="The page; by default report.html in the run folder (report_test.html with --split test), NAME_report.html "
        "beside a file, comparison.html here for several.",
    ),
    branch: list[str] = typer.Option([], help="Evaluate only this branch; may be repeated. By default all."),
    ignore_index: int | None = typer.Option(None, help="Mask value of ignored pixels."),
    rename_classes: list[str] = typer.Option(
        [],
        "--rename-class",
        metavar="NAME=NAME",
        help="A class name of --data and the name in the model; may be repeated.",
    ),
    batch_size: int = typer.Option(8, min=1, help="Batch size."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best available."),
    runtime: str | None = typer.Option(
        None, help="torch, onnx, openvino or tensorrt; by default the one stored by benchmark, else torch."
    ),
    precision: str | None = typer.Option(
        None, help="fp32, bf16, fp16 (GPU) or int8; by default the one stored by benchmark, else fp32."
    ),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all available CPUs."),
) -> None:
    """Write an HTML page about a trained model, or a comparison of several."""
    from vertebra.evaluation.measured_data import read_renames
    from vertebra.export.report import write_report

    path = write_report(
        sources,
        out=out,
        split=split,
        data=data,
        batch_size=batch_size,
        branches=branch or None,
        ignore_index=ignore_index,
        rename_classes=read_renames(rename_classes),
        device=device,
        runtime=runtime,
        precision=precision,
        threads=threads,
    )
    typer.echo(str(path))
