"""``vertebra demo``: trains one backbone with three tasks on synthetic scenes, and writes a page of pictures."""

from __future__ import annotations

from pathlib import Path

import typer


def demo(
    out: str = typer.Option("runs/demo", help="The folder to create; a number is added if it exists."),
    seed: int = typer.Option(0, help="Seed of the scenes and the training."),
) -> None:
    """Draw synthetic scenes, train one backbone with five branches on them, and show its predictions."""
    from vertebra.demo.run import run_demo

    run_demo(Path(out), seed=seed)
