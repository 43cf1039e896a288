"""A model as an ONNX file, by ``torch.export`` (no tracing), with the decoding inside, compared with the model before it gets
its name."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.errors import ConfigError, ExportError, RunError
from vertebra.export.parity import Case, cases, check
from vertebra.geometry.nms import onnx_translation_table
from vertebra.inference.fast import fast_copy
from vertebra.inference.metadata import KEY, to_json
from vertebra.inference.onnx_session import open_session
from vertebra.inference.predictor import face_of
from vertebra.model import VisionModel

BATCH = 2  # of the example that the file is made with
TOLERANCE = 1e-4
MOST_BYTES = 2**31 - 2**24  # the format's limit, with room for the graph
Canvas = Literal["auto", "fixed", "free"]


class _Flat(nn.Module):
    """The model with plain tensors at its root: ONNX has no dataclasses."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return tuple(tree.tree_leaves(self.model(images, sizes)))


def export_onnx(
    model: VisionModel, path: str | Path, *, canvas: Canvas = "auto", tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Writes the graph of `VisionModel.forward`, from canvases to decoded outputs, for any batch size.

    Inputs: ``images`` (N, C, H, W) uint8 and ``sizes`` (N, 2) int64, the valid pixels of each; outputs are named
    ``branch/field``. BatchNorm is folded. How images come onto the canvas, and what the outputs mean, is in the file's metadata.

    The file is run in ONNX Runtime and compared with the model; it gets its name only if they agree (`vertebra.export.parity`).

    Args:
        model: stays as it is.
        path: the file to write.
        canvas: "free" leaves the canvas' height and width free; "fixed" is the model's own; "auto" is free where the
            architecture allows it.
        tolerance: the largest difference allowed, relative to the largest value of an output.

    Returns:
        The report: whether the canvas is free, and if not why; the differences by case; versions.

    Raises:
        ConfigError: the libraries for it are not installed.
        ExportError: the architecture cannot be exported so, or the file does not say what the model says.
        RunError: the file exists.
    """
    for needed in ("onnxscript", "onnxruntime"):
        if importlib.util.find_spec(needed) is None:
            raise ConfigError("writing ONNX needs the extra 'export'; install it: pip install 'vertebra[export]'")
    path = Path(path)
    if path.exists():
        raise RunError(f"{path} exists, and nothing is overwritten; choose another name")
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if size >= MOST_BYTES:
        raise ExportError(f"the model has {size / 1e9:.1f} GB of weights, and one ONNX file holds less than 2 GB")
    eager = copy.deepcopy(model).cpu().eval()
    fixed: Any = getattr(model.backbone, "fixed_size", None)
    why_fixed = ""
    if canvas != "fixed" and fixed is not None:
        why_fixed = f"the backbone is built for {fixed[0]}x{fixed[1]}"
    elif canvas != "fixed":
        try:
            return _write(eager, path, tolerance, free=True)
        except ExportError as error:
            why_fixed = str(error)
    if canvas == "free":
        raise ExportError(f"the canvas cannot be free: {why_fixed}")
    return _write(eager, path, tolerance, free=False, why_fixed=why_fixed)


def _write(model: VisionModel, path: Path, tolerance: float, *, free: bool, why_fixed: str = "") -> dict[str, Any]:
    import onnx
    import onnxruntime

    names = output_names(model)
    program = _program(model, names, free)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        program.save(str(partial))
        session = open_session(partial)
        check_free_dimensions(session, free)
        differences = check(
            model,
            lambda images, sizes: session.run(None, {"images": images, "sizes": sizes}),
            names,
            _tried(model, free),
            tolerance,
        )
        report = {
            "free_canvas": free,
            "why_fixed": why_fixed,
            "tolerance": tolerance,
            "differences": differences,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        }
        outputs: dict[str, list[str]] = {}
        for name in names:
            outputs.setdefault(name.rpartition("/")[0], []).append(name.rpartition("/")[2])
        proto = onnx.load(str(partial))
        proto.metadata_props.add(key=KEY, value=to_json(face_of(model), outputs, report))
        onnx.save(proto, str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return report


def _tried(model: VisionModel, free: bool) -> list[Case]:
    return cases(model, BATCH, free)


def _program(model: VisionModel, names: list[str], free: bool) -> Any:
    """The graph.

    Raises:
        ExportError: torch cannot make it.
    """
    height, width = _example_canvas(model) if free else model.plan.size
    channels: int = model.backbone.in_channels  # type: ignore[assignment]
    images = torch.zeros(BATCH, channels, height, width, dtype=torch.uint8)
    sizes = torch.tensor([[height, width]] * BATCH)
    any_size = torch.export.Dim.DYNAMIC
    shape = {0: any_size, 2: any_size, 3: any_size} if free else {0: any_size}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                _Flat(fast_copy(model)).eval(),
                (images, sizes),
                dynamo=True,
                dynamic_shapes=(shape, {0: any_size}),
                input_names=["images", "sizes"],
                output_names=names,
                custom_translation_table=onnx_translation_table(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(
                f"torch cannot export this model{' with a free canvas' if free else ''}: {_reason(error)}"
            ) from error
    assert program is not None
    return program


def _example_canvas(model: VisionModel) -> tuple[int, int]:
    """The model's canvas, or one on which the coarsest level has several cells: a length of 1 is taken for fixed."""
    strides = [level.stride for name in model.branches for level in model.branch(name).decoder.in_spec.levels]
    least = 3 * max(strides, default=1)
    height, width = model.plan.size
    return max(height, least), max(width, least)


def _reason(error: BaseException) -> str:
    """The line of an exporter's error that tells most: the innermost cause's first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def output_names(model: VisionModel) -> list[str]:
    """``branch/field`` of each output, in order."""
    height, width = model.plan.size
    channels: int = model.backbone.in_channels  # type: ignore[assignment]
    with torch.no_grad():
        decoded = model(torch.zeros(1, channels, height, width, dtype=torch.uint8), torch.tensor([[height, width]]))
    return [f"{name}/{field}" for name, own in decoded.items() for field in own._fields]


def check_free_dimensions(session: Any, free_canvas: bool) -> None:
    """What is promised to be free must not be a number in the file: it would run at one size only.

    Raises:
        ExportError: with the input or output that is frozen.
    """
    for value in [*session.get_inputs(), *session.get_outputs()]:
        if isinstance(value.shape[0], int):
            raise ExportError(f"the batch of '{value.name}' is frozen at {value.shape[0]}")
    images = session.get_inputs()[0]
    if free_canvas and any(isinstance(side, int) for side in images.shape[2:]):
        raise ExportError(f"the canvas of '{images.name}' is frozen at {images.shape[2:]}")
