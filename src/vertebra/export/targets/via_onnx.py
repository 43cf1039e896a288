"""Base class of targets that are written through an ONNX file: the graph, lower precision, preprocessing inside."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from vertebra.export.job import ExportJob, check_free_dimensions
from vertebra.export.passes.fp16 import to_float16
from vertebra.export.passes.int8 import to_int8
from vertebra.export.passes.preprocess_graph import add_preprocessing, check_pixels, color_blocks, output_difference
from vertebra.export.suppress_output import suppress_output
from vertebra.export.targets.base import ExportTarget, PixelFile
from vertebra.export.torch_export import (
    BATCH,
    RAW,
    Flat,
    canvas_of_example,
    dynamic_shapes,
    example,
    export_error,
)
from vertebra.geometry.nms import onnx_translation_table
from vertebra.model import VisionModel
from vertebra.optimize.inference_copy import optimized_copy
from vertebra.runtimes.base import SessionOptions
from vertebra.runtimes.onnx import OnnxRuntime


class ViaOnnx(ExportTarget):
    """A target whose file is made from an ONNX file, which is compared with the model in ONNX Runtime first, raw outputs too.

    Attributes:
        halves_graph: whether fp16 is written into the ONNX graph, and not by `convert`.
    """

    halves_graph: ClassVar[bool]
    precisions = ("fp32", "fp16", "int8")
    takes_pixels = True
    max_weight_bytes = 2**31 - 2**24  # ONNX's limit, with room for the graph

    @abstractmethod
    def convert(self, file: Path, stem: Path, precision: str) -> Path:
        """An ONNX file as one of this target; it may be the same file.

        Args:
            file: the ONNX file.
            stem: the new file's path, without suffix.
            precision: "fp32", "fp16" or "int8".
        """

    def write(self, job: ExportJob, folder: Path, *, free: bool) -> Path:
        """See `ExportTarget.write`."""
        exact = folder / "exact.onnx"
        write_onnx(job.model, exact, job.names, free=free)
        worst = max(job.check_numbers(OnnxRuntime().open(exact, SessionOptions()), free=free).values())
        job.progress(f"ONNX Runtime, fp32, raw and decoded outputs: within {worst:.1e} of PyTorch's largest value")
        drop_raw_outputs(exact)
        self._network = self._to_precision(job, exact, folder / "lowered.onnx")
        return self.convert(self._network, folder / "model", job.precision)

    def _to_precision(self, job: ExportJob, exact: Path, target: Path) -> Path:
        """The ONNX file in the requested precision."""
        if job.precision == "int8":
            to_int8(exact, target, [(case.images, case.sizes) for case in job.real])
            job.progress(f"int8: calibrated with {len(job.real)} images")
            return target
        if job.precision == "fp16" and self.halves_graph:
            to_float16(exact, target)
            return target
        return exact

    def write_pixels(self, job: ExportJob, network: Path, folder: Path, *, class_maps: bool) -> PixelFile:
        """See `ExportTarget.write_pixels`."""
        height, width = job.info.resize_spec.size
        with torch.no_grad():
            decoded = job.model(torch.zeros(2, job.info.channels, height, width), torch.tensor([[height, width]] * 2))
        inside = folder / "inside.onnx"
        wrapper = add_preprocessing(self._network, inside, job.info, decoded, job.names, class_maps=class_maps)
        probe = self.open(self.convert(inside, folder / "inside", job.precision))
        images = color_blocks(job.info.resize_spec, job.info.channels)
        differences = check_pixels(wrapper, self.open(network).run, probe.run, images)
        drop_raw_outputs(inside)
        file = self.convert(inside, folder / "pixels", job.precision)
        session = self.open(file)
        check_free_dimensions(session, free=True)
        pixels = np.ascontiguousarray(images[0][None])
        values = session.run(pixels)
        for name, expected, value in zip(wrapper[1].names, probe.run(pixels), values, strict=False):
            output_difference(name, expected, value)  # removing the raw outputs must not change the others
        outputs = {name: str(value.dtype) for name, value in zip(wrapper[1].names, values, strict=True)}
        return PixelFile(file, outputs, differences)


def write_onnx(model: VisionModel, path: Path, names: list[str], *, free: bool) -> None:
    """Writes the graph as an ONNX file, with the decoded outputs followed by the raw ones.

    Args:
        model: in evaluation mode, on the CPU.
        path: the file to write.
        names: of the decoded outputs.
        free: whether the canvas' height and width are left free; the batch always is.

    Raises:
        ExportError: torch cannot export the model.
    """
    flat = Flat(optimized_copy(model), raw=True).eval()
    images, sizes = example(model, canvas_of_example(model, free), BATCH)
    with torch.no_grad():
        raw_count = len(flat(images, sizes)) - len(names)
    with suppress_output():
        try:
            program = torch.onnx.export(
                flat,
                (images, sizes),
                dynamo=True,
                dynamic_shapes=dynamic_shapes(free),
                input_names=["images", "sizes"],
                output_names=[*names, *(f"{RAW}{number}" for number in range(raw_count))],
                custom_translation_table=onnx_translation_table(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise export_error(error, free) from error
    assert program is not None
    program.save(str(path))


def drop_raw_outputs(path: Path) -> None:
    """Removes the raw outputs, which are needed only for the comparison, from an ONNX file."""
    import onnx

    proto: Any = onnx.load(str(path))
    kept = [value for value in proto.graph.output if not value.name.startswith(RAW)]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    read = {name for node in proto.graph.node for name in node.input} | {value.name for value in kept}
    for value in [value for value in proto.graph.initializer if value.name not in read]:
        proto.graph.initializer.remove(value)
    onnx.save(proto, str(path))
