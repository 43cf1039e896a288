"""``vertebra eval-tracks``: metrics of tracks in MOT challenge files."""

from __future__ import annotations

import typer

from vertebra.cli.printing import print_json


def eval_tracks(
    ground_truth: str = typer.Argument(
        ..., help="MOT text, or a folder with <sequence>.txt or <sequence>/gt/gt.txt of each sequence."
    ),
    predicted: str = typer.Argument(..., help="MOT text, or a folder with <sequence>.txt of each sequence."),
    match_iou: float = typer.Option(0.5, min=0.0, max=1.0, help="Minimum IoU of a match for MOTA and IDF1."),
    as_json: bool = typer.Option(False, "--json", help="Print the metrics as JSON."),
) -> None:
    """Print HOTA, MOTA, IDF1 and other metrics of tracks, such as those of predict --track --mot."""
    from vertebra.tracking.evaluate import evaluate_tracks

    metrics = evaluate_tracks(ground_truth, predicted, match_iou=match_iou)
    if as_json:
        print_json(metrics)
        return
    width = max(map(len, metrics))
    for name, value in metrics.items():
        typer.echo(f"{name:<{width}}  {value:.4f}" if isinstance(value, float) else f"{name:<{width}}  {value}")
