"""Options that the commands which evaluate a model share."""

from __future__ import annotations

import typer

DATA = typer.Option(None, help="A data set; by default the run's.")
BRANCH = typer.Option([], help="Evaluate only this branch; may be repeated. By default all.")
RENAME_CLASSES = typer.Option(
    [],
    "--rename-class",
    metavar="NAME=NAME",
    help="A class name of --data and the name in the model; may be repeated.",
)
BATCH_SIZE = typer.Option(8, min=1, help="Batch size.")
DEVICE = typer.Option(None, help="cpu, cuda, mps …; by default the best available.")
RUNTIME = typer.Option(
    None, help="torch, onnx, openvino or tensorrt; by default the one stored by benchmark, else torch."
)
PRECISION = typer.Option(
    None, help="fp32, bf16, fp16 (GPU) or int8; by default the one stored by benchmark, else fp32."
)
THREADS = typer.Option(None, min=1, help="CPU threads; by default all available CPUs.")
