"""``vertebra calibrate``: thresholds with a promise, and temperatures, in a new model file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from vertebra.cli.evaluation_options import BATCH_SIZE, DEVICE, RENAME_CLASSES
from vertebra.cli.printing import print_json

if TYPE_CHECKING:
    from vertebra.calibration.operating_points import OperatingPoint
    from vertebra.calibration.run import Calibration

INCOMPLETE = 3


def calibrate(
    source: str = typer.Argument(..., help="A run folder or a model file; it is not changed."),
    data: str | None = typer.Option(None, help="Labeled images that were not used for training; by default the run's."),
    split: str | None = typer.Option(
        None, help="train, val or test; by default all of --data, or test of the run's data."
    ),
    miss: float | None = typer.Option(
        None, help="Share of missed objects that each class's threshold promises not to exceed, such as 0.1."
    ),
    confidence: float = typer.Option(0.95, help="Probability with which a promise is kept."),
    temperature: bool = typer.Option(
        False, "--temperature", help="Fit a temperature for each branch instead, so that scores are as right as sure."
    ),
    out: str | None = typer.Option(
        None,
        help="The new model file; by default calibrated.safetensors in the run folder, or NAME-calibrated.safetensors.",
    ),
    branch: list[str] = typer.Option(
        [], help="Calibrate only this branch; may be repeated. By default all that can be."
    ),
    rename_classes: list[str] = RENAME_CLASSES,
    batch_size: int = BATCH_SIZE,
    device: str | None = DEVICE,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Choose thresholds that miss at most a promised share of objects, or fit temperatures; writes a new model file.

    Exits with 0 if each class has a threshold, and 3 if some have none.
    """
    from vertebra.calibration.run import calibrate as calibrate_model
    from vertebra.evaluation.measured_data import read_renames

    result = calibrate_model(
        source,
        data=data,
        split=split,
        miss=miss,
        confidence=confidence,
        temperature=temperature,
        out=out,
        branches=branch or None,
        rename_classes=read_renames(rename_classes) or None,
        batch_size=batch_size,
        device=device,
    )
    if as_json:
        print_json(asdict(result) | {"path": None if result.path is None else str(result.path)})
    else:
        for line in _lines(result, miss, confidence):
            typer.echo(line)
    raise typer.Exit(0 if result.complete else INCOMPLETE)


def _lines(result: Calibration, miss: float | None, confidence: float) -> Iterator[str]:
    from vertebra.calibration.run import PROMISED

    for name, fitted in result.temperatures.items():
        yield (
            f"{name}: temperature {fitted.temperature:g}; calibration error (ECE) {fitted.ece_before:.4f} before, "
            f"{fitted.ece_after:.4f} after; negative log likelihood {fitted.nll_before:.4f} before, {fitted.nll_after:.4f} after "
            f"({result.images[name]} images)"
        )
    for name, points in result.points.items():
        yield f"{name}: at most {miss:g} missed with a probability of {confidence:g}, for each class by itself"
        yield from _table(points)
        yield f"missed: {PROMISED[result.binary[name]]}"
    if result.path is not None:
        yield f"written: {result.path}"
    else:
        yield "nothing is written" + ("" if miss is None else ": no class has a threshold that keeps the promise")


def _table(points: list[OperatingPoint]) -> Iterator[str]:
    """The operating points as lines, with a head."""
    width = max(5, *(len(point.class_name) for point in points))
    yield f"{'class':<{width}}  threshold  images  objects  missed  of objects  wrong an image  precision"
    for point in points:
        start = f"{point.class_name:<{width}}  "
        if point.threshold is None:
            yield f"{start}{'none':>9}  {point.images:>6}  {point.objects:>7}  {point.reason}"
            continue
        values: list[Any] = [f"{point.miss:>6.3f}", f"{point.object_miss:>10.3f}", f"{point.false_per_image:>14.3f}"]
        values.append("        -" if point.precision is None else f"{point.precision:>9.3f}")
        yield f"{start}{point.threshold:>9.4g}  {point.images:>6}  {point.objects:>7}  {'  '.join(values)}"
