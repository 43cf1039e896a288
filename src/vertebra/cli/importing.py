"""``vertebra import``: converts a model of another library to a model file."""

from __future__ import annotations

from pathlib import Path

import typer


def import_model(
    source: str = typer.Argument(
        ...,
        metavar="LIBRARY:NAME",
        help="torchvision:NAME, timm:NAME, smp:FOLDER or transformers:FOLDER (or a name on the Hugging Face hub).",
    ),
    weights: Path | None = typer.Option(None, help="A weights file; by default the published weights."),
    out: Path = typer.Option(..., help="The model file to write, such as model.safetensors."),
) -> None:
    """Import a model of torchvision, timm, segmentation-models-pytorch or transformers, with equal outputs."""
    from vertebra.weights.importing import import_with_report
    from vertebra.weights.model_file import check_new_file, save

    check_new_file(out)
    model, report = import_with_report(source, weights=weights)
    save(model, out)
    for line in report.lines():
        typer.echo(line, err=True)
    classes = [len(model.branch(name).labels.classes) for name in model.branches]
    branches = ", ".join(f"{name} ({count} classes)" for name, count in zip(model.branches, classes, strict=True))
    typer.echo(f"{out}: {source}, branches: {branches}; license: {model.origin['license'] or 'not stated'}")
