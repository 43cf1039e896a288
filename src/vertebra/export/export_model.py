"""A model as a file for another runtime: made, lowered, compared, and only then given its name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vertebra.data.batches import Batch
from vertebra.errors import ExportError
from vertebra.evaluation.measure import measure
from vertebra.export.file_metadata import describe_onnx, file_metadata, output_types
from vertebra.export.files import (
    check_free_dimensions,
    drop_raw_outputs,
    json_beside,
    publish_export,
    refuse_existing,
    workshop,
)
from vertebra.export.options import BY_TORCH, Canvas, Input, Kind, Precision, check_options, kind_of, versions
from vertebra.export.parity import (
    REAL,
    ParityCase,
    check,
    check_agreement,
    check_metrics,
    parity_inputs,
    real_parity_inputs,
)
from vertebra.export.passes.fp16 import to_float16
from vertebra.export.passes.int8 import to_int8
from vertebra.export.passes.preprocess_graph import check_pixels, color_blocks, output_difference, wrap_in_pixels
from vertebra.export.targets.executorch import Lowered
from vertebra.export.targets.openvino import describe_openvino, to_openvino
from vertebra.export.torch_export import BATCH, output_names, write_onnx, write_torch
from vertebra.files import os_errors_told
from vertebra.inference.predictor import model_info
from vertebra.keywords import strict_keywords
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.runtimes.base import open_file
from vertebra.runtimes.model_files.metadata import FileInfo, to_json
from vertebra.runtimes.model_files.pt2_archive import rewrite_archive
from vertebra.tasks import get_task
from vertebra.weights.model_file import describe

TOLERANCE = 1e-4
AGREEMENT = {"fp16": 0.97, "int8": 0.9}
METRIC_LOSS = {"fp32": 0.001, "fp16": 0.005, "int8": 0.01}
COMPARED = 8  # real images that are compared; all are calibrated with


@dataclass(frozen=True)
class ExportTolerances:
    """What a file must pass before it gets its name; None for the usual limit of its precision.

    Attributes:
        tolerance: of fp32, the largest difference, relative to the largest value of an output.
        agreement: of lower precision, how far what is said of an image must agree with PyTorch, 0 to 1.
        metric_loss: how far a branch's main metric may fall.
    """

    tolerance: float = TOLERANCE
    agreement: float | None = None
    metric_loss: float | None = None


@strict_keywords
def export_model(
    model: VisionModel,
    path: str | Path,
    *,
    to: Kind | None = None,
    precision: Precision = "fp32",
    input: Input | None = None,
    canvas: Canvas = "auto",
    class_map: bool = False,
    images: Sequence[Any] = (),
    labeled: Iterable[Batch] | None = None,
    tolerances: ExportTolerances | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes the graph of `VisionModel.forward`, with preprocessing before it, as one file, for any batch size.

    Its input is ``pixels`` (N, H, W, C) uint8, images of any size, the same for all of a batch; its outputs, named
    ``branch/field``, are in these images' pixels. With ``input="canvas"`` it takes ``images`` (N, C, height, width) uint8, which
    lie on the canvas already, and ``sizes`` (N, 2) int64, their valid pixels, and gives outputs in the canvas' pixels; how images
    come there is in the metadata, and `vertebra.load` reads it. BatchNorm is folded.

    Beside the file lies what it says of itself as JSON, under its name and ``.json``; Vertebra reads it from the file itself.

    The file is run in its runtime and compared with the model; it gets its name only if they agree (`vertebra.export.parity`).

    Args:
        model: stays as it is.
        path: the file to write: ``.onnx``, ``.xml`` (OpenVINO, with a ``.bin`` beside it), ``.pt2`` (torch) or ``.pte``
            (ExecuTorch).
        to: "onnx", "openvino", "torch" or "executorch"; by default what the file's name says.
        precision: "fp32", "fp16", or "int8", which needs ``images`` to find the range of each map.
        input: "pixels" or "canvas"; by default pixels where that can be: not in a ``.pt2`` or ``.pte`` file, and not where each
            image has a canvas of its own.
        canvas: of a file that takes canvases: "free" leaves their height and width free; "fixed" is the model's own; "auto" is free
            where the architecture allows it.
        class_map: of a model that segments, give the class of each pixel, ``branch/class_map`` (N, H, W) uint8 (int32 beyond 256
            classes), and not the probabilities of all classes, which take 4 bytes a pixel and class. The file must take pixels.
        images: real images (as `vertebra.Model.predict` takes them) for the comparison, and for int8 to calibrate with: a hundred
            or so like those of later.
        labeled: batches on the model's canvas; the metrics of file and model are compared on them.
        tolerances: limits other than the usual ones.
        tell: is given a line when a step is done.

    Returns:
        The report: whether the canvas' size is free, and if not why; what was compared, with the worst of it; versions.

    Raises:
        ConfigError: the libraries for it are not installed, or an option is wrong.
        ExportError: the architecture cannot be exported so, or the file does not say what the model says.
        RunError: the file exists, or the operating system refuses.
    """
    path = Path(path)
    kind = kind_of(path, to)
    if input is None:
        input = (
            "canvas" if kind in BY_TORCH or model.resize_spec.mode == "shortest_edge" or canvas == "free" else "pixels"
        )
    check_options(model, kind, precision, input, canvas, images, class_map=class_map)
    refuse_existing(path)
    job = _Job(copy.deepcopy(model).cpu().eval(), kind, precision, tolerances or ExportTolerances(), tell)
    job.real = real_parity_inputs(job.info, images)
    with os_errors_told(path), workshop(path) as folder:
        file, report = _make(job, folder, "fixed" if input == "pixels" else canvas)
        report["metrics"] = {} if labeled is None else job.compare_metrics(file, labeled)
        report["input"] = input
        if input == "pixels":
            file, report["pixels"] = job.wrap(file, folder, class_map)
        job.describe(file, report)
        publish_export(file, path)
    return report


