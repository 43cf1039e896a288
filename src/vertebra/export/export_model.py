"""Exports a model to a file for another runtime: writes it, compares it with the model, and then moves it to its name."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vertebra.data.batches import Batch
from vertebra.errors import ExportError, shortened
from vertebra.export.file_metadata import file_metadata, output_types
from vertebra.export.files import metadata_json_path, publish_export, refuse_existing, temporary_folder
from vertebra.export.job import ExportJob, ExportTolerances
from vertebra.export.options import Canvas, Input, Precision, check_options, default_input, versions
from vertebra.export.parity_inputs import real_parity_inputs
from vertebra.export.targets import find_target
from vertebra.export.targets.base import ExportTarget
from vertebra.files import os_errors_as_run_errors
from vertebra.inference.io.inputs import finite_sources
from vertebra.keywords import check_path, strict_keywords
from vertebra.model import VisionModel, check_model
from vertebra.model_info import model_info
from vertebra.runtimes.base import Session
from vertebra.runtimes.model_files.metadata import FileInfo, to_json
from vertebra.weights.model_file import describe


@strict_keywords
def export_model(
    model: VisionModel,
    path: str | os.PathLike[str],
    *,
    to: str | None = None,
    precision: Precision = "fp32",
    input: Input | None = None,
    canvas: Canvas = "auto",
    class_map: bool = False,
    images: Any = (),
    labeled: Iterable[Batch] | None = None,
    tolerances: ExportTolerances | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Exports the graph of `VisionModel.forward`, with preprocessing before it, to one file, for any batch size.

    The input is ``pixels`` (N, H, W, C) uint8, images of any size, equal within a batch; the outputs, named ``branch/field``, are
    in the images' pixels. With ``input="canvas"`` the inputs are ``images`` (N, C, height, width) uint8, preprocessed canvases,
    and ``sizes`` (N, 2) int64, (height, width) of their valid pixels, and the outputs are in canvas pixels; the metadata describe
    the preprocessing, and `vertebra.load` applies it. BatchNorm is folded.

    The metadata are also written beside the file as JSON, named ``<file>.json``; Vertebra reads them from the file itself.

    The file is run in its runtime and compared with the model; it is moved to its name only if they agree
    (`vertebra.export.parity`).

    Args:
        model: is not changed.
        path: the file to write: ``.onnx``, ``.xml`` (OpenVINO, with a ``.bin`` beside it), ``.pt2`` (torch) or ``.pte``
            (ExecuTorch).
        to: "onnx", "openvino", "torch" or "executorch", or a target of an installed package (`vertebra.export.targets`); by default
            chosen by the file's suffix.
        precision: "fp32", "fp16", or "int8", which needs ``images`` to calibrate the range of each map.
        input: "pixels" or "canvas"; by default pixels where possible: not in a ``.pt2`` or ``.pte`` file, and not if each image
            has its own canvas size.
        canvas: of a file that takes canvases: "free" leaves their height and width free; "fixed" fixes the model's canvas; "auto"
            is free if the architecture allows it.
        class_map: for segmentation, output the class of each pixel, ``branch/class_map`` (N, H, W) uint8 (int32 beyond 256
            classes), instead of the probabilities of all classes, which take 4 bytes per pixel and class. The file must take
            pixels.
        images: real images (as `vertebra.Model.predict` takes them) for the comparison and the calibration of int8: about a
            hundred images like those to predict on.
        labeled: batches on the model's canvas, on which the metrics of file and model are compared.
        tolerances: of the comparison; None for the defaults.
        progress: called with a line after each step.

    Returns:
        The report: whether the canvas size is free, and if not why; the compared cases with their largest differences; versions.

    Raises:
        ConfigError: a library is not installed, or an option is wrong.
        ExportError: the architecture cannot be exported like this, or the file's outputs differ from the model's.
        RunError: the file exists, or cannot be written.
    """
    check_model("export_model", model)
    path = check_path("path", path)
    images = finite_sources(list(images) if isinstance(images, Iterator) else images)
    kind = find_target(path, to)
    if input is None:
        input = default_input(model, kind, canvas)
    check_options(model, kind, precision, input, canvas, images, class_map=class_map)
    refuse_existing(path, kind.format)
    job = ExportJob(
        _copied(model),
        precision,
        tolerances or ExportTolerances(),
        progress,
        real_parity_inputs(model_info(model), images),
    )
    target = kind()
    with os_errors_as_run_errors(path), temporary_folder(path) as folder:
        file, report = _write_all(job, target, folder, input, canvas, class_map=class_map, labeled=labeled)
        publish_export(file, path, target.format)
    return report


def _copied(model: VisionModel) -> VisionModel:
    """A copy on the CPU in evaluation mode; export changes it.

    Raises:
        ExportError: a module of the model cannot be copied.
    """
    try:
        return copy.deepcopy(model).cpu().eval()
    except Exception as error:  # foreign modules hold anything
        reason = shortened(f"{type(error).__name__}: {error}", 200)
        raise ExportError(f"export needs a copy of the model, which cannot be copied ({reason})") from error


def _write_all(
    job: ExportJob,
    target: ExportTarget,
    folder: Path,
    input: Input,
    canvas: Canvas,
    *,
    class_map: bool,
    labeled: Iterable[Batch] | None,
) -> tuple[Path, dict[str, Any]]:
    """Writes and compares the file with its metadata in a temporary folder; see `export_model`."""
    file, report = _write(job, target, folder, "fixed" if input == "pixels" else canvas)
    report["metrics"] = {} if labeled is None else job.compare_metrics(target.open(file), labeled)
    report["input"] = input
    outputs: Mapping[str, str] = dict(zip(job.names, output_types(job.model), strict=True))
    if input == "pixels":
        file, outputs, report["pixels"] = target.write_pixels(job, file, folder, class_maps=class_map)
    metadata = _metadata(job, target.open(file), outputs, report)
    text = json.dumps(json.loads(metadata), ensure_ascii=False, indent=2)
    metadata_json_path(file).write_text(text + "\n", encoding="utf-8")
    target.write_metadata(file, metadata)
    return file, report


def _write(job: ExportJob, target: ExportTarget, folder: Path, canvas: Canvas) -> tuple[Path, dict[str, Any]]:
    """Writes the file that takes canvases, with a free canvas if requested and possible; with the report of its comparison."""
    fixed = job.model.backbone.fixed_size
    why_fixed = target.format.fixed_canvas or (
        "" if fixed is None else f"the backbone is built for {fixed[0]}x{fixed[1]}"
    )
    if canvas != "fixed" and not why_fixed:
        try:
            file, report = _write_and_compare(job, target, folder, free=True)
            return file, {"free_canvas": True, "why_fixed": "", **report}
        except ExportError as error:
            why_fixed = str(error)
    if canvas == "free":
        raise ExportError(f"the canvas cannot be free: {why_fixed}")
    file, report = _write_and_compare(job, target, folder, free=False)
    return file, {"free_canvas": False, "why_fixed": why_fixed if canvas == "auto" else "", **report}


def _write_and_compare(
    job: ExportJob, target: ExportTarget, folder: Path, *, free: bool
) -> tuple[Path, dict[str, Any]]:
    file = target.write(job, folder, free=free)
    compared = job.check_file(target.open(file), free=free)
    return file, {"precision": job.precision, "versions": versions(type(target)), **compared}


def _metadata(job: ExportJob, session: Session, outputs: Mapping[str, str], report: Mapping[str, Any]) -> str:
    """The metadata of a finished file.

    Args:
        job: the export.
        session: the file.
        outputs: by name, the type of each of its outputs in order.
        report: of its comparison.
    """
    fields: dict[str, list[str]] = {}
    for name in outputs:
        fields.setdefault(name.rpartition("/")[0], []).append(name.rpartition("/")[2])
    shapes = list(session.outputs.values())[: len(outputs)]
    typed_shapes = {name: (kind, shape) for (name, kind), shape in zip(outputs.items(), shapes, strict=True)}
    details = file_metadata(job.model, job.info, session.inputs, typed_shapes)
    config = None if job.model.config is None else describe(job.model)["model"]
    return to_json(FileInfo(job.info, fields, report, config, details))