def _make(job: _Job, folder: Path, canvas: Canvas) -> tuple[Path, dict[str, Any]]:
    """The file that takes canvases, with a free canvas if that is wished and can be, and the report of its comparison."""
    fixed = job.model.backbone.fixed_size
    why_fixed = "" if fixed is None else f"the backbone is built for {fixed[0]}x{fixed[1]}"
    if job.kind == "executorch":
        why_fixed = "ExecuTorch plans its memory ahead"
    if canvas != "fixed" and not why_fixed:
        try:
            file, report = job.make(folder, free=True)
            return file, {"free_canvas": True, "why_fixed": "", **report}
        except ExportError as error:
            why_fixed = str(error)
    if canvas == "free":
        raise ExportError(f"the canvas cannot be free: {why_fixed}")
    file, report = job.make(folder, free=False)
    return file, {"free_canvas": False, "why_fixed": why_fixed if canvas == "auto" else "", **report}


@dataclass
class _Job:
    """One export: what its steps have in common.

    Attributes:
        model: a copy, on the CPU and in evaluation mode.
        real: images on the canvas.
        lowered: the ONNX file of the network, when it is made.
        outputs: by name, the type of each of the file's outputs in order.
    """

    model: VisionModel
    kind: Kind
    precision: Precision
    tolerances: ExportTolerances
    tell: Callable[[str], None]
    real: list[ParityCase] = field(default_factory=list)
    lowered: Path = Path()

    @cached_property
    def outputs(self) -> dict[str, str]:
        return dict(zip(self.names, output_types(self.model), strict=True))

    @cached_property
    def info(self) -> ModelInfo:
        return model_info(self.model)

    @cached_property
    def names(self) -> list[str]:
        """Of the decoded outputs."""
        return output_names(self.model)

    def make(self, folder: Path, *, free: bool) -> tuple[Path, dict[str, Any]]:
        """The file, and the report of its comparison."""
        tried = [*self.real[:COMPARED], *parity_inputs(self.model, BATCH, free)]
        if self.kind == "torch":
            file = folder / "model.pt2"
            write_torch(self.model, file, free=free)
        elif self.kind == "executorch":
            file = folder / "model.pte"
            self.mobile.write(file)
        else:
            exact = folder / "exact.onnx"
            write_onnx(self.model, exact, self.names, free=free)
            session = open_file(exact)
            check_free_dimensions(session, free)
            worst = max(check(self.model, session.run, self.names, tried, self.tolerances.tolerance).values())
            self.tell(f"ONNX Runtime, fp32, raw and decoded outputs: within {worst:.1e} of PyTorch's largest value")
            drop_raw_outputs(exact)
            file = self._finished(exact, folder)
        return file, self._compare(file, tried, free)

    @cached_property
    def mobile(self) -> Lowered:
        """The graph for ExecuTorch."""
        return Lowered(self.model)

    def wrap(self, network: Path, folder: Path, class_map: bool) -> tuple[Path, dict[str, float]]:
        """The same file with preprocessing before it, and how it differs from the one without.

        Args:
            network: what `make` gave.
            folder: where it lies.
            class_map: see `export_model`.
        """
        height, width = self.info.resize_spec.size
        with torch.no_grad():
            decoded = self.model(torch.zeros(2, self.info.channels, height, width), torch.tensor([[height, width]] * 2))
        inside = folder / "inside.onnx"
        ends = wrap_in_pixels(self.lowered, inside, self.info, decoded, self.names, class_maps=class_map)
        probe = self._of_kind(inside, folder / "inside")
        tried = color_blocks(self.info.resize_spec, self.info.channels)
        found = check_pixels(ends, open_file(network).run, open_file(probe).run, tried)
        drop_raw_outputs(inside)
        file = self._of_kind(inside, folder / "pixels")
        session = open_file(file)
        check_free_dimensions(session, free_size=True)
        pixels = np.ascontiguousarray(tried[0][None])
        values = session.run(pixels)
        for name, left, right in zip(ends[1].names, open_file(probe).run(pixels), values, strict=False):
            output_difference(name, left, right)  # without its raw outputs a file says what it said with them
        self.outputs = {name: str(value.dtype) for name, value in zip(ends[1].names, values, strict=True)}
        return file, found

    def _finished(self, exact: Path, folder: Path) -> Path:
        """The file in the precision and of the kind that are asked for."""
        lowered = folder / "lowered.onnx"
        if self.precision == "int8":
            to_int8(exact, lowered, [(case.images, case.sizes) for case in self.real])
            self.tell(f"int8: calibrated with {len(self.real)} images")
        elif self.precision == "fp16" and self.kind == "onnx":
            to_float16(exact, lowered)
        else:
            lowered = exact
        self.lowered = lowered
        return self._of_kind(lowered, folder / "model")

    def _of_kind(self, file: Path, target: Path) -> Path:
        """An ONNX file as one of the kind that is asked for.

        Args:
            file: the ONNX file, which may be it.
            target: the name without suffix, where it is another.
        """
        if self.kind == "onnx":
            return file
        to_openvino(file, target.with_suffix(".xml"), float16=self.precision == "fp16")
        return target.with_suffix(".xml")

    def _compare(self, file: Path, tried: list[ParityCase], free: bool) -> dict[str, Any]:
        session = open_file(file)
        check_free_dimensions(session, free)
        report: dict[str, Any] = {"precision": self.precision, "versions": versions(self.kind)}
        if self.precision == "fp32":
            report["tolerance"] = self.tolerances.tolerance
            report["differences"] = check(self.model, session.run, self.names, tried, self.tolerances.tolerance)
            return report
        least = AGREEMENT[self.precision] if self.tolerances.agreement is None else self.tolerances.agreement
        report["agreement_asked"], report["agreement"] = least, {}
        for case in tried:
            # int8 is calibrated for images, not for noise: on that it must run, with the shapes and numbers as they should be
            own = least if case.name.startswith(REAL) or self.precision != "int8" else 0.0
            report["agreement"] |= check_agreement(self.model, self.info, session.run, self.names, [case], own)
        return report

    def compare_metrics(self, file: Path, labeled: Iterable[Batch]) -> dict[str, list[float]]:
        """The main metric of each branch, of the model and of the file."""
        session = open_file(file)
        loss = METRIC_LOSS[self.precision] if self.tolerances.metric_loss is None else self.tolerances.metric_loss
        main = [f"{name}/{get_task(task).monitor}" for name, (task, _) in self.info.branches.items()]
        before = measure(self.info, labeled, self._run)
        after = measure(self.info, labeled, lambda images, sizes: self._by_branch(session.run(images, sizes)))
        return check_metrics(before, after, main, loss)

    @torch.no_grad()
    def _run(self, images: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """The model itself."""
        decoded = self.model(torch.from_numpy(images), torch.from_numpy(sizes))
        return {name: [value.numpy() for value in own] for name, own in decoded.items()}

    def _by_branch(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        """Values, one for each decoded output, by branch."""
        found: dict[str, list[Any]] = {}
        for name, value in zip(self.names, values, strict=True):
            found.setdefault(name.rpartition("/")[0], []).append(value)
        return found

    def _metadata(self, file: Path, report: Mapping[str, Any]) -> str:
        session = open_file(file)
        fields: dict[str, list[str]] = {}
        for name in self.outputs:
            fields.setdefault(name.rpartition("/")[0], []).append(name.rpartition("/")[2])
        shapes = list(session.outputs.values())[: len(self.outputs)]
        outputs = {name: (kind, shape) for (name, kind), shape in zip(self.outputs.items(), shapes, strict=True)}
        told = file_metadata(self.model, self.info, session.inputs, outputs)
        config = None if self.model.config is None else describe(self.model)["model"]
        return to_json(FileInfo(self.info, fields, report, config, told))

    def describe(self, file: Path, report: Mapping[str, Any]) -> None:
        """Writes into the file, and as JSON beside it, what it says of itself; and its checksum."""
        metadata = self._metadata(file, report)
        json_beside(file).write_text(
            json.dumps(json.loads(metadata), ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
        if self.kind == "onnx":
            describe_onnx(file, metadata)
        elif self.kind == "openvino":
            describe_openvino(file, metadata)
        elif self.kind == "executorch":
            self.mobile.write(file, metadata)
        else:
            rewrite_archive(file, metadata)
